/*
 * What the tests of docs/behaviours.md stand on: a small memory, a swap device that can be looked into,
 * and tts whose pages are marked. One page is one transfer, and a restored page keeps no copy in swap,
 * unless a test says otherwise.
 */

import { expect } from "vitest";
import { isPage } from "../../../src/engine/entry.ts";
import {
  type BufferObject,
  type BufferOptions,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
  type Signal,
  TtmError,
  type TtmErrorCode,
} from "../../../src/index.ts";
import {
  finiTt,
  Pool,
  populateTtSync,
  shrinkTtSync,
  Tt,
  type TtmGlobal,
  type TtOptions,
} from "../../../src/ttm.ts";
import { StoreSwap, type SwapCall } from "../../support/fake_swap.ts";

/** Numbers of the buffers that hold pages, in the order in which they would leave. */
export function residentOf({ reclaimer }: Device): number[] {
  return reclaimer.resident().map(({ tt }) => tt.id);
}

export function idsOf(bos: readonly BufferObject[]): number[] {
  return bos.map(({ id }) => id);
}

/** Swap space in a Map that notes its calls, and fails when it is told to. */
export class Store extends StoreSwap {
  /** Slots of all pages written and read so far, in order. */
  writes: number[] = [];
  reads: number[] = [];
  /** Runs before each call; what it throws is how the call fails. */
  before: ((out: boolean, slot: number) => void) | undefined;
  /** The views of the last call. */
  views: readonly Uint8Array[] = [];
  opened = 0;
  closed = 0;
  flushed = 0;

  constructor(slots: number, isAsync = false) {
    super(isAsync ? { slots, delay: () => Promise.resolve() } : { slots }, "store");
  }

  override open(): void {
    this.opened++;
  }

  override close(): void {
    this.closed++;
  }

  /** Nobody asks for it: swap ends with the process. */
  flush(): void {
    this.flushed++;
  }

  protected override move(call: SwapCall, views: readonly Uint8Array[]): void {
    this.views = views;
    this.before?.(call.out, call.slot);
    super.move(call, views);
    const slots = Array.from({ length: call.pages }, (_, i) => call.slot + i);
    (call.out ? this.writes : this.reads).push(...slots);
  }

  /** Lets the k-th read or write from now on fail, once. */
  failAt(out: boolean, k: number, code: TtmErrorCode = "EIO"): void {
    let left = k;
    this.before = (isOut) => {
      if (isOut === out && --left === 0) throw Object.assign(new Error("told to fail"), { code });
    };
  }

  forget(): void {
    this.writes = [];
    this.reads = [];
    this.before = undefined;
  }
}

/** Sizes in pages, and options of the device. */
export interface RigOptions extends Partial<Omit<DeviceOptions, "memory" | "swap">> {
  readonly memory?: number;
  readonly slots?: number;
  readonly async?: boolean;
}

export interface Facts {
  readonly held: number;
  readonly pooled: number;
  readonly slots: number;
  readonly mappings: number;
  readonly broken: string | undefined;
}

export class Rig implements Disposable, AsyncDisposable {
  readonly swap: Store;
  readonly device: Device;
  readonly global: TtmGlobal;
  readonly pool: Pool;
  readonly #tts = new Map<Tt, Pool>();
  readonly #buffers: BufferObject[] = [];
  #id = 0;

  constructor({ memory = 64, slots = 64, async: isAsync = false, ...options }: RigOptions = {}) {
    this.swap = new Store(slots, isAsync);
    const defaults = { transferPages: 1, keepClean: false };
    const given = { ...defaults, ...options, memory: memory * PAGE_SIZE, swap: this.swap };
    this.device = createDeviceSync(given);
    this.global = this.device.global;
    this.pool = new Pool(this.global, options.pool);
  }

