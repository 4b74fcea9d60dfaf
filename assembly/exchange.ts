/*
 * The exchange area: extents that a prepare writes for the host, and items that the host writes for
 * a shrink. An extent is a run of pages side by side in memory and, if they have slots, in swap.
 */
import {
  EXTENT_BYTES,
  EXTENTS,
  EXTENTS_MAX,
  H_EXTENTS,
  ITEM_BYTES,
  ITEMS,
  ITEMS_MAX,
  PAGE_SHIFT,
} from "./abi";
import { add, get, set } from "./header";

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
  const count = get(H_EXTENTS);
  if (count) {
    const last = extent(count - 1);
    const lastPages = load<u32>(last, 8);
    const lastSlot = load<u32>(last, 4);
    if (
      <usize>load<u32>(last) + ((<usize>lastPages) << PAGE_SHIFT) == address &&
      (lastSlot ? slot == lastSlot + lastPages : slot == 0) &&
      load<u32>(last, 12) + lastPages == at &&
      load<u32>(last, 16) + lastPages == index
    ) {
      store<u32>(last, lastPages + pages, 8);
      return;
    }
  }
  const next = extent(count);
  store<u32>(next, <u32>address);
  store<u32>(next, slot, 4);
  store<u32>(next, pages, 8);
  store<u32>(next, at, 12);
  store<u32>(next, index, 16);
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

/** Fields of extent `index`: its page's address, slot, pages, entry. */
// @ts-ignore: decorator
@inline
export function extentPage(index: u32): u32 {
  return load<u32>(extent(index));
}

// @ts-ignore: decorator
@inline
export function extentSlot(index: u32): u32 {
  return load<u32>(extent(index), 4);
}

// @ts-ignore: decorator
@inline
export function extentPages(index: u32): u32 {
  return load<u32>(extent(index), 8);
}

// @ts-ignore: decorator
@inline
export function extentEntry(index: u32): u32 {
  return load<u32>(extent(index), 16);
}

/** Items of a shrink batch. */
// @ts-ignore: decorator
@inline
export function itemVector(item: u32): u32 {
  return load<u32>(ITEMS + item * ITEM_BYTES);
}

// @ts-ignore: decorator
@inline
export function itemEntries(item: u32): u32 {
  return load<u32>(ITEMS + item * ITEM_BYTES, 4);
}

// @ts-ignore: decorator
@inline
export function itemStart(item: u32): u32 {
  return load<u32>(ITEMS + item * ITEM_BYTES, 8);
}

// @ts-ignore: decorator
@inline
export function itemNext(item: u32): u32 {
  return load<u32>(ITEMS + item * ITEM_BYTES, 12);
}

// @ts-ignore: decorator
@inline
export function setItemNext(item: u32, next: u32): void {
  store<u32>(ITEMS + item * ITEM_BYTES, next, 12);
}

// @ts-ignore: decorator
@inline
export function setItemReleased(item: u32, pages: u32): void {
  store<u32>(ITEMS + item * ITEM_BYTES, pages, 16);
}

// @ts-ignore: decorator
@inline
export function itemCountOk(count: u32): bool {
  return count > 0 && count <= <u32>ITEMS_MAX;
}
