/*
 * What the store behind the slots is good for: a promise that it may break. A slot is
 *
 *   backed     once the store has had a page in it: it will take one there again
 *   set aside  when it did not: handed to nobody, until no other is free and one is tried by itself
 *
 *              map    backed   aside
 *   free       0      0, 1     0
 *   in use     1      0, 1     0
 *   bad        1      1        1      a write to it failed
 *   lost       1      0        1      the store refused it as full, or is full and never had it
 *
 * Slots behind the limit of the map are lost, too, without a bit of theirs being touched: a store may
 * promise far more than it has. Words of 64 slots throughout.
 */
import {
  BAD,
  EINVAL,
  EXTENTS_MAX,
  H_ASIDE_END,
  H_ASIDE_MAP,
  H_ASIDE_NEXT,
  H_BACKED_FREE,
  H_BACKED_MAP,
  H_BAD,
  H_EXTENTS,
  H_LOST,
  H_SLOTS,
  H_SLOTS_END,
  H_SWAP_MAP,
  LOST,
  TRIM_SPARE,
} from "./abi";
import {
  bitsAre,
  freeBits,
  mapHigh,
  mapIs,
  mapLimit,
  mapReach,
  mapSize,
  mapWord,
  putBits,
  setMapLimit,
  useBits,
} from "./bitmap";
import { addRun, resetExtents } from "./exchange";
import { add, get, set } from "./header";

// @ts-ignore: decorator
@inline
function rangeOk(slot: u32, count: u32): bool {
  return slot != 0 && count != 0 && <u64>slot + count - 1 <= get(H_SLOTS);
}

// @ts-ignore: decorator
@inline
function backedAt(index: u32): usize {
  return <usize>get(H_BACKED_MAP) + ((<usize>index) << 3);
}

// @ts-ignore: decorator
@inline
function asideAt(index: u32): usize {
  return <usize>get(H_ASIDE_MAP) + ((<usize>index) << 3);
}

/** The store has taken pages in these slots, which are in use. -EINVAL: they are not, or were set aside. */
export function slotsTook(slot: u32, count: u32): i32 {
  if (!rangeOk(slot, count) || !mapIs(get(H_SWAP_MAP), slot - 1, count, true)) return -EINVAL;
  if (!bitsAre(get(H_ASIDE_MAP), slot - 1, count, false)) return -EINVAL;
  putBits(get(H_BACKED_MAP), slot - 1, count, true);
  set(H_SLOTS_END, max(get(H_SLOTS_END), slot - 1 + count));
  return 0;
}

/**
 * Sets aside those of the slots that are free, after a write to them failed (`why` BAD), or was refused as
 * the store is full (LOST): then all free slots that it never had are lost, too. Slots in use are not
 * touched: their own write decides. -EINVAL: no such slots, or no such reason.
 */
export function slotsAside(slot: u32, count: u32, why: u32): i32 {
  if (!rangeOk(slot, count) || why < <u32>BAD || why > <u32>LOST) return -EINVAL;
  const end = min(slot - 1 + count, mapLimit(get(H_SWAP_MAP)));
  for (let at = slot - 1; at < end; ) {
    const n = min(64 - (at & 63), end - at);
    const bits = (~(<u64>0) >> (64 - n)) << (at & 63);
    putAside(at >> 6, bits & ~mapWord(get(H_SWAP_MAP), at >> 6), why);
    at += n;
  }
  if (why == LOST) cut();
  return 0;
}

/** Loses all free slots that the store never had. */
function cut(): void {
  const map = get(H_SWAP_MAP);
  const known = max(max(mapHigh(map), get(H_SLOTS_END)), get(H_ASIDE_END));
  const words = (known + 63) >> 6;
  const limit = min(mapLimit(map), words << 6);
  add(H_LOST, mapLimit(map) - limit);
  setMapLimit(map, limit);
  for (let index: u32 = 0; index < words; index++) {
    putAside(index, ~(mapWord(map, index) | load<u64>(backedAt(index))), LOST);
  }
}

/** Sets aside the slots of `bits`, all of them free, of a word. */
function putAside(index: u32, bits: u64, why: u32): void {
  if (!bits) return;
  const backed = load<u64>(backedAt(index));
  add(H_BACKED_FREE, -(<i32>popcnt(backed & bits)));
  add(why == BAD ? H_BAD : H_LOST, <i32>popcnt(bits));
  store<u64>(backedAt(index), why == BAD ? backed | bits : backed & ~bits);
  store<u64>(asideAt(index), load<u64>(asideAt(index)) | bits);
  useBits(get(H_SWAP_MAP), index, bits);
  set(H_ASIDE_END, max(get(H_ASIDE_END), min((index + 1) << 6, get(H_SLOTS))));
}

