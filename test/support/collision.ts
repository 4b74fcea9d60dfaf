import { PAGE_SIZE } from "../../assembly/abi.ts";

const WORDS = PAGE_SIZE / 2;
/** Words of a vector, and of a step of two. */
const VECTOR = 8;
const STEP = 16;

/**
 * Two pages with the same checksum under a key, which are made from it. Where a pair's x is -k it adds nothing
 * to the first sum, whatever y is; and of two such pairs the changes of y are chosen to cancel in the second.
 *
 * @param key the words of a device's key
 * @param below a random number of 0 .. limit - 1
 */
export function collision(
  key: Int16Array,
  below: (limit: number) => number,
): { one: Uint8Array<ArrayBuffer>; other: Uint8Array<ArrayBuffer> } {
  const word = (at: number) => key[at] as number;
  const weight = (at: number) => ((word(at + STEP) - word(at)) << 16) >> 16;
  const pair = () => STEP * below(WORDS / STEP) + below(VECTOR);
  const [i, j] = [pair(), pair()];
  const changes = [weight(j), -weight(i)] as const;
  if (i === j || changes.some((change) => change === 0 || Math.abs(change) === 0x8000)) {
    return collision(key, below);
  }
  const words = Int16Array.from({ length: WORDS }, () => below(0x10000));
  for (const at of [i, j]) {
    words[at] = -word(at);
    words[at + VECTOR] = -word(at + VECTOR + STEP);
  }
  const one = new Uint8Array(words.slice().buffer);
  [i, j].forEach((at, n) => {
    words[at + VECTOR] = (words[at + VECTOR] as number) + (changes[n] as number);
  });
  return { one, other: new Uint8Array(words.buffer) };
}
