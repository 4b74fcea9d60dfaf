/*
 * What can be done to the bytes of pages: checksums of those on their way, the transfer of RAM swap,
 * and operations on single pages, by page number and checked.
 */
import { EFAULT, EINVAL, H_ENTRIES, H_EXTENTS, H_RAM, NONE, PAGE_SHIFT, PAGE_SIZE } from "./abi";
import { DEBUGGING } from "./debug";
import {
  entryAt,
  isPage,
  isReserved,
  setSum,
  shadowAt,
  slotToShadow,
  sumAt,
  toHandle,
} from "./entry";
import { extentEntry, extentPage, extentPages, extentSlot } from "./exchange";
import { get } from "./header";
import { chunkHead, pageOrder, pageOwner, pageStruct } from "./page";
import { checksum, copyBytes } from "./page_bytes";
import { ramAddress } from "./swap_map";
import { slotsTook } from "./swap_space";

/** Notes the checksums of `count` pages from `page` on, of entries from `index` on. Returns `count`. */
function noteSums(index: u32, page: usize, count: u32): u32 {
  for (let i: u32 = 0; i < count; i++)
    setSum(index + i, checksum(page + ((<usize>i) << PAGE_SHIFT)));
  return count;
}

/** How many of them match what was noted, before the first that does not. */
function matchSums(index: u32, page: usize, count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) {
    if (checksum(page + ((<usize>i) << PAGE_SHIFT)) != sumAt(index + i)) return i;
  }
  return count;
}

/** What is done to pages one after the other: looked at, whether they can leave; noted; compared with what was. */
const LEAVES: u32 = 0;
const NOTE: u32 = 1;
const MATCH: u32 = 2;

/**
 * Does that to pages [pfn, pfn + count) and their entries, or those that they are held for, as the owners of their
 * chunks say: vectors may have moved since the pages got on their way. Returns how many there are before the first
 * that does not match. -EINVAL, -EFAULT as below.
 */
function walk(pfn: u32, count: u32, what: u32): i32 {
  if (count == 0) return -EINVAL;
  let index: u32 = 0;
  let chunkEnd: u32 = 0;
  for (let i: u32 = 0; i < count; i++, index++) {
    if (i == chunkEnd) {
      const head = chunkHead(pfn + i);
      const owner = head ? pageOwner(pageStruct(head)) : NONE;
      if (owner == NONE) return -EINVAL;
      index = owner + (pfn + i - head);
      chunkEnd = head - pfn + (1 << pageOrder(pageStruct(head)));
    }
    if (what == LEAVES) {
      if (!isPage(entryAt(index)) || !isReserved(shadowAt(index))) return -EFAULT;
      continue;
    }
    const sum = checksum((<usize>(pfn + i)) << PAGE_SHIFT);
    if (what == NOTE) setSum(index, sum);
    else if (sum != sumAt(index)) return i;
  }
  return count;
}

/**
 * Notes the checksums of pages [pfn, pfn + count), which are about to leave. Returns `count`. -EINVAL: not pages of
 * vectors; -EFAULT: one has no slot to leave to.
 */
export function sumPages(pfn: u32, count: u32): i32 {
  const leave = walk(pfn, count, LEAVES);
  return leave < 0 ? leave : walk(pfn, count, NOTE);
}

/**
 * Compares pages [pfn, pfn + count), which have just come, with their checksums. Returns how many match before the
 * first that does not. -EINVAL: not pages of vectors.
 */
export function verifyPages(pfn: u32, count: u32): i32 {
  return walk(pfn, count, MATCH);
}

/** Pages copied at a stretch: few enough that their checksums find them in the CPU's cache. */
const PIECE: u32 = 16;

/** True while the entries of extent `i` name its pages and slots, as they do on their way out, or in. */
function isNamed(i: u32, out: bool): bool {
  const pages = extentPages(i);
  let entry = extentPage(i);
  let shadow = slotToShadow(extentSlot(i));
  const first = extentEntry(i);
  const entries = get(H_ENTRIES);
  if (!shadow || first >= entries || pages > entries - first) return false;
  for (let index = first; index < first + pages; index++) {
    const named = out
      ? entryAt(index) == entry && shadowAt(index) == shadow
      : shadowAt(index) == entry && entryAt(index) == toHandle(shadow);
    if (!named) return false;
    entry += PAGE_SIZE;
    shadow += slotToShadow(1);
  }
  return true;
}

/**
 * The transfer of RAM swap: copies the extents of the last prepare to their slots (`out`) or from
 * them; with `sums`, notes their checksums, or verifies them. Returns pages copied; of those that came
 * back, the ones before the first that does not match. -EINVAL: the slots are not in linear memory, or
 * the entries of an extent do not name its pages and slots, any more or in this direction.
 */
export function ramTransfer(out: u32, sums: u32): i32 {
  if (!get(H_RAM)) return -EINVAL;
  for (let i: u32 = 0; i < get(H_EXTENTS); i++) {
    if (isNamed(i, out != 0)) continue;
    if (DEBUGGING) assert(false, "host: ramTransfer of extents that no longer hold");
    return -EINVAL;
  }
  let copied: u32 = 0;
  for (let i: u32 = 0; i < get(H_EXTENTS); i++) {
    const pages = extentPages(i);
    const slot = extentSlot(i);
    if (out) slotsTook(slot, pages);
    for (let done: u32 = 0; done < pages; done += PIECE) {
      const count = min(PIECE, pages - done);
      const page = extentPage(i) + (done << PAGE_SHIFT);
      const index = extentEntry(i) + done;
      if (out) copyBytes(ramAddress(slot + done), page, count);
      else copyBytes(page, ramAddress(slot + done), count);
      if (!sums) continue;
      const good = out ? noteSums(index, page, count) : matchSums(index, page, count);
      if (good < count) return copied + done + good;
    }
    copied += pages;
  }
  return copied;
}

// Single pages: what one page a call costs is measured with it (bench/copy), and the checksum is tested by itself.

/** -EINVAL unless both are pages handed out by the allocator. */
export function pageCopy(to: u32, from: u32): i32 {
  if (!chunkHead(to) || !chunkHead(from)) return -EINVAL;
  copyBytes((<usize>to) << PAGE_SHIFT, (<usize>from) << PAGE_SHIFT, 1);
  return 0;
}

/** Checksum of a page's content; 0 unless it is a page handed out by the allocator. */
export function pageChecksum(pfn: u32): u32 {
  return chunkHead(pfn) ? checksum((<usize>pfn) << PAGE_SHIFT) : 0;
}
