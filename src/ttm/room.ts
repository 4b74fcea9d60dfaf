/*
 * Room: what is reclaimed before a tt gets its frames, so that there are enough, within the limits, and
 * something is left to exchange pages with (ttm_tt_populate, and the kernel's page allocator below it).
 */
import { codeOf, TtmError } from "../errors.ts";
import { formatSize } from "../size.ts";
import type { WaitQueue } from "../wait_queue.ts";
import type { Claim } from "./frames.ts";
import type { TtmGlobal } from "./global.ts";
import type { Pool } from "./pool.ts";
import type { Released, Slab } from "./shrinker.ts";
import { interruption, type Task } from "./task.ts";
import { TRANSFER_PAGES_MAX } from "./transfer.ts";
import type { Tt } from "./tt.ts";
import { turnQueue } from "./turns.ts";
import { Pending, throwFailure, type Work, waitIn } from "./work.ts";

/** Reclaims in a row that freed no frame before memory counts as exhausted (MAX_RECLAIM_RETRIES). */
const RECLAIM_RETRIES_MAX = 16;

/** A tt that is being filled, and what that takes (pages). */
export interface Want {
  readonly tt: Tt;
  /** Pages that are to be in memory in the end. */
  readonly pages: number;
  /** Frames that it still needs. */
  readonly lacking: number;
  /** Of these, those of pages without content: what comes back leaves a slot for another, new content does not. */
  readonly fresh: number;
}

/** Frames that others have claimed: free, and yet not to be had. A sync operation claims none. */
function claimedByOthers({ frames }: TtmGlobal, claim: Claim | undefined): number {
  return frames.claimed - (claim ? claim.frames : 0);
}

/** Free frames that an operation may have. */
export function freeFor(pool: Pool, claim: Claim | undefined): number {
  return pool.free - claimedByOthers(pool.global, claim);
}

/** Claims of the free frames what it still needs. */
export function claimRoom(pool: Pool, want: Want, claim: Claim): void {
  claim.raise(Math.min(want.lacking, freeFor(pool, claim)));
}

/** Frames that are lacking; those pooled for it count when they are enough. */
function lackingFor(pool: Pool, want: Want, claim?: Claim): number {
  const { lacking: needed } = want;
  const wanted = needed + pool.global.watermarks.min;
  const lacking = wanted - freeFor(pool, claim);
  return lacking > 0 && lacking > pool.pooledFor(want.tt, needed) ? lacking : 0;
}

/**
 * Pages that may leave together for `tt`. Who puts new content in mostly goes on with more of it; who waits
 * for content to come back waits for no other.
 */
function clusterFor({ global }: Pool, want: Want): number {
  return want.fresh > 0 ? global.clusterPages : 0;
}

/** Pages that those inside lack together, of which the frames are neither found yet nor on their way. */
function lackingForAll({ admission, frames }: TtmGlobal): number {
  return admission.lacking - frames.taken - frames.claimed - frames.transits.pages;
}

/** Whether there is nothing to do for a `Room`. */
export function hasRoom(pool: Pool, want: Want, claim?: Claim): boolean {
  const { tt } = want;
  const { allocated, limits, watermarks } = pool.global;
  const need = want.lacking;
  if (freeFor(pool, claim) < need + watermarks.min) return false;
  if (want.fresh > 0 && reserve(pool, want, claim) <= 0) return false;
  if (!tt.counted) return true;
  if (pool.dma32 && allocated.dma32Pages + need > limits.dma32Pages) return false;
  return allocated.pages + need <= limits.pages;
}

/**
 * Waits for others in a row before memory counts as exhausted. Who comes later may be faster: of 120 writes at once
 * on a store that answers in any order some were overtaken 16 times.
 */
const WAITS_MAX = 64;

/**
 * Room on its way: reclaims until the frames that `tt` still needs are free or pooled for it, within the limits.
 * With a `claim` they are kept for it, and who finds nothing to reclaim waits for those who write pages out.
 */
