import {
  CHECK_ASIDE,
  CHECK_BITMAP,
  CHECK_CLEAN,
  CHECK_FREE_LIST,
  CHECK_HELD,
  CHECK_MOVING,
  CHECK_OWNER,
  CHECK_PAGE_COUNT,
  CHECK_PAGE_TABLE,
  CHECK_POOL,
  CHECK_REPORTED,
  CHECK_SLOT,
  CHECK_SLOT_COUNT,
  CHECK_VECTOR,
} from "../../assembly/abi.ts";

/** What the engine's check() found, in words. */
export const INVARIANTS: Readonly<Record<number, string>> = {
  [CHECK_FREE_LIST]: "a free list is broken",
  [CHECK_PAGE_TABLE]: "the page table is broken",
  [CHECK_OWNER]: "a chunk and its page vector disagree",
  [CHECK_PAGE_COUNT]: "page counts do not add up",
  [CHECK_SLOT]: "a swap slot is named twice, or not in use",
  [CHECK_SLOT_COUNT]: "swap slots have leaked",
  [CHECK_BITMAP]: "a bitmap and its summaries disagree",
  [CHECK_VECTOR]: "an entry outside every page vector is in use",
  [CHECK_POOL]: "a pool list is broken, or a pooled page is not zero",
  [CHECK_CLEAN]: "the count of clean pages is wrong",
  [CHECK_MOVING]: "the count of pages being moved is wrong",
  [CHECK_HELD]: "the count of held frames is wrong",
  [CHECK_ASIDE]: "what swap has taken or refused does not add up",
  [CHECK_REPORTED]: "a frame given back to the host is in use or no zeros, or their count is wrong",
};
