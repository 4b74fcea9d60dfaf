/*
 * struct page (abi.ts has its layout), one for each frame. Pages are named by
 * pfn = address >> PAGE_SHIFT.
 */
import {
  ALLOCATED,
  H_CACHING_PAGES,
  H_CACHING_RUNS,
  H_FIRST_PFN,
  H_FRAMES,
  H_MOVING,
  H_PAGE_TABLE,
  MAX_ORDER,
  MOVING,
  P_CACHING,
  P_FLAGS,
  P_NEXT,
  P_ORDER,
  P_OWNER,
  P_PREV,
  P_STATE,
  PAGE_STRUCT_SHIFT,
  POOLED,
  REPORTED,
  TAIL,
  UNCACHED,
} from "./abi";
import { DEBUGGING } from "./debug";
import { add, get } from "./header";

// @ts-ignore: decorator
@inline
export function pageStruct(pfn: u32): usize {
  if (DEBUGGING) assert(isFrame(pfn), "a page number names no frame");
  return <usize>get(H_PAGE_TABLE) + ((<usize>(pfn - get(H_FIRST_PFN))) << PAGE_STRUCT_SHIFT);
}

// @ts-ignore: decorator
@inline
export function pageState(page: usize): u32 {
  return load<u8>(page, P_STATE);
}

// @ts-ignore: decorator
@inline
export function pageOrder(page: usize): u32 {
  return load<u8>(page, P_ORDER);
}

// @ts-ignore: decorator
@inline
export function setPage(page: usize, state: u32, order: u32): void {
  if (DEBUGGING) assert(state <= <u32>POOLED && order <= <u32>MAX_ORDER, "no such state or order");
  // The state lies behind the order.
  store<u16>(page, <u16>((state << 8) | order), P_ORDER);
}

// @ts-ignore: decorator
@inline
export function pageCaching(page: usize): u32 {
  return load<u8>(page, P_CACHING);
}

// @ts-ignore: decorator
@inline
export function isMoving(page: usize): bool {
  return (load<u8>(page, P_FLAGS) & MOVING) != 0;
}

// @ts-ignore: decorator
@inline
export function setMoving(page: usize, moving: bool): void {
  if (DEBUGGING) assert(pageState(page) == ALLOCATED, "a chunk that is not in use is moved");
  setFlag(page, MOVING, moving);
}

// @ts-ignore: decorator
@inline
function setFlag(page: usize, flag: u32, on: bool): void {
  const flags = load<u8>(page, P_FLAGS);
  store<u8>(page, <u8>(on ? flags | flag : flags & ~flag), P_FLAGS);
}

/** Whether a page that holds nothing was given back to the host. */
// @ts-ignore: decorator
@inline
export function isReported(page: usize): bool {
  return (load<u8>(page, P_FLAGS) & REPORTED) != 0;
}

// @ts-ignore: decorator
@inline
export function setReported(page: usize, reported: bool): void {
  setFlag(page, REPORTED, reported);
}

/** The chunk no longer moves: it has, or will not after all. */
export function endMove(page: usize): void {
  if (!isMoving(page)) return;
  setMoving(page, false);
  add(H_MOVING, -(1 << pageOrder(page)));
}

/**
 * Gives pages the caching they are to have (set_pages_array_wb and kin), as one run. Simulated: an
 * attribute, and counters that show what the real thing would cost.
 */
export function setCaching(pfn: u32, pages: u32, caching: u32): void {
  if (DEBUGGING) assert(caching <= <u32>UNCACHED, "no such caching");
  for (let i: u32 = 0; i < pages; i++) store<u8>(pageStruct(pfn + i), <u8>caching, P_CACHING);
  add(H_CACHING_PAGES, pages);
  add(H_CACHING_RUNS, 1);
}

// @ts-ignore: decorator
@inline
export function pageNext(page: usize): u32 {
  return load<u32>(page, P_NEXT);
}

// @ts-ignore: decorator
@inline
export function setNext(page: usize, pfn: u32): void {
  store<u32>(page, pfn, P_NEXT);
}

// @ts-ignore: decorator
@inline
export function pagePrev(page: usize): u32 {
  return load<u32>(page, P_PREV);
}

// @ts-ignore: decorator
@inline
export function setPrev(page: usize, pfn: u32): void {
  store<u32>(page, pfn, P_PREV);
}

// @ts-ignore: decorator
@inline
export function pageOwner(page: usize): u32 {
  return load<u32>(page, P_OWNER);
}

// @ts-ignore: decorator
@inline
export function setOwner(page: usize, entry: u32): void {
  store<u32>(page, entry, P_OWNER);
}

/** True when pfn names a frame of ours. */
// @ts-ignore: decorator
@inline
export function isFrame(pfn: u32): bool {
  return pfn - get(H_FIRST_PFN) < get(H_FRAMES);
}

/** First page of the allocated chunk that contains `pfn`, or 0. */
export function chunkHead(pfn: u32): u32 {
  if (!isFrame(pfn)) return 0;
  const first = get(H_FIRST_PFN);
  for (let order: u32 = 0; order <= <u32>MAX_ORDER; order++) {
    const head = first + ((pfn - first) & ~((1 << order) - 1));
    const page = pageStruct(head);
    if (pageState(page) == TAIL) continue;
    return pageState(page) == ALLOCATED && pfn - head < <u32>(1 << pageOrder(page)) ? head : 0;
  }
  return 0;
}
