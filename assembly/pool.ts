/*
 * Pool types: lists of free chunks that keep their caching (and, for coherent DMA, their mapping), so
 * that the next user of that caching need not change it (struct ttm_pool_type). Chunks are cleared as
 * they are given. What a pool is, how many there are and when they are drained is the host's business.
 */
import {
  ALLOCATED,
  CACHED,
  EINVAL,
  ENOMEM,
  H_POOL,
  H_POOLED,
  MAX_ORDER,
  NR_ORDERS,
  PAGE_SHIFT,
  POOL_TYPES_MAX,
  POOLED,
  WALK_CACHING_SHIFT,
  WALK_POOL_SHIFT,
} from "./abi";
import { DEBUGGING } from "./debug";
import { add, get, set } from "./header";
import {
  endMove,
  isMoving,
  pageCaching,
  pageNext,
  pageOrder,
  pageState,
  pageStruct,
  setCaching,
  setNext,
  setOwner,
  setPage,
} from "./page";
import { flushFrames, giveFrames } from "./page_alloc";
import { clearPages } from "./page_bytes";

// @ts-ignore: decorator
@inline
export function poolList(type: u32, order: u32): i32 {
  return H_POOL + 2 * (type * NR_ORDERS + order);
}

// @ts-ignore: decorator
@inline
export function poolTypeOf(flags: u32): u32 {
  return (flags >> WALK_POOL_SHIFT) & 0xff;
}

// @ts-ignore: decorator
@inline
function cachingOf(flags: u32): u32 {
  return (flags >> WALK_CACHING_SHIFT) & 3;
}

/** The last chunk given of that type and order, for vector entry `owner`; 0 when there is none. */
export function poolTake(type: u32, order: u32, owner: u32): u32 {
  const list = poolList(type, order);
  const pfn = get(list);
  if (!pfn) return 0;
  const page = pageStruct(pfn);
  if (DEBUGGING)
    assert(pageState(page) == POOLED && pageOrder(page) == order, "a pool has a chunk of another");
  set(list, pageNext(page));
  add(list + 1, -1);
  add(H_POOLED, -(1 << order));
  setPage(page, ALLOCATED, order);
  setOwner(page, owner);
  return pfn;
}

function poolGive(type: u32, pfn: u32, order: u32): void {
  const list = poolList(type, order);
  const page = pageStruct(pfn);
  if (DEBUGGING)
    assert(
      pageState(page) == ALLOCATED && !isMoving(page),
      "a pool is given a chunk that is not in use",
    );
  clearPages((<usize>pfn) << PAGE_SHIFT, 1 << order);
  setPage(page, POOLED, order);
  setNext(page, get(list));
  set(list, pfn);
  add(list + 1, 1);
  add(H_POOLED, 1 << order);
}

/**
 * Frees a chunk, whose pages have one caching, to the system at the next flushFrames(): anything that goes
 * there is cached.
 */
export function freeCached(pfn: u32, pages: u32): void {
  if (DEBUGGING) assert(!isMoving(pageStruct(pfn)), "a chunk is freed while it moves");
  if (pageCaching(pageStruct(pfn)) != CACHED) setCaching(pfn, pages, CACHED);
  giveFrames(pfn, pages);
}

/** Frees a chunk as `flags` says: to the pool type when it has the caching of its pages. */
export function giveChunk(pfn: u32, flags: u32): void {
  const page = pageStruct(pfn);
  endMove(page);
  const order = pageOrder(page);
  const type = poolTypeOf(flags);
  if (type && pageCaching(page) == cachingOf(flags)) poolGive(type - 1, pfn, order);
  else freeCached(pfn, 1 << order);
}

/**
 * Frees one chunk of a pool type and order to the system, and returns its pfn (ttm_pool_shrink).
 * -EINVAL: no such list; -ENOMEM: it is empty.
 */
export function poolShrink(type: u32, order: u32): i32 {
  if (type >= <u32>POOL_TYPES_MAX || order > <u32>MAX_ORDER) return -EINVAL;
  const pfn = poolTake(type, order, 0);
  if (!pfn) return -ENOMEM;
  freeCached(pfn, 1 << order);
  flushFrames();
  return pfn;
}

/** Chunks in a pool type's list of an order; -EINVAL: no such list. */
export function poolCount(type: u32, order: u32): i32 {
  if (type >= <u32>POOL_TYPES_MAX || order > <u32>MAX_ORDER) return -EINVAL;
  return get(poolList(type, order) + 1);
}
