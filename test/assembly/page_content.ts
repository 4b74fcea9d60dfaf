/* Page vectors with known content: made, shrunk and restored by the engine alone, through RAM swap. */
import * as abi from "../../assembly/abi.ts";
import { Random } from "../support/random.ts";
import {
  type EngineUnderTest,
  type Extent,
  equal,
  type How,
  how,
  isHandle,
  isPage,
  must,
} from "./engine_under_test.ts";

/** A vector under test. */
export interface Vector {
  readonly vector: number;
  readonly entries: number;
}

const WORDS = abi.PAGE_SIZE / 4;

/** Fills a page with words that only this stamp gives; stamp 0 is a page of zeros. */
export function stampPage(page: Uint8Array, stamp: number): void {
  const words = new Uint32Array(page.buffer, page.byteOffset, WORDS);
  for (let i = 0; i < WORDS; i++) words[i] = Math.imul(stamp, 0x9e3779b1 + 2 * i);
}

export function randomBytes(bytes: Uint8Array, dice: Random): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = dice.next();
}

export function mustHaveStamp(page: Uint8Array, stamp: number, what: string): void {
  const words = new Uint32Array(page.buffer, page.byteOffset, WORDS);
  for (let i = 0; i < WORDS; i++) {
    if (words[i] !== Math.imul(stamp, 0x9e3779b1 + 2 * i) >>> 0) {
      throw new Error(`${what}: word ${i} is not that of stamp ${stamp}`);
    }
  }
}

/** Hands every free frame out once with bytes that are not zero, so that none counts as fresh. */
export function dirtyFrames(e: EngineUnderTest, byte: number = 0xa5): void {
  const taken: { pfn: number; order: number }[] = [];
  for (let order = abi.MAX_ORDER; order >= 0; ) {
    const pfn = e.wasm.allocPages(order);
    if (pfn < 0) {
      order--;
      continue;
    }
    e.page(pfn * abi.PAGE_SIZE, 1 << order).fill(byte);
    taken.push({ pfn, order });
  }
  // From the high end down, as a fresh memory has its lists.
  for (const { pfn, order } of taken.sort((a, b) => b.pfn - a.pfn)) {
    equal(e.wasm.givePages(pfn, order), 0, "givePages");
  }
}

/** Leaves exactly these frames (indexes) free, the others handed out one by one. */
export function leaveFree(e: EngineUnderTest, free: readonly number[]): void {
  const frames = e.freePages;
  for (let i = 0; i < frames; i++) must(e.wasm.allocPages(0) > 0, "a frame is free");
  for (const index of free) equal(e.wasm.givePages(e.firstPfn + index, 0), 0, "givePages");
}

export function newVector(e: EngineUnderTest, entries: number): Vector {
  const vector = e.wasm.vectorAlloc(entries);
  must(vector >= 0, `no room for a vector of ${entries}`);
  return { vector, entries };
}

export interface FillOptions extends How {
  readonly overwriteFrom?: number;
  readonly overwriteTo?: number;
  readonly budget?: number;
  readonly done?: number;
}

export function prepareFill(
  e: EngineUnderTest,
  { vector, entries }: Vector,
  start: number,
  options: FillOptions = {},
): number {
  const { overwriteFrom = 0, overwriteTo = 0, budget = abi.BATCH_PAGES_MAX, done = 0 } = options;
  return e.wasm.fillPrepare(
    vector,
    entries,
    start,
    done,
    budget,
    how(options),
    overwriteFrom,
    overwriteTo,
  );
}

/** Gives every entry from `start` on a page, restoring from RAM swap what lies there. */
export function fillAll(
  e: EngineUnderTest,
  v: Vector,
  { start = 0, ...options }: FillOptions & { start?: number } = {},
): void {
  let at = start;
  let done = options.done ?? 0;
  while (at < v.entries) {
    const covered = prepareFill(e, v, at, { ...options, done });
    must(covered > 0, `fillPrepare at ${at}: ${covered}`);
    readIn(e, e.extents(), 0, covered);
    const committed = e.wasm.fillCommit(
      v.vector,
      v.entries,
      at,
      done,
      covered,
      covered,
      how(options),
    );
    equal(committed, covered, "fillCommit");
    at += covered;
    done = 0;
  }
}

/** Gives single entries of a vector a new page each, and leaves the others as they are. */
export function fillSingly(
  e: EngineUnderTest,
  v: Vector,
  offsets: readonly number[],
  options: How = {},
): void {
  const one = { ...options, orderMax: 0, budget: 1 };
  for (const start of offsets) {
    equal(prepareFill(e, v, start, one), 1, "fillPrepare of one entry");
    const committed = e.wasm.fillCommit(v.vector, v.entries, start, 0, 1, 1, how(one));
    equal(committed, 1, "fillCommit of one entry");
  }
}

