/*
 * A hierarchical bitmap of units, each free (0) or used (1).
 *
 *   level 2   [ bit = all 64 words below are full ........................ ]
 *   level 1   [ bit = the word below is full ... ][ ... ]
 *   level 0   [ bit = unit is used ][ ... ][ ... ][ ... ]
 *
 * Words have 64 bits. The top level is one word, so a search costs at most one word up and one word
 * down per level, however full the map is. Bits past the last unit count as used. A fresh map is all
 * zeros, which is how linear memory starts: making one touches only the last word of each level.
 *
 * At the base lies a head of 16 u32 words, then the levels, level 0 first.
 */

import { DEBUGGING } from "./debug";

const SIZE: usize = 0; // units
const FREE: usize = 4; // free units
const CURSOR: usize = 8; // where the next search starts
const LEVELS: usize = 12;
const LEVEL: usize = 16; // address of each level, 8 at most
const HIGH: usize = 48; // first unit that was never used
const LIMIT: usize = 52; // first unit that may not be taken
const HEAD_BYTES: usize = 64;

/**
 * Runs looked at, at most, before the longest one is taken: keeps an allocation O(1). The fuller the map,
 * the shorter its runs, and the fewer are looked at: one when nearly full.
 */
const PROBES: u32 = 8;

// @ts-ignore: decorator
@inline
function probesOf(map: usize): u32 {
  return 1 + min(PROBES - 1, <u32>(((<u64>mapFree(map)) << 4) / mapSize(map)));
}
/** A freed run this long pulls the cursor back to it: its place in a store is still warm. */
const CLUSTER: u32 = 16;

// @ts-ignore: decorator
@inline
function levelBase(map: usize, level: u32): usize {
  return load<u32>(map + LEVEL + ((<usize>level) << 2));
}

// @ts-ignore: decorator
@inline
function wordAt(map: usize, level: u32, index: u32): usize {
  return levelBase(map, level) + ((<usize>index) << 3);
}

/** Bits [bit, bit + n) of a word. */
// @ts-ignore: decorator
@inline
function mask(bit: u32, n: u32): u64 {
  return (n == 64 ? ~(<u64>0) : ((<u64>1) << n) - 1) << bit;
}

// @ts-ignore: decorator
@inline
export function mapSize(map: usize): u32 {
  return load<u32>(map, SIZE);
}

// @ts-ignore: decorator
@inline
export function mapFree(map: usize): u32 {
  return load<u32>(map, FREE);
}

// @ts-ignore: decorator
@inline
export function mapHigh(map: usize): u32 {
  return load<u32>(map, HIGH);
}

// @ts-ignore: decorator
@inline
export function mapLimit(map: usize): u32 {
  return load<u32>(map, LIMIT);
}

/** Units from `limit` on, all of them free, are not taken. */
// @ts-ignore: decorator
@inline
export function setMapLimit(map: usize, limit: u32): void {
  store<u32>(map, limit, LIMIT);
}

/** Bits of word `index` of level 0: used ones are set, those past the last unit too. */
// @ts-ignore: decorator
@inline
export function mapWord(map: usize, index: u32): u64 {
  return load<u64>(wordAt(map, 0, index));
}

/** Bytes a map of `units` needs. */
export function mapBytes(units: u64): u64 {
  let bytes: u64 = HEAD_BYTES;
  let words = (units + 63) >> 6;
  while (true) {
    bytes += words << 3;
    if (words <= 1) break;
    words = (words + 63) >> 6;
  }
  return bytes;
}

export function mapInit(map: usize, units: u32): void {
  store<u32>(map, units, SIZE);
  store<u32>(map, units, FREE);
  store<u32>(map, 0, CURSOR);
  store<u32>(map, 0, HIGH);
  store<u32>(map, units, LIMIT);
  let at = map + HEAD_BYTES;
  let bits = units;
  let level: u32 = 0;
  while (true) {
    const words = (bits + 63) >> 6;
    store<u32>(map + LEVEL + ((<usize>level) << 2), <u32>at);
    level++;
    if (bits & 63) store<u64>(at + ((<usize>(words - 1)) << 3), ~mask(0, bits & 63));
    if (words <= 1) break;
    at += (<usize>words) << 3;
    bits = words;
  }
  store<u32>(map, level, LEVELS);
}

/** Lowest free unit >= `from`, or -1. */
export function nextFree(map: usize, from: u32): i32 {
  if (from >= mapSize(map)) return -1;
  const levels = load<u32>(map, LEVELS);
  let level: u32 = 0;
  let index = from;
  // Up: the rest of the word that holds `index`, then the same one level higher, from the next word.
  while (true) {
    const open = ~load<u64>(wordAt(map, level, index >> 6)) & (~(<u64>0) << (index & 63));
    if (open) {
      index = (index & ~63) + <u32>ctz(open);
      break;
    }
    level++;
    index = (index >> 6) + 1;
    // The summary has a bit for every word, so an index past its end means the search is over.
    if (level == levels || index >> 6 >= wordsOf(map, level)) return -1;
  }
  // Down: the first open bit of each word on the way.
  while (level > 0) {
    level--;
    index = (index << 6) + <u32>ctz(~load<u64>(wordAt(map, level, index)));
  }
  return index;
}

