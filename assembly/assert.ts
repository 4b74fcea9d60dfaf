/* What debug builds assert of entries and chunks where a walk comes to them. */
import { ALLOCATED, MAX_ORDER, PAGE_SHIFT, UNCACHED, ZERO } from "./abi";
import { entryAt, entryToSlot, isHandle, isPage, shadowAt } from "./entry";
import { isFrame, pageCaching, pageOrder, pageOwner, pageState, pageStruct } from "./page";
import { slotUsed } from "./swap_map";

/** Entry `index` and its shadow are of one of the forms that entry.ts names. */
export function assertEntry(index: u32): void {
  const entry = entryAt(index);
  const shadow = shadowAt(index);
  if (isPage(entry)) {
    assert(isFrame(entry >> PAGE_SHIFT) && !(entry & 0xfff), "an entry is neither page nor handle");
    const named = !shadow || shadow == ZERO || slotUsed(entryToSlot(shadow));
    assert(named, "the shadow of a page names no slot in use");
    return;
  }
  if (isHandle(entry)) assert(slotUsed(entryToSlot(entry)), "a handle names no slot in use");
  if (!shadow) return;
  assert(!isHandle(shadow) && !(shadow & 0xfff), "the shadow of a handle is no page");
  assert(isFrame(shadow >> PAGE_SHIFT), "the shadow of a handle is no frame");
}

/**
 * A chunk of `pages` pages from `pfn` on is held for entries from `index` on: all of them have it as their
 * shadows, and none is a page.
 */
export function assertHeld(pfn: u32, pages: u32, index: u32): void {
  for (let i: u32 = 0; i < pages; i++) {
    assert(!isPage(entryAt(index + i)), "a page is held for an entry that has one");
    assert(
      shadowAt(index + i) == (pfn + i) << PAGE_SHIFT,
      "a held chunk is not that of its entries",
    );
  }
}

/** The chunk that begins with frame `pfn` is in use, and belongs to entry `index`. */
export function assertOwner(pfn: u32, index: u32): void {
  const chunk = pageStruct(pfn);
  assert(pageState(chunk) == ALLOCATED, "a vector has a chunk that is not in use");
  assert(pageOwner(chunk) == index, "a chunk belongs to another entry");
  assert(pageOrder(chunk) <= <u32>MAX_ORDER, "a chunk has an order that there is not");
  assert(pageCaching(chunk) <= <u32>UNCACHED, "a chunk has a caching that there is not");
}
