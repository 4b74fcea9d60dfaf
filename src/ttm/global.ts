import { NR_ORDERS, PAGE_SIZE, POOL_TYPES_MAX } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import { show, TtmError, type TtmOperation } from "../errors.ts";
import { report } from "../host.ts";
import { assertBoolean, assertOptions, assertWhole } from "../options.ts";
import { readings } from "../readings.ts";
import { formatSize } from "../size.ts";
import { SwapSpace } from "../swap/space.ts";
import type { Store } from "../swap/store.ts";
import type { SwapDeviceBase } from "../swap/types.ts";
import { Admission } from "./admission.ts";
import { type PoolType, SHARED_TYPES } from "./caching.ts";
import { Iommu } from "./dma.ts";
import { Faults } from "./fault.ts";
import { Frames } from "./frames.ts";
import { LimitSettings, type Limits, type Watermarks, watermarksOf } from "./limits.ts";
import { PoolShrinker } from "./pool_shrinker.ts";
import { ShrinkerRegistry } from "./shrinker.ts";
import type { AsyncTask } from "./task.ts";
import { TRANSFER_PAGES_MAX } from "./transfer.ts";
import type { Tt } from "./tt.ts";
import { Vectors } from "./vectors.ts";

/** Running totals, in pages unless it says otherwise. */
export interface TtmStats {
  /** Pages written to swap. */
  pagesOut: number;
  /** Pages read from swap. */
  pagesIn: number;
  /** Pages that left without a transfer, because swap still had them. */
  pagesClean: number;
  /** Pages of zeros that left: they take neither slot nor transfer (SWPOUT_ZERO). */
  pagesZero: number;
  /** Pages thrown away because their buffers were marked `dontneed`. */
  pagesPurged: number;
  /** Restores that stopped on the way (a count). */
  interrupted: number;
  /** Restores that went on where an earlier one had stopped (a count). */
  resumed: number;
  /** Faults injected (a count). */
  faults: number;
}

/** What happened, for whoever wants to watch; `tt` is the id of a tt or buffer. */
export type TraceEvent =
  | { readonly type: "populate" | "restore"; readonly tt: number; readonly pages: number }
  | { readonly type: "shrink" | "purge" | "discard"; readonly tt: number; readonly pages: number }
  | { readonly type: "interrupt"; readonly tt: number; readonly code: string }
  | { readonly type: "resume"; readonly tt: number; readonly cursor: number; readonly read: number }
  | { readonly type: "reclaim"; readonly wanted: number; readonly released: number }
  | { readonly type: "fault"; readonly site: string };

/** Who is told of every event. It must not throw; if it does, that is reported as not caught. */
export type Trace = (event: TraceEvent) => void;

/** @throws TypeError for what is neither a function nor off: undefined, null or false */
function asTrace(trace: Trace | null | false | undefined): Trace | undefined {
  if (typeof trace === "function") return guarded(trace);
  if (trace === undefined || trace === null || trace === false) return undefined;
  throw new TypeError(`trace must be a function, or undefined to end it, not ${show(trace)}`);
}

/** `trace`, but what it throws is thrown where nobody is at work: as an error that is not caught. */
function guarded(trace: Trace): Trace {
  return (event) => {
    try {
      trace(event);
    } catch (error) {
      report(error);
    }
  };
}

/** Pages that tts hold, in all and of DMA32 pools. */
export interface Allocated {
  /** In all. */
  pages: number;
  /** Of DMA32 pools. */
  dma32Pages: number;
}

/** Options of a `TtmGlobal`. */
export interface TtmGlobalOptions {
  /** Limits in pages; absent ones keep their defaults. */
  readonly limits?: Partial<Limits>;
  /** Default: all 0, so that there is no background loop. */
  readonly watermarks?: Watermarks;
  /** Compute and verify checksums of pages in swap. Default: unless that lies in our own memory. */
  readonly checksums?: boolean;
  /** Let a restored page keep its slot until it may have been written. Default: yes. */
  readonly keepClean?: boolean;
  /** Most pages of one transfer, 1..256: where an operation can be interrupted. Default 256. */
  readonly transferPages?: number;
}

