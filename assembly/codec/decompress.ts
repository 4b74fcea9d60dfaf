/*
 * The decompressor. What it is given may be anything: each length is held against what is left of the input and of the
 * output before a byte is copied, and an offset against what there is.
 */
import { BLOCK_BYTES, CODEC_PACKED, CODEC_RAW } from "../abi";
import { copyVectors } from "./copy";

const MATCH_MIN: usize = 4;

/** Of each offset below 16, which bytes of a vector repeat those of so many. */
for (let offset: u32 = 1; offset < 16; offset++) {
  for (let i: u32 = 0; i < 16; i++) store<u8>((offset << 4) + i, <u8>(i % offset));
}

/** Copies `bytes` from `offset` before `to`, which may be among them: then they repeat. */
// @ts-ignore: decorator
@inline
function copyMatch(to: usize, offset: usize, bytes: usize): void {
  if (offset >= 16) {
    copyVectors(to, to - offset, bytes);
    return;
  }
  const repeat = v128.load(offset << 4);
  const pattern = i8x16.swizzle(v128.load(to - offset), repeat);
  const step = <usize>16 - (<usize>16 % offset);
  const end = to + bytes;
  do {
    v128.store(to, pattern);
    to += step;
  } while (to < end);
}

/**
 * Decompresses the first `bytes` of CODEC_PACKED to CODEC_RAW, up to `wanted` bytes of it. With `whole` that must be all there
 * is: a block of another length is damaged.
 *
 * @returns 0, or -1 when it is no such block; what CODEC_RAW has then is unspecified
 */
export function decompress(bytes: u32, wanted: u32, whole: bool): i32 {
  if (bytes > <u32>BLOCK_BYTES || wanted > <u32>BLOCK_BYTES) return -1;
  let at: usize = CODEC_PACKED;
  const end = at + bytes;
  let to: usize = CODEC_RAW;
  const toEnd = to + wanted;
  while (at < end) {
    const token = <usize>load<u8>(at++);
    let literals = token >> 4;
    if (literals == 15) {
      let more: usize;
      do {
        if (at >= end) return -1;
        more = <usize>load<u8>(at++);
        literals += more;
      } while (more == 255);
    }
    if (literals > end - at) return -1;
    if (literals > toEnd - to) {
      if (whole) return -1;
      literals = toEnd - to;
    }
    copyVectors(to, at, literals);
    to += literals;
    at += literals;
    if (to == toEnd && (!whole || at == end)) return 0;
    if (end - at < 2) return -1;
    const offset = <usize>load<u16>(at);
    at += 2;
    if (offset == 0 || offset > to - <usize>CODEC_RAW) return -1;
    let length = token & 15;
    if (length == 15) {
      let more: usize;
      do {
        if (at >= end) return -1;
        more = <usize>load<u8>(at++);
        length += more;
      } while (more == 255);
    }
    length += MATCH_MIN;
    if (length > toEnd - to) {
      if (whole) return -1;
      length = toEnd - to;
    }
    copyMatch(to, offset, length);
    to += length;
    if (to == toEnd && !whole) return 0;
  }
  return -1;
}
