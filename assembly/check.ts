/*
 * Every invariant of the engine, over all of its state. For tests and for a heap that is suspected:
 * it costs a walk over frames, entries in use and slots. Returns 0, or which invariant failed.
 */
import {
  ALLOCATED,
  CACHED,
  CHECK_ASIDE,
  CHECK_BITMAP,
  CHECK_CLEAN,
  CHECK_FREE_LIST,
  CHECK_HELD,
  CHECK_MOVING,
  CHECK_OWNER,
  CHECK_PAGE_COUNT,
  CHECK_PAGE_TABLE,
  CHECK_POOL,
  CHECK_REPORTED,
  CHECK_SLOT,
  CHECK_SLOT_COUNT,
  CHECK_VECTOR,
  FREE,
  H_ASIDE_MAP,
  H_BACKED_FREE,
  H_BACKED_MAP,
  H_BAD,
  H_CLEAN,
  H_DMA32_END,
  H_ENTRIES,
  H_FIRST_PFN,
  H_FRAMES,
  H_FREE_COUNT,
  H_FREE_HEAD,
  H_FREE_PAGES,
  H_FRESH_PFN,
  H_HELD,
  H_LOST,
  H_MOVING,
  H_POOLED,
  H_RAW_MAP,
  H_RAW_PAGES,
  H_RAW_SLOTS,
  H_REPORTED,
  H_SLOTS,
  H_SLOTS_USED,
  H_SWAP_MAP,
  H_SWAPPED,
  H_VECTOR_MAP,
  MAX_ORDER,
  NONE,
  NR_ORDERS,
  PAGE_SHIFT,
  POOL_TYPES_MAX,
  POOLED,
  TAIL,
  ZERO,
} from "./abi";
import { countBits, mapConsistent, mapIs, mapLimit, mapProbe, mapSize, mapWord } from "./bitmap";
import { entryAt, entryToSlot, isHandle, isPage, shadowAt } from "./entry";
import { get } from "./header";
import {
  chunkHead,
  isFrame,
  isMoving,
  isReported,
  pageCaching,
  pageNext,
  pageOrder,
  pageOwner,
  pagePrev,
  pageState,
  pageStruct,
} from "./page";
import { isZero } from "./page_bytes";
import { poolList } from "./pool";

export function check(): i32 {
  if (!mapConsistent(get(H_SWAP_MAP)) || !mapConsistent(get(H_VECTOR_MAP))) return CHECK_BITMAP;
  let result = checkFreeLists();
  if (!result) result = checkPools();
  if (!result) result = checkPageTable();
  if (!result) result = checkReported();
  if (!result) result = checkVectors();
  if (!result) result = checkSlots();
  if (!result) result = checkSpace();
  return result;
}

/** Lists are linked both ways, hold aligned chunks of their order and zone; their counts add up. */
function checkFreeLists(): i32 {
  const first = get(H_FIRST_PFN);
  let free: u32 = 0;
  for (let list: u32 = 0; list < 2 * NR_ORDERS; list++) {
    const order = list % NR_ORDERS;
    let count: u32 = 0;
    let prev: u32 = 0;
    for (let pfn = get(H_FREE_HEAD + list); pfn; pfn = pageNext(pageStruct(pfn))) {
      if (!isFrame(pfn) || (pfn - first) & ((1 << order) - 1)) return CHECK_FREE_LIST;
      if (pfn < get(H_DMA32_END) != list < <u32>NR_ORDERS) return CHECK_FREE_LIST;
      const page = pageStruct(pfn);
      if (pageState(page) != FREE || pageOrder(page) != order) return CHECK_FREE_LIST;
      if (pagePrev(page) != prev || ++count > get(H_FRAMES)) return CHECK_FREE_LIST;
      for (let i: u32 = 0; i < (<u32>1) << order; i++) {
        if (pageCaching(pageStruct(pfn + i)) != CACHED) return CHECK_FREE_LIST;
      }
      prev = pfn;
    }
    if (count != get(H_FREE_COUNT + list)) return CHECK_FREE_LIST;
    free += count << order;
  }
  return free == get(H_FREE_PAGES) ? 0 : CHECK_FREE_LIST;
}

