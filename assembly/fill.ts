/*
 * Fill: gives every entry of a vector a page, for the first time (populate) or again (restore).
 * Prepare holds new chunks for a window of entries and names the extents to read; the host reads
 * them; commit(n) makes the chunks visible whose content is complete. A chunk read in part stays
 * held, one of which nothing was read is given back. Pages that never left stay where they are.
 *
 *   before     entry = handle | empty   shadow = 0
 *   held       entry = handle | empty   shadow = page    content still valid in the slot
 *   committed  entry = page             shadow = 0       slot free
 */
import {
  BATCH_PAGES_MAX,
  EINVAL,
  ENOMEM,
  F_CHECKSUM,
  H_BAD_ENTRY,
  H_FRESH_PFN,
  MAX_ORDER,
  NONE,
  PAGE_SHIFT,
} from "./abi";
import {
  entryAt,
  entryToSlot,
  isHandle,
  isPage,
  setEntry,
  setShadow,
  shadowAt,
  sumAt,
} from "./entry";
import { addExtent, resetExtents } from "./exchange";
import { get, set } from "./header";
import { checksum, clearPages, pageOrder, pageStruct } from "./page";
import { allocChunk, allocNear } from "./page_alloc";
import { giveHeld, isChunkStart, vectorOk } from "./page_vector";
import { flushSlots, giveSlot } from "./swap_map";

/** Entries from `index` on that neither have a page nor a held one, `most` at most. */
function gap(index: u32, most: u32): u32 {
  let length: u32 = 0;
  while (length < most && !isPage(entryAt(index + length)) && !shadowAt(index + length)) length++;
  return length;
}

/**
 * Holds the largest chunk that fits `most` entries from `index` on and that can be had, at `near` if
 * possible; the order falls one by one (ttm_pool_alloc). Returns its pages, 0 without memory.
 */
function hold(index: u32, most: u32, orderMax: u32, near: u32): u32 {
  const length = gap(index, min(most, 1 << orderMax));
  for (let order: i32 = 31 - clz(length); order >= 0; order--) {
    let pfn = allocNear(near, order, index);
    if (!pfn) pfn = allocChunk(order, index);
    if (!pfn) continue;
    const pages: u32 = 1 << order;
    for (let i: u32 = 0; i < pages; i++) setShadow(index + i, (pfn + i) << PAGE_SHIFT);
    return pages;
  }
  return 0;
}

/**
 * Prepares entries [start, start + budget) of a vector, or as far as memory goes; a chunk begun is
 * finished, so it may be more. `done`: entries from `start` on already read into a held chunk.
 * Entries without content are cleared, but for [keepFrom, keepTo), which the caller overwrites
 * whole. Returns entries covered. -EINVAL: out of range, or start is inside a chunk; -ENOMEM: none.
 */
export function fillPrepare(
  vector: u32,
  entries: u32,
  start: u32,
  done: u32,
  budget: u32,
  orderMax: u32,
  keepFrom: u32,
  keepTo: u32,
): i32 {
  if (
    start >= entries ||
    budget == 0 ||
    budget > <u32>BATCH_PAGES_MAX ||
    orderMax > <u32>MAX_ORDER
  ) {
    return -EINVAL;
  }
  if (!vectorOk(vector, entries) || !startOk(vector + start, done)) return -EINVAL;
  resetExtents();
  let near: u32 = 0;
  let i = start;
  while (i < entries && i - start < budget) {
    const index = vector + i;
    const entry = entryAt(index);
    if (isPage(entry)) {
      const pages: u32 = 1 << pageOrder(pageStruct(entry >> PAGE_SHIFT));
      near = (entry >> PAGE_SHIFT) + pages;
      i += pages;
      continue;
    }
    const fresh = get(H_FRESH_PFN);
    let pages: u32;
    if (shadowAt(index)) pages = heldPages(index);
    else {
      pages = hold(index, entries - i, orderMax, near);
      if (!pages) break;
    }
    near = (shadowAt(index) >> PAGE_SHIFT) + pages;
    for (let j: u32 = i == start ? done : 0; j < pages; j++) {
      const page = shadowAt(index + j);
      const from = entryAt(index + j);
      if (isHandle(from)) addExtent(page, entryToSlot(from), 1, i + j - start);
      else if (page >> PAGE_SHIFT < fresh && (i + j < keepFrom || i + j >= keepTo)) {
        clearPages(page, 1);
      }
    }
    i += pages;
  }
  return i == start ? -ENOMEM : i - start;
}

// @ts-ignore: decorator
@inline
function heldPages(index: u32): u32 {
  return 1 << pageOrder(pageStruct(shadowAt(index) >> PAGE_SHIFT));
}

/** A walk starts at a chunk border; `done` lies inside the chunk held there. */
function startOk(index: u32, done: u32): bool {
  if (isPage(entryAt(index))) return isChunkStart(index) && done == 0;
  return done == 0 || (shadowAt(index) != 0 && done < heldPages(index));
}

/**
 * Ends what fillPrepare began: of `covered` entries from `start` on the first `read` hold their
 * content, the first `done` of them since an earlier call. With F_CHECKSUM the others are verified,
 * and `read` ends before the first that does not match (H_BAD_ENTRY: its offset in the vector, or
 * NONE). Returns the entries from `start` on that now are pages.
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
  if (!vectorOk(vector, entries) || !startOk(vector + start, done)) return -EINVAL;
  set(H_BAD_ENTRY, NONE);
  let stop = start + read;
  if (flags & F_CHECKSUM) stop = verify(vector, start + done, stop);
  let committed: u32 = 0;
  let i = start;
  while (i < start + covered) {
    const index = vector + i;
    const entry = entryAt(index);
    if (!isPage(entry) && !shadowAt(index)) break;
    const pages = isPage(entry)
      ? (<u32>1) << pageOrder(pageStruct(entry >> PAGE_SHIFT))
      : heldPages(index);
    if (i + pages <= stop) {
      if (!isPage(entry)) commitChunk(index, pages);
      committed = i + pages - start;
    } else if (i >= stop && !isPage(entry)) {
      giveHeld(index);
    }
    i += pages;
  }
  flushSlots();
  return committed;
}

function commitChunk(index: u32, pages: u32): void {
  for (let i = index; i < index + pages; i++) {
    if (isHandle(entryAt(i))) giveSlot(entryToSlot(entryAt(i)));
    setEntry(i, shadowAt(i));
    setShadow(i, 0);
  }
}

/** First entry of [from, to) whose page in memory does not match its checksum, or `to`. */
function verify(vector: u32, from: u32, to: u32): u32 {
  for (let i = from; i < to; i++) {
    if (!isHandle(entryAt(vector + i))) continue;
    if (checksum(shadowAt(vector + i)) != sumAt(vector + i)) {
      set(H_BAD_ENTRY, i);
      return i;
    }
  }
  return to;
}
