/*
 * struct page, 16 bytes for each frame (the kernel's has 64), and what is done to a page's bytes.
 *
 *   +0  u8   order   of the chunk, in its first page
 *   +1  u8   state   TAIL (not first in a chunk) | FREE | ALLOCATED | POOLED
 *   +2  u8   caching CACHED | WRITE_COMBINED | UNCACHED, of each page
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
  H_PAGE_TABLE,
  MAX_ORDER,
  PAGE_SHIFT,
  PAGE_SIZE,
} from "./abi";
import { add, get } from "./header";

export const PAGE_STRUCT_BYTES: u32 = 16;

export const TAIL: u32 = 0;
export const FREE: u32 = 1;
export const ALLOCATED: u32 = 2;
export const POOLED: u32 = 3;

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
  store<u16>(page, <u16>((state << 8) | order));
}

// @ts-ignore: decorator
@inline
export function pageCaching(page: usize): u32 {
  return load<u8>(page, 2);
}

/**
 * Gives pages the caching they are to have (set_pages_array_wb and kin), as one run. Simulated: an
 * attribute, and counters that show what the real thing would cost.
 */
export function setCaching(pfn: u32, pages: u32, caching: u32): void {
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

const P1: u32 = 0x9e3779b1;
const P2: u32 = 0x85ebca77;
const P3: u32 = 0xc2b2ae3d;
const P4: u32 = 0x27d4eb2f;

/** Four vectors into one, each with a weight of its own. */
// @ts-ignore: decorator
@inline
function weigh(a: v128, b: v128, c: v128, d: v128): v128 {
  return i32x4.add(
    i32x4.add(i32x4.mul(a, i32x4.splat(P1)), i32x4.mul(b, i32x4.splat(P2))),
    i32x4.add(i32x4.mul(c, i32x4.splat(P3)), i32x4.mul(d, i32x4.splat(P4))),
  );
}

// @ts-ignore: decorator
@inline
function fold(hash: u32, lane: u32): u32 {
  return rotl<u32>(hash ^ lane, 13) * P1;
}

/** Four words, of which the high bits count as low ones too: a sum forgets those that overflow. */
// @ts-ignore: decorator
@inline
function words(at: usize, offset: usize = 0): v128 {
  const four = v128.load(at + offset);
  return v128.xor(four, i32x4.shr_u(four, 15));
}

/**
 * 32-bit checksum of a page: Fletcher's two running sums (J. Fletcher, 1982; as in ZFS) of 32-bit words
 * modulo 2^32, in sixteen lanes, then folded. Sums forget what overflows, so high bits count as low ones
 * too. About as fast as the CPU's cache; a stronger hash (xxHash in as many lanes)
 * takes twice the time.
 */
export function checksum(address: usize): u32 {
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  let sa = i32x4.splat(0);
  let sb = i32x4.splat(0);
  let sc = i32x4.splat(0);
  let sd = i32x4.splat(0);
  for (let at = address; at < address + PAGE_SIZE; at += 128) {
    a = i32x4.add(a, words(at));
    b = i32x4.add(b, words(at, 16));
    c = i32x4.add(c, words(at, 32));
    d = i32x4.add(d, words(at, 48));
    sa = i32x4.add(sa, a);
    sb = i32x4.add(sb, b);
    sc = i32x4.add(sc, c);
    sd = i32x4.add(sd, d);
    a = i32x4.add(a, words(at, 64));
    b = i32x4.add(b, words(at, 80));
    c = i32x4.add(c, words(at, 96));
    d = i32x4.add(d, words(at, 112));
    sa = i32x4.add(sa, a);
    sb = i32x4.add(sb, b);
    sc = i32x4.add(sc, c);
    sd = i32x4.add(sd, d);
  }
  const sums = weigh(a, b, c, d);
  const more = weigh(sa, sb, sc, sd);
  let hash: u32 = PAGE_SIZE;
  hash = fold(hash, i32x4.extract_lane(sums, 0));
  hash = fold(hash, i32x4.extract_lane(sums, 1));
  hash = fold(hash, i32x4.extract_lane(sums, 2));
  hash = fold(hash, i32x4.extract_lane(sums, 3));
  hash = fold(hash, i32x4.extract_lane(more, 0));
  hash = fold(hash, i32x4.extract_lane(more, 1));
  hash = fold(hash, i32x4.extract_lane(more, 2));
  hash = fold(hash, i32x4.extract_lane(more, 3));
  return hash ^ (hash >> 15);
}
