/*
 * What is known here of pages whose sealed bytes lie elsewhere: for each slot the number that its nonce was made of, and
 * its tag. So who can write to the store can neither make up a page nor bring back what a slot held before.
 */
import { TtmError } from "../errors.ts";
import type { View } from "../host_types.ts";
import type { SlotRange } from "./types.ts";

/** Bytes of a nonce, as AES-GCM wants it. */
export const NONCE_BYTES = 12;
/** Bytes of a tag. */
export const TAG_BYTES = 16;

/** Bytes of a nonce that are random, the same for all of a key; the others count. */
const PREFIX_BYTES = 6;
/** Numbers that the rest of a nonce has room for. */
const NUMBERS = 2 ** 48;
/** Slots that are taken down together: 24 KiB, for 4 MiB of pages. */
const CHUNK_SLOTS = 1024;

/** Seals of slots side by side. */
interface Chunk {
  /** By slot; 0: there is none. */
  readonly numbers: Float64Array;
  readonly tags: View;
  /** How many there are. */
  count: number;
}

/** Nonces that were never used before, and the seals of the slots: 24 bytes each, for those that are in use. */
export class Seals {
  readonly #prefix: View = new Uint8Array(PREFIX_BYTES);
  readonly #chunks = new Map<number, Chunk>();
  #last: number;

  /** @param used how many numbers count as used: all but a few, to see what comes then */
  constructor(used = 0) {
    globalThis.crypto.getRandomValues(this.#prefix);
    this.#last = used;
  }

  /** Bytes that the seals take. */
  get bytes(): number {
    return this.#chunks.size * CHUNK_SLOTS * (8 + TAG_BYTES);
  }

  /**
   * A number, from 1 on, that no nonce was made of yet.
   *
   * @throws TtmError EIO when there is none left: what is stored can be read all the same
   */
  next(): number {
    if (this.#last < NUMBERS - 1) return ++this.#last;
    const text = "all of the key's 2^48 nonces are used up; create another device";
    throw new TtmError("EIO", "shrink", text);
  }

  /** Writes the nonce of a number to where `nonce` is. */
  nonce(number: number, nonce: View): void {
    nonce.set(this.#prefix);
    let left = number;
    for (let at = NONCE_BYTES - 1; at >= PREFIX_BYTES; at--) {
      nonce[at] = left % 256;
      left = Math.floor(left / 256);
    }
  }

  /** The number of a slot's nonce; 0: nothing is there that can be read. */
  numberOf(slot: number): number {
    return this.#chunks.get(Math.floor(slot / CHUNK_SLOTS))?.numbers[slot % CHUNK_SLOTS] ?? 0;
  }

  /** The tag of a slot that has a number. */
  tagOf(slot: number): View {
    const { tags } = this.#chunks.get(Math.floor(slot / CHUNK_SLOTS)) as Chunk;
    const at = (slot % CHUNK_SLOTS) * TAG_BYTES;
    return tags.subarray(at, at + TAG_BYTES);
  }

  /** Takes down what a slot holds now. */
  set(slot: number, number: number, tag: View): void {
    const index = Math.floor(slot / CHUNK_SLOTS);
    let chunk = this.#chunks.get(index);
    if (!chunk) {
      const [numbers, tags] = [new Float64Array(CHUNK_SLOTS), CHUNK_SLOTS * TAG_BYTES];
      chunk = { numbers, tags: new Uint8Array(tags), count: 0 };
      this.#chunks.set(index, chunk);
    }
    const at = slot % CHUNK_SLOTS;
    if (chunk.numbers[at] === 0) chunk.count++;
    chunk.numbers[at] = number;
    chunk.tags.set(tag, at * TAG_BYTES);
  }

  /** What slots held can never be read again. */
  forget(ranges: readonly SlotRange[]): void {
    const last = Math.max(-1, ...this.#chunks.keys());
    for (const { slot, pages } of ranges) {
      const end = slot + pages;
      for (let at = slot; at < end && at < (last + 1) * CHUNK_SLOTS; ) {
        const index = Math.floor(at / CHUNK_SLOTS);
        const to = Math.min((index + 1) * CHUNK_SLOTS, end);
        this.#forgetIn(index, at - index * CHUNK_SLOTS, to - index * CHUNK_SLOTS);
        at = to;
      }
    }
  }

  #forgetIn(index: number, from: number, to: number): void {
    const chunk = this.#chunks.get(index);
    if (!chunk) return;
    const { numbers } = chunk;
    for (let at = from; at < to; at++) {
      if (numbers[at] !== 0) chunk.count--;
      numbers[at] = 0;
    }
    if (chunk.count === 0) this.#chunks.delete(index);
  }
}
