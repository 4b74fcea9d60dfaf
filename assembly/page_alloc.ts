/*
 * Buddy allocator (Knuth, TAOCP 1, 2.5; mm/page_alloc.c): free chunks of 2^0 .. 2^9 pages in one
 * list per order and zone. A chunk's buddy differs in one bit of its frame index; two free buddies are
 * always merged. Zones (DMA32: the first frames; NORMAL: the others) meet at a border of the largest
 * order, so that no chunk and no merge crosses it. New chunks are cut from the low end and lists start
 * in address order, so that consecutive allocations lie side by side; allocNear() asks for that outright.
 */
import {
  ALLOCATED,
  CACHED,
  EINVAL,
  ENOMEM,
  FREE,
  H_DMA32_END,
  H_FIRST_PFN,
  H_FRAMES,
  H_FREE_COUNT,
  H_FREE_HEAD,
  H_FREE_PAGES,
  H_FRESH_PFN,
  H_GIVE_FRAMES,
  H_GIVE_PFN,
  H_RAW_PAGES,
  MAX_ORDER,
  NONE,
  NR_ORDERS,
  TAIL,
} from "./abi";
import { DEBUGGING } from "./debug";
import { add, get, set } from "./header";

import {
  isFrame,
  isMoving,
  pageCaching,
  pageNext,
  pageOrder,
  pageOwner,
  pagePrev,
  pageState,
  pageStruct,
  setNext,
  setOwner,
  setPage,
  setPrev,
} from "./page";
import { useFrames } from "./trim";

/** Index of the free list of `order` in the zone that `pfn` lies in. */
// @ts-ignore: decorator
@inline
function listOf(pfn: u32, order: u32): u32 {
  return pfn < get(H_DMA32_END) ? order : NR_ORDERS + order;
}

/** Nobody uses any of 2^order frames, which are one chunk's. */
function assertTails(pfn: u32, order: u32): void {
  assert(!((pfn - get(H_FIRST_PFN)) & ((1 << order) - 1)), "a free chunk is not aligned");
  for (let at = pfn; at < pfn + (1 << order); at++) {
    const page = pageStruct(at);
    assert(pageState(page) == TAIL && !isMoving(page), "a frame in use is freed");
    assert(pageCaching(page) == CACHED, "a frame is freed with a caching");
  }
}

/** Free chunk `pfn` is in its list, and what is linked to it links back. */
function assertListed(pfn: u32, order: u32): void {
  const page = pageStruct(pfn);
  const next = pageNext(page);
  const prev = pagePrev(page);
  assert(pageState(page) == FREE && pageOrder(page) == order, "a free list has a chunk of another");
  assert(!next || pagePrev(pageStruct(next)) == pfn, "a free list is broken");
  const before = prev ? pageNext(pageStruct(prev)) : get(H_FREE_HEAD + listOf(pfn, order));
  assert(before == pfn, "a free list is broken");
}

function push(pfn: u32, order: u32): void {
  const page = pageStruct(pfn);
  if (DEBUGGING) assertTails(pfn, order);
  const list = listOf(pfn, order);
  const head = get(H_FREE_HEAD + list);
  setPage(page, FREE, order);
  setNext(page, head);
  setPrev(page, 0);
  if (head) setPrev(pageStruct(head), pfn);
  set(H_FREE_HEAD + list, pfn);
  add(H_FREE_COUNT + list, 1);
  add(H_FREE_PAGES, 1 << order);
}

function unlink(pfn: u32, order: u32): void {
  if (DEBUGGING) assertListed(pfn, order);
  const page = pageStruct(pfn);
  const next = pageNext(page);
  const prev = pagePrev(page);
  const list = listOf(pfn, order);
  if (next) setPrev(pageStruct(next), prev);
  if (prev) setNext(pageStruct(prev), next);
  else set(H_FREE_HEAD + list, next);
  add(H_FREE_COUNT + list, -1);
  add(H_FREE_PAGES, -(1 << order));
  setPage(page, TAIL, 0);
}

/** All frames free, as the largest aligned chunks; lists in address order. */
export function initFreeLists(): void {
  const first = get(H_FIRST_PFN);
  let left = get(H_FRAMES);
  set(H_FREE_PAGES, 0);
  set(H_FRESH_PFN, first);
  for (let list: i32 = 0; list < 2 * NR_ORDERS; list++) {
    set(H_FREE_HEAD + list, 0);
    set(H_FREE_COUNT + list, 0);
  }
  // From the high end down: the odd pages first, then chunks of the largest order.
  for (let order: u32 = 0; order < <u32>MAX_ORDER; order++) {
    if ((left >> order) & 1) {
      left -= 1 << order;
      push(first + left, order);
    }
  }
  while (left) {
    left -= 1 << MAX_ORDER;
    push(first + left, MAX_ORDER);
  }
}

/** Takes free chunk `pfn` of order `have` off its list, and cuts `count` chunks of `order` from it. */
function take(pfn: u32, have: u32, order: u32, owner: u32, count: u32): void {
  if (DEBUGGING)
    assert(count && count << order <= <u32>(1 << have), "a chunk is cut that is too small");
  unlink(pfn, have);
  const first = get(H_FIRST_PFN);
  const behind = pfn + (1 << have);
  const end = pfn + (count << order);
  for (let rest = end; rest < behind; ) {
    const size = ctz(rest - first);
    push(rest, size);
    rest += 1 << size;
  }
  for (let at = pfn; at < end; at += 1 << order) {
    const page = pageStruct(at);
    setPage(page, ALLOCATED, order);
    setOwner(page, owner + (at - pfn));
  }
  set(H_FRESH_PFN, max(get(H_FRESH_PFN), end));
}