/** Copies what the extents name, for pages `from` .. `to` - 1 of the batch; returns their slots. */
export function readIn(
  e: EngineUnderTest,
  extents: readonly Extent[],
  from: number,
  to: number,
): number[] {
  const slots: number[] = [];
  for (const { address, slot, pages, at } of extents) {
    for (let i = 0; i < pages; i++) {
      if (at + i < from || at + i >= to) continue;
      e.page(address + i * abi.PAGE_SIZE).set(e.slot(slot + i));
      slots.push(slot + i);
    }
  }
  return slots;
}

/** The same in the other direction. */
export function writeOut(e: EngineUnderTest, extents: readonly Extent[], to: number): void {
  for (const { address, slot, pages, at } of extents) {
    for (let i = 0; i < pages && at + i < to; i++) {
      e.slot(slot + i).set(e.page(address + i * abi.PAGE_SIZE));
    }
  }
}

/** Notes the checksums of the pages that the extents name, as is done before they are written. */
export function sumExtents(e: EngineUnderTest, extents: readonly Extent[]): void {
  for (const { address, pages } of extents) {
    equal(e.wasm.sumPages(address / abi.PAGE_SIZE, pages), pages, "sumPages");
  }
}

/** Pages of the batch before the first whose content is not what its checksum says; or `to`. */
export function verifyExtents(e: EngineUnderTest, extents: readonly Extent[], to: number): number {
  for (const { address, pages, at } of extents) {
    const read = Math.min(pages, to - at);
    if (read <= 0) break;
    const good = e.wasm.verifyPages(address / abi.PAGE_SIZE, read);
    must(good >= 0 && good <= read, `verifyPages: ${good}`);
    if (good < read) return at + good;
  }
  return to;
}

/** Moves all pages of the vectors to RAM swap, with their checksums. */
export function shrinkAll(e: EngineUnderTest, vectors: readonly Vector[]): void {
  for (;;) {
    e.putItems(vectors.map((v) => ({ ...v, start: 0 })));
    const prepared = e.wasm.shrinkPrepare(vectors.length, abi.BATCH_PAGES_MAX);
    must(prepared >= 0, `shrinkPrepare: ${prepared}`);
    if (prepared === 0) return;
    sumExtents(e, e.extents());
    must(e.wasm.ramTransfer(1) <= prepared, "ramTransfer");
    equal(e.wasm.shrinkCommit(vectors.length, prepared), prepared, "shrinkCommit");
  }
}

/** Writes a stamp of its own into every page of a vector; those of the others are 0. */
export function stampVector(
  e: EngineUnderTest,
  { vector, entries }: Vector,
  seed: number,
): number[] {
  const dice = new Random(seed);
  return Array.from({ length: entries }, (_, i) => {
    const entry = e.entry(vector + i);
    if (!isPage(entry)) return 0;
    const stamp = dice.next() | 1;
    stampPage(e.page(entry), stamp);
    return stamp;
  });
}

/** Every entry has its content, wherever that lies now; an empty one counts as zeros. */
export function mustHaveStamps(
  e: EngineUnderTest,
  { vector, entries }: Vector,
  stamps: readonly number[],
): void {
  for (let i = 0; i < entries; i++) {
    const entry = e.entry(vector + i);
    if (isPage(entry)) mustHaveStamp(e.page(entry), stamps[i]!, `page of entry ${i}`);
    else if (isHandle(entry)) mustHaveStamp(e.slot(entry >>> 1), stamps[i]!, `slot of entry ${i}`);
    else equal(stamps[i], 0, `stamp of the empty entry ${i}`);
  }
}

/** Pages of each chunk of a vector, in order, as entries or held; 0 for an entry with neither. */
export function chunksOf(e: EngineUnderTest, { vector, entries }: Vector): number[] {
  const chunks: number[] = [];
  for (let i = 0; i < entries; ) {
    const entry = e.entry(vector + i);
    const page = isPage(entry) ? entry : e.shadow(vector + i);
    const pages = page === 0 ? 0 : 1 << e.order(page / abi.PAGE_SIZE);
    chunks.push(pages);
    i += Math.max(pages, 1);
  }
  return chunks;
}

/** Drops and frees the vectors: nothing may be left behind. */
export function dropAll(e: EngineUnderTest, vectors: readonly Vector[]): void {
  for (const { vector, entries } of vectors) {
    must(e.wasm.vectorDrop(vector, entries, 0) >= 0, "vectorDrop");
    equal(e.wasm.vectorFree(vector, entries), 0, "vectorFree");
  }
  e.mustHold("vectorDrop");
}

/** The same, and back again: with these vectors gone all frames and slots are free. */
export function mustDropClean(e: EngineUnderTest, vectors: readonly Vector[]): void {
  const back = e.snapshot();
  dropAll(e, vectors);
  equal(e.freePages, e.sizes.frames, "free pages after a drop");
  equal(e.freeSlots, e.sizes.slots, "free slots after a drop");
  back();
}
