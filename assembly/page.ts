/*
 * struct page, 16 bytes for each frame (the kernel's has 64), and what is done to a page's bytes.
 *
 *   +0  u8   order   of the chunk, in its first page
 *   +1  u8   state   TAIL (not first in a chunk) | FREE | ALLOCATED | POOLED
 *   +2  u8   caching CACHED | WRITE_COMBINED | UNCACHED, of each page
 *   +3  u8   moving  the chunk, in its first page: from a prepare, out or in, to its commit
 *   +4  u32  next    page number in a free list, 0 = end
 *   +8  u32  prev
 *   +12 u32  owner   vector entry that holds the chunk's first page, NONE = handed out directly
 *
 * Only the first page of a chunk has an order and a state; a tail's are zero. Pages are
 * named by pfn = address >> PAGE_SHIFT.
 */
import {
  H_CACHING_PAGES,
  H_CACHING_RUNS,
  H_FIRST_PFN,
  H_FRAMES,
  H_MOVING,
  H_PAGE_TABLE,
  MAX_ORDER,
  PAGE_SHIFT,
  PAGE_SIZE,
  UNCACHED,
} from "./abi";
import { DEBUGGING } from "./debug";
import { add, get } from "./header";

export const PAGE_STRUCT_BYTES: u32 = 16;

export const TAIL: u32 = 0;
export const FREE: u32 = 1;
export const ALLOCATED: u32 = 2;
export const POOLED: u32 = 3;

// @ts-ignore: decorator
@inline
export function pageStruct(pfn: u32): usize {
  if (DEBUGGING) assert(isFrame(pfn), "a page number names no frame");
  return <usize>get(H_PAGE_TABLE) + ((<usize>(pfn - get(H_FIRST_PFN))) << 4);
}

// @ts-ignore: decorator
@inline
export function pageState(page: usize): u32 {
  return load<u8>(page, 1);
}

// @ts-ignore: decorator
@inline
export function pageOrder(page: usize): u32 {
  return load<u8>(page, 0);
}

// @ts-ignore: decorator
@inline
export function setPage(page: usize, state: u32, order: u32): void {
  if (DEBUGGING) assert(state <= POOLED && order <= <u32>MAX_ORDER, "no such state or order");
  store<u16>(page, <u16>((state << 8) | order));
}

// @ts-ignore: decorator
@inline
export function pageCaching(page: usize): u32 {
  return load<u8>(page, 2);
}

// @ts-ignore: decorator
@inline
export function isMoving(page: usize): bool {
  return load<u8>(page, 3) != 0;
}

// @ts-ignore: decorator
@inline
export function setMoving(page: usize, moving: bool): void {
  store<u8>(page, <u8>moving, 3);
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
  for (let i: u32 = 0; i < pages; i++) store<u8>(pageStruct(pfn + i), <u8>caching, 2);
  add(H_CACHING_PAGES, pages);
  add(H_CACHING_RUNS, 1);
}

// @ts-ignore: decorator
@inline
export function pageNext(page: usize): u32 {
  return load<u32>(page, 4);
}

// @ts-ignore: decorator
@inline
export function setNext(page: usize, pfn: u32): void {
  store<u32>(page, pfn, 4);
}

// @ts-ignore: decorator
@inline
export function pagePrev(page: usize): u32 {
  return load<u32>(page, 8);
}

// @ts-ignore: decorator
@inline
export function setPrev(page: usize, pfn: u32): void {
  store<u32>(page, pfn, 8);
}

// @ts-ignore: decorator
@inline
export function pageOwner(page: usize): u32 {
  return load<u32>(page, 12);
}

// @ts-ignore: decorator
@inline
export function setOwner(page: usize, entry: u32): void {
  store<u32>(page, entry, 12);
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

// @ts-ignore: decorator
@inline
export function copyBytes(to: usize, from: usize, pages: u32): void {
  memory.copy(to, from, (<usize>pages) << PAGE_SHIFT);
}

// @ts-ignore: decorator
@inline
export function clearPages(address: usize, pages: u32): void {
  memory.fill(address, 0, (<usize>pages) << PAGE_SHIFT);
}

/** True when all 4096 bytes are zero; stops at the first 64 that are not. */
export function isZero(address: usize): bool {
  for (let at = address; at < address + PAGE_SIZE; at += 64) {
    const any = v128.or(
      v128.or(v128.load(at), v128.load(at, 16)),
      v128.or(v128.load(at, 32), v128.load(at, 48)),
    );
    if (v128.any_true(any)) return false;
  }
  return true;
}