  /** Ends all tts and buffers, and expects nothing to be left of them. */
  [Symbol.dispose](): void {
    this.#end();
    this.device.closeSync({ force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    await this.device.close({ force: true });
  }

  #end(): void {
    for (const bo of this.#buffers) {
      if (bo.destroyed) continue;
      while (bo.pinned) bo.unpin();
      bo.destroy();
    }
    for (const [tt, pool] of this.#tts) finiTt(pool, tt);
    for (const pool of new Set(this.#tts.values())) pool.close();
    expect(this.facts()).toMatchObject({ held: 0, slots: 0, mappings: 0, broken: undefined });
  }

  tt(pages: number, options: TtOptions = {}, pool: Pool = this.pool): Tt {
    const tt = new Tt(pages, { id: ++this.#id, ...options });
    this.#tts.set(tt, pool);
    return tt;
  }

  /** A populated tt, each page of it marked. */
  filled(pages: number, options: TtOptions = {}, pool: Pool = this.pool): Tt {
    const tt = this.tt(pages, options, pool);
    populateTtSync(pool, tt);
    this.mark(tt);
    return tt;
  }

  /** A shrunken tt whose pages from `filled` on were never written: they are holes. */
  holed(pages: number, filled: number): Tt {
    const { engine } = this.global;
    const tt = this.tt(pages);
    this.global.vectors.add(tt);
    tt.pool = this.pool;
    const window = { tt, entries: filled, start: 0, done: 0 };
    const how = this.pool.flags(tt);
    const covered = engine.fillPrepare(window, filled, how, 0, 0);
    engine.fillCommit(window, covered, covered, how);
    this.pool.account(tt, covered);
    this.mark(tt, 0, filled);
    shrinkTtSync(this.pool, tt);
    return tt;
  }

  /** Marks the pages of a populated tt as its own. */
  mark(tt: Tt, from = 0, to: number = tt.numPages): void {
    this.pool.dirty(tt, from, to - from, false);
    for (let i = from; i < to; i++) this.words(tt, i).fill(markOf(tt, i));
  }

  /** Expects all pages of a populated tt to be marked, or zero from `zeros` on. */
  expectMarked(tt: Tt, zeros: number = tt.numPages): void {
    expect(tt.populated).toBe(true);
    for (let i = 0; i < tt.numPages; i++) {
      const mark = i < zeros ? markOf(tt, i) : 0;
      const wrong = this.words(tt, i).findIndex((word) => word !== mark);
      expect(wrong, `first wrong word of page ${i} of tt ${tt.id}`).toBe(-1);
    }
  }

  /** Buffers of `pages` pages, each filled with its number: 1, 2 and so on. */
  buffers(count: number, pages: number, options: BufferOptions = {}): BufferObject[] {
    return Array.from({ length: count }, () => {
      const bo = this.device.createBuffer(pages * PAGE_SIZE, options);
      bo.writeSync(0, new Uint8Array(bo.size).fill(this.#buffers.push(bo)));
      return bo;
    });
  }

  /** Expects every byte of a buffer to be the number it was filled with, or `byte`. */
  expectFilled(bo: BufferObject, byte: number = this.#buffers.indexOf(bo) + 1): void {
    const bytes = bo.readSync(0, new Uint8Array(bo.size));
    expect(bytes.findIndex((each) => each !== byte)).toBe(-1);
  }

  words(tt: Tt, index: number): Uint32Array {
    const entry = this.global.engine.entry(tt.vector + index);
    if (!isPage(entry)) throw new Error(`page ${index} is not in memory`);
    return this.wordsAt(entry);
  }

  wordsAt(page: number): Uint32Array {
    const { buffer, byteOffset } = this.global.engine.view(page, PAGE_SIZE);
    return new Uint32Array(buffer, byteOffset, PAGE_SIZE / 4);
  }

  /** All frames but `left` are taken. */
  exhaust(left: number): Tt {
    return this.filled(this.global.engine.freePages - left);
  }

  entries(tt: Tt): number[] {
    if (tt.vector < 0) return [];
    return Array.from({ length: tt.numPages }, (_, i) => this.global.engine.entry(tt.vector + i));
  }

  /** What each entry is: P page, H handle, `.` empty; lower case: a page is held for it. */
  shape(tt: Tt): string {
    const { engine } = this.global;
    const kinds = this.entries(tt).map((entry, i) => {
      if (isPage(entry)) return "P";
      const held = engine.shadow(tt.vector + i) !== 0;
      if (entry === 0) return held ? "," : ".";
      return held ? "h" : "H";
    });
    return kinds.join("");
  }

  /** Orders of the chunks of a tt that are in memory. */
  orders(tt: Tt): number[] {
    const { engine } = this.global;
    const orders: number[] = [];
    const entries = this.entries(tt);
    for (let i = 0; i < entries.length; ) {
      const entry = entries[i] as number;
      const order = isPage(entry) ? engine.chunk(entry).order : -1;
      if (order >= 0) orders.push(order);
      i += order >= 0 ? 1 << order : 1;
    }
    return orders;
  }

  /** Order of the chunk that is held for entry `index`. */
  heldOrder(tt: Tt, index: number): number {
    return this.global.engine.chunk(this.global.engine.shadow(tt.vector + index)).order;
  }

  /** Caching of each page that is in memory: 0 cached, 1 write-combined, 2 uncached. */
  caching(tt: Tt): number[] {
    const pages = this.entries(tt).filter(isPage);
    return pages.map((page) => this.global.engine.chunk(page).caching);
  }

  addresses(tt: Tt): (number | undefined)[] {
    return Array.from({ length: tt.numPages }, (_, i) => tt.dmaAddress(i));
  }

  /** Everything that can be seen of a tt, to compare. */
  snapshot(tt: Tt): unknown {
    const { flags, resident, vector, restore, purged } = tt;
    return {
      ...{ flags, resident, vector, purged, restore: restore && { ...restore } },
      ...{ entries: this.entries(tt), shape: this.shape(tt), orders: this.orders(tt) },
      ...{ caching: this.caching(tt), addresses: this.addresses(tt), locked: tt.lock.held },
      facts: this.facts(),
    };
  }

  /** Totals: pages held, pooled, slots in use, mappings; and what is broken. */
  facts(): Facts {
    const { engine, iommu, heldPages } = this.global;
    const slots = engine.usedSlots;
    const broken = engine.check();
    return { held: heldPages, pooled: engine.pooledPages, slots, mappings: iommu.size, broken };
  }

  /** Pages pooled in a type of a name, by order. */
  pooled(name: string): Record<number, number> {
    const type = this.global.types.findIndex((each) => each?.name === name);
    const counts: Record<number, number> = {};
    for (let order = 0; order < 10; order++) {
      const count = this.global.engine.poolCount(type, order);
      if (count > 0) counts[order] = count;
    }
    return counts;
  }
}

function markOf(tt: Tt, index: number): number {
  return tt.id * 65536 + index + 1;
}

/** The code of the `TtmError` that `run` throws; `undefined` when it throws none. */
export function codeOf(run: () => unknown): TtmErrorCode | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof TtmError) return error.code;
    throw error;
  }
}

/** The same of a promise. */
export async function codeOfAsync(running: Promise<unknown>): Promise<TtmErrorCode | undefined> {
  return running.then(
    () => undefined,
    (error) => {
      if (error instanceof TtmError) return error.code;
      throw error;
    },
  );
}

/** A signal that is aborted from the k-th look at it on, from 1; without `lasting`, for one look. */
export function abortAt(k: number, lasting = true): Signal & { looks: number } {
  return {
    looks: 0,
    get aborted() {
      this.looks++;
      return lasting ? this.looks >= k : this.looks === k;
    },
  };
}

/** A signal that stops a sync operation before its transfer `k`, from 1. */
export function stopAt(k: number): Signal & { looks: number } {
  // It is looked at twice before the first step.
  return abortAt(k + 2);
}