/** Names of them. */
export const GLOBAL_OPTIONS: readonly (keyof TtmGlobalOptions)[] = [
  "limits",
  "watermarks",
  "checksums",
  "keepClean",
  "transferPages",
];

/** Pages side by side that give up their slots together. */
const RECLAIM_RUN = 64;

/** The totals behind `stats`, for those who count. */
export let countersOf: (global: TtmGlobal) => TtmStats;
/** What is behind `allocated`, for those who allocate. */
export let allocatedOf: (global: TtmGlobal) => Allocated;

function transferPagesOf(pages: number): number {
  assertWhole(pages, "transferPages", 1, TRANSFER_PAGES_MAX);
  return pages;
}

/**
 * What all pools and devices on one memory share (struct ttm_global, and the static state of
 * ttm_pool.c and ttm_tt.c): the engine, the swap device, pool types, limits, shrinkers, faults.
 */
export class TtmGlobal {
  /** @internal */
  readonly engine: Engine;
  /** @internal The tts that have vectors in it. */
  readonly vectors: Vectors;
  /** @internal The swap device that pages leave to, as it is used. */
  readonly store: Store;
  /** Limits in pages; may be set at any time, each is checked. */
  readonly limits: Limits;
  /** Watermarks in free pages; all 0 without a background loop. */
  readonly watermarks: Watermarks;
  /** Whether a restored page keeps its slot until it may have been written. */
  readonly keepClean: boolean;
  /** The simulated IOMMU. */
  readonly iommu: Iommu = new Iommu();
  /** @internal */
  readonly admission: Admission;
  /** @internal Frames on their way, and those that stay. */
  readonly frames: Frames = new Frames();
  /** @internal Async operations in flight. */
  readonly tasks: Set<AsyncTask> = new Set();
  /** Faults to inject, by site. */
  readonly faults: Faults = new Faults();
  /** @internal */
  readonly space: SwapSpace;
  /** Who can give pages up, in the order they are asked. */
  readonly shrinkers: ShrinkerRegistry = new ShrinkerRegistry((wanted, released) => {
    this.trace?.({ type: "reclaim", wanted, released });
  });
  /** Running totals. */
  readonly stats: Readonly<TtmStats>;
  /** Pages held by counted tts, in all and in DMA32 pools. */
  readonly allocated: Readonly<Allocated>;
  /** @internal Tts with pages in memory that keep their slots, the oldest first. */
  readonly clean: Set<Tt> = new Set();
  /** The shrinker that gives pooled pages back; the first one registered. */
  readonly poolShrinker: PoolShrinker;
  readonly #counters: TtmStats = {
    pagesOut: 0,
    pagesIn: 0,
    pagesClean: 0,
    pagesZero: 0,
    pagesPurged: 0,
    interrupted: 0,
    resumed: 0,
    faults: 0,
  };
  readonly #allocated: Allocated = { pages: 0, dma32Pages: 0 };
  #types: readonly (PoolType | undefined)[] = SHARED_TYPES;
  #checksums: boolean;
  #transferPages: number;
  #busy = 0;
  #devices = 0;
  #closed = false;
  #poisoned: { readonly error: unknown } | undefined;
  #lastId = 0;
  #trace: Trace | undefined;

  static {
    countersOf = (global) => global.#counters;
    allocatedOf = (global) => global.#allocated;
  }

  /** @internal @throws TypeError, RangeError for an option that cannot be meant */
  constructor(engine: Engine, store: Store, options: TtmGlobalOptions = {}) {
    assertOptions(options, GLOBAL_OPTIONS, "options");
    const { limits, watermarks, checksums = !store.ram, keepClean = true } = options;
    const { transferPages = TRANSFER_PAGES_MAX } = options;
    const { frames } = engine.geometry;
    assertBoolean(checksums, "checksums");
    assertBoolean(keepClean, "keepClean");
    this.engine = engine;
    this.vectors = new Vectors(engine);
    this.store = store;
    this.space = new SwapSpace(engine, store);
    this.limits = new LimitSettings(limits, frames);
    this.watermarks = watermarksOf(watermarks, frames);
    this.#checksums = checksums;
    this.keepClean = keepClean;
    this.#transferPages = transferPagesOf(transferPages);
    this.stats = readings(this.#counters);
    this.allocated = readings(this.#allocated);
    this.poolShrinker = new PoolShrinker(this);
    this.shrinkers.register(this.poolShrinker);
    const global = this;
    this.admission = new Admission({
      get frames() {
        return frames - global.watermarks.min - global.frames.stuck;
      },
      get exchange() {
        return engine.freePages + global.frames.taken + engine.freeSlots + engine.keptSlots;
      },
    });
    Object.freeze(this);
  }

  /**
   * Whether pages that leave get checksums, to be verified. To change only while nothing is in swap: what
   * left without one does not come back before this is as it was then.
   */
  get checksums(): boolean {
    return this.#checksums;
  }

  /** @throws TypeError unless it is true or false */
  set checksums(checksums: boolean) {
    assertBoolean(checksums, "checksums");
    this.#checksums = checksums;
  }

  /** Most pages of one transfer, 1..256; may be set at any time. */
  get transferPages(): number {
    return this.#transferPages;
  }

  /** @throws TypeError, RangeError unless it is a whole number from 1 to 256 */
  set transferPages(pages: number) {
    this.#transferPages = transferPagesOf(pages);
  }

  /** The swap device that pages leave to: its name, and its slots (pages). */
  get swap(): Pick<SwapDeviceBase, "name" | "slots"> {
    return this.store;
  }

  /** @internal Sync operations at work on it, one within the other (a count). */
  get busy(): number {
    return this.#busy;
  }

  /** @internal */
  set busy(count: number) {
    this.#busy = count;
  }

  /** Devices on this memory (a count). */
  get devices(): number {
    return this.#devices;
  }

  /** Whether the last of them is closed, or being closed: nothing new is begun then. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * @internal A commit was ended in its middle by `error`, which is returned: nothing is known any more of what
   * is where, and nothing is done any more.
   */
  poison(error: unknown): unknown {
    this.#poisoned ??= { error };
    return error;
  }

  /** @internal What has become of the memory, if nothing is known of it any more. */
  get unsound(): unknown {
    return this.#poisoned ? this.#poisoned.error : this.engine.trapped;
  }

  /** @throws TtmError EFAULT when it is poisoned, or its engine has trapped */
  assertSound(op: TtmOperation): void {
    if (!this.#poisoned && !this.engine.trapped) return;
    const text =
      "the state of this memory is not known any more, because a step that moves pages was ended in its middle; " +
      "close the device, and create another one";
    throw new TtmError("EFAULT", op, text, this.unsound);
  }

  /** @internal Another device on it. */
  addDevice(): void {
    this.#devices++;
  }

  /** @internal One device less. */
  removeDevice(): void {
    this.#devices--;
  }

  /** @internal Its last device is being closed. */
  close(): void {
    this.#closed = true;
  }

  /** @internal A number for a buffer, of this memory alone. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Called with each event; unset, it costs a comparison. What it throws is reported, and stops nothing. */
  get trace(): Trace | undefined {
    return this.#trace;
  }

  /** Called with each event; `undefined` ends it. */
  set trace(trace: Trace | null | false | undefined) {
    this.#trace = asTrace(trace);
  }

  /** Pages that tts hold. */
  get heldPages(): number {
    const { engine } = this;
    return engine.geometry.frames - engine.freePages - engine.pooledPages;
  }

  /**
   * @internal
   * Pages that leave together for new content: a thirty-second of the memory, 1 MiB at most.
   */
  get clusterPages(): number {
    return Math.min(this.engine.geometry.frames >>> 5, TRANSFER_PAGES_MAX);
  }

  /** Page frames in all (bytes). */
  get memory(): number {
    return this.engine.geometry.frames * PAGE_SIZE;
  }

  /**
   * @internal
   * Whether pages that come keep their slots. Not when nearly every slot holds all that there is of a page: then
   * pages are exchanged one by one, and each that comes has to make room for one that leaves.
   */
  get roomForClean(): boolean {
    const { freeSlots, keptSlots } = this.engine;
    return this.keepClean && freeSlots + keptSlots > this.clusterPages;
  }

  /** @internal Injects a fault at `site` if it is due; says so. */
  fails(site: "alloc" | "map" | "caching" | "slot" | "write" | "read"): boolean {
    if (!this.faults.on || !this.faults[site].shouldFail()) return false;
    this.#counters.faults++;
    this.trace?.({ type: "fault", site });
    return true;
  }

  /** @internal What to say when no slot is left. */
  swapFull(): TtmError {
    const { total } = this.space.slots;
    const { lostSlots } = this.engine;
    const refused = lostSlots > 0 ? `; it was too full for ${lostSlots} more` : "";
    const text =
      `swap is full: all ${total} slots (${formatSize(total * PAGE_SIZE)}) of swap device ` +
      `${this.store.name} are in use${refused}; give it a larger size, or destroy buffers`;
    return new TtmError("ENOSPC", "shrink", text);
  }

  /**
   * @internal
   * Takes the slots that pages in memory keep, of tts that nobody uses, until `slots` more are free: a few at a time,
   * of those that have been in memory for longest; or of `own` ones, which the caller has locked.
   */
  reclaimSlots(slots: number, own?: readonly Tt[]): number {
    let freed = 0;
    for (const tt of own ?? this.clean) {
      if (freed >= slots) break;
      if (own ? !this.clean.has(tt) : !tt.lock.tryLock()) continue;
      const { numPages } = tt;
      let at = 0;
      for (; at < numPages && freed < slots; at += RECLAIM_RUN) {
        const count = Math.min(RECLAIM_RUN, numPages - at);
        freed += this.engine.vectorDirty(tt.vector, numPages, at, count, false);
      }
      if (own) continue;
      if (at >= numPages) this.clean.delete(tt);
      tt.lock.unlock();
    }
    return freed;
  }

  /**
   * @internal
   * Reserves pool types in the engine for a pool's own; returns the first one's index.
   *
   * @throws RangeError when there are too many
   */
  addTypes(types: readonly PoolType[]): number {
    let first = 0;
    while (types.some((_, i) => this.#types[first + i])) first++;
    if (first + types.length > POOL_TYPES_MAX) {
      throw new RangeError(`there can be no more than ${POOL_TYPES_MAX} pool types on one memory`);
    }
    this.#setTypes(first, types);
    return first;
  }

  /** @internal Gives `count` pool types from `first` on back; their chunks go to the allocator. */
  removeTypes(first: number, count: number): void {
    for (let type = first; type < first + count; type++) {
      for (let order = 0; order < NR_ORDERS; order++) {
        for (;;) {
          const address = this.engine.poolShrink(type, order);
          if (address === undefined) break;
          this.#types[type]?.pool?.unpooled(address);
        }
      }
    }
    this.#setTypes(first, new Array(count).fill(undefined));
  }

  /** A new list each time: the one before may be in somebody's hands. */
  #setTypes(first: number, types: readonly (PoolType | undefined)[]): void {
    const all = [...this.#types];
    types.forEach((type, i) => {
      all[first + i] = type;
    });
    this.#types = Object.freeze(all);
  }

  /** Pool types by their index in the engine. */
  get types(): readonly (PoolType | undefined)[] {
    return this.#types;
  }
}
