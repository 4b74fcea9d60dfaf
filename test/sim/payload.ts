/* Bytes that are written, and where: of every size, across pages and windows, and zeros among them. */
import { PAGE_SIZE } from "../../assembly/abi.ts";

/** Bytes that tell where they belong, and of which write they are; now and then zeros, or all alike. */
export function payload(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  const kind = seed % 16;
  if (kind === 1) words.fill(seed);
  else if (kind !== 0)
    for (let i = 0, at = seed; i < words.length; i++, at += 0x9e3779b1) words[i] = at;
  // Pages of zeros among others.
  if (kind === 2) words.fill(0, 0, words.length >> 1);
  return new Uint8Array(words.buffer, 0, length);
}

/** Bytes [offset, offset + length) of `size`. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** A range that two numbers choose: all of it, some bytes, some pages, the end. */
export function rangeOf(size: number, a: number, b: number, most: number): Range {
  const kind = b % 8;
  const number = b >>> 3;
  if (kind === 0) return { offset: 0, length: Math.min(size, most) };
  let length = 1 + (number % 100);
  if (kind === 1 || kind === 2) length = 1 + (number % (3 * PAGE_SIZE));
  if (kind === 3 || kind === 4) length = (1 + (number % 12)) * PAGE_SIZE;
  if (kind === 5) length = 1 + (number % size);
  length = Math.min(length, size, most);
  let offset = a % (size - length + 1);
  if (kind === 3 || kind === 4) offset -= offset % PAGE_SIZE;
  if (kind === 6) offset = size - length;
  return { offset, length };
}

/** A size of a buffer, up to so many pages. */
export function sizeOf(a: number, b: number, pagesMax: number): number {
  const pages = 1 + (a % pagesMax);
  return b % 3 === 0 ? pages * PAGE_SIZE : (pages - 1) * PAGE_SIZE + 1 + (b % PAGE_SIZE);
}
