/*
 * The fast compressor of LZ4: the last place where the same hash was seen is the only match that is tried, and where
 * nothing matches for long, the steps get longer.
 */
import { BLOCK_BYTES, CODEC_PACKED, CODEC_RAW } from "../abi";
import { copyVectors } from "./copy";

/** One past the last position that the table may hold, of the blocks before. */
const STATE: usize = 256;
const TABLE: usize = 4096;

const HASH_BITS: u32 = 13;
const TABLE_BYTES: usize = 2 << HASH_BITS;

/** The format: a match has at least so many bytes; */
const MATCH_MIN: usize = 4;
/** the last so many are literals; */
const LAST_LITERALS: usize = 5;
/** and no match begins in the last so many. */
const MATCH_END: usize = 12;
/** A token, an offset, and what is written of a length before room for the rest of it is looked for. */
const SEQUENCE_MAX: usize = 16;
/** After 2^SKIP places without a match steps get longer by one. */
const SKIP: u32 = 6;

// @ts-ignore: decorator
@inline
function slotOf(at: usize): usize {
  return TABLE + (((load<u32>(at) * 2654435761) >> (32 - HASH_BITS)) << 1);
}

/**
 * Positions in the table count from the end of the block before, so that what earlier blocks left there is below this
 * one: the table is cleared when positions come to the end of their 16 bits, and not for each page.
 */
// @ts-ignore: decorator
@inline
function begin(bytes: u32): u32 {
  let first = load<u32>(STATE);
  if (first + bytes > <u32>BLOCK_BYTES) {
    first = 0;
    memory.fill(TABLE, 0, TABLE_BYTES);
  }
  store<u32>(STATE, first + bytes);
  return first;
}

/** How many bytes are the same from `a` and from `b` on; `a` ends at `end`. */
// @ts-ignore: decorator
@inline
function common(a: usize, b: usize, end: usize): usize {
  const start = a;
  while (a + 8 <= end) {
    const differ = load<u64>(a) ^ load<u64>(b);
    if (differ) return a - start + <usize>(ctz(differ) >> 3);
    a += 8;
    b += 8;
  }
  while (a < end && load<u8>(a) == load<u8>(b)) {
    a++;
    b++;
  }
  return a - start;
}

/** Writes what is left of a length behind its four bits in the token. */
// @ts-ignore: decorator
@inline
function putLength(to: usize, length: usize): usize {
  while (length >= 255) {
    store<u8>(to++, 255);
    length -= 255;
  }
  store<u8>(to, <u8>length);
  return to + 1;
}

/** Writes a token with the length of the literals, and these. */
// @ts-ignore: decorator
@inline
function putLiterals(to: usize, from: usize, length: usize): usize {
  const token = to++;
  if (length < 15) store<u8>(token, <u8>(length << 4));
  else {
    store<u8>(token, 15 << 4);
    to = putLength(to, length - 15);
  }
  copyVectors(to, from, length);
  return to + length;
}

/**
 * Compresses `bytes` of CODEC_RAW, from byte `from` on, to CODEC_PACKED.
 *
 * @returns how many bytes these are; 0 when they would be more than `room`, or there is nothing to compress
 */
export function compress(from: u32, bytes: u32, room: u32): u32 {
  if (bytes == 0 || bytes > <u32>BLOCK_BYTES || from > <u32>BLOCK_BYTES - bytes) return 0;
  if (room > <u32>BLOCK_BYTES) return 0;
  const start = <usize>CODEC_RAW + from;
  const end = start + bytes;
  const roomEnd = <usize>CODEC_PACKED + room;
  const first = begin(bytes);
  /** What a position is counted from: unsigned, so an older one is one beyond the end. */
  const base = start - first;
  let to: usize = CODEC_PACKED;
  if (bytes <= <u32>MATCH_END) return finish(to, start, end, roomEnd);
  const searchEnd = end - MATCH_END;
  const matchEnd = end - LAST_LITERALS;
  let anchor = start;
  let at = start + 1;
  store<u16>(slotOf(start), <u16>first);
  while (true) {
    // A place whose four bytes were seen before.
    let match: usize;
    let next = at;
    let tries: u32 = 1 << SKIP;
    while (true) {
      at = next;
      next += tries++ >> SKIP;
      if (next > searchEnd) return finish(to, anchor, end, roomEnd);
      const slot = slotOf(at);
      match = base + <usize>load<u16>(slot);
      store<u16>(slot, <u16>(at - base));
      if (match >= start && load<u32>(match) == load<u32>(at)) break;
    }
    while (at > anchor && match > start && load<u8>(at - 1) == load<u8>(match - 1)) {
      at--;
      match--;
    }
    const literals = at - anchor;
    if (to + literals + literals / 255 + SEQUENCE_MAX > roomEnd) return 0;
    let token = to;
    to = putLiterals(to, anchor, literals);
    // Matches that follow each other without a literal.
    while (true) {
      store<u16>(to, <u16>(at - match));
      to += 2;
      const length = common(at + MATCH_MIN, match + MATCH_MIN, matchEnd);
      at += MATCH_MIN + length;
      anchor = at;
      if (length < 15) store<u8>(token, load<u8>(token) | <u8>length);
      else {
        if (to + length / 255 + SEQUENCE_MAX > roomEnd) return 0;
        store<u8>(token, load<u8>(token) | 15);
        to = putLength(to, length - 15);
      }
      if (at > searchEnd) return finish(to, anchor, end, roomEnd);
      store<u16>(slotOf(at - 2), <u16>(at - 2 - base));
      const slot = slotOf(at);
      match = base + <usize>load<u16>(slot);
      store<u16>(slot, <u16>(at - base));
      if (match < start || load<u32>(match) != load<u32>(at)) break;
      if (to + SEQUENCE_MAX > roomEnd) return 0;
      token = to++;
      store<u8>(token, 0);
    }
    at++;
  }
}

/** The last literals. */
function finish(to: usize, anchor: usize, end: usize, roomEnd: usize): u32 {
  const literals = end - anchor;
  if (to + literals + literals / 255 + 2 > roomEnd) return 0;
  return <u32>(putLiterals(to, anchor, literals) - <usize>CODEC_PACKED);
}
