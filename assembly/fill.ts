/*
 * Fill: gives every entry of a vector a page, for the first time (populate) or again (restore).
 * Prepare holds new chunks for a window of entries and names the extents to read; the host reads
 * them; commit(n) makes the chunks visible whose content is complete. A chunk read in part stays
 * held, one of which nothing was read is given back. Pages that never left stay where they are.
 *
 *   before     entry = handle | empty   shadow = 0
 *   held       entry = handle | empty   shadow = page    content still valid in the slot
 *   committed  entry = page             shadow = 0       slot free; or, to be kept,
 *              entry = page             shadow = slot << 1 | 1
 */
import {
  BATCH_PAGES_MAX,
  EBUSY,
  EINVAL,
  ENOMEM,
  H_CLEAN,
  H_FRESH_PFN,
  H_HELD,
  H_MOVING,
  H_SWAPPED,
  MAX_ORDER,
  PAGE_SHIFT,
  POOL_TYPES_MAX,
  WALK_DMA32,
  WALK_KEEP,
  WALK_ORDERS,
} from "./abi";
import { assertEntry, assertHeld, assertOwner } from "./assert";
import { DEBUGGING } from "./debug";
import {
  entryAddress,
  entryAt,
  entryToSlot,
  handleRun,
  isHandle,
  isPage,
  shadowAddress,
  shadowAt,
} from "./entry";
import { addExtent, resetExtents } from "./exchange";
import { add, get } from "./header";
import { isMoving, isReported, pageOrder, pageStruct, setMoving } from "./page";
import { allocChunk, allocNear, flushFrames, largestFree } from "./page_alloc";
import { clearPages } from "./page_bytes";
import { giveHeld, isBorder, vectorOk } from "./page_vector";
import { poolTake, poolTypeOf } from "./pool";
import { flushSlots, giveSlots } from "./swap_map";
import { useFrames } from "./trim";

/** Said by hold(): the pages come from a pool, and are zeros already. */
const CLEARED: u32 = 1 << 31;

/** Entries from `index` on that neither have a page nor a held one, `most` at most. */
function gap(index: u32, most: u32): u32 {
  const entries = entryAddress(index);
  const shadows = shadowAddress(index);
  let length: u32 = 0;
  while (length < most) {
    const at = (<usize>length) << 2;
    if (isPage(load<u32>(entries + at)) || load<u32>(shadows + at)) break;
    length++;
  }
  return length;
}

/**
 * Holds the largest chunk that fits `most` entries from `index` on and that can be had: of the pool
 * type, at `near`, or anywhere; the order falls one by one (ttm_pool_alloc). At `near`, a run of chunks
 * of that order, as many as fit `want` entries too: the next would all be the same. Returns their pages,
 * with CLEARED if they are zeros; 0 without memory.
 */
function hold(index: u32, most: u32, want: u32, flags: u32, near: u32): u32 {
  const type = poolTypeOf(flags);
  const dma32 = (flags & WALK_DMA32) != 0;
  const fits: u32 = (2 << (31 - clz(most))) - 1;
  let order: i32 = 31 - clz(flags & WALK_ORDERS & fits);
  // Without a pool there is nothing above the largest free chunk.
  if (!type && order > 0) order = min(order, largestFree(dma32));
  for (; order >= 0; order--) {
    if (!((flags >> order) & 1)) continue;
    const pooled = type ? poolTake(type - 1, order, index) : 0;
    let pfn = pooled;
    let count: u32 = 0;
    if (!pfn) {
      count = allocNear(near, order, index, dma32, max(1, min(most, want) >> order));
      pfn = count ? near : allocChunk(order, index, dma32);
    }
    if (!pfn) continue;
    const pages: u32 = max(1, count) << order;
    add(H_HELD, pages);
    const shadows = shadowAddress(index);
    for (let i: u32 = 0; i < pages; i++) {
      if (DEBUGGING)
        assert(
          !isPage(entryAt(index + i)) && !shadowAt(index + i),
          "a page is held for an entry that has one",
        );
      store<u32>(shadows + ((<usize>i) << 2), (pfn + i) << PAGE_SHIFT);
    }
    return pooled ? pages | CLEARED : pages;
  }
  return 0;
}

/**
 * Where a chunk for entry `i` has to end before `end`: a page that is read is in no chunk with such as are overwritten,
 * so that it can be committed without them.
 */
