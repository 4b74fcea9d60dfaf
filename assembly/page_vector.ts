/*
 * Page vectors: a run of entries for each tt, taken from one space of H_ENTRIES entries. Here: making
 * and dropping them, and finding where their pages lie. The walks that move content are in shrink.ts
 * and fill.ts; those that only look are in vector_walks.ts; vector_pack.ts moves vectors themselves.
 */
import {
  ALLOCATED,
  EBUSY,
  EFAULT,
  EINVAL,
  ENOMEM,
  H_CLEAN,
  H_ENTRIES,
  H_HELD,
  H_MOVING,
  H_RUN,
  H_SWAPPED,
  H_VECTOR_MAP,
  HEADER,
  PAGE_SHIFT,
  POOL_TYPES_MAX,
  UNCACHED,
  ZERO,
} from "./abi";
import { assertEntry, assertHeld, assertOwner } from "./assert";
import { mapFree, mapIs, mapRelease, mapTake } from "./bitmap";
import { DEBUGGING } from "./debug";
import {
  entryAt,
  entryToSlot,
  isHandle,
  isPage,
  setEntry,
  setShadow,
  shadowAt,
  toStale,
} from "./entry";
import { addExtent, extentsFull, resetExtents } from "./exchange";
import { add, get } from "./header";
import {
  chunkHead,
  isMoving,
  pageCaching,
  pageOrder,
  pageOwner,
  pageState,
  pageStruct,
  setCaching,
} from "./page";
import { flushFrames, splitChunk } from "./page_alloc";
import { giveChunk, poolTypeOf } from "./pool";
import { flushSlots, giveSlots } from "./swap_map";

/** True when `count` entries from `vector` on belong to vectors in use. */
export function vectorOk(vector: u32, count: u32): bool {
  return count > 0 && mapIs(get(H_VECTOR_MAP), vector, count, true);
}

/** True when no chunk, visible or held, has entry `index` inside: walks may start and end there. */
export function isBorder(index: u32): bool {
  if (index >= get(H_ENTRIES)) return true;
  const page = isPage(entryAt(index)) ? entryAt(index) : shadowAt(index);
  if (!isPage(page)) return true;
  const chunk = pageStruct(page >> PAGE_SHIFT);
  return pageState(chunk) == ALLOCATED && pageOwner(chunk) == index;
}

/**
 * First entry of a new vector of `count` empty entries. -EINVAL: count is 0; -ENOMEM: not so many are free;
 * -EBUSY: they are, but not side by side, before vectorsPack().
 */
export function vectorAlloc(count: u32): i32 {
  if (count == 0) return -EINVAL;
  const map = get(H_VECTOR_MAP);
  const at = mapTake(map, count, true, HEADER + (H_RUN << 2));
  if (at >= 0) return at;
  return mapFree(map) < count ? -ENOMEM : -EBUSY;
}

/** -EBUSY: something is still in the vector; -EINVAL: no such vector. */
export function vectorFree(vector: u32, count: u32): i32 {
  if (!vectorOk(vector, count)) return -EINVAL;
  for (let i = vector; i < vector + count; i++) {
    if (entryAt(i) | shadowAt(i)) return -EBUSY;
  }
  mapRelease(get(H_VECTOR_MAP), vector, count);
  return 0;
}

/**
 * Empties a vector in whatever state it is: pages are freed, slots dropped, a chunk held by an
 * interrupted restore given back (ttm_pool_release_shrunken, ttm_pool_free). Chunks go to the pool
 * type of `flags` when they have its caching, else to the system. Returns frames freed. -EINVAL: no such
 * vector, or a part of one that cuts a chunk, or no such pool type.
 */
export function vectorDrop(vector: u32, count: u32, flags: u32): i32 {
  if (!vectorOk(vector, count) || poolTypeOf(flags) > <u32>POOL_TYPES_MAX) return -EINVAL;
  if (!isBorder(vector) || !isBorder(vector + count)) return -EINVAL;
  let freed: u32 = 0;
  const end = vector + count;
  let i = vector;
  while (i < end) {
    const entry = entryAt(i);
    if (DEBUGGING) assertEntry(i);
    if (isPage(entry)) {
      if (DEBUGGING) assertOwner(entry >> PAGE_SHIFT, i);
      const pages: u32 = 1 << pageOrder(pageStruct(entry >> PAGE_SHIFT));
      forget(i, pages);
      giveChunk(entry >> PAGE_SHIFT, flags);
      freed += pages;
      for (let j = i; j < i + pages; j++) setEntry(j, 0);
      i += pages;
      continue;
    }
    if (isHandle(entry)) {
      giveSlots(entryToSlot(entry), 1);
      add(H_SWAPPED, -1);
    }
    setEntry(i, 0);
    if (shadowAt(i)) freed += giveHeld(i, flags);
    i++;
  }
  flushSlots();
  flushFrames();
  resetExtents();
  return freed;
}

/**
 * The same for entries [start, start + count) of a vector: they are empty then, and a visible chunk that reaches beyond
 * them is split (truncate_inode_partial_folio). Returns frames freed. -EINVAL: not entries of a vector, or they cut a
 * held chunk, or no such pool type; -EBUSY: one of the pages is being moved.
 */
