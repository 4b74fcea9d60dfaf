/*
 * Which swap slots are in use. Slots are numbered from 1 (Linux keeps slot 0 for the swap header);
 * slot s is unit s - 1 of the bitmap.
 */
import {
  EINVAL,
  ENOSPC,
  H_BACKED_FREE,
  H_BACKED_MAP,
  H_GIVE_COUNT,
  H_GIVE_SLOT,
  H_RAM,
  H_RAW_MAP,
  H_RAW_SLOTS,
  H_RUN,
  H_SLOTS,
  H_SLOTS_END,
  H_SLOTS_USED,
  H_SWAP_MAP,
  HEADER,
  PAGE_SHIFT,
} from "./abi";
import {
  bitsAre,
  countBits,
  mapFree,
  mapIs,
  mapLimit,
  mapRelease,
  mapSize,
  mapTake,
  putBits,
} from "./bitmap";
import { DEBUGGING } from "./debug";
import { add, get, set } from "./header";

/** First slot of a run of up to `want` free slots, its length in H_RUN; 0 when none is free. */
export function takeSlots(want: u32): u32 {
  const slot = mapTake(get(H_SWAP_MAP), want, false, HEADER + (H_RUN << 2)) + 1;
  if (slot) count(slot, get(H_RUN), 1);
  return slot;
}

export function releaseSlots(slot: u32, slots: u32): bool {
  if (!mapRelease(get(H_SWAP_MAP), slot - 1, slots)) return false;
  count(slot, slots, -1);
  return true;
}

/** Counts slots that were taken (`sign` 1) or released (-1). */
// @ts-ignore: decorator
@inline
function count(slot: u32, slots: u32, sign: i32): void {
  add(H_SLOTS_USED, sign * slots);
  if (slot > get(H_SLOTS_END)) return;
  add(H_BACKED_FREE, -sign * countBits(get(H_BACKED_MAP), slot - 1, slots));
}

/** Frees slots together with their neighbours: takes effect at the next gap or at flushSlots(). */
export function giveSlots(slot: u32, slots: u32): void {
  const count = get(H_GIVE_COUNT);
  if (DEBUGGING) {
    const given = count && slot < get(H_GIVE_SLOT) + count && get(H_GIVE_SLOT) < slot + slots;
    assert(slot && !given && mapIs(get(H_SWAP_MAP), slot - 1, slots, true), "a free slot is freed");
  }
  if (count && slot == get(H_GIVE_SLOT) + count) {
    set(H_GIVE_COUNT, count + slots);
    return;
  }
  flushSlots();
  set(H_GIVE_SLOT, slot);
  set(H_GIVE_COUNT, slots);
}

/** Ends a series of giveSlots(). */
export function flushSlots(): void {
  const count = get(H_GIVE_COUNT);
  if (count) releaseSlots(get(H_GIVE_SLOT), count);
  set(H_GIVE_COUNT, 0);
}

// @ts-ignore: decorator
@inline
export function slotUsed(slot: u32): bool {
  return slot != 0 && mapIs(get(H_SWAP_MAP), slot - 1, 1, true);
}

/** Slots that can be taken. */
export function slotsFree(): u32 {
  const map = get(H_SWAP_MAP);
  return mapFree(map) - (mapSize(map) - mapLimit(map));
}

/** Where a slot's bytes lie when the swap space is in linear memory. */
// @ts-ignore: decorator
@inline
export function ramAddress(slot: u32): usize {
  if (DEBUGGING) assert(get(H_RAM) && slot - 1 < get(H_SLOTS), "there is no such slot in memory");
  return <usize>get(H_RAM) + ((<usize>(slot - 1)) << PAGE_SHIFT);
}

// The map by itself, outside any page vector.

/**
 * Takes a run of 1..want slots: the first slot, its length in H_RUN. -EINVAL: want is 0; -ENOSPC.
 */
export function slotAlloc(want: u32): i32 {
  if (want == 0) return -EINVAL;
  const slot = takeSlots(want);
  if (!slot) return -ENOSPC;
  add(H_RAW_SLOTS, get(H_RUN));
  putBits(get(H_RAW_MAP), slot - 1, get(H_RUN), true);
  return slot;
}

/** -EINVAL, and nothing changed, unless slotAlloc handed out all of the slots. */
export function slotFree(slot: u32, count: u32): i32 {
  if (slot == 0 || count == 0 || <u64>slot + count - 1 > get(H_SLOTS)) return -EINVAL;
  if (!bitsAre(get(H_RAW_MAP), slot - 1, count, true)) return -EINVAL;
  putBits(get(H_RAW_MAP), slot - 1, count, false);
  releaseSlots(slot, count);
  add(H_RAW_SLOTS, -(<i32>count));
  return 0;
}