/** Pool lists hold zeroed chunks of their order, of one caching; their counts add up. */
function checkPools(): i32 {
  let pooled: u32 = 0;
  for (let type: u32 = 0; type < <u32>POOL_TYPES_MAX; type++) {
    let caching: u32 = NONE;
    for (let order: u32 = 0; order < <u32>NR_ORDERS; order++) {
      const list = poolList(type, order);
      let count: u32 = 0;
      for (let pfn = get(list); pfn; pfn = pageNext(pageStruct(pfn))) {
        if (!isFrame(pfn) || ++count > get(H_FRAMES)) return CHECK_POOL;
        const page = pageStruct(pfn);
        if (pageState(page) != POOLED || pageOrder(page) != order) return CHECK_POOL;
        if (caching == NONE) caching = pageCaching(page);
        for (let i: u32 = 0; i < (<u32>1) << order; i++) {
          if (pageCaching(pageStruct(pfn + i)) != caching) return CHECK_POOL;
          if (!isZero((<usize>(pfn + i)) << PAGE_SHIFT)) return CHECK_POOL;
        }
      }
      if (count != get(list + 1)) return CHECK_POOL;
      pooled += count << order;
    }
  }
  return pooled == get(H_POOLED) ? 0 : CHECK_POOL;
}

/**
 * Chunks tile the frames; two free buddies are merged; an allocated chunk and its entry agree; only such a one
 * is being moved.
 */
function checkPageTable(): i32 {
  const first = get(H_FIRST_PFN);
  const frames = get(H_FRAMES);
  let free: u32 = 0;
  let raw: u32 = 0;
  let pooled: u32 = 0;
  let moving: u32 = 0;
  let index: u32 = 0;
  while (index < frames) {
    const page = pageStruct(first + index);
    const order = pageOrder(page);
    const pages: u32 = 1 << order;
    if (pageState(page) == TAIL || order > <u32>MAX_ORDER) return CHECK_PAGE_TABLE;
    if (index & (pages - 1) || index + pages > frames) return CHECK_PAGE_TABLE;
    for (let i: u32 = 1; i < pages; i++) {
      const tail = pageStruct(first + index + i);
      if (pageState(tail) != TAIL) return CHECK_PAGE_TABLE;
      if (isMoving(tail)) return CHECK_MOVING;
    }
    if (isMoving(page)) {
      if (pageState(page) != ALLOCATED || pageOwner(page) == NONE) return CHECK_MOVING;
      moving += pages;
    }
    if (pageState(page) == FREE) {
      free += pages;
      const buddy = index ^ pages;
      if (order < <u32>MAX_ORDER && buddy + pages <= frames) {
        const other = pageStruct(first + buddy);
        if (pageState(other) == FREE && pageOrder(other) == order) return CHECK_PAGE_TABLE;
      }
    } else if (pageState(page) == POOLED) pooled += pages;
    else if (pageOwner(page) == NONE) raw += pages;
    else if (!owns(pageOwner(page), first + index, pages)) return CHECK_OWNER;
    index += pages;
  }
  if (moving != get(H_MOVING)) return CHECK_MOVING;
  if (free != get(H_FREE_PAGES) || raw != get(H_RAW_PAGES)) return CHECK_PAGE_COUNT;
  return pooled == get(H_POOLED) ? 0 : CHECK_PAGE_COUNT;
}

/** Frames that were given back hold nothing, are zeros, and as many as counted. */
function checkReported(): i32 {
  const first = get(H_FIRST_PFN);
  let reported: u32 = 0;
  let head = first;
  for (let pfn = first; pfn < first + get(H_FRAMES); pfn++) {
    if (pageState(pageStruct(pfn)) != TAIL) head = pfn;
    if (!isReported(pageStruct(pfn))) continue;
    const free = pageState(pageStruct(head)) != ALLOCATED;
    if (!free || pfn >= get(H_FRESH_PFN) || !isZero((<usize>pfn) << PAGE_SHIFT))
      return CHECK_REPORTED;
    reported++;
  }
  return reported == get(H_REPORTED) ? 0 : CHECK_REPORTED;
}

/** The entries of a chunk hold its pages in order, all as entries or all as shadows. */
function owns(owner: u32, pfn: u32, pages: u32): bool {
  if (!mapIs(get(H_VECTOR_MAP), owner, pages, true)) return false;
  const held = !isPage(entryAt(owner));
  for (let i: u32 = 0; i < pages; i++) {
    const page = held ? shadowAt(owner + i) : entryAt(owner + i);
    if (page != (pfn + i) << PAGE_SHIFT) return false;
    if (held && isPage(entryAt(owner + i))) return false;
  }
  return true;
}

