/*
 * Pages by slot, compressed. Neighbours that are written together become one block of up to 16 pages: of real files a
 * block of 64 KiB is a quarter smaller than its pages one by one (1.96 to 1.55 in bench/peers/compressed), and is compressed
 * in three quarters of the time, as what a page repeats stands mostly in the pages before it. To read one page of a block
 * decompresses those before it as well: 12 us at an average instead of 2, which is less than a read of most stores.
 *
 * A block stays as long as one of its pages counts. One that holds many that do not is compressed anew, with
 * zeros in their place, when memory is wanted.
 */
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  CODEC_PACKED,
  CODEC_RAW,
  PAGE_SIZE,
} from "../../../assembly/abi.ts";
import type { Codec } from "../../codec/codec.ts";
import { coded } from "../coded.ts";
import type { SlotRange, SwapRun } from "../types.ts";
import { INDEX_SHIFT, Objects } from "./objects.ts";
import { Pages } from "./pages.ts";
import type { Block } from "./segment.ts";
import { classBytes, sizeClass } from "./sizes.ts";

/** Different words that pages of one word are told apart by. */
const WORDS_MAX = 2 ** INDEX_SHIFT - 2;
/**
 * Of the limit an eighth, and so many bytes at least, is kept for slots that are written again: other content may take
 * more, and what is left of blocks and pages of memory between sizes takes something, too.
 */
const RESERVE = 1 / 8;
const RESERVE_LEAST = 2 ** 18;
/** What could be gained for less than this part of the limit is let be. */
const GAIN_LEAST = 1 / 32;
/** Waste is let be up to so much, and up to this part of the memory. */
const WASTE_LEAST = 2 ** 22;
const WASTE_MAX = 1 / 8;
/** Bytes that are free between objects of a size before these are moved; bytes that a write, or a discard, moves at most. */
const GAPS_LEAST = 2 ** 16;
const MOVED_MAX = { write: 2 ** 21, discard: 2 ** 25 } as const;
/** Of the pages of a block that are not blank so many may count for it to be compressed anew. */
const HALF = 1 / 2;

/** How pages are kept. */
interface BlocksOptions {
  readonly slots: number;
  /** Most bytes of memory for pages. */
  readonly limit: number;
  /** Whether to compress. */
  readonly compress: boolean;
  /** Whether blocks that do not shrink are kept as they are, or refused. */
  readonly raw: boolean;
}

/** What a store holds. */
export interface BlocksFigures {
  /** Pages that count; of these, those of one word over and over, and those that are not compressed. */
  readonly pages: number;
  readonly same: number;
  readonly raw: number;
  /** Bytes of the blocks, compressed. */
  readonly bytes: number;
  /** Bytes of memory that they lie in. */
  readonly storage: number;
  /** How many times smaller blocks are than their pages. */
  readonly ratio: number;
}

/** Pages of some slots. */
export class Blocks {
  readonly #codec: Codec;
  readonly #options: BlocksOptions;
  /** By slot: 0 for nothing, the number of a word from 1 on, or that of an object. */
  readonly #where: Uint32Array;
  readonly #objects: Objects;
  /** What pages of one word consist of. */
  readonly #words: number[] = [];
  readonly #numbers: Map<number, number> = new Map();
  /** Pages of one word; pages of blocks: those that count, of these those not compressed, and those that do not count. */
  #same = 0;
  #live = 0;
  #raw = 0;
  #dead = 0;
  /** Bytes of all blocks. */
  #bytes = 0;
  /** The segment whose blocks are looked at next. */
  #next = 1;

  constructor(codec: Codec, options: BlocksOptions) {
    this.#where = new Uint32Array(options.slots + 1);
    this.#codec = codec;
    this.#options = options;
    this.#objects = new Objects((block, object) => this.#lead(block, object));
  }

