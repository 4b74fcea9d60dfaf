import { codeOf } from "./errors.ts";
import { type Resource, ResourceManager } from "./resource.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import { poolOf } from "./ttm/pool.ts";
import { dropHeld } from "./ttm/restore.ts";
import { Shrink } from "./ttm/shrink.ts";
import {
  type Released,
  type Scan,
  SHRINK_EMPTY,
  SHRINK_STOP,
  type ShrinkControl,
  type Shrinker,
} from "./ttm/shrinker.ts";
import type { Task } from "./ttm/task.ts";
import { BATCH_PAGES } from "./ttm/transfer.ts";
import type { Tt } from "./ttm/tt.ts";
import { type Pending, runSync, type Work } from "./ttm/work.ts";

/** Pages shrunk at a stretch even for a smaller need, so that small buffers leave together. */
const CLUSTER_PAGES_MIN = 16;

/** How many times as many pages as may be on their way together. */
const SCAN_FLIGHTS = 8;

/** A buffer, as far as it can give pages up. */
export interface Reclaimable extends Resource {
  readonly tt: Tt;
  /** Lets go of its pages, which were locked. */
  unlock(): void;
}

/**
 * The shrinker of the buffers on a memory, whichever device they are of: purges first, without I/O, then moves
 * pages out, in the order of the lists. Locks are only tried.
 */
export class Reclaim implements Shrinker {
  readonly name = "ttm-buffer-objects";
  /**
   * Pages of one scan. On a store of which many calls are in flight together these are many times as many, as all of
   * them come to their end before the next scan; but half of the memory at most, as they are locked meanwhile.
   */
  readonly batch: number;
  /** The buffers that have content, in the order in which they leave. */
  readonly resources: ResourceManager<Reclaimable>;
  readonly #global: TtmGlobal;

  constructor(global: TtmGlobal) {
    this.#global = global;
    const { store, transferPages, engine } = global;
    this.resources = new ResourceManager(engine.geometry.frames);
    const flying = store.width > 1 ? store.width * transferPages : 0;
    const together = Math.min(SCAN_FLIGHTS * flying, engine.geometry.frames >>> 1);
    this.batch = Math.max(together, BATCH_PAGES);
  }

  /**
   * Shrinks, or purges, the one that would leave first (ttm_global_swapout), at a stretch. Returns pages
   * released.
   */
  shrinkOneSync(): number {
    const global = this.#global;
    for (const bo of this.resources.walk()) {
      const { tt } = bo;
      if (!tt.lock.tryLock()) continue;
      try {
        if (tt.purgeable) return poolOf(tt).purge(tt);
        const shrink = new Shrink(global, NO_TASK, [tt], tt.resident);
        runSync(global, NO_TASK, shrink);
        if (shrink.released > 0) return shrink.released;
      } finally {
        this.#letGo([bo]);
      }
    }
    return 0;
  }

  /** What is wrong with a buffer's pages, if anything is: for tests and suspicion. */
  check(): string | undefined {
    for (const { tt } of this.resources.all()) {
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

  /** Buffers that hold pages, in the order in which they would leave. */
  resident(): Reclaimable[] {
    return this.resources.all().filter(({ tt }) => tt.resident > 0);
  }

  /** Pages that buffers hold, an upper bound; SHRINK_EMPTY when none can give any. */
  countObjects(): number {
    return this.resources.some ? this.#global.heldPages : SHRINK_EMPTY;
  }

  /** Purges, then shrinks: about `nrToScan` pages, at least a cluster of them if they can be had. */
  scanObjects(control: ShrinkControl): number | Scan {
    const purged = this.#purge(control.nrToScan);
    control.nrScanned = purged;
    if (purged >= control.nrToScan) return purged || SHRINK_STOP;
    const { nrToScan, cluster = 0, task = NO_TASK } = control;
    const target = Math.max(nrToScan, cluster, CLUSTER_PAGES_MIN) - purged;
    const victims = this.#victims(target);
    const tts = victims.map(({ tt }) => tt);
    control.nrScanned = purged + tts.reduce((pages, { resident }) => pages + resident, 0);
    let waits: Pending | undefined;
    try {
      const shrink = new Shrink(this.#global, task, tts, target);
      waits = shrink.attempt();
      if (!waits) return this.#scanned(control, purged, shrink);
      return this.#scanLater(control, purged, victims, shrink, waits);
    } finally {
      if (!waits) this.#letGo(victims);
    }
  }

  /** A scan whose shrink `waits`. */
  #scanLater(
    control: ShrinkControl,
    purged: number,
    victims: readonly Reclaimable[],
    shrink: Shrink,
    waits: Pending,
  ): Scan {
    return new ReclaimScan(shrink, waits, (shrunk) => {
      try {
        return shrunk ? this.#scanned(control, purged, shrunk) : SHRINK_STOP;
      } finally {
        this.#letGo(victims);
      }
    });
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
    for (const bo of this.resources.walk()) {
      if (freed >= pages) break;
      if (!bo.tt.restore || !bo.tt.lock.tryLock()) continue;
      freed += dropHeld(bo.tt);
      this.#letGo([bo]);
    }
    return freed;
  }

  /** Throws away purgeable buffers until `pages` pages are free. Returns pages released. */
  #purge(pages: number): number {
    const { purgeable } = this.resources;
    let released = 0;
    if (purgeable.size === 0) return 0;
    for (const bo of purgeable.walk()) {
      if (released >= pages) break;
      if (bo.pinned || !bo.tt.lock.tryLock()) continue;
      released += poolOf(bo.tt).purge(bo.tt);
      this.#letGo([bo]);
    }
    return released;
  }

  /** The next buffers that together hold `target` pages, locked. */
  #victims(target: number): Reclaimable[] {
    const victims: Reclaimable[] = [];
    let found = 0;
    for (const list of this.resources.shrinkable) {
      for (let bo = list.first; bo && found < target; bo = list.after(bo)) {
        if (bo.pinned || !bo.tt.lock.tryLock()) continue;
        victims.push(bo);
        found += bo.tt.resident;
      }
    }
    return victims;
  }

  #letGo(victims: readonly Reclaimable[]): void {
    for (const bo of victims) {
      this.resources.settle(bo);
      bo.unlock();
    }
  }
}

/** For who asks a shrinker by itself. */
const NO_TASK: Task = { op: "shrink", signal: undefined };

/**
 * A scan that moves victims out, and has to wait: now for what its first attempt `waits` for. `ended` lets go of
 * them, and says what it came to.
 */
class ReclaimScan implements Scan {
  readonly #shrink: Work & Released;
  #waits: Pending | undefined;
  readonly #ended: (shrunk: Released | undefined) => number;
  freed: number = SHRINK_STOP;

  constructor(
    shrink: Work & Released,
    waits: Pending,
    ended: (shrunk: Released | undefined) => number,
  ) {
    this.#shrink = shrink;
    this.#waits = waits;
    this.#ended = ended;
  }

  attempt(): Pending | undefined {
    let shrunk: Released | undefined;
    try {
      const waits = this.#waits ?? this.#shrink.attempt();
      this.#waits = undefined;
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