/** Entries in use name allocated frames, as many as there are; entries not in use are empty. */
function checkVectors(): i32 {
  let pages: u32 = 0;
  let held: u32 = 0;
  let clean: u32 = 0;
  for (let i: u32 = 0; i < get(H_ENTRIES); i++) {
    const entry = entryAt(i);
    const shadow = shadowAt(i);
    if (!(entry | shadow)) continue;
    if (!mapIs(get(H_VECTOR_MAP), i, 1, true)) return CHECK_VECTOR;
    if (isPage(entry)) {
      if (!isFrame(entry >> PAGE_SHIFT) || entryToSlot(shadow) > get(H_SLOTS)) return CHECK_VECTOR;
      // Zeros are found by a prepare, and are to leave before it is anybody's turn to write.
      if (shadow == ZERO) {
        const head = chunkHead(entry >> PAGE_SHIFT);
        if (!head || !isMoving(pageStruct(head))) return CHECK_MOVING;
      } else if (isHandle(shadow)) clean++;
      pages++;
    } else if (shadow) {
      if (!isPage(shadow) || !isFrame(shadow >> PAGE_SHIFT)) return CHECK_VECTOR;
      held++;
    }
  }
  if (clean != get(H_CLEAN)) return CHECK_CLEAN;
  pages += held + get(H_RAW_PAGES) + get(H_FREE_PAGES) + get(H_POOLED);
  if (pages != get(H_FRAMES)) return CHECK_PAGE_COUNT;
  return held == get(H_HELD) ? 0 : CHECK_HELD;
}

// @ts-ignore: decorator
@inline
function slotOf(index: u32): u32 {
  const entry = entryAt(index);
  if (isHandle(entry)) return entryToSlot(entry);
  return isPage(entry) ? entryToSlot(shadowAt(index)) : 0;
}

/** Every slot in use is named by exactly one entry: clears their bits one by one, then sets them. */
function checkSlots(): i32 {
  const map = get(H_SWAP_MAP);
  if (countBits(get(H_RAW_MAP), 0, get(H_SLOTS)) != get(H_RAW_SLOTS)) return CHECK_SLOT_COUNT;
  let named: u32 = 0;
  let result: i32 = 0;
  let end: u32 = 0;
  for (; end < get(H_ENTRIES); end++) {
    const slot = slotOf(end);
    if (!slot) continue;
    if (slot > get(H_SLOTS) || !mapProbe(map, slot - 1, false)) {
      result = CHECK_SLOT;
      break;
    }
    named++;
  }
  let swapped: u32 = 0;
  for (let i: u32 = 0; i < end; i++) {
    if (slotOf(i)) mapProbe(map, slotOf(i) - 1, true);
    if (isHandle(entryAt(i))) swapped++;
  }
  if (result) return result;
  if (named + get(H_RAW_SLOTS) != get(H_SLOTS_USED)) return CHECK_SLOT_COUNT;
  return swapped == get(H_SWAPPED) ? 0 : CHECK_SLOT_COUNT;
}

/** Slots set aside are not free; they, and those that the store has had a page in, are as many as counted. */
function checkSpace(): i32 {
  const map = get(H_SWAP_MAP);
  const limit = mapLimit(map);
  let used: u32 = 0;
  let backedFree: u32 = 0;
  let bad: u32 = 0;
  let lost = mapSize(map) - limit;
  for (let first: u32 = 0; first < mapSize(map); first += 64) {
    const at = first >> 3;
    const past = mapSize(map) - first < 64 ? ~(<u64>0) << (mapSize(map) - first) : 0;
    const word = mapWord(map, first >> 6) & ~past;
    const backed = load<u64>(get(H_BACKED_MAP) + at);
    const aside = load<u64>(get(H_ASIDE_MAP) + at);
    if (aside & ~word || (backed | aside) & past) return CHECK_ASIDE;
    if (first >= limit && word | backed) return CHECK_ASIDE;
    used += <u32>popcnt(word & ~aside);
    backedFree += <u32>popcnt(backed & ~word);
    bad += <u32>popcnt(aside & backed);
    lost += <u32>popcnt(aside & ~backed);
  }
  if (used != get(H_SLOTS_USED)) return CHECK_SLOT_COUNT;
  if (backedFree != get(H_BACKED_FREE)) return CHECK_ASIDE;
  return bad == get(H_BAD) && lost == get(H_LOST) ? 0 : CHECK_ASIDE;
}
