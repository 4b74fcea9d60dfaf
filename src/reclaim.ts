import type { BufferObject } from "./buffer_object.ts";
import { codeOf } from "./errors.ts";
import { Lru } from "./lru.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import { dropHeld } from "./ttm/restore.ts";
import { type Released, Shrink } from "./ttm/shrink.ts";
import {
  type Scan,
  SHRINK_EMPTY,
  SHRINK_STOP,
  type ShrinkControl,
  type Shrinker,
} from "./ttm/shrinker.ts";
import type { Task } from "./ttm/task.ts";
import { BATCH_PAGES } from "./ttm/transfer.ts";
import { poolOf } from "./ttm/tt.ts";
import { type Pending, runSync, type Work } from "./ttm/work.ts";

/** Priorities of buffers, the lowest reclaimed first (TTM_MAX_BO_PRIORITY). */
export const PRIORITIES = 4;

/** Pages shrunk at a stretch even for a smaller need, so that small buffers leave together. */
const CLUSTER_PAGES_MIN = 16;

/** Buffers whose pins ended since the lists were looked at, the last one first. */
export interface Loose {
  first: BufferObject | null;
}

/**
 * Which buffers on a memory give their pages up, and in which order: purgeable ones first, without
 * I/O, then the least recently used of the lowest priority, whichever device they are of. A buffer stands in
 * such a list while it holds pages that can be had, else in the unevictable one; it moves only when it was
 * used or when pages of it really moved. Locks are only tried.
 */
export class Reclaim implements Shrinker {
  readonly name = "ttm-buffer-objects";
  /** Pages of one scan: as many batches as the store likes to have on their way, in a quarter of the memory. */
  readonly batch: number;
  readonly #global: TtmGlobal;
  readonly #purgeable = new Lru<BufferObject>();
  readonly #priorities = Array.from({ length: PRIORITIES }, () => new Lru<BufferObject>());
  readonly #unevictable = new Lru<BufferObject>();

  /** A buffer that is unpinned puts itself here: whoever looks at the lists next puts it where it belongs. */
  readonly loose: Loose = { first: null };

  constructor(global: TtmGlobal) {
    this.#global = global;
    const { store, transferPages, engine } = global;
    const together = Math.min(store.width * transferPages, engine.geometry.frames >>> 2);
    this.batch = Math.max(together, BATCH_PAGES);
  }

