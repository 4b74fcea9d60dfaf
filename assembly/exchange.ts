/*
 * The exchange area: extents that a prepare writes for the host, and items that the host writes for
 * a shrink. An extent is a run of pages side by side in memory and, if they have slots, in swap.
 */
import {
  EXTENT_BYTES,
  EXTENTS,
  EXTENTS_MAX,
  H_ENTRIES,
  H_EXTENTS,
  H_SWAP_MAP,
  I_ENTRIES,
  I_NEXT,
  I_RELEASED,
  I_START,
  I_VECTOR,
  ITEM_BYTES,
  ITEMS,
  ITEMS_MAX,
  PAGE_SHIFT,
  X_ADDRESS,
  X_AT,
  X_INDEX,
  X_PAGES,
  X_SLOT,
} from "./abi";
import { mapIs } from "./bitmap";
import { DEBUGGING } from "./debug";
import { add, get, set } from "./header";
import { isFrame } from "./page";

// @ts-ignore: decorator
@inline
function extent(index: u32): usize {
  return <usize>EXTENTS + <usize>index * EXTENT_BYTES;
}

// @ts-ignore: decorator
@inline
export function resetExtents(): void {
  set(H_EXTENTS, 0);
}

/**
 * Adds `pages` at `address`, of entries from `index` on; `slot` 0 means they have none. `at`: pages of
 * the batch before them.
 */
export function addExtent(address: usize, slot: u32, pages: u32, at: u32, index: u32): void {
  if (DEBUGGING) assertExtent(<u32>address, slot, pages, index);
  const count = get(H_EXTENTS);
  if (count) {
    const last = extent(count - 1);
    const lastPages = load<u32>(last, X_PAGES << 2);
    const lastSlot = load<u32>(last, X_SLOT << 2);
    if (
      <usize>load<u32>(last, X_ADDRESS << 2) + ((<usize>lastPages) << PAGE_SHIFT) == address &&
      (lastSlot ? slot == lastSlot + lastPages : slot == 0) &&
      load<u32>(last, X_AT << 2) + lastPages == at &&
      load<u32>(last, X_INDEX << 2) + lastPages == index
    ) {
      store<u32>(last, lastPages + pages, X_PAGES << 2);
      return;
    }
  }
  if (DEBUGGING) assert(count < <u32>EXTENTS_MAX, "more extents than there is room for");
  const next = extent(count);
  store<u32>(next, <u32>address, X_ADDRESS << 2);
  store<u32>(next, slot, X_SLOT << 2);
  store<u32>(next, pages, X_PAGES << 2);
  store<u32>(next, at, X_AT << 2);
  store<u32>(next, index, X_INDEX << 2);
  add(H_EXTENTS, 1);
}

/** Adds `pages` slots from `slot` on, which have no pages in memory: to the last extent, if it goes on there. */
export function addRun(slot: u32, pages: u32): void {
  const count = get(H_EXTENTS);
  const last = extent(count - 1);
  if (count && load<u32>(last, 4) + load<u32>(last, 8) == slot) {
    store<u32>(last, load<u32>(last, 8) + pages, 8);
    return;
  }
  store<u32>(extent(count), slot, 4);
  store<u32>(extent(count), pages, 8);
  add(H_EXTENTS, 1);
}

// @ts-ignore: decorator
@inline
export function extentsFull(): bool {
  return get(H_EXTENTS) == EXTENTS_MAX;
}

// @ts-ignore: decorator
@inline
function extentAt(index: u32): usize {
  if (DEBUGGING) assert(index < get(H_EXTENTS), "there is no such extent");
  return extent(index);
}

/** Fields of extent `index`: its page's address, slot, pages, entry. */
// @ts-ignore: decorator
@inline
export function extentPage(index: u32): u32 {
  return load<u32>(extentAt(index), X_ADDRESS << 2);
}

// @ts-ignore: decorator
@inline
export function extentSlot(index: u32): u32 {
  return load<u32>(extentAt(index), X_SLOT << 2);
}

// @ts-ignore: decorator
@inline
export function extentPages(index: u32): u32 {
  return load<u32>(extentAt(index), X_PAGES << 2);
}

// @ts-ignore: decorator
@inline
export function extentEntry(index: u32): u32 {
  return load<u32>(extentAt(index), X_INDEX << 2);
}

/** An extent lies within the frames, the entries and, with slots, the slots in use. */
function assertExtent(address: u32, slot: u32, pages: u32, index: u32): void {
  const pfn = address >> PAGE_SHIFT;
  assert(pages && isFrame(pfn) && isFrame(pfn + pages - 1), "an extent lies outside of the frames");
  assert(<u64>index + pages <= get(H_ENTRIES), "an extent lies outside of the entries");
  assert(!slot || mapIs(get(H_SWAP_MAP), slot - 1, pages, true), "an extent names a free slot");
}

/** Address of an item of a shrink batch; its fields follow. */
// @ts-ignore: decorator
@inline
function itemAt(item: u32): usize {
  if (DEBUGGING) assert(item < <u32>ITEMS_MAX, "there is no such item");
  return <usize>ITEMS + <usize>item * ITEM_BYTES;
}

// @ts-ignore: decorator
@inline
export function itemVector(item: u32): u32 {
  return load<u32>(itemAt(item), I_VECTOR << 2);
}

// @ts-ignore: decorator
@inline
export function itemEntries(item: u32): u32 {
  return load<u32>(itemAt(item), I_ENTRIES << 2);
}

// @ts-ignore: decorator
@inline
export function itemStart(item: u32): u32 {
  return load<u32>(itemAt(item), I_START << 2);
}

// @ts-ignore: decorator
@inline
export function itemNext(item: u32): u32 {
  return load<u32>(itemAt(item), I_NEXT << 2);
}

// @ts-ignore: decorator
@inline
export function setItemNext(item: u32, next: u32): void {
  store<u32>(itemAt(item), next, I_NEXT << 2);
}

// @ts-ignore: decorator
@inline
export function setItemReleased(item: u32, pages: u32): void {
  store<u32>(itemAt(item), pages, I_RELEASED << 2);
}

// @ts-ignore: decorator
@inline
export function itemCountOk(count: u32): bool {
  return count > 0 && count <= <u32>ITEMS_MAX;
}
