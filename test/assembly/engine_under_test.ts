/*
 * The engine as its tests see it: the raw exports and, since all of its state lies in linear memory,
 * every word of it. A test can so compare the state before and after a call, go back to an earlier
 * one, or break it on purpose.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
// It would say what an assertion of the debug build says.
import { instantiateSync } from "@assemblyscript/loader";
import fc from "fast-check";
import * as abi from "../../assembly/abi.ts";
import text from "../../build/engine.wasm";
import type { Exports } from "../../src/engine/exports.ts";
import { Random } from "../support/random.ts";
import { noted } from "./calls.ts";

export interface Sizes {
  readonly frames: number;
  readonly slots: number;
  readonly entries: number;
  readonly ram?: boolean;
  /** Frames of the DMA32 zone; all of them by default. */
  readonly dma32?: number;
  /** Wasm pages more than it needs. Default 0. */
  readonly guardPages?: number;
}

export interface Extent {
  readonly address: number;
  readonly slot: number;
  readonly pages: number;
  readonly at: number;
  readonly index: number;
}

export interface Item {
  readonly vector: number;
  readonly entries: number;
  readonly start: number;
  /** Where a prepare's walk ended; it notes so itself. */
  readonly next?: number;
}

export const engineBytes: Uint8Array<ArrayBuffer> = Buffer.from(text, "base64");
export const engineModule: WebAssembly.Module = new WebAssembly.Module(engineBytes);

/** Debug builds assert, and import what to do then; the loader throws an Error with the message. */
export const DEBUGGING: boolean = WebAssembly.Module.imports(engineModule).length > 0;

export const WASM_PAGE = 65536;
export const U32_MAX = 0xffffffff;

/** What a walk is to do, in words; `how()` makes the engine's number of it. */
export interface How {
  /** Orders that may be allocated; all up to `orderMax` by default. */
  readonly orders?: readonly number[];
  readonly orderMax?: number;
  readonly dma32?: boolean;
  /** Pool type; none by default. */
  readonly type?: number;
  readonly caching?: number;
  readonly keep?: boolean;
}

export function how(options: How = {}): number {
  const { orders, orderMax = abi.MAX_ORDER, type = -1, caching = 0 } = options;
  const mask = orders
    ? orders.reduce((all, order) => all | (1 << order), 0)
    : 2 * 2 ** orderMax - 1;
  const flags = (options.dma32 ? abi.WALK_DMA32 : 0) | (options.keep ? abi.WALK_KEEP : 0);
  return mask | flags | ((type + 1) << abi.WALK_POOL_SHIFT) | (caching << abi.WALK_CACHING_SHIFT);
}

/** A new instance, with one wasm page of memory and nothing laid out. */
export function instantiate(): Exports {
  return noted(instantiateSync(engineModule, {}).instance.exports as unknown as Exports);
}

export class EngineUnderTest {
  readonly wasm: Exports;
  readonly sizes: Sizes;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array<ArrayBuffer>;

  constructor(sizes: Sizes) {
    this.sizes = sizes;
    this.wasm = instantiate();
    const { frames, slots, entries, ram = false, dma32 = frames, guardPages = 0 } = sizes;
    const pages = this.wasm.memoryPages(frames, slots, entries, Number(ram)) + guardPages;
    this.wasm.memory.grow(pages - this.wasm.memory.buffer.byteLength / WASM_PAGE);
    equal(this.wasm.init(frames, slots, entries, Number(ram), dma32), 0, "init");
    this.bytes = new Uint8Array(this.wasm.memory.buffer);
    this.words = new Uint32Array(this.wasm.memory.buffer);
  }

  /** Index in `words` of a header word. */
  headerIndex(field: number): number {
    return abi.HEADER / 4 + field;
  }

  header(field: number): number {
    return this.words[this.headerIndex(field)]!;
  }

  /** What a host does with the frames that trimRun named: they are zeros then. */
  releaseExtents(): void {
    for (const { slot: pfn, pages } of this.extents()) {
      this.bytes.fill(0, pfn * abi.PAGE_SIZE, (pfn + pages) * abi.PAGE_SIZE);
    }
  }

  get firstPfn(): number {
    return this.header(abi.H_FIRST_PFN);
  }

