/*
 * The LZ4 block format, written down a second time: a decoder byte by byte, and blocks that are made of sequences
 * drawn at random instead of matches that were found.
 */
import type { Random } from "./random.ts";

/** What a block holds, up to `most` bytes; `undefined` when it is none. With `whole` it must hold just these. */
export function decode(block: Uint8Array, most: number, whole: boolean): Uint8Array | undefined {
  const out = new Uint8Array(most);
  let [at, to] = [0, 0];
  const more = (start: number): number => {
    let length = start;
    if (start < 15) return length;
    for (;;) {
      const byte = block[at++];
      if (byte === undefined) return Number.NaN;
      length += byte;
      if (byte < 255) return length;
    }
  };
  while (at < block.length) {
    const token = block[at++] as number;
    const literals = more(token >> 4);
    if (!(literals <= block.length - at)) return undefined;
    for (let i = 0; i < literals; i++) {
      if (to === most) return whole ? undefined : out;
      out[to++] = block[at++] as number;
    }
    if (to === most && (!whole || at === block.length)) return out;
    if (block.length - at < 2) return undefined;
    const offset = (block[at] as number) | ((block[at + 1] as number) << 8);
    at += 2;
    if (offset === 0 || offset > to) return undefined;
    const length = more(token & 15) + 4;
    if (Number.isNaN(length)) return undefined;
    for (let i = 0; i < length; i++) {
      if (to === most) return whole ? undefined : out;
      out[to] = out[to - offset] as number;
      to++;
    }
    if (to === most && !whole) return out;
  }
  return undefined;
}

/** A block of random sequences, up to `most` bytes when it is decoded, and what it holds. */
export function randomBlock(
  random: Random,
  most: number,
): { readonly block: Uint8Array; readonly bytes: number } {
  const block: number[] = [];
  let bytes = 0;
  const length = (least: number): number => {
    const scale = random.pick([4, 20, 40, 300, 3000]);
    return least + random.below(scale);
  };
  const put = (rest: number): void => {
    for (let left = rest; left >= 0; left -= 255) block.push(Math.min(left, 255));
  };
  const literals = (count: number): void => {
    if (count >= 15) put(count - 15);
    for (let i = 0; i < count; i++) block.push(random.below(256));
    bytes += count;
  };
  for (;;) {
    const some = bytes === 0 ? length(1) : random.chance(0.4) ? 0 : length(1);
    const match = length(4);
    if (bytes + some + match + 5 > most) break;
    block.push((Math.min(some, 15) << 4) | Math.min(match - 4, 15));
    literals(some);
    const offset = 1 + random.below(Math.min(bytes, random.pick([1, 3, 8, 16, 17, 40, 65535])));
    block.push(offset & 255, offset >> 8);
    if (match - 4 >= 15) put(match - 19);
    bytes += match;
  }
  const last = 5 + random.below(Math.min(most - bytes - 4, 40));
  block.push(Math.min(last, 15) << 4);
  literals(last);
  return { block: Uint8Array.from(block), bytes };
}
