/*
 * Entries of page vectors (abi.ts has their form). Beside each entry lies a shadow of the same form, which
 * is what the entry becomes when the move in progress commits: the page held for a restore, or
 * `slot << 1` (even: not valid) reserved for a shrink or kept for one. And the checksum of its page.
 */
import { ENTRY_SHIFT, H_ENTRIES, H_ENTRY, H_SHADOW, H_SUM, HANDLE, SLOT_SHIFT } from "./abi";
import { DEBUGGING } from "./debug";
import { get } from "./header";

// @ts-ignore: decorator
@inline
export function entryToSlot(entry: u32): u32 {
  return entry >> SLOT_SHIFT;
}

/** The shadow of a page that is to leave to this slot: the slot has no valid copy yet. */
// @ts-ignore: decorator
@inline
export function slotToShadow(slot: u32): u32 {
  return slot << SLOT_SHIFT;
}

/** What such a shadow is as an entry, or once the copy is valid. */
// @ts-ignore: decorator
@inline
export function toHandle(shadow: u32): u32 {
  return shadow | HANDLE;
}

/** The shadow of a clean page after a write to it: its copy is no longer valid. */
// @ts-ignore: decorator
@inline
export function toStale(shadow: u32): u32 {
  return shadow & ~HANDLE;
}

// @ts-ignore: decorator
@inline
export function isHandle(entry: u32): bool {
  return (entry & HANDLE) != 0;
}

// @ts-ignore: decorator
@inline
export function isPage(entry: u32): bool {
  return entry != 0 && (entry & HANDLE) == 0;
}

/** True for the shadow of a page that names a slot without a valid copy: it is the page's to leave to. */
// @ts-ignore: decorator
@inline
export function isReserved(shadow: u32): bool {
  return shadow != 0 && (shadow & HANDLE) == 0;
}

/** Address of entry `index`, or of the end of all: for loops, as entries lie side by side. */
// @ts-ignore: decorator
@inline
export function entryAddress(index: u32): usize {
  if (DEBUGGING) assert(index <= get(H_ENTRIES), "there is no such entry");
  return <usize>get(H_ENTRY) + ((<usize>index) << ENTRY_SHIFT);
}

/** Address of the shadow of entry `index`. */
// @ts-ignore: decorator
@inline
export function shadowAddress(index: u32): usize {
  if (DEBUGGING) assert(index <= get(H_ENTRIES), "there is no such entry");
  return <usize>get(H_SHADOW) + ((<usize>index) << ENTRY_SHIFT);
}

// @ts-ignore: decorator
@inline
export function entryAt(index: u32): u32 {
  return load<u32>(entryAddress(index));
}

// @ts-ignore: decorator
@inline
export function setEntry(index: u32, entry: u32): void {
  store<u32>(entryAddress(index), entry);
}

// @ts-ignore: decorator
@inline
export function shadowAt(index: u32): u32 {
  return load<u32>(shadowAddress(index));
}

// @ts-ignore: decorator
@inline
export function setShadow(index: u32, entry: u32): void {
  store<u32>(shadowAddress(index), entry);
}

// @ts-ignore: decorator
@inline
function sumAddress(index: u32): usize {
  if (DEBUGGING) assert(index < get(H_ENTRIES), "there is no such entry");
  return <usize>get(H_SUM) + ((<usize>index) << ENTRY_SHIFT);
}

// @ts-ignore: decorator
@inline
export function sumAt(index: u32): u32 {
  return load<u32>(sumAddress(index));
}

// @ts-ignore: decorator
@inline
export function setSum(index: u32, sum: u32): void {
  store<u32>(sumAddress(index), sum);
}

/** Entries from `index` on, `most` at most, whose handles name slots side by side with the first. */
export function handleRun(index: u32, most: u32): u32 {
  const at = entryAddress(index);
  const first = load<u32>(at);
  let length: u32 = 1;
  while (
    length < most &&
    load<u32>(at + ((<usize>length) << ENTRY_SHIFT)) == first + slotToShadow(length)
  )
    length++;
  return length;
}
