/*
 * Shrink: moves the pages of a batch of vectors to swap. Prepare reserves slots and names the
 * extents to write; the host writes them; commit(n) makes the first n pages take effect and rolls
 * the rest back. A chunk leaves whole, and is split only when part of it could not.
 *
 *   before     entry = page     shadow = 0
 *   prepared   entry = page     shadow = slot << 1
 *   committed  entry = handle   shadow = 0           page free
 *
 * A clean page, whose copy in swap is still valid (shadow = slot << 1 | 1), needs no preparation. A page that keeps
 * its slot and was written since is written to that slot; its entry and shadow look like those of a prepared page,
 * although no prepare has come to it. That is why chunks are marked from prepare to commit: a second walk stops at a
 * marked chunk, and a commit leaves alone what is not marked.
 *
 * A page of zeros needs no slot, and gives up the one that it keeps. Prepared, its shadow is ZERO; committed, entry and
 * shadow are 0.
 */
import {
  BATCH_PAGES_MAX,
  EINVAL,
  ENOSPC,
  H_CLEAN,
  H_MOVING,
  H_RUN,
  H_SWAPPED,
  H_ZEROS,
  PAGE_SHIFT,
  PAGE_SIZE,
  TAIL,
  ZERO,
} from "./abi";
import { assertEntry, assertOwner } from "./assert";
import { DEBUGGING } from "./debug";
import {
  entryAddress,
  entryAt,
  entryToSlot,
  isHandle,
  isPage,
  setEntry,
  setShadow,
  shadowAddress,
  shadowAt,
  slotToShadow,
  toHandle,
} from "./entry";
import {
  addExtent,
  itemCountOk,
  itemEntries,
  itemNext,
  itemStart,
  itemVector,
  resetExtents,
  setItemNext,
  setItemReleased,
} from "./exchange";
import { add, get, set } from "./header";
import { chunkHead, isMoving, pageOrder, pageState, pageStruct, setMoving } from "./page";
import { flushFrames, splitChunk } from "./page_alloc";
import { isZero } from "./page_bytes";
import { isBorder, vectorOk } from "./page_vector";
import { freeCached } from "./pool";
import { flushSlots, giveSlots, releaseSlots, takeSlots } from "./swap_map";