  get freePages(): number {
    return this.header(abi.H_FREE_PAGES);
  }

  get freeSlots(): number {
    return this.wasm.slotsFree();
  }

  /** Entries that no vector has: the second word of their map (assembly/bitmap.ts). */
  get freeEntries(): number {
    return this.words[this.header(abi.H_VECTOR_MAP) / 4 + 1]!;
  }

  /** Entries that vectors have before entry `index`: bits of their map, behind its head of 64 bytes. */
  usedBefore(index: number): number {
    const map = this.header(abi.H_VECTOR_MAP) / 4 + 16;
    let used = 0;
    for (let i = 0; i < Math.min(index, this.sizes.entries); i++) {
      used += (this.words[map + (i >>> 5)]! >>> (i & 31)) & 1;
    }
    return used;
  }

  /** Free chunks of each order in a zone: 0 is DMA32, and the only one by default; 1 is NORMAL. */
  freeChunks(zone: number = 0): number[] {
    const at = this.headerIndex(abi.H_FREE_COUNT) + zone * abi.NR_ORDERS;
    return Array.from(this.words.subarray(at, at + abi.NR_ORDERS));
  }

  /** Chunks of each order in a pool type. */
  pooled(type: number): number[] {
    return Array.from({ length: abi.NR_ORDERS }, (_, order) => this.wasm.poolCount(type, order));
  }

  /** Pages whose caching was changed so far, and in how many runs. */
  get changes(): { pages: number; runs: number } {
    return { pages: this.header(abi.H_CACHING_PAGES), runs: this.header(abi.H_CACHING_RUNS) };
  }

  entryIndex(entry: number): number {
    return this.header(abi.H_ENTRY) / 4 + entry;
  }

  shadowIndex(entry: number): number {
    return this.header(abi.H_SHADOW) / 4 + entry;
  }

  entry(index: number): number {
    return this.words[this.entryIndex(index)]!;
  }

  shadow(index: number): number {
    return this.words[this.shadowIndex(index)]!;
  }

  sumIndex(entry: number): number {
    return this.header(abi.H_SUM) / 4 + entry;
  }

  /** Address of a page struct. */
  pageStruct(pfn: number): number {
    return this.header(abi.H_PAGE_TABLE) + (pfn - this.firstPfn) * abi.PAGE_STRUCT_BYTES;
  }

  order(pfn: number): number {
    return this.bytes[this.pageStruct(pfn) + abi.P_ORDER]!;
  }

  state(pfn: number): number {
    return this.bytes[this.pageStruct(pfn) + abi.P_STATE]!;
  }

  caching(pfn: number): number {
    return this.bytes[this.pageStruct(pfn) + abi.P_CACHING]!;
  }

  owner(pfn: number): number {
    return this.words[(this.pageStruct(pfn) + abi.P_OWNER) / 4]!;
  }