/** Lowest used unit >= `from`, or as many as there are. */
export function nextUsed(map: usize, from: u32): u32 {
  const size = mapSize(map);
  for (let at = from; at < size; at = (at | 63) + 1) {
    const used = mapWord(map, at >> 6) >> (at & 63);
    // Bits past the last unit count as used.
    if (used) return min(size, at + <u32>ctz(used));
  }
  return size;
}

function wordsOf(map: usize, level: u32): u32 {
  let bits = mapSize(map);
  for (let i: u32 = 0; i < level; i++) bits = (bits + 63) >> 6;
  return (bits + 63) >> 6;
}

/** Free units from `from` on, `max` at most. */
function runLength(map: usize, from: u32, max: u32): u32 {
  let length: u32 = 0;
  while (length < max) {
    const bit = (from + length) & 63;
    if (from + length >= mapSize(map)) break;
    const used = load<u64>(wordAt(map, 0, (from + length) >> 6)) >> bit;
    if (used) {
      length += <u32>ctz(used);
      break;
    }
    length += 64 - bit;
  }
  return min(length, max);
}

/** True when all of bits [first, first + count) of a plain row of words are set (or all clear). */
export function bitsAre(base: usize, first: u32, count: u32, set: bool): bool {
  let at = first;
  const end = first + count;
  while (at < end) {
    const bit = at & 63;
    const n = min(64 - bit, end - at);
    const want = mask(bit, n);
    const word = load<u64>(base + ((<usize>(at >> 6)) << 3)) & want;
    if (word != (set ? want : 0)) return false;
    at += n;
  }
  return true;
}

/** Bits set among [first, first + count) of a plain row of words. */
export function countBits(base: usize, first: u32, count: u32): u32 {
  let set: u32 = 0;
  const end = first + count;
  for (let at = first; at < end; ) {
    const n = min(64 - (at & 63), end - at);
    set += <u32>popcnt(load<u64>(base + ((<usize>(at >> 6)) << 3)) & mask(at & 63, n));
    at += n;
  }
  return set;
}

/** Sets or clears bits [first, first + count) of a plain row of words. */
export function putBits(base: usize, first: u32, count: u32, set: bool): void {
  let at = first;
  const end = first + count;
  while (at < end) {
    const bit = at & 63;
    const n = min(64 - bit, end - at);
    const word = base + ((<usize>(at >> 6)) << 3);
    store<u64>(word, set ? load<u64>(word) | mask(bit, n) : load<u64>(word) & ~mask(bit, n));
    at += n;
  }
}

/** True when all of [first, first + count) is used (or, with `used` false, free). */
export function mapIs(map: usize, first: u32, count: u32, used: bool): bool {
  if (<u64>first + count > mapSize(map)) return false;
  return bitsAre(levelBase(map, 0), first, count, used);
}

/** Marks `bits` of word `index`, all of them free, as used. */
export function useBits(map: usize, index: u32, bits: u64): void {
  const levels = load<u32>(map, LEVELS);
  let at = index;
  if (DEBUGGING) assert(!(mapWord(map, at) & bits), "a slot or entry in use is taken");
  let word = load<u64>(wordAt(map, 0, at)) | bits;
  store<u64>(wordAt(map, 0, at), word);
  for (let level: u32 = 1; level < levels && word == ~(<u64>0); level++) {
    word = load<u64>(wordAt(map, level, at >> 6)) | ((<u64>1) << (at & 63));
    store<u64>(wordAt(map, level, at >> 6), word);
    at >>= 6;
  }
  store<u32>(map, mapFree(map) - <u32>popcnt(bits), FREE);
}

/** Marks `bits` of word `index`, all of them used, as free. */
export function freeBits(map: usize, index: u32, bits: u64): void {
  const levels = load<u32>(map, LEVELS);
  let at = index;
  if (DEBUGGING) assert((mapWord(map, at) & bits) == bits, "a free slot or entry is freed");
  let word = load<u64>(wordAt(map, 0, at));
  store<u64>(wordAt(map, 0, at), word & ~bits);
  for (let level: u32 = 1; level < levels && word == ~(<u64>0); level++) {
    word = load<u64>(wordAt(map, level, at >> 6));
    store<u64>(wordAt(map, level, at >> 6), word & ~((<u64>1) << (at & 63)));
    at >>= 6;
  }
  store<u32>(map, mapFree(map) + <u32>popcnt(bits), FREE);
}