  get figures(): BlocksFigures {
    const bytes = this.#bytes;
    return {
      pages: this.#live + this.#same,
      same: this.#same,
      raw: this.#raw,
      bytes,
      storage: this.#objects.storage,
      ratio: bytes === 0 ? 1 : ((this.#live + this.#dead) * PAGE_SIZE) / bytes,
    };
  }

  /** Leads the slots of a block to where it is. */
  #lead({ first, live }: Block, object: number): void {
    for (let slot = first, bits = live; bits !== 0; slot++, bits >>>= 1) {
      if (bits & 1) this.#where[slot] = object;
    }
  }

  /**
   * Stores the pages of a run. Returns how many, in order: fewer than there are when there is no room for more.
   *
   * @throws RangeError when the host has no memory for it
   */
  write({ slot, views }: SwapRun): number {
    const pages = new Pages(views);
    const most = this.#options.compress ? BLOCK_PAGES : 1;
    for (let done = 0; done < pages.count; ) {
      const some = Math.min(pages.count - done, most);
      const limit = this.#makeRoom(slot + done, some);
      pages.take(some, this.#codec.bytes, CODEC_RAW);
      const stored = this.#put(slot + done, some, limit);
      done += stored;
      if (stored < some) return done;
    }
    this.#tidy(MOVED_MAX.write);
    return pages.count;
  }

  /** Frees what the slots held. Returns how much memory there may be then. */
  #makeRoom(slot: number, pages: number): number {
    let { limit } = this.#options;
    const reserve = Math.max(limit * RESERVE, RESERVE_LEAST);
    for (let i = slot; i < slot + pages; i++) {
      if (!this.#free(i)) limit = this.#options.limit - reserve;
    }
    // Now, as it needs the codec's memory.
    this.#shrinkTo(limit - BLOCK_BYTES);
    return limit;
  }

  /** Stores the first pages of the codec's block. Returns how many. */
  #put(slot: number, pages: number, limit: number): number {
    const { words } = this.#codec;
    for (let done = 0; done < pages; ) {
      const other = this.#codec.repeated(done, pages, true);
      if (other > 0) {
        if (!this.#putBlock(slot + done, done, other, limit)) return done;
        done += other;
        continue;
      }
      const number = this.#numberOf(words[(CODEC_RAW + done * PAGE_SIZE) >>> 2] as number);
      if (number > 0) {
        this.#where[slot + done] = number;
        this.#same++;
      } else if (!this.#putBlock(slot + done, done, 1, limit)) return done;
      done++;
    }
    return pages;
  }

  /** The number of a word; 0 when there are too many. */
  #numberOf(word: number): number {
    let number = this.#numbers.get(word) ?? 0;
    if (number === 0 && this.#words.length < WORDS_MAX) {
      number = this.#words.push(word);
      this.#numbers.set(word, number);
    }
    return number;
  }

  /** Stores pages from page `from` of the codec's block on, as one. Says whether there was room. */
  #putBlock(first: number, from: number, pages: number, limit: number): boolean {
    const codec = this.#codec;
    const { compress, raw } = this.#options;
    const whole = pages * PAGE_SIZE;
    // What stays larger than three quarters is not worth the time to read it.
    const size = compress ? codec.compress(from * PAGE_SIZE, whole, (whole / 4) * 3) : 0;
    if (size === 0 && !raw) return false;
    const bytes = size || whole;
    const at = size > 0 ? CODEC_PACKED : CODEC_RAW + from * PAGE_SIZE;
    const block = { first, pages, live: 2 ** pages - 1, blank: 0, bytes };
    const object = this.#objects.put(block, codec.bytes, at, limit);
    if (object === 0) return false;
    this.#where.fill(object, first, first + pages);
    this.#live += pages;
    this.#bytes += bytes;
    if (size === 0) this.#raw += pages;
    return true;
  }

  /**
   * Reads the pages of a run.
   *
   * @throws Error EIO when a slot holds nothing, or what is damaged
   */
  read({ slot, views }: SwapRun): void {
    const pages = new Pages(views);
    const where = this.#where;
    for (let done = 0; done < pages.count; ) {
      const at = slot + done;
      const object = where[at] as number;
      let some = 1;
      const most = Math.min(pages.count - done, BLOCK_PAGES);
      while (some < most && where[at + some] === object) some++;
      if (object >= 2 ** INDEX_SHIFT) this.#readBlock(object, at, some, pages);
      else if (object > 0) this.#readWord(object, some, pages);
      else throw coded("EIO", `slot ${at} holds nothing`);
      done += some;
    }
  }

  #readWord(number: number, some: number, pages: Pages): void {
    const { words, bytes } = this.#codec;
    const word = this.#words[number - 1] as number;
    words.fill(word, CODEC_RAW >>> 2, (CODEC_RAW + some * PAGE_SIZE) >>> 2);
    pages.put(some, bytes, CODEC_RAW);
  }