function itemsOk(items: u32): bool {
  if (!itemCountOk(items)) return false;
  for (let item: u32 = 0; item < items; item++) {
    const start = itemStart(item);
    const vector = itemVector(item);
    if (start >= itemEntries(item) || !vectorOk(vector, itemEntries(item))) return false;
    if (!isBorder(vector + start) || !isBorder(vector + itemEntries(item))) return false;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function chunkPages(entry: u32): u32 {
  return 1 << pageOrder(pageStruct(entry >> PAGE_SHIFT));
}

/**
 * Prepares pages of the items in order, chunk by chunk, until at least `budget` pages are ready or
 * the items end or no slot is free. Returns pages prepared. -EINVAL: an item or the budget is out of
 * range; -ENOSPC: there are pages, but not one slot.
 */
export function shrinkPrepare(items: u32, budget: u32): i32 {
  if (budget == 0 || budget > <u32>BATCH_PAGES_MAX || !itemsOk(items)) return -EINVAL;
  resetExtents();
  let prepared: u32 = 0;
  let slot: u32 = 0;
  let left: u32 = 0; // slots of the current run not yet given to a page
  let marked: u32 = 0;
  for (let item: u32 = 0; item < items; item++) {
    const vector = itemVector(item);
    const end = vector + itemEntries(item);
    let i = vector + itemStart(item);
    setItemNext(item, itemStart(item));
    while (i < end && prepared < budget) {
      const entry = entryAt(i);
      if (!isPage(entry)) {
        if (DEBUGGING) assertEntry(i);
        i++;
        continue;
      }
      const stop = i + ready(i, end, budget - prepared);
      if (stop == i) break;
      marked += stop - i;
      while (i < stop) {
        if (DEBUGGING) assertEntry(i);
        if (hasPlace(i, prepared)) {
          prepared++;
          i++;
          continue;
        }
        const most = unsavedRun(i, stop);
        if (!left) {
          slot = takeSlots(max(budget - min(prepared, budget), most));
          left = slot ? get(H_RUN) : 0;
          if (!left) break;
        }
        const pages = min(left, most);
        const shadows = shadowAddress(i);
        for (let j: u32 = 0; j < pages; j++) {
          store<u32>(shadows + ((<usize>j) << 2), slotToShadow(slot + j));
        }
        addExtent(entryAt(i), slot, pages, prepared, i);
        slot += pages;
        left -= pages;
        prepared += pages;
        i += pages;
      }
      if (i < stop) {
        // No slot left: later items stay as they are.
        budget = 0;
        marked -= stay(i, stop);
        if (!prepared) return -ENOSPC;
      }
    }
    setItemNext(item, i - vector);
  }
  if (left) releaseSlots(slot, left);
  flushSlots();
  add(H_MOVING, marked);
  return prepared;
}

/** Page `i`, `at` pages into the batch, needs no new slot: then it is prepared. */
function hasPlace(i: u32, at: u32): bool {
  if (isSaved(i)) return true;
  const shadow = shadowAt(i);
  // It keeps a slot, and goes there again.
  if (shadow) addExtent(entryAt(i), entryToSlot(shadow), 1, at, i);
  return shadow != 0;
}

/** The content of page `i` is elsewhere, too: in swap; or nowhere, as it is zeros, which its shadow says then. */
function isSaved(i: u32): bool {
  const shadow = shadowAt(i);
  if (isHandle(shadow)) return true;
  if (!isZeros(entryAt(i))) return false;
  if (shadow) giveSlots(entryToSlot(shadow), 1);
  setShadow(i, ZERO);
  return true;
}

/**
 * Entries from `index` on, before `end`, of whole chunks that lie side by side: `most`, or as many more
 * as end the last chunk. 0 when the first is being moved already.
 */
function ready(index: u32, end: u32, most: u32): u32 {
  const first = entryAt(index);
  let count: u32 = 0;
  while (
    count < most &&
    index + count < end &&
    entryAt(index + count) == first + (count << PAGE_SHIFT)
  ) {
    const chunk = pageStruct((first >> PAGE_SHIFT) + count);
    if (DEBUGGING) assertOwner((first >> PAGE_SHIFT) + count, index + count);
    if (isMoving(chunk)) {
      if (DEBUGGING) assert(false, "host: shrinkPrepare of pages that are being moved");
      break;
    }
    setMoving(chunk, true);
    count += 1 << pageOrder(chunk);
  }
  return count;
}

/** Chunks that begin at entry `index` or behind it, before `stop`, do not leave now after all. Returns their pages. */
function stay(index: u32, stop: u32): u32 {
  let pages: u32 = 0;
  for (let i = index; i < stop; i++) {
    const page = pageStruct(entryAt(i) >> PAGE_SHIFT);
    if (!isMoving(page)) continue;
    setMoving(page, false);
    pages += 1 << pageOrder(page);
  }
  return pages;
}

/** Pages that lie side by side, of entries from `index` on, before `stop`: the first needs a slot; all that do. */
function unsavedRun(index: u32, stop: u32): u32 {
  const shadows = shadowAddress(index);
  const end = shadowAddress(stop);
  let page = entryAt(index) + PAGE_SIZE;
  let at = shadows + 4;
  while (at < end && !load<u32>(at) && !isZeros(page)) {
    at += 4;
    page += PAGE_SIZE;
  }
  return <u32>(at - shadows) >> 2;
}

/** Whether a page is zeros; for most it is enough to look at their first word. */
// @ts-ignore: decorator
@inline
function isZeros(page: u32): bool {
  return load<u64>(page) == 0 && isZero(page);
}

/** True unless the first page of an item, before the end of its walk, is not being moved. */
function itemsPrepared(items: u32): bool {
  for (let item: u32 = 0; item < items; item++) {
    const end = itemVector(item) + min(itemNext(item), itemEntries(item));
    let i = itemVector(item) + itemStart(item);
    while (i < end && !isPage(entryAt(i))) i++;
    if (i < end && !isMoving(pageStruct(entryAt(i) >> PAGE_SHIFT))) return false;
  }
  return true;
}

/**
 * Ends what shrinkPrepare of the same items began: the first `moved` pages become handles and their
 * frames free, the slots of the rest are given back. Returns pages released. -EINVAL: an item is out of
 * range, or no prepare began it, or a commit has ended it.
 */
export function shrinkCommit(items: u32, moved: u32): i32 {
  if (!itemsOk(items)) return -EINVAL;
  if (!itemsPrepared(items)) {
    if (DEBUGGING) assert(false, "host: shrinkCommit of what was not prepared");
    return -EINVAL;
  }
  let released: u32 = 0;
  let ended: u32 = 0;
  set(H_ZEROS, 0);
  for (let item: u32 = 0; item < items; item++) {
    const end = itemVector(item) + min(itemNext(item), itemEntries(item));
    let i = itemVector(item) + itemStart(item);
    const before = released;
    while (i < end) {
      const entry = entryAt(i);
      if (!isPage(entry)) {
        i++;
        continue;
      }
      const pages = chunkPages(entry);
      if (DEBUGGING) assertOwner(entry >> PAGE_SHIFT, i);
      const moving = isMoving(pageStruct(entry >> PAGE_SHIFT));
      if (DEBUGGING) assert(moving, "host: shrinkCommit of what was not prepared");
      if (!moving) break;
      released += commitChunk(i, entry, pages, moved - released);
      ended += pages;
      i += pages;
    }
    setItemReleased(item, released - before);
  }
  add(H_MOVING, -(<i32>ended));
  add(H_SWAPPED, released - get(H_ZEROS));
  flushSlots();
  flushFrames();
  resetExtents();
  return released;
}

/** Commits up to `moved` prepared pages of one chunk, and rolls back its others. Returns released. */
// @ts-ignore: decorator
@inline
function commitChunk(index: u32, entry: u32, pages: u32, moved: u32): u32 {
  const entries = entryAddress(index);
  const shadows = shadowAddress(index);
  const most = min(pages, moved);
  let clean: i32 = 0;
  let zeros: u32 = 0;
  let n: u32 = 0;
  for (; n < most; n++) {
    const at = (<usize>n) << 2;
    const shadow = load<u32>(shadows + at);
    if (DEBUGGING) assertEntry(index + n);
    if (!shadow) break;
    const zero = shadow == ZERO;
    zeros += zero;
    clean += isHandle(shadow);
    store<u32>(entries + at, zero ? 0 : toHandle(shadow));
    store<u32>(shadows + at, 0);
  }
  if (clean) add(H_CLEAN, <i32>zeros - clean);
  if (zeros) add(H_ZEROS, zeros);
  for (let i = n; i < pages && shadowAt(index + i); i++) {
    const shadow = shadowAt(index + i);
    if (shadow != ZERO) {
      if (isHandle(shadow)) continue;
      giveSlots(entryToSlot(shadow), 1);
    }
    setShadow(index + i, 0);
  }
  const pfn = entry >> PAGE_SHIFT;
  setMoving(pageStruct(pfn), false);
  if (n == pages) freeCached(pfn, pages);
  else if (n) {
    splitChunk(pfn);
    for (let i: u32 = 0; i < n; i++) freeCached(pfn + i, 1);
  }
  return n;
}

/**
 * Lets go of pages of entries [start, start + count), at once, that need neither slot nor transfer: clean ones, and zeros.
 * Returns pages released. -EINVAL: not entries of a vector.
 */
export function shrinkSaved(vector: u32, entries: u32, start: u32, count: u32): i32 {
  if (<u64>start + count > entries || !vectorOk(vector, entries)) return -EINVAL;
  set(H_ZEROS, 0);
  const end = vector + start + count;
  let released: u32 = 0;
  let i = vector + start;
  while (i < end) {
    const pfn = entryAt(i) >> PAGE_SHIFT;
    const head = isPage(entryAt(i)) ? chunkHead(pfn) : 0;
    if (!head) {
      i++;
      continue;
    }
    const stop = min(end, i + (1 << pageOrder(pageStruct(head))) - (pfn - head));
    if (!isMoving(pageStruct(head))) released += dropSaved(i, stop, head);
    i = stop;
  }
  flushSlots();
  flushFrames();
  resetExtents();
  return released;
}

/** The same for entries of one chunk. */
function dropSaved(index: u32, stop: u32, head: u32): u32 {
  let saved: u32 = 0;
  for (let i = index; i < stop; i++) saved += isSaved(i);
  if (!saved) return 0;
  const pages: u32 = 1 << pageOrder(pageStruct(head));
  if (saved < pages) splitChunk(head);
  let zeros: u32 = 0;
  for (let i = index; i < stop; i++) {
    const shadow = shadowAt(i);
    if (!isHandle(shadow)) continue;
    if (saved < pages) freeCached(entryAt(i) >> PAGE_SHIFT, 1);
    zeros += shadow == ZERO;
    setEntry(i, shadow == ZERO ? 0 : shadow);
    setShadow(i, 0);
  }
  if (saved == pages) freeCached(head, pages);
  add(H_ZEROS, zeros);
  add(H_CLEAN, zeros - saved);
  add(H_SWAPPED, saved - zeros);
  return saved;
}

/**
 * Slots that a shrinkPrepare of the same items and `budget` would take. -EINVAL as there.
 */
export function shrinkNeeds(items: u32, budget: u32): i32 {
  if (!itemsOk(items)) return -EINVAL;
  let need: u32 = 0;
  let pages: u32 = 0;
  for (let item: u32 = 0; item < items; item++) {
    const end = itemVector(item) + itemEntries(item);
    for (let i = itemVector(item) + itemStart(item); i < end; i++) {
      const entry = entryAt(i);
      if (!isPage(entry)) continue;
      // A chunk that is begun is finished.
      if (pages >= budget && pageState(pageStruct(entry >> PAGE_SHIFT)) != TAIL) return need;
      need += !shadowAt(i) && !isZeros(entry);
      pages++;
    }
  }
  return need;
}
