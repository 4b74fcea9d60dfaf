/*
 * What can be done to the bytes of pages: checksums of entries on their way, and operations on single
 * pages, by page number and checked.
 */
import { EFAULT, EINVAL, PAGE_SHIFT } from "./abi";
import { entryAt, isPage, setSum, shadowAt, sumAt } from "./entry";
import { checksum, chunkHead, clearPages, copyBytes, isZero } from "./page";
import { vectorOk } from "./page_vector";

/** The page whose content entry `index` is about: its own, or the one held for it. */
// @ts-ignore: decorator
@inline
function pageOf(index: u32): u32 {
  return isPage(entryAt(index)) ? entryAt(index) : shadowAt(index);
}

/**
 * Notes the checksums of the pages of entries [index, index + count), which are about to leave. -EINVAL:
 * not entries in use; -EFAULT: one has no page.
 */
export function sumEntries(index: u32, count: u32): i32 {
  if (!vectorOk(index, count)) return -EINVAL;
  for (let i = index; i < index + count; i++) {
    if (!isPage(entryAt(i))) return -EFAULT;
  }
  for (let i = index; i < index + count; i++) setSum(i, checksum(entryAt(i)));
  return 0;
}

/**
 * Compares the pages of entries [index, index + count), which have just come, with their checksums.
 * Returns how many match before the first that does not. -EINVAL, -EFAULT as above.
 */
export function verifyEntries(index: u32, count: u32): i32 {
  if (!vectorOk(index, count)) return -EINVAL;
  for (let i: u32 = 0; i < count; i++) {
    const page = pageOf(index + i);
    if (!isPage(page)) return -EFAULT;
    if (checksum(page) != sumAt(index + i)) return i;
  }
  return count;
}

/** -EINVAL unless both are pages handed out by the allocator. */
export function pageCopy(to: u32, from: u32): i32 {
  if (!chunkHead(to) || !chunkHead(from)) return -EINVAL;
  copyBytes((<usize>to) << PAGE_SHIFT, (<usize>from) << PAGE_SHIFT, 1);
  return 0;
}

/** -EINVAL unless it is a page handed out by the allocator. */
export function pageClear(pfn: u32): i32 {
  if (!chunkHead(pfn)) return -EINVAL;
  clearPages((<usize>pfn) << PAGE_SHIFT, 1);
  return 0;
}

/** 1 when the page is all zeros, else 0; -EINVAL as above. */
export function pageIsZero(pfn: u32): i32 {
  if (!chunkHead(pfn)) return -EINVAL;
  return isZero((<usize>pfn) << PAGE_SHIFT) ? 1 : 0;
}

/** Checksum of a page's content; 0 unless it is a page handed out by the allocator. */
export function pageChecksum(pfn: u32): u32 {
  return chunkHead(pfn) ? checksum((<usize>pfn) << PAGE_SHIFT) : 0;
}
