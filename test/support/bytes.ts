import { Buffer } from "node:buffer";
import { type BufferObject, type OperationOptions, PAGE_SIZE } from "../../src/index.ts";
import { Random } from "./random.ts";

/** Random bytes; a page of a pattern is a stretch of them. */
const NOISE: Uint8Array = noise(32 * PAGE_SIZE);

function noise(length: number): Uint8Array {
  const random = new Random(1);
  const words = Uint32Array.from({ length: length / 4 }, () => random.next());
  return new Uint8Array(words.buffer);
}

/** Bytes no two pages of which look alike, and none of another seed. */
export function pattern(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0, page = 0; at < length; at += PAGE_SIZE, page++) {
    const mark = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(page, 0x85ebca77)).next();
    const from = mark % (NOISE.length - PAGE_SIZE);
    bytes.set(NOISE.subarray(from, from + Math.min(PAGE_SIZE, length - at)), at);
    for (let i = 0; i < 4 && at + i < length; i++) bytes[at + i] = mark >>> (8 * i);
  }
  return bytes;
}

/** The same, but of three pages one is short when it is compressed, and one a word over and over. */
export function mixedPattern(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = pattern(seed, length);
  for (let at = 0, page = 0; at < length; at += PAGE_SIZE, page++) {
    const end = Math.min(at + PAGE_SIZE, length);
    const part = page % 3 === 1 ? 256 : 4;
    if (page % 3 === 0) continue;
    bytes[at] = (bytes[at] as number) | 1; // lest it is zeros
    for (let to = at + part; to < end; to += part)
      bytes.copyWithin(to, at, Math.min(at + part, at + end - to));
  }
  return bytes;
}

/** @throws Error naming the first byte that differs */
export function expectSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} bytes instead of ${expected.length}`);
  }
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  const page = Math.floor(at / PAGE_SIZE);
  throw new Error(`${what}: byte ${at} (page ${page}) is ${actual[at]}, not ${expected[at]}`);
}

export function expectZeros(actual: Uint8Array, what: string): void {
  expectSame(actual, new Uint8Array(actual.length), what);
}

/** All of a buffer's bytes. */
export function contentSync(bo: BufferObject, options?: OperationOptions): Uint8Array {
  return bo.readSync(0, new Uint8Array(bo.size), options);
}

export function content(bo: BufferObject, options?: OperationOptions): Promise<Uint8Array> {
  return bo.read(0, new Uint8Array(bo.size), options);
}