  /** The bytes of `pages` pages at an address. */
  page(address: number, pages: number = 1): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(address, address + pages * abi.PAGE_SIZE);
  }

  /** The bytes of a slot, in RAM swap. */
  slot(slot: number): Uint8Array<ArrayBuffer> {
    return this.page(this.header(abi.H_RAM) + (slot - 1) * abi.PAGE_SIZE);
  }

  extents(): Extent[] {
    return Array.from({ length: this.header(abi.H_EXTENTS) }, (_, i) => {
      const at = (abi.EXTENTS + i * abi.EXTENT_BYTES) / 4;
      const [address, slot, pages, before, index] = this.words.subarray(at, at + 5);
      return { address: address!, slot: slot!, pages: pages!, at: before!, index: index! };
    });
  }

  putItems(items: readonly Item[]): void {
    items.forEach(({ vector, entries, start, next }, i) => {
      const words = next === undefined ? [vector, entries, start] : [vector, entries, start, next];
      this.words.set(words, (abi.ITEMS + i * abi.ITEM_BYTES) / 4);
    });
  }

  /** What the engine wrote into an item. */
  item(index: number): { next: number; released: number } {
    const at = (abi.ITEMS + index * abi.ITEM_BYTES) / 4;
    return { next: this.words[at + 3]!, released: this.words[at + 4]! };
  }

  /**
   * A hash of all metadata. The exchange area is left out, and how much of it is used: it is the
   * engine's answer, not its state.
   */
  stateHash(): number {
    const { words } = this;
    const count = this.headerIndex(abi.H_EXTENTS);
    const extents = words[count]!;
    words[count] = 0;
    const header = hashWords(words, abi.HEADER / 4, abi.ITEMS / 4, 1);
    words[count] = extents;
    return hashWords(words, abi.FIXED_END / 4, (this.firstPfn * abi.PAGE_SIZE) / 4, header);
  }

  /** A hash of all page frames and of the RAM swap. */
  contentHash(): number {
    return hashWords(
      this.words,
      (this.firstPfn * abi.PAGE_SIZE) / 4,
      this.header(abi.H_END) / 4,
      2,
    );
  }

  /** Remembers everything; the result goes back to it. */
  snapshot(): () => void {
    const copy = this.bytes.slice();
    return () => this.bytes.set(copy);
  }

  mustHold(what: string): void {
    equal(this.wasm.check(), 0, `check() after ${what}`);
  }

  /**
   * What a host must never do: a debug build traps and says so; a release build refuses with this errno, and
   * leaves everything as it was.
   */
  mustNot(errno: number, message: string, call: () => number): void {
    if (DEBUGGING) this.mustAbort(`host: ${message}`, call);
    else this.mustRefuse(errno, message, call);
  }

  /** An assertion with this message must fail in a debug build; then all is made as it was before. */
  mustAbort(message: string, call: () => unknown): void {
    const back = this.snapshot();
    const text = abortOf(call) ?? "nothing";
    must(text.startsWith(`abort: ${message} at `), `an abort of "${message}": got ${text}`);
    back();
  }

  /** The call must be refused with this errno and leave everything as it was. */
  mustRefuse(errno: number, what: string, call: () => number): void {
    const state = this.stateHash();
    equal(call(), -errno, what);
    equal(this.stateHash(), state, `state after the refused ${what}`);
  }
}

/** The message of the assertion that fails in a debug build while `call` runs; `undefined` when none does. */
export function abortOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("abort: ")) return error.message;
    throw error;
  }
}

function hashWords(words: Uint32Array, from: number, to: number, seed: number): number {
  let hash = seed;
  // Each step is a bijection of the hash, so one changed word always changes the result.
  for (let i = from; i < to; i++) {
    hash = Math.imul(hash ^ words[i]!, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

export { isHandle, isPage } from "../../src/engine/entry.ts";

/** What `expect` is too slow for: thousands of comparisons a millisecond. */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

export function equal(actual: unknown, expected: unknown, what: string): void {
  if (!Object.is(actual, expected)) {
    throw new Error(`${what}: expected ${String(expected)}, got ${String(actual)}`);
  }
}

export function equalLists<T extends number | string>(
  actual: readonly T[],
  expected: readonly T[],
  what: string,
): void {
  equal(actual.join(" "), expected.join(" "), what);
}

/** A program: one random word for each of `length` operations. */
export function program(length: number): fc.Arbitrary<Uint32Array> {
  return fc.uint32Array({ minLength: length, maxLength: length });
}

/**
 * Runs a property on random values. The seed comes from the environment variable TTM_SEED, or is
 * random; a failure names it.
 */
export function forAll<T>(
  arbitrary: fc.Arbitrary<T>,
  runs: number,
  holds: (value: T) => void,
): void {
  const wanted = process.env.TTM_SEED;
  const details = fc.check(
    fc.property(arbitrary, (value) => holds(value)),
    { numRuns: runs, endOnFailure: true, ...(wanted ? { seed: Number(wanted) } : {}) },
  );
  if (!details.failed) return;
  const cause = details.errorInstance;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const text = `${reason}\nin run ${details.numRuns}; to repeat it: TTM_SEED=${details.seed}`;
  throw new Error(text, { cause });
}

/** Runs a program, and says which operation failed. */
export function runProgram(
  words: Uint32Array,
  step: (dice: Random, index: number) => string,
): void {
  let done = "";
  for (let i = 0; i < words.length; i++) {
    try {
      done = step(new Random(words[i]!), i);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`operation ${i} (after ${done || "none"}): ${reason}`, { cause });
    }
  }
}