export class Room implements Work {
  readonly #pool: Pool;
  readonly #task: Task;
  readonly #want: Want;
  readonly #claim: Claim | undefined;
  /** What is looked for, one after the other. */
  static readonly #STAGES: readonly ((room: Room) => Pending | undefined)[] = [
    (room) => room.#queueUp(),
    (room) => room.#findFrames(),
    (room) => room.#keepReserve(),
    (room) => room.#keepLimit(overLimit),
    (room) => room.#keepLimit(overDma32Limit),
  ];
  #stage = 0;
  /** A reclaim on its way. */
  #slab: Slab | undefined = undefined;
  /** Reclaims that may still be made in this stage, and pages that were held before the last one. */
  #left = RECLAIM_RETRIES_MAX;
  #held: number;
  /** Waits in a row, and whether it comes from one. */
  #waits = 0;
  #waited = false;
  /** Whether it waits for those, too, who pinned or mapped pages for a moment only. */
  #patient: boolean;
  /** Whether the last reclaim was for more than it needs, and whether the next is to be for that alone. */
  #clustered = false;
  #alone = false;
  /** What stopped it, if something did. */
  failure: unknown = undefined;

  constructor(pool: Pool, task: Task, want: Want, claim: Claim | undefined) {
    this.#pool = pool;
    this.#task = task;
    this.#want = want;
    this.#claim = claim;
    this.#held = pool.global.heldPages;
    this.#patient = claim !== undefined;
  }

  attempt(): Pending | undefined {
    try {
      if (this.#waited) throwFailure(interruption(this.#task));
      this.#waited = false;
      for (; this.#stage < Room.#STAGES.length; this.#stage++) {
        const waits = Room.#STAGES[this.#stage]?.(this);
        if (waits) return waits;
        this.#left = RECLAIM_RETRIES_MAX;
        this.#held = this.#pool.global.heldPages;
      }
    } catch (error) {
      this.failure = error;
    }
    // There may be more than it needs; or it gave up, and what others wait for comes from elsewhere.
    if (this.#claim || this.failure !== undefined) {
      this.#pool.global.frames.transits.wakeNext();
    }
    return undefined;
  }

  /** Those who wait already found nothing; to look again for each who comes would be a square. */
  #queueUp(): Pending | undefined {
    const { transits } = this.#pool.global.frames;
    const claim = this.#claim;
    if (!claim || this.#waits > 0 || transits.count === 0 || !transits.queue.first)
      return undefined;
    if (lackingFor(this.#pool, this.#want, claim) === 0) return undefined;
    claimRoom(this.#pool, this.#want, claim);
    return this.#wait(transits.queue);
  }

  #findFrames(): Pending | undefined {
    const pool = this.#pool;
    const want = this.#want;
    const claim = this.#claim;
    const { tt } = want;
    const { global } = pool;
    const { transits } = global.frames;
    while (this.#slab || lackingFor(pool, want, claim) > 0) {
      if (claim) claimRoom(pool, want, claim);
      // Others who wait for frames are served by the same calls.
      const all = claim && !this.#slab ? lackingForAll(global) : 0;
      if (claim && !this.#slab && all <= 0 && transits.pages > 0 && this.#waits < WAITS_MAX) {
        return this.#wait(transits.queue);
      }
      const asked = this.#reclaim(lackingFor(pool, want, claim), this.#clusterOf(all));
      if (asked instanceof Pending) return asked;
      const { released, failure } = asked;
      if (this.#worthRetrying(released) || pool.dirty(tt, 0, tt.numPages, false) > 0) continue;
      if (failure && this.#clustered) {
        // It may have been a page that need not leave.
        this.#alone = true;
        continue;
      }
      if (lackingFor(pool, want, claim) === 0) break;
      const full = failure === undefined || codeOf(failure) === "ENOSPC";
      const queue = full && this.#waits < WAITS_MAX ? awaited(global, this.#patient) : undefined;
      if (queue) {
        this.#patient &&= queue === transits.queue;
        return this.#wait(queue);
      }
      // A restore goes on with little: what it reads stays, and frees slots for others to leave to.
      const there = freeFor(pool, claim) + pool.pooledFor(tt, want.lacking);
      const little = tt.shrunken && there > 0 && claimedByOthers(global, claim) === 0;
      if (there >= want.lacking || little) break;
      throw failure ?? noMemory(pool, want);
    }
    return undefined;
  }

  /** Pages that are to leave together, if others lack `all`. */
  #clusterOf(all: number): number {
    const own = clusterFor(this.#pool, this.#want);
    const cluster = this.#alone ? 0 : Math.max(own, Math.min(all, TRANSFER_PAGES_MAX));
    this.#clustered = cluster > 0;
    return cluster;
  }

  /**
   * With every frame and every slot taken, nothing could ever be exchanged again: new content leaves one
   * of them free.
   */
  #keepReserve(): Pending | undefined {
    const pool = this.#pool;
    const want = this.#want;
    const claim = this.#claim;
    const { global } = pool;
    if (want.fresh === 0) return undefined;
    if (!this.#slab) {
      // Slots of pages that were written since count neither as free nor as clean.
      while (reserve(pool, want, claim) <= 0) if (global.reclaimSlots(1) === 0) break;
      if (reserve(pool, want, claim) > 0) return undefined;
    }
    // If something can be purged, that makes room; if something can be moved, swap has room.
    const asked = this.#reclaim(1);
    if (asked instanceof Pending) return asked;
    if (reserve(pool, want, claim) > 0) return undefined;
    const { engine, space } = global;
    const promised = reserve(pool, want, claim) + engine.freeSlots - space.spare;
    if (asked.failure !== undefined || promised <= 0) throw asked.failure ?? global.swapFull();
    return undefined;
  }

  /**
   * Over a page limit, others shrink if they can (ttm_tt_populate); if nobody can, so be it. A restore
   * goes on even if they fail to: it frees the slots they lack.
   */
  #keepLimit(over: (pool: Pool, want: Want) => number): Pending | undefined {
    const pool = this.#pool;
    const want = this.#want;
    while (this.#slab || over(pool, want) > 0) {
      const asked = this.#reclaim(over(pool, want));
      if (asked instanceof Pending) return asked;
      const { released, failure } = asked;
      // More is tried than has to leave: what stopped that is no matter when enough did.
      if (failure && !want.tt.shrunken && over(pool, want) > 0) throw failure;
      if (!this.#worthRetrying(released)) break;
    }
    return undefined;
  }

  /** A reclaim of about `pages`, if none is on its way: what came of it. */
  #reclaim(pages: number, cluster = 0): Released | Pending {
    const { shrinkers } = this.#pool.global;
    const slab = this.#slab ?? shrinkers.begin(this.#task, pages, false, cluster);
    this.#slab = slab;
    const waits = slab.attempt();
    if (waits) return waits;
    this.#slab = undefined;
    return slab;
  }

  /**
   * Says after each reclaim, told what that released, whether another one may help: not for ever, as it may
   * have been what is no frame, or others may have taken it.
   */
  #worthRetrying(released: number): boolean {
    const { heldPages } = this.#pool.global;
    this.#left = heldPages < this.#held ? RECLAIM_RETRIES_MAX : this.#left - 1;
    this.#held = heldPages;
    return released > 0 && this.#left > 0;
  }

  #wait(queue: WaitQueue): Pending {
    const pending = waitIn(this.#task, queue);
    this.#waits++;
    this.#waited = true;
    return pending;
  }
}

