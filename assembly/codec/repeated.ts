import { BLOCK_PAGES, CODEC_RAW, PAGE_SHIFT, PAGE_SIZE } from "../abi";

/**
 * How many pages of CODEC_RAW, from page `from` on and before page `to`, hold nothing but their first four bytes over
 * and over, up to the first that does not; with `not` how many do hold something else, up to the first that does not.
 */
export function repeated(from: u32, to: u32, not: bool): u32 {
  if (to > <u32>BLOCK_PAGES) return 0;
  let page = from;
  while (page < to && isRepeated(<usize>CODEC_RAW + ((<usize>page) << PAGE_SHIFT)) != not) page++;
  return page - from;
}

function isRepeated(address: usize): bool {
  const word = i32x4.splat(load<i32>(address));
  for (let at = address; at < address + PAGE_SIZE; at += 64) {
    const differ = v128.or(
      v128.or(v128.xor(v128.load(at), word), v128.xor(v128.load(at, 16), word)),
      v128.or(v128.xor(v128.load(at, 32), word), v128.xor(v128.load(at, 48), word)),
    );
    if (v128.any_true(differ)) return false;
  }
  return true;
}