// @ts-ignore: decorator
@inline
function edge(vector: u32, i: u32, end: u32, overwriteFrom: u32, overwriteTo: u32): u32 {
  if (i < overwriteTo && overwriteTo < end && isHandle(entryAt(vector + overwriteTo))) {
    end = overwriteTo;
  }
  const reads = i < overwriteFrom && overwriteFrom < end;
  return reads && isHandle(entryAt(vector + overwriteFrom - 1)) ? overwriteFrom : end;
}

/**
 * Prepares entries [start, start + budget) of a vector, or as far as memory goes; a chunk begun is
 * finished, so it may be more. `done`: entries from `start` on already read into a held chunk.
 * Entries without content are cleared, but for [overwriteFrom, overwriteTo), which the caller overwrites
 * whole before he commits them: these are not read, either. Returns entries covered: fewer where pages are being moved. -EINVAL: out of range, or start is inside a
 * chunk; -EBUSY: those at start are; -ENOMEM: none.
 */
export function fillPrepare(
  vector: u32,
  entries: u32,
  start: u32,
  done: u32,
  budget: u32,
  flags: u32,
  overwriteFrom: u32,
  overwriteTo: u32,
): i32 {
  if (start >= entries || budget == 0 || budget > <u32>BATCH_PAGES_MAX) return -EINVAL;
  if (poolTypeOf(flags) > <u32>POOL_TYPES_MAX) return -EINVAL;
  if (!rangeOk(vector, entries, start, done)) return -EINVAL;
  resetExtents();
  if (overwriteFrom >= overwriteTo) overwriteFrom = overwriteTo = 0;
  // No chunk reaches further; the gap that `i` lies in is looked at once, not once a chunk.
  const reach = <u32>min<u64>(entries, <u64>start + budget + (1 << MAX_ORDER));
  let open = start;
  let near: u32 = 0;
  let marked: u32 = 0;
  let i = start;
  while (i < entries && i - start < budget) {
    const index = vector + i;
    const entry = entryAt(index);
    if (DEBUGGING) assertEntry(index);
    if (moves(index)) {
      if (DEBUGGING) assert(false, "host: fillPrepare of entries that are being moved");
      if (i == start) return -EBUSY;
      break;
    }
    if (isPage(entry)) {
      const pages: u32 = 1 << pageOrder(pageStruct(entry >> PAGE_SHIFT));
      near = (entry >> PAGE_SHIFT) + pages;
      i += pages;
      continue;
    }
    if (i >= open) open = i + gap(index, edge(vector, i, reach, overwriteFrom, overwriteTo) - i);
    const fresh = get(H_FRESH_PFN);
    const want = start + budget - i;
    const held = shadowAt(index) ? heldPages(index) : hold(index, open - i, want, flags, near);
    if (!held) break;
    const pages = held & ~CLEARED;
    near = (shadowAt(index) >> PAGE_SHIFT) + pages;
    mark(index, pages);
    marked += pages;
    let j: u32 = i == start ? done : 0;
    while (j < pages) {
      if (i + j >= overwriteFrom && i + j < overwriteTo) {
        j = min(pages, overwriteTo - i);
        continue;
      }
      const page = shadowAt(index + j);
      const from = entryAt(index + j);
      if (isHandle(from)) {
        const most = i + j < overwriteFrom ? min(pages, overwriteFrom - i) : pages;
        const run = handleRun(index + j, most - j);
        addExtent(page, entryToSlot(from), run, i + j - start, index + j);
        j += run;
        continue;
      }
      const clean =
        held != pages || page >> PAGE_SHIFT >= fresh || isReported(pageStruct(page >> PAGE_SHIFT));
      if (!clean) clearPages(page, 1);
      j++;
    }
    useFrames(shadowAt(index) >> PAGE_SHIFT, pages);
    i += pages;
  }
  add(H_MOVING, marked);
  return i == start ? -ENOMEM : i - start;
}

/** The chunks, of one order, that are held for `pages` entries from `index` on are being moved. */
// @ts-ignore: decorator
@inline
function mark(index: u32, pages: u32): void {
  const first = shadowAt(index) >> PAGE_SHIFT;
  if (DEBUGGING) assertHeld(first, pages, index);
  const size = heldPages(index);
  for (let at: u32 = 0; at < pages; at += size) setMoving(pageStruct(first + at), true);
}

/** True when the chunk that begins at entry `index`, visible or held, is being moved. */
// @ts-ignore: decorator
@inline
function moves(index: u32): bool {
  const page = isPage(entryAt(index)) ? entryAt(index) : shadowAt(index);
  if (!page) return false;
  if (DEBUGGING) assertOwner(page >> PAGE_SHIFT, index);
  return isMoving(pageStruct(page >> PAGE_SHIFT));
}