  /** Puts those where they belong whose pins ended: they count as used then. */
  #collect(): void {
    const { loose } = this;
    let oldest: BufferObject | null = null;
    for (let bo = loose.first; bo; ) {
      const next: BufferObject | null = bo.nextLoose ?? null;
      bo.nextLoose = oldest;
      oldest = bo;
      bo = next;
    }
    loose.first = oldest;
    for (let bo = oldest; bo; bo = loose.first) {
      const list = this.#listOf(bo, bo.pinned);
      if (bo.lru !== list) this.#put(bo, list);
      loose.first = bo.nextLoose ?? null;
      bo.nextLoose = undefined;
    }
  }

  /** Buffers that can be purged, shrunk, and neither (counts). */
  get counts(): { purgeable: number; shrinkable: number; unevictable: number } {
    this.#collect();
    const shrinkable = this.#priorities.reduce((sum, list) => sum + list.size, 0);
    return { purgeable: this.#purgeable.size, shrinkable, unevictable: this.#unevictable.size };
  }

  /** Puts a buffer that was just used, or is to be pinned, where it belongs, at the most recently used end. */
  used(bo: BufferObject, pinned: boolean = bo.pinned): void {
    if (this.loose.first) this.#collect();
    this.#put(bo, this.#listOf(bo, pinned));
  }

  #put(bo: BufferObject, list: Lru<BufferObject> | undefined): void {
    if (list) list.touch(bo);
    else bo.lru?.remove(bo);
  }

  /** Takes a buffer elsewhere that no longer belongs where it is; else leaves it in its place. */
  settle(bo: BufferObject, pinned: boolean = bo.pinned): void {
    if (this.loose.first) this.#collect();
    const list = this.#listOf(bo, pinned);
    if (bo.lru !== list) this.#put(bo, list);
  }

  #listOf(bo: BufferObject, pinned: boolean): Lru<BufferObject> | undefined {
    const { tt } = bo;
    if (tt.vector < 0) return undefined;
    if (tt.resident === 0 || pinned) return this.#unevictable;
    if (tt.purgeable) return this.#purgeable;
    // Pages for coherent DMA stay, unless they can be purged.
    return tt.pool?.coherent ? this.#unevictable : this.#priorities[bo.priority];
  }

  /**
   * Shrinks, or purges, the one that would leave first (ttm_global_swapout), at a stretch. Returns pages
   * released.
   */
  shrinkOneSync(): number {
    this.#collect();
    const global = this.#global;
    const task: Task = { op: "shrink", signal: undefined };
    for (const list of [this.#purgeable, ...this.#priorities]) {
      for (const bo of list.walk()) {
        const { tt } = bo;
        if (!tt.lock.tryLock()) continue;
        try {
          if (tt.purgeable) return poolOf(tt).purge(tt);
          const shrink = new Shrink(global, task, [tt], tt.resident);
          runSync(global, task, shrink);
          if (shrink.released > 0) return shrink.released;
        } finally {
          this.#letGo([bo]);
        }
      }
    }
    return 0;
  }

  /** What is wrong with a buffer's pages, if anything is: for tests and suspicion. */
  check(): string | undefined {
    for (const { tt } of this.all()) {
      if (tt.vector < 0) continue; // purged, and asked by who is told of it before the lists are
      const { pages, held } = this.#global.engine.vectorCounts(tt.vector, tt.numPages);
      if (tt.populated && pages < tt.numPages)
        return `buffer ${tt.id} lacks pages it is said to have`;
      if (tt.resident !== pages + held) {
        return `buffer ${tt.id} has ${pages + held} pages, and is said to have ${tt.resident}`;
      }
    }
    return undefined;
  }

  /** Buffers that have content, in the order in which they would leave. */
  all(): BufferObject[] {
    this.#collect();
    const lists = [this.#purgeable, ...this.#priorities, this.#unevictable];
    return lists.flatMap((list) => Array.from(list.walk()));
  }

  /** Those of them that hold pages. */
  resident(): BufferObject[] {
    return this.all().filter((bo) => bo.tt.resident > 0);
  }

  /** Pages that buffers hold, an upper bound; SHRINK_EMPTY when none can give any. */
  countObjects(): number {
    if (this.loose.first) this.#collect();
    const some = this.#purgeable.size > 0 || this.#priorities.some(({ size }) => size > 0);
    return some ? this.#global.heldPages : SHRINK_EMPTY;
  }

  /** Purges, then shrinks: about `nrToScan` pages, at least a cluster of them if they can be had. */
  scanObjects(control: ShrinkControl): number | Scan {
    if (this.loose.first) this.#collect();
    const purged = this.#purge(control.nrToScan);
    control.nrScanned = purged;
    if (purged >= control.nrToScan) return purged || SHRINK_STOP;
    const { nrToScan, cluster = 0, task = NO_TASK } = control;
    const target = Math.max(nrToScan, cluster, CLUSTER_PAGES_MIN) - purged;
    const victims = this.#victims(target);
    const tts = victims.map(({ tt }) => tt);
    control.nrScanned = purged + tts.reduce((pages, { resident }) => pages + resident, 0);
    const global = this.#global;
    try {
      return new ReclaimScan(new Shrink(global, task, tts, target), (shrunk) => {
        try {
          return shrunk ? this.#scanned(control, purged, shrunk) : SHRINK_STOP;
        } finally {
          this.#letGo(victims);
        }
      });
    } catch (error) {
      this.#letGo(victims);
      throw error;
    }
  }

  /** What a scan came to: pages freed, or SHRINK_STOP when there was nothing to look at. */
  #scanned(control: ShrinkControl, purged: number, { released, failure }: Released): number {
    if (failure !== undefined) control.failure = failure;
    const full = released === 0 && failure !== undefined && codeOf(failure) === "ENOSPC";
    const freed = purged + released + (full ? this.#dropHeld(control.nrToScan) : 0);
    return control.nrScanned > 0 ? freed : SHRINK_STOP;
  }

  /** With swap full: takes frames back that interrupted restores hold, which needs no slot. Returns how many. */
  #dropHeld(pages: number): number {
    let freed = 0;
    for (const list of this.#priorities) {
      for (const bo of list.walk()) {
        if (freed >= pages) return freed;
        if (!bo.tt.restore || !bo.tt.lock.tryLock()) continue;
        freed += dropHeld(bo.tt);
        this.settle(bo);
        bo.unlock();
      }
    }
    return freed;
  }

  /** Throws away purgeable buffers until `pages` pages are free. Returns pages released. */
  #purge(pages: number): number {
    let released = 0;
    if (this.#purgeable.size === 0) return 0;
    for (const bo of this.#purgeable.walk()) {
      if (released >= pages) break;
      if (bo.pinned || !bo.tt.lock.tryLock()) continue;
      released += poolOf(bo.tt).purge(bo.tt);
      this.settle(bo);
      bo.unlock();
    }
    return released;
  }

  /** The next buffers that together hold `target` pages, locked. */
  #victims(target: number): BufferObject[] {
    const victims: BufferObject[] = [];
    let found = 0;
    for (const list of this.#priorities) {
      for (let bo = list.first; bo && found < target; bo = list.after(bo)) {
        if (bo.pinned || !bo.tt.lock.tryLock()) continue;
        victims.push(bo);
        found += bo.tt.resident;
      }
    }
    return victims;
  }

  #letGo(victims: readonly BufferObject[]): void {
    for (const bo of victims) {
      this.settle(bo);
      bo.unlock();
    }
  }
}

/** For who asks a shrinker by itself. */
const NO_TASK: Task = { op: "shrink", signal: undefined };

/** A scan that moves victims out; `ended` lets go of them, and says what it came to. */
class ReclaimScan implements Scan {
  readonly #shrink: Work & Released;
  readonly #ended: (shrunk: Released | undefined) => number;
  freed: number = SHRINK_STOP;

  constructor(shrink: Work & Released, ended: (shrunk: Released | undefined) => number) {
    this.#shrink = shrink;
    this.#ended = ended;
  }

  attempt(): Pending | undefined {
    let shrunk: Released | undefined;
    try {
      const waits = this.#shrink.attempt();
      if (waits) return waits;
      shrunk = this.#shrink;
    } catch (error) {
      this.#ended(undefined);
      throw error;
    }
    this.freed = this.#ended(shrunk);
    return undefined;
  }
}