  #readBlock(object: number, slot: number, some: number, pages: Pages): void {
    const block = this.#objects.blockOf(object);
    const from = slot - block.first;
    if (isRaw(block)) {
      pages.put(some, this.#objects.contentOf(object), from * PAGE_SIZE);
      return;
    }
    if (!this.#unpack(object, block, from + some)) {
      throw coded("EIO", `slot ${slot} cannot be read: its block of compressed pages is damaged`);
    }
    pages.put(some, this.#codec.bytes, CODEC_RAW + from * PAGE_SIZE);
  }

  /** Decompresses the first `pages` of a block. Says whether it could. */
  #unpack(object: number, block: Block, pages: number): boolean {
    const codec = this.#codec;
    codec.bytes.set(this.#objects.contentOf(object), CODEC_PACKED);
    return codec.decompress(block.bytes, pages * PAGE_SIZE, pages === block.pages) === 0;
  }

  /** Slots hold nothing any more. */
  discard(ranges: readonly SlotRange[]): void {
    for (const { slot, pages } of ranges) {
      for (let i = slot; i < slot + pages; i++) this.#free(i);
    }
    this.#tidy(MOVED_MAX.discard);
  }

  /** A slot holds nothing any more. Says whether it did. */
  #free(slot: number): boolean {
    const object = this.#where[slot] as number;
    if (object === 0) return false;
    this.#where[slot] = 0;
    if (object < 2 ** INDEX_SHIFT) {
      this.#same--;
      return true;
    }
    const block = this.#objects.blockOf(object);
    const live = block.live & ~(1 << (slot - block.first));
    this.#live--;
    this.#dead++;
    if (isRaw(block)) this.#raw--;
    if (live !== 0) this.#objects.setLive(object, live);
    else {
      this.#dead -= block.pages - block.blank;
      this.#bytes -= block.bytes;
      this.#objects.free(object);
    }
    return true;
  }

  /** Keeps down what writes leave behind, a little at a time. */
  #tidy(most: number): void {
    const { storage, used } = this.#objects;
    if (storage - used > Math.max(storage * WASTE_MAX, WASTE_LEAST)) {
      this.#objects.compact(GAPS_LEAST, most);
    }
    if (this.#dead * PAGE_SIZE < WASTE_LEAST || this.#dead < this.#live * HALF) return;
    this.#next = (this.#next % this.#objects.segments) + 1;
    this.#repackSegment(this.#next, HALF);
  }

  /** Tries to have no more than `bytes` of memory, if there is something to be gained. */
  #shrinkTo(bytes: number): void {
    const objects = this.#objects;
    const least = this.#options.limit * GAIN_LEAST;
    if (objects.storage <= bytes) return;
    objects.dropSpares();
    if (objects.storage - objects.used >= least) objects.compact(1);
    for (const part of [HALF, 3 / 4, 1]) {
      if (objects.storage <= bytes || this.#deadBytes < least) return;
      this.#repack(part);
      objects.compact(1);
    }
  }

  /** Bytes of blocks that pages take which do not count any more. */
  get #deadBytes(): number {
    return this.#dead === 0 ? 0 : (this.#bytes * this.#dead) / (this.#live + this.#dead);
  }

  /** Gives back what memory it can. Returns how many bytes that were. */
  trim(): number {
    const objects = this.#objects;
    const before = objects.storage;
    this.#repack(HALF);
    objects.compact(1);
    objects.dropSpares();
    // To move things together may need another extent at first.
    return Math.max(before - objects.storage, 0);
  }

  #repack(part: number): void {
    // Those that become smaller meanwhile are of segments that were looked at, or are left alone.
    for (let id = 1; id < this.#objects.segments; id++) this.#repackSegment(id, part);
  }

  /** Compresses blocks of a segment anew of whose pages that part, or less, counts. */
  #repackSegment(id: number, part: number): void {
    for (const object of this.#objects.inSegment(id)) {
      const block = this.#objects.blockOf(object);
      const live = countBits(block.live);
      if (live < block.pages - block.blank && live <= (block.pages - block.blank) * part) {
        this.#repackBlock(object, block, live);
      }
    }
  }

  #repackBlock(object: number, block: Block, live: number): void {
    const { bytes } = this.#codec;
    const objects = this.#objects;
    const blank = block.pages - live;
    this.#dead -= blank - block.blank;
    objects.setBlank(object, blank);
    if (isRaw(block)) bytes.set(objects.contentOf(object), CODEC_RAW);
    else if (!this.#unpack(object, block, block.pages)) return; // a read of it says so
    for (let i = 0; i < block.pages; i++) {
      const at = CODEC_RAW + i * PAGE_SIZE;
      if (!(block.live & (1 << i))) bytes.fill(0, at, at + PAGE_SIZE);
    }
    const kind = sizeClass(block.bytes);
    const room = kind > 0 ? classBytes(kind - 1) : 0;
    const size = this.#options.compress
      ? this.#codec.compress(0, block.pages * PAGE_SIZE, room)
      : 0;
    if (size === 0) return;
    const packed = { ...block, blank, bytes: size };
    const to = objects.put(packed, bytes, CODEC_PACKED, Number.POSITIVE_INFINITY);
    if (to === 0) return;
    objects.free(object);
    this.#lead(packed, to);
    this.#bytes += size - block.bytes;
    if (isRaw(block)) this.#raw -= live;
  }

  /** Nothing is held any more, and all memory given back. */
  clear(): void {
    this.#objects.clear();
  }
}

/** Whether a block is as it came. */
function isRaw({ bytes, pages }: Block): boolean {
  return bytes === pages * PAGE_SIZE;
}

function countBits(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}
