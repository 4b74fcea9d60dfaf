/*
 * What holds nothing now, for a host that can take its memory back: frames that are free or pooled. Those that were
 * given back are *reported* (mm/page_reporting.c): they are zeros, as those are that were never handed out, and take no
 * memory until they are used again. And what does hold something, for a host that can only let go of a whole memory: it copies that to a
 * fresh one.
 *
 *   frame      never handed out     >= H_FRESH_PFN
 *              given back           marked, H_REPORTED of them
 *              free or pooled       neither: the host still has memory for it
 */
import {
  EINVAL,
  FREE,
  H_FIRST_PFN,
  H_FRAMES,
  H_FRESH_PFN,
  H_REPORTED,
  H_SLOTS,
  H_SWAP_MAP,
  PAGE_SHIFT,
  POOLED,
  TAIL,
} from "./abi";
import { mapIs } from "./bitmap";
import { addRun, extentsFull, resetExtents } from "./exchange";
import { add, get } from "./header";
import { isFrame, isReported, pageOrder, pageState, pageStruct, setReported } from "./page";
import { isZero } from "./page_bytes";

/** Frames of the chunk that begins at `pfn`, if it holds nothing; else 0, also where none begins. */
function idleFrames(pfn: u32): u32 {
  const page = pageStruct(pfn);
  const state = pageState(page);
  return state == FREE || state == POOLED ? 1 << pageOrder(page) : 0;
}

/** Marks frames [pfn, pfn + count) as reported, or as not. */
function mark(pfn: u32, count: u32, reported: bool): void {
  for (let i: u32 = 0; i < count; i++) {
    const page = pageStruct(pfn + i);
    if (isReported(page) == reported) continue;
    setReported(page, reported);
    add(H_REPORTED, reported ? 1 : -1);
  }
}

/**
 * Names the next frames from `from` on, where a chunk begins, that hold nothing and could be given back, and marks them
 * as reported: a run from the first that is not so already to the last, of `least` frames or more, of about `most` at
 * most. Whoever called it makes them zeros before anything else is done here. Returns where to go on; 0 at the
 * end. -EINVAL: no chunk begins there.
 */
export function trimRun(from: u32, least: u32, most: u32): i32 {
  if (!isFrame(from) || pageState(pageStruct(from)) == TAIL) return -EINVAL;
  resetExtents();
  const used = get(H_FRESH_PFN);
  let run: u32 = 0;
  let end: u32 = 0;
  let pfn = from;
  while (pfn < used) {
    const idle = idleFrames(pfn);
    for (let at = pfn; at < min(pfn + idle, used); at++) {
      if (isReported(pageStruct(at))) continue;
      if (!run) run = at;
      end = at + 1;
    }
    if (run && (!idle || end - run >= most)) {
      if (end - run >= least) break;
      run = 0;
    }
    pfn += 1 << pageOrder(pageStruct(pfn));
  }
  if (run && end - run >= least) {
    addRun(run, end - run);
    mark(run, end - run, true);
  }
  return pfn < used ? pfn : 0;
}

/**
 * The host has kept frames [pfn, pfn + count) of a run that it was to take: it still has memory for them, zeros by now.
 * -EINVAL: no such frames.
 */
export function trimRefused(pfn: u32, count: u32): i32 {
  if (!isFrame(pfn) || count == 0 || count > get(H_FIRST_PFN) + get(H_FRAMES) - pfn) return -EINVAL;
  mark(pfn, count, false);
  return 0;
}

/** Frames [pfn, pfn + count) are handed out: whatever they are now, they may have other content soon. */
// @ts-ignore: decorator
@inline
export function useFrames(pfn: u32, count: u32): void {
  if (get(H_REPORTED)) mark(pfn, count, false);
}

/**
 * Names pages of linear memory, by number from `from` on, that a copy of it needs: all but frames and slots of RAM swap
 * that hold nothing, and pages of zeros. Returns where to go on; 0 at the end. `from` is 0, or what
 * was returned.
 */
export function livePages(from: u32): u32 {
  resetExtents();
  const end = (<u32>memory.size()) << 4; // pages in a wasm page
  const slots = get(H_FIRST_PFN) + get(H_FRAMES);
  while (from < end && !extentsFull()) {
    const idle = isFrame(from) ? idleFrames(from) : 0;
    if (idle) from += idle;
    else {
      const slot = from - slots;
      const used = from < slots || (slot < get(H_SLOTS) && mapIs(get(H_SWAP_MAP), slot, 1, true));
      if (used && !isZero((<usize>from) << PAGE_SHIFT)) addRun(from, 1);
      from++;
    }
  }
  return from < end ? from : 0;
}
