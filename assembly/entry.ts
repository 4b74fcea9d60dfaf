/*
 * One page-vector entry, 32 bits:
 *
 *   31                                12 11              1  0
 *   | page number                       | 0 ........... 0  0 |   page: its address in linear memory
 *   | swap slot                                            1 |   handle: slot << 1 | 1
 *   | 0 ................................................ 0 0 |   empty: reads as zeros
 *
 * Slots count from 1, so the handle 1 (slot 0) never names content. Beside each entry lies a shadow
 * of the same form, which is what the entry becomes when the move in progress commits: the page held
 * for a restore, or `slot << 1` (even: not valid) reserved for a shrink or kept for one. And its checksum.
 */
import { H_ENTRY, H_SHADOW, H_SUM } from "./abi";
import { get } from "./header";

// @ts-ignore: decorator
@inline
export function entryToSlot(entry: u32): u32 {
  return entry >> 1;
}

// @ts-ignore: decorator
@inline
export function isHandle(entry: u32): bool {
  return (entry & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function isPage(entry: u32): bool {
  return entry != 0 && (entry & 1) == 0;
}

/** True for the shadow of a page that names a slot without a valid copy: it is the page's to leave to. */
// @ts-ignore: decorator
@inline
export function isReserved(shadow: u32): bool {
  return shadow != 0 && (shadow & 1) == 0;
}

/** Address of entry `index`, for loops: entries lie side by side, 4 bytes each. */
// @ts-ignore: decorator
@inline
export function entryAddress(index: u32): usize {
  return <usize>get(H_ENTRY) + ((<usize>index) << 2);
}

/** Address of the shadow of entry `index`. */
// @ts-ignore: decorator
@inline
export function shadowAddress(index: u32): usize {
  return <usize>get(H_SHADOW) + ((<usize>index) << 2);
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
export function sumAt(index: u32): u32 {
  return load<u32>(<usize>get(H_SUM) + ((<usize>index) << 2));
}

// @ts-ignore: decorator
@inline
export function setSum(index: u32, sum: u32): void {
  store<u32>(<usize>get(H_SUM) + ((<usize>index) << 2), sum);
}

/** Entries from `index` on, `most` at most, whose handles name slots side by side with the first. */
export function handleRun(index: u32, most: u32): u32 {
  const at = entryAddress(index);
  const first = load<u32>(at);
  let length: u32 = 1;
  while (length < most && load<u32>(at + ((<usize>length) << 2)) == first + (length << 1)) length++;
  return length;
}