/** Takes [first, first + count), all of it free. */
export function markUsed(map: usize, first: u32, count: u32): void {
  const end = first + count;
  for (let at = first; at < end; ) {
    const n = min(64 - (at & 63), end - at);
    useBits(map, at >> 6, mask(at & 63, n));
    at += n;
  }
}

/** Frees [first, first + count). False, and nothing changed, unless all of it was used. */
export function mapRelease(map: usize, first: u32, count: u32): bool {
  if (!mapIs(map, first, count, true)) {
    if (DEBUGGING) assert(false, "a free slot or entry is freed");
    return false;
  }
  const end = first + count;
  for (let at = first; at < end; ) {
    const n = min(64 - (at & 63), end - at);
    freeBits(map, at >> 6, mask(at & 63, n));
    at += n;
  }
  if (count >= CLUSTER && first < load<u32>(map, CURSOR)) store<u32>(map, first, CURSOR);
  return true;
}

/**
 * One past the last unit in use, those set in the row `ignored` aside: from now on nothing above counts as
 * ever used. What is looked at was used before, so this costs no more than using it did.
 */
export function mapReach(map: usize, ignored: usize): u32 {
  const high = load<u32>(map, HIGH);
  let reach: u32 = 0;
  for (let index = (high + 63) >> 6; index > 0 && !reach; index--) {
    const first = (index - 1) << 6;
    const ever = mask(0, min(high - first, 64));
    const used = mapWord(map, index - 1) & ~load<u64>(ignored + (<usize>first >> 3)) & ever;
    if (used) reach = first + 64 - <u32>clz(used);
  }
  store<u32>(map, reach, HIGH);
  store<u32>(map, min(load<u32>(map, CURSOR), reach), CURSOR);
  return reach;
}

/**
 * Takes a run of up to `want` units, next-fit from the cursor: the first run that is long enough, or
 * the longest of a few. While at least half of what was ever used is free it stays within that, so
 * that a store holds at most about twice what is in it. With `exact`, only a run of `want` will do
 * and the whole map is searched. Returns the first unit, and its length through `lengthAt`; -1 when
 * there is none.
 */
export function mapTake(map: usize, want: u32, exact: bool, lengthAt: usize): i32 {
  if (want == 0 || mapFree(map) < (exact ? want : 1)) return -1;
  let best: i32 = -1;
  let bestLength: u32 = 0;
  const high = load<u32>(map, HIGH);
  const sparse = high != 0 && mapSize(map) - mapFree(map) <= high >> 1;
  const end = sparse && !exact ? high : mapLimit(map);
  let from = load<u32>(map, CURSOR);
  if (from >= high && sparse) from = 0;
  let wrapped = false;
  const start = from;
  const probes = probesOf(map);
  for (let probe: u32 = 0; exact || best < 0 || probe < probes; probe++) {
    const at = nextFree(map, from);
    if (at < 0 || <u32>at >= end || (wrapped && <u32>at >= start)) {
      // Once round: past the end, or back at the start. The run under the start was seen first.
      if (wrapped) break;
      wrapped = true;
      from = 0;
      continue;
    }
    const length = runLength(map, at, min(want, end - at));
    if (length > bestLength) {
      best = at;
      bestLength = length;
      if (length == want) break;
    }
    from = at + length;
  }
  if (best < 0 || (exact && bestLength < want)) return -1;
  markUsed(map, best, bestLength);
  store<u32>(map, best + bestLength, CURSOR);
  store<u32>(map, max(high, best + bestLength), HIGH);
  store<u32>(lengthAt, bestLength);
  return best;
}

/**
 * Raw bit of level 0 without upkeep of counts and summaries, for check(): clears (or sets) the bit
 * and says whether it was used.
 */
export function mapProbe(map: usize, unit: u32, used: bool): bool {
  const at = wordAt(map, 0, unit >> 6);
  const bit = (<u64>1) << (unit & 63);
  const word = load<u64>(at);
  store<u64>(at, used ? word | bit : word & ~bit);
  return (word & bit) != 0;
}

/** True when counts and summaries agree with level 0. */
export function mapConsistent(map: usize): bool {
  const levels = load<u32>(map, LEVELS);
  let used: u64 = 0;
  let words = (mapSize(map) + 63) >> 6;
  for (let i: u32 = 0; i < words; i++) used += popcnt(load<u64>(wordAt(map, 0, i)));
  if (used != ((<u64>words) << 6) - mapFree(map)) return false;
  for (let level: u32 = 1; level < levels; level++) {
    for (let i: u32 = 0; i < words; i++) {
      const full = load<u64>(wordAt(map, level - 1, i)) == ~(<u64>0);
      const bit = (load<u64>(wordAt(map, level, i >> 6)) >> (i & 63)) & 1;
      if (full != (bit == 1)) return false;
    }
    words = (words + 63) >> 6;
  }
  return true;
}
