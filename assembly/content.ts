/* What can be done to the bytes of single pages, by page number and checked. */
import { EINVAL, PAGE_SHIFT } from "./abi";
import { checksum, chunkHead, clearPages, copyBytes, isZero } from "./page";

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