/**
 * A chunk of 2^order pages for vector entry `owner`; 0 when there is none. The DMA32 zone is spared
 * for those who need it, as long as the other has a chunk.
 */
export function allocChunk(order: u32, owner: u32, dma32: bool): u32 {
  for (let zone = dma32 ? 0 : NR_ORDERS; zone >= 0; zone -= NR_ORDERS) {
    for (let have = order; have <= <u32>MAX_ORDER; have++) {
      const pfn = get(H_FREE_HEAD + zone + have);
      if (!pfn) continue;
      take(pfn, have, order, owner, 1);
      return pfn;
    }
  }
  return 0;
}

/** Largest order of which a chunk is free for those who may (not) leave the DMA32 zone, or -1. */
export function largestFree(dma32: bool): i32 {
  let order: i32 = MAX_ORDER;
  while (order >= 0) {
    if (get(H_FREE_HEAD + order) || (!dma32 && get(H_FREE_HEAD + NR_ORDERS + order))) break;
    order--;
  }
  return order;
}

/**
 * As allocChunk, but `most` chunks side by side from exactly `pfn` on, or as many as can be cut from the
 * free chunk that begins there. Returns how many.
 */
export function allocNear(pfn: u32, order: u32, owner: u32, dma32: bool, most: u32): u32 {
  if (!isFrame(pfn) || (pfn - get(H_FIRST_PFN)) & ((1 << order) - 1)) return 0;
  const border = get(H_DMA32_END);
  // Not into the DMA32 zone for those who do not need it, nor out of it for those who do.
  if (dma32 ? pfn >= border : pfn < border && isFrame(border)) return 0;
  const page = pageStruct(pfn);
  const have = pageOrder(page);
  if (pageState(page) != FREE || have < order) return 0;
  const count = min(most, 1 << (have - order));
  take(pfn, have, order, owner, count);
  return count;
}

/** Frees 2^order aligned frames, merging them with their buddy as long as that one is free. */
function freeChunk(pfn: u32, order: u32): void {
  const first = get(H_FIRST_PFN);
  const frames = get(H_FRAMES);
  let index = pfn - first;
  while (order < <u32>MAX_ORDER) {
    const buddy = index ^ (1 << order);
    if (buddy + (1 << order) > frames) break;
    const page = pageStruct(first + buddy);
    if (pageState(page) != FREE || pageOrder(page) != order) break;
    unlink(first + buddy, order);
    index &= ~(1 << order);
    order++;
  }
  push(first + index, order);
}

/** Frees a chunk together with its neighbours: takes effect at the next gap or at flushFrames(). */
// @ts-ignore: decorator
@inline
export function giveFrames(pfn: u32, pages: u32): void {
  if (DEBUGGING) assert(pageState(pageStruct(pfn)) == ALLOCATED, "a free frame is freed");
  setPage(pageStruct(pfn), TAIL, 0);
  const count = get(H_GIVE_FRAMES);
  if (count && pfn == get(H_GIVE_PFN) + count) {
    set(H_GIVE_FRAMES, count + pages);
    return;
  }
  flushFrames();
  set(H_GIVE_PFN, pfn);
  set(H_GIVE_FRAMES, pages);
}

/** Ends a series of giveFrames(): what lies side by side is freed as few chunks, not one by one. */
export function flushFrames(): void {
  let pfn = get(H_GIVE_PFN);
  let left = get(H_GIVE_FRAMES);
  while (left) {
    const order = min(ctz((pfn - get(H_FIRST_PFN)) | (1 << MAX_ORDER)), 31 - clz(left));
    freeChunk(pfn, order);
    pfn += 1 << order;
    left -= 1 << order;
  }
  set(H_GIVE_FRAMES, 0);
}

/** Makes 2^order single pages of a chunk (the kernel's split_page). */
export function splitChunk(pfn: u32): void {
  const head = pageStruct(pfn);
  if (DEBUGGING)
    assert(pageState(head) == ALLOCATED && !isMoving(head), "a chunk is split while it moves");
  const pages: u32 = 1 << pageOrder(head);
  const owner = pageOwner(head);
  for (let i: u32 = 0; i < pages; i++) {
    const page = pageStruct(pfn + i);
    setPage(page, ALLOCATED, 0);
    setOwner(page, owner == NONE ? NONE : owner + i);
  }
}

/** First page of a chunk handed out by allocPages, or 0. */
function rawChunk(pfn: u32): usize {
  if (!isFrame(pfn)) return 0;
  const page = pageStruct(pfn);
  return pageState(page) == ALLOCATED && pageOwner(page) == NONE ? page : 0;
}

// The allocator by itself, outside any page vector: for callers that manage pages on their own.

/** pfn of a fresh chunk; -EINVAL: order above MAX_ORDER; -ENOMEM. */
export function allocPages(order: u32): i32 {
  if (order > <u32>MAX_ORDER) return -EINVAL;
  const pfn = allocChunk(order, NONE, false);
  if (!pfn) return -ENOMEM;
  useFrames(pfn, 1 << order);
  add(H_RAW_PAGES, 1 << order);
  return pfn;
}

/** -EINVAL, and nothing changed, unless allocPages returned this very chunk. */
export function givePages(pfn: u32, order: u32): i32 {
  const page = rawChunk(pfn);
  if (!page || pageOrder(page) != order) return -EINVAL;
  add(H_RAW_PAGES, -(1 << order));
  giveFrames(pfn, 1 << order);
  flushFrames();
  return 0;
}
