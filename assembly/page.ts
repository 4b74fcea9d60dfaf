/*
 * struct page, 16 bytes for each frame (the kernel's has 64), and what is done to a page's bytes.
 *
 *   +0  u8   order   of the chunk, in its first page
 *   +1  u8   state   TAIL (not first in a chunk) | FREE | ALLOCATED
 *   +4  u32  next    page number in a free list, 0 = end
 *   +8  u32  prev
 *   +12 u32  owner   vector entry that holds the chunk's first page, NONE = handed out directly
 *
 * Only the first page of a chunk is described; a frame whose word is zero is a tail. Pages are
 * named by pfn = address >> PAGE_SHIFT.
 */
import { H_FIRST_PFN, H_FRAMES, H_PAGE_TABLE, MAX_ORDER, PAGE_SHIFT, PAGE_SIZE } from "./abi";
import { get } from "./header";

export const PAGE_STRUCT_BYTES: u32 = 16;

export const TAIL: u32 = 0;
export const FREE: u32 = 1;
export const ALLOCATED: u32 = 2;

// @ts-ignore: decorator
@inline
export function pageStruct(pfn: u32): usize {
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
  store<u32>(page, (state << 8) | order);
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

const P1: u32 = 0x9e3779b1;
const P2: u32 = 0x85ebca77;
const P3: u32 = 0xc2b2ae3d;

// @ts-ignore: decorator
@inline
function round(acc: v128, lane: v128): v128 {
  const sum = i32x4.add(acc, i32x4.mul(lane, i32x4.splat(P2)));
  return i32x4.mul(v128.or(i32x4.shl(sum, 13), i32x4.shr_u(sum, 19)), i32x4.splat(P1));
}

// @ts-ignore: decorator
@inline
function merge(hash: u32, lanes: v128): u32 {
  hash = rotl<u32>(hash + <u32>i32x4.extract_lane(lanes, 0) * P3, 17) * P1;
  hash = rotl<u32>(hash + <u32>i32x4.extract_lane(lanes, 1) * P3, 17) * P1;
  hash = rotl<u32>(hash + <u32>i32x4.extract_lane(lanes, 2) * P3, 17) * P1;
  return rotl<u32>(hash + <u32>i32x4.extract_lane(lanes, 3) * P3, 17) * P1;
}

/** 32-bit checksum of a page: the round of XXH32 (Y. Collet) run in sixteen lanes, then folded. */
export function checksum(address: usize): u32 {
  let a = i32x4(1, 2, 3, 4);
  let b = i32x4(5, 6, 7, 8);
  let c = i32x4(9, 10, 11, 12);
  let d = i32x4(13, 14, 15, 16);
  for (let at = address; at < address + PAGE_SIZE; at += 64) {
    a = round(a, v128.load(at));
    b = round(b, v128.load(at, 16));
    c = round(c, v128.load(at, 32));
    d = round(d, v128.load(at, 48));
  }
  let hash = merge(merge(merge(merge(PAGE_SIZE, a), b), c), d);
  hash = (hash ^ (hash >> 15)) * P2;
  hash = (hash ^ (hash >> 13)) * P3;
  return hash ^ (hash >> 16);
}