/** Frees the slots of `bits`, all of them set aside, of a word: whether they are backed is to be seen. */
function takeBack(index: u32, bits: u64): void {
  const backed = load<u64>(backedAt(index));
  const bad = <i32>popcnt(backed & bits);
  add(H_BAD, -bad);
  add(H_LOST, bad - <i32>popcnt(bits));
  store<u64>(backedAt(index), backed & ~bits);
  store<u64>(asideAt(index), load<u64>(asideAt(index)) & ~bits);
  freeBits(get(H_SWAP_MAP), index, bits);
}

/** Slots set aside in the word of unit `next`, from there on; only bad ones, or all. */
// @ts-ignore: decorator
@inline
function asideFrom(next: u32, all: bool): u64 {
  const kinds = all ? ~(<u64>0) : load<u64>(backedAt(next >> 6));
  return load<u64>(asideAt(next >> 6)) & kinds & (~(<u64>0) << (next & 63));
}

/**
 * Lets one slot be taken that was set aside, each in its turn: a bad one, or with `lost` any. Returns why it
 * was: BAD or LOST; 0: there is none.
 */
export function slotRetry(lost: u32): i32 {
  const map = get(H_SWAP_MAP);
  const limit = mapLimit(map);
  const behind = mapSize(map) - limit;
  if (get(H_BAD) + (lost ? get(H_LOST) - behind : 0) == 0) {
    if (!lost || !behind) return 0;
    // All that are lost lie behind the limit.
    setMapLimit(map, min(limit + 64, mapSize(map)));
    add(H_LOST, limit - mapLimit(map));
    putAside(limit >> 6, ~mapWord(map, limit >> 6) & ~(<u64>1), LOST);
    return LOST;
  }
  const words = (get(H_ASIDE_END) + 63) >> 6;
  let next = get(H_ASIDE_NEXT) >> 6 < words ? get(H_ASIDE_NEXT) : 0;
  let bits = asideFrom(next, lost != 0);
  while (!bits) {
    next = (next >> 6) + 1 < words ? (next & ~63) + 64 : 0;
    bits = asideFrom(next, lost != 0);
  }
  const slot = bits & -bits;
  const why = load<u64>(backedAt(next >> 6)) & slot ? BAD : LOST;
  takeBack(next >> 6, slot);
  set(H_ASIDE_NEXT, (next & ~63) + <u32>ctz(bits) + 1);
  return why;
}

/** Frees all slots that are lost: the store may take them again. Returns 0. */
export function slotsBack(): i32 {
  const map = get(H_SWAP_MAP);
  add(H_LOST, mapLimit(map) - mapSize(map));
  setMapLimit(map, mapSize(map));
  const words = (get(H_ASIDE_END) + 63) >> 6;
  for (let index: u32 = 0; index < words; index++) {
    const lost = load<u64>(asideAt(index)) & ~load<u64>(backedAt(index));
    if (lost) takeBack(index, lost);
  }
  if (get(H_BAD) == 0) set(H_ASIDE_END, 0);
  return 0;
}

/**
 * Gives up free slots that the store has had a page in: they are as if it never had them, and lost ones are free
 * again. Runs of them go to the extents, as many as fit. Returns 1 when there are more; 0 when that was all, and
 * H_SLOTS_END tells the last slot that holds anything.
 */
export function slotsDiscard(): i32 {
  slotsBack();
  resetExtents();
  const map = get(H_SWAP_MAP);
  const words = (get(H_SLOTS_END) + 63) >> 6;
  for (let index: u32 = 0; index < words; index++) {
    if (get(H_EXTENTS) + 32 >= <u32>EXTENTS_MAX) return 1;
    const backed = load<u64>(backedAt(index));
    let gone = backed & ~mapWord(map, index);
    if (!gone) continue;
    store<u64>(backedAt(index), backed & ~gone);
    add(H_BACKED_FREE, -(<i32>popcnt(gone)));
    while (gone) {
      const first = <u32>ctz(gone);
      const count = <u32>ctz(~(gone >> first));
      addRun((index << 6) + first + 1, count);
      gone &= count < 64 ? ~((((<u64>1) << count) - 1) << first) : 0;
    }
  }
  set(H_SLOTS_END, min(get(H_SLOTS_END), lastInUse()));
  return 0;
}

/** Up to which slot any are in use. */
// @ts-ignore: decorator
@inline
function lastInUse(): u32 {
  return mapReach(get(H_SWAP_MAP), get(H_ASIDE_MAP));
}

/** Slots that a store would have to keep now, from the first on, with some to spare. */
export function slotsReach(): u32 {
  const last = lastInUse();
  return last ? last + TRIM_SPARE : 0;
}