/**
 * Where to wait for those who may let go of what is lacking: shrinks under way or, for who is `patient`, whoever
 * pinned or mapped pages for a moment only: until the event loop has turned.
 */
function awaited({ frames }: TtmGlobal, patient: boolean): WaitQueue | undefined {
  const { transits } = frames;
  if (transits.count > 0) return transits.queue;
  return patient && frames.stuck > 0 ? turnQueue() : undefined;
}

/** Pages over the limit for all, if `tt` counts and gets what it still needs. */
function overLimit({ global }: Pool, want: Want): number {
  return want.tt.counted ? global.allocated.pages + want.lacking - global.limits.pages : 0;
}

/** A page, as long as those of DMA32 pools are over their limit. */
function overDma32Limit({ global, dma32 }: Pool, want: Want): number {
  if (!dma32 || !want.tt.counted) return 0;
  return global.allocated.dma32Pages + want.lacking > global.limits.dma32Pages ? 1 : 0;
}

/** Frames that `tt` may have, and slots that can be counted on, that are left when it has all it needs. */
function reserve(pool: Pool, want: Want, claim: Claim | undefined): number {
  const { engine, space } = pool.global;
  const frames = pool.dma32
    ? pool.free + pool.pooledFor(want.tt, want.lacking)
    : engine.freePages + engine.pooledPages;
  const free = frames - claimedByOthers(pool.global, claim);
  return free + space.spare + engine.cleanPages - want.fresh;
}

export function noMemory(pool: Pool, { tt, pages }: Want): TtmError {
  const { global } = pool;
  const { engine } = global;
  const text =
    `${pages} pages are needed, ${pool.free + tt.resident} of ${engine.geometry.frames} are ` +
    "free or its own, and the others are pinned or in use: unmap or unpin buffers, or raise memory " +
    `(now ${formatSize(global.memory)})`;
  return new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", text);
}