// @ts-ignore: decorator
@inline
function heldPages(index: u32): u32 {
  return 1 << pageOrder(pageStruct(shadowAt(index) >> PAGE_SHIFT));
}

/** A walk starts and ends at chunk borders; `done` lies inside the chunk held at its start. */
function rangeOk(vector: u32, entries: u32, start: u32, done: u32): bool {
  const index = vector + start;
  if (!vectorOk(vector, entries) || !isBorder(index) || !isBorder(vector + entries)) return false;
  if (done == 0) return true;
  return !isPage(entryAt(index)) && shadowAt(index) != 0 && done < heldPages(index);
}

/**
 * Ends what fillPrepare began: of `covered` entries from `start` on the first `read` hold their
 * content, the first `done` of them since an earlier call. Returns the entries from `start` on that
 * now are pages. With `read` 0, chunks that no prepare is about, held since an interruption, are given back.
 * -EINVAL: out of range; or no prepare began it, or a commit has ended it.
 */
export function fillCommit(
  vector: u32,
  entries: u32,
  start: u32,
  done: u32,
  covered: u32,
  read: u32,
  flags: u32,
): i32 {
  if (<u64>start + covered > entries || covered == 0 || read > covered) return -EINVAL;
  if (!rangeOk(vector, entries, start, done)) return -EINVAL;
  if (poolTypeOf(flags) > <u32>POOL_TYPES_MAX) return -EINVAL;
  if (read && !isPage(entryAt(vector + start)) && !moves(vector + start)) {
    if (DEBUGGING) assert(false, "host: fillCommit of what was not prepared");
    return -EINVAL;
  }
  const stop = start + read;
  let committed: u32 = 0;
  let ended: u32 = 0;
  let run: u32 = 0; // entries before `i` whose chunks are complete, to be committed at once
  let i = start;
  while (i < start + covered) {
    const index = vector + i;
    const entry = entryAt(index);
    const held = !isPage(entry);
    const page = held ? shadowAt(index) : entry;
    if (DEBUGGING) assertEntry(index);
    if (!page) break;
    const chunk = pageStruct(page >> PAGE_SHIFT);
    const pages: u32 = 1 << pageOrder(chunk);
    if (held) {
      if (DEBUGGING) assertHeld(page >> PAGE_SHIFT, pages, index);
      if (DEBUGGING) assert(isMoving(chunk) || !read, "host: fillCommit of what was not prepared");
      if (isMoving(chunk)) ended += pages;
      else if (read) break;
      setMoving(chunk, false);
    }
    const whole = i + pages <= stop;
    if (whole) committed = i + pages - start;
    if (whole && held) run += pages;
    else {
      commitRun(index - run, run, (flags & WALK_KEEP) != 0);
      run = 0;
      if (i >= stop && held) giveHeld(index, flags);
    }
    i += pages;
  }
  commitRun(vector + i - run, run, (flags & WALK_KEEP) != 0);
  add(H_MOVING, -(<i32>ended));
  resetExtents();
  flushSlots();
  flushFrames();
  return committed;
}

/** Makes the pages held for `pages` entries from `index` on visible. */
function commitRun(index: u32, pages: u32, keep: bool): void {
  if (!keep) giveHandles(index, pages);
  const entries = entryAddress(index);
  const shadows = shadowAddress(index);
  let swapped: u32 = 0;
  for (let i: usize = 0; i < (<usize>pages) << 2; i += 4) {
    const from = load<u32>(entries + i);
    if (DEBUGGING)
      assert(
        !isPage(from) && isPage(load<u32>(shadows + i)),
        "an entry becomes what is not held for it",
      );
    store<u32>(entries + i, load<u32>(shadows + i));
    const copy = isHandle(from);
    store<u32>(shadows + i, keep && copy ? from : 0);
    swapped += copy;
  }
  add(H_SWAPPED, -swapped);
  if (keep) add(H_CLEAN, swapped);
  add(H_HELD, -(<i32>pages));
}

/** Frees the slots of handles among entries from `index` on. */
function giveHandles(index: u32, count: u32): void {
  let i: u32 = 0;
  while (i < count) {
    const entry = entryAt(index + i);
    const run = isHandle(entry) ? handleRun(index + i, count - i) : 1;
    if (isHandle(entry)) giveSlots(entryToSlot(entry), run);
    i += run;
  }
}
