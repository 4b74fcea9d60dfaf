import { NR_ORDERS, PAGE_SIZE, POOL_TYPES_MAX } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import { TtmError } from "../errors.ts";
import { formatSize } from "../size.ts";
import { isRam, type SwapDevice } from "../swap/types.ts";
import { Activity } from "./activity.ts";
import { type Caching, SHARED_TYPES } from "./caching.ts";
import { Iommu } from "./dma.ts";
import { Faults } from "./fault.ts";
import type { Pool } from "./pool.ts";
import { PoolShrinker } from "./pool_shrinker.ts";
import { ShrinkerRegistry } from "./shrinker.ts";
import type { Task } from "./task.ts";
import { TRANSFER_PAGES_MAX } from "./transfer.ts";
import type { Tt } from "./tt.ts";

/** Running totals, in pages unless it says otherwise. */
export interface TtmStats {
  /** Pages written to swap. */
  pagesOut: number;
  /** Pages read from swap. */
  pagesIn: number;
  /** Pages that left without a transfer, because swap still had them. */
  pagesClean: number;
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
  | { readonly type: "shrink" | "purge"; readonly tt: number; readonly pages: number }
  | { readonly type: "interrupt"; readonly tt: number; readonly code: string }
  | { readonly type: "resume"; readonly tt: number; readonly cursor: number; readonly read: number }
  | { readonly type: "reclaim"; readonly wanted: number; readonly released: number }
  | { readonly type: "fault"; readonly site: string };

/** Who is told of every event. It must not throw; if it does, that is reported as not caught. */
export type Trace = (event: TraceEvent) => void;

/** `trace`, but what it throws is thrown where nobody is at work: as an error that is not caught. */
function guarded(trace: Trace): Trace {
  return (event) => {
    try {
      trace(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}

/** A list of free chunks for each order, of one caching; of one pool if it is its own. */
export interface PoolType {
  /** As debugfs calls it. */
  readonly name: string;
  /** How its pages are cached. */
  readonly caching: Caching;
  /** The pool that it belongs to, if it is not shared. */
  readonly pool?: Pool;
}

/** Limits in pages. Default: half of the frames in pools, and no other limit than the frames. */
export interface Limits {
  /** Pages that pools may hold (module parameter page_pool_size). */
  pagePoolSize: number;
  /** Pages that tts may hold in all before a populate shrinks others (pages_limit). */
  pages: number;
  /** The same for tts of DMA32 pools (dma32_pages_limit). */
  dma32Pages: number;
}

/** Free pages: below `min` allocations reclaim first, below `low` the background loop runs, to `high`. */
export interface Watermarks {
  /** Below it allocations reclaim first (free pages). */
  readonly min: number;
  /** Below it the background loop runs (free pages). */
  readonly low: number;
  /** Up to it the background loop reclaims (free pages). */
  readonly high: number;
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

/**
 * What all pools and devices on one memory share (struct ttm_global, and the static state of
 * ttm_pool.c and ttm_tt.c): the engine, the swap device, pool types, limits, shrinkers, faults.
 */
export class TtmGlobal {
  /** @internal */
  readonly engine: Engine;
  /** The swap device that pages leave to. */
  readonly swap: SwapDevice;
  /** Limits in pages; may be changed at any time, as module parameters. */
  readonly limits: Limits;
  /** Watermarks in free pages; all 0 without a background loop. */
  readonly watermarks: Watermarks;
  /** Whether pages that leave get checksums, to be verified. To change only while nothing is in swap. */
  checksums: boolean;
  /** Whether a restored page keeps its slot until it may have been written. */
  readonly keepClean: boolean;
  /** Most pages of one transfer. */
  readonly transferPages: number;
  /** The simulated IOMMU. */
  readonly iommu: Iommu = new Iommu();
  /** @internal */
  readonly activity: Activity = new Activity();
  /** Faults to inject, by site. */
  readonly faults: Faults = new Faults();
  /** Who can give pages up, in the order they are asked. */
  readonly shrinkers: ShrinkerRegistry = new ShrinkerRegistry((wanted, released) => {
    this.trace?.({ type: "reclaim", wanted, released });
  });
  /** Running totals. */
  readonly stats: TtmStats = {
    pagesOut: 0,
    pagesIn: 0,
    pagesClean: 0,
    pagesPurged: 0,
    interrupted: 0,
    resumed: 0,
    faults: 0,
  };
  /** @internal */
  current: Task | undefined;
  /** @internal Devices on this memory (a count). */
  devices = 0;
  /** Pages held by counted tts, in all and in DMA32 pools. */
  readonly allocated: { pages: number; dma32Pages: number } = { pages: 0, dma32Pages: 0 };
  /** @internal Tts with pages in memory that keep their slots, the oldest first. */
  readonly clean: Set<Tt> = new Set();
  #trace: Trace | undefined;
  /** The shrinker that gives pooled pages back; the first one registered. */
  readonly poolShrinker: PoolShrinker = new PoolShrinker(this);
  readonly #types: (PoolType | undefined)[] = SHARED_TYPES.map((type) => ({ ...type }));

  /** @internal @throws RangeError for a limit or a transfer size that cannot be meant */
  constructor(engine: Engine, swap: SwapDevice, options: TtmGlobalOptions = {}) {
    const { limits = {}, checksums = !isRam(swap), keepClean = true } = options;
    const { transferPages = TRANSFER_PAGES_MAX } = options;
    const { frames } = engine.geometry;
    if (
      !Number.isInteger(transferPages) ||
      transferPages < 1 ||
      transferPages > TRANSFER_PAGES_MAX
    ) {
      throw new RangeError(
        `transferPages must be 1 to ${TRANSFER_PAGES_MAX}, not ${transferPages}`,
      );
    }
    this.engine = engine;
    this.swap = swap;
    const none = Number.POSITIVE_INFINITY;
    this.limits = { pagePoolSize: Math.floor(frames / 2), pages: none, dma32Pages: none };
    for (const [name, value] of Object.entries(limits)) {
      if (!Object.hasOwn(this.limits, name)) {
        const names = Object.keys(this.limits).join(", ");
        throw new RangeError(`limits has no ${name}; there are ${names}`);
      }
      if (!Number.isInteger(value) || (value as number) < 0) {
        throw new RangeError(`limit ${name} must be a whole number of pages, not ${value}`);
      }
      this.limits[name as keyof Limits] = value as number;
    }
    this.watermarks = watermarksOf(options.watermarks, frames);
    this.checksums = checksums;
    this.keepClean = keepClean;
    this.transferPages = transferPages;
    this.shrinkers.register(this.poolShrinker);
  }

  /** Called with each event; unset, it costs a comparison. What it throws is reported, and stops nothing. */
  get trace(): Trace | undefined {
    return this.#trace;
  }

  /** Called with each event; `undefined` ends it. */
  set trace(trace: Trace | undefined) {
    this.#trace = trace && guarded(trace);
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
   * Pages go into swap only while this holds: an eighth of the slots stay free of clean copies.
   */
  get roomForClean(): boolean {
    return this.keepClean && this.engine.freeSlots > this.engine.geometry.slots >>> 3;
  }

  /** @internal Injects a fault at `site` if it is due; says so. */
  fails(site: "alloc" | "map" | "caching" | "slot" | "write" | "read"): boolean {
    if (!this.faults.on || !this.faults[site].shouldFail()) return false;
    this.stats.faults++;
    this.trace?.({ type: "fault", site });
    return true;
  }

  /** @internal What to say when no slot is left. */
  swapFull(): TtmError {
    const { slots } = this.engine.geometry;
    const text =
      `swap is full: all ${slots} slots (${formatSize(slots * PAGE_SIZE)}) of swap device ` +
      `${this.swap.name} are in use; give it a larger size, or destroy buffers`;
    return new TtmError("ENOSPC", "shrink", text);
  }

  /**
   * @internal
   * Takes the slots that pages in memory keep, of tts that nobody uses, until `slots` more are free.
   */
  reclaimSlots(slots: number): number {
    let freed = 0;
    for (const tt of this.clean) {
      if (freed >= slots) break;
      if (!tt.lock.tryLock()) continue;
      freed += this.engine.vectorDirty(tt.vector, tt.numPages, 0, tt.numPages, false);
      this.clean.delete(tt);
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
    types.forEach((type, i) => {
      this.#types[first + i] = type;
    });
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
      this.#types[type] = undefined;
    }
  }

  /** Pool types by their index in the engine. */
  get types(): readonly (PoolType | undefined)[] {
    return this.#types;
  }
}

function watermarksOf(
  watermarks: Watermarks = { min: 0, low: 0, high: 0 },
  frames: number,
): Watermarks {
  const { min, low, high } = watermarks;
  const whole = [min, low, high].every((pages) => Number.isInteger(pages) && pages >= 0);
  if (!whole || min > low || low > high || high > frames) {
    const given = `${min}, ${low}, ${high}`;
    throw new RangeError(`watermarks must be 0 <= min <= low <= high <= ${frames}, not ${given}`);
  }
  return { min, low, high };
}