export function vectorPunch(vector: u32, entries: u32, start: u32, count: u32, flags: u32): i32 {
  if (<u64>start + count > entries || count == 0 || !vectorOk(vector, entries)) return -EINVAL;
  if (poolTypeOf(flags) > <u32>POOL_TYPES_MAX) return -EINVAL;
  const first = vector + start;
  const end = first + count;
  if (cutsHeld(first) || cutsHeld(end)) return -EINVAL;
  if (someMove(first, count)) {
    if (DEBUGGING) assert(false, "host: vectorPunch of pages that are being moved");
    return -EBUSY;
  }
  splitAt(first);
  splitAt(end);
  return vectorDrop(first, count, flags);
}

/** True when entry `index` lies inside a held chunk. */
function cutsHeld(index: u32): bool {
  return !isBorder(index) && !isPage(entryAt(index));
}

/** Splits the chunk that entry `index` lies inside of, if it does. */
function splitAt(index: u32): void {
  if (!isBorder(index)) splitChunk(chunkHead(entryAt(index) >> PAGE_SHIFT));
}

/** Gives up the slots of pages from entry `index` on: copies in swap, kept, or reserved. Returns how many. */
function forget(index: u32, count: u32): u32 {
  let slots: u32 = 0;
  for (let i = index; i < index + count; i++) {
    const shadow = shadowAt(i);
    if (!shadow || !isPage(entryAt(i))) continue;
    setShadow(i, 0);
    if (shadow == ZERO) continue;
    if (isHandle(shadow)) add(H_CLEAN, -1);
    giveSlots(entryToSlot(shadow), 1);
    slots++;
  }
  // Extents of an earlier prepare may name them.
  if (slots) resetExtents();
  return slots;
}

/** True when a page of entries [index, index + count) is being moved. */
function someMove(index: u32, count: u32): bool {
  if (!get(H_MOVING)) return false;
  for (let i = index; i < index + count; ) {
    const head = isPage(entryAt(i)) ? chunkHead(entryAt(i) >> PAGE_SHIFT) : 0;
    if (head && isMoving(pageStruct(head))) return true;
    i += head ? (1 << pageOrder(pageStruct(head))) - ((entryAt(i) >> PAGE_SHIFT) - head) : 1;
  }
  return false;
}

/**
 * Entries [start, start + count) of a vector may have been written: what pages have in swap is no longer
 * valid. With `keep` they keep the slots and leave to them again, so that what lies side by side in swap
 * stays so; else the slots are freed, also those kept before. Returns slots freed. -EINVAL: not entries of
 * a vector; -EBUSY: a prepare is to move one of the pages, and its commit did not come yet.
 */
export function vectorDirty(vector: u32, entries: u32, start: u32, count: u32, keep: u32): i32 {
  if (<u64>start + count > entries || !vectorOk(vector, entries)) return -EINVAL;
  if (someMove(vector + start, count)) {
    if (DEBUGGING) assert(false, "host: vectorDirty of pages that are being moved");
    return -EBUSY;
  }
  if (!keep) {
    const slots = forget(vector + start, count);
    flushSlots();
    return slots;
  }
  for (let i = vector + start; i < vector + start + count; i++) {
    const shadow = shadowAt(i);
    if (!isHandle(shadow)) continue;
    setShadow(i, toStale(shadow));
    add(H_CLEAN, -1);
  }
  return 0;
}

/**
 * Gives the pages of entries [start, entries) of a vector their caching, run by run; pages that have
 * it, from a pool, end a run (ttm_pool_apply_caching). Returns pages changed.
 */
export function vectorCaching(vector: u32, entries: u32, start: u32, caching: u32): i32 {
  if (start > entries || caching > <u32>UNCACHED || !vectorOk(vector, entries)) return -EINVAL;
  if (!isBorder(vector + start) || !isBorder(vector + entries)) return -EINVAL;
  let changed: u32 = 0;
  let run: u32 = 0; // pages since the run began; they lie side by side
  for (let i = start; i <= entries; i++) {
    const pfn = i < entries ? entryAt(vector + i) >> PAGE_SHIFT : 0;
    const wants =
      i < entries && isPage(entryAt(vector + i)) && pageCaching(pageStruct(pfn)) != caching;
    if (run && !(wants && pfn == (entryAt(vector + i - 1) >> PAGE_SHIFT) + 1)) {
      setCaching(entryAt(vector + i - run) >> PAGE_SHIFT, run, caching);
      run = 0;
    }
    if (wants) {
      run++;
      changed++;
    }
  }
  return changed;
}

/** Frees the chunk held for entries from `index` on; their slots stay valid. Returns its pages. */
export function giveHeld(index: u32, flags: u32): u32 {
  const pfn = shadowAt(index) >> PAGE_SHIFT;
  const order = pageOrder(pageStruct(pfn));
  if (DEBUGGING) {
    assertOwner(pfn, index);
    assertHeld(pfn, 1 << order, index);
  }
  for (let i = index; i < index + (1 << order); i++) setShadow(i, 0);
  add(H_HELD, -(1 << order));
  giveChunk(pfn, flags);
  return 1 << order;
}

/**
 * Writes where entries [start, start + count) of a vector lie, as extents without slots. Returns the
 * entries covered: fewer when the exchange area is full. -EFAULT: one of them is not in memory.
 */
export function vectorExtents(vector: u32, entries: u32, start: u32, count: u32): i32 {
  if (<u64>start + count > entries || count == 0 || !vectorOk(vector, entries)) return -EINVAL;
  resetExtents();
  for (let i: u32 = 0; i < count; i++) {
    const entry = entryAt(vector + start + i);
    if (!isPage(entry)) return -EFAULT;
    if (extentsFull()) return i;
    addExtent(entry, 0, 1, i, vector + start + i);
  }
  return count;
}
