/*
 * Room: what is reclaimed before a tt gets its frames, so that there are enough, within the limits, and
 * something is left to exchange pages with (ttm_tt_populate, and the kernel's page allocator below it).
 */
import { codeOf, TtmError } from "../errors.ts";
import { formatSize } from "../size.ts";
import type { WaitQueue } from "../wait_queue.ts";
import { drain, type Steps } from "./driver.ts";
import type { Claim } from "./frames.ts";
import type { TtmGlobal } from "./global.ts";
import type { Pool } from "./pool.ts";
import type { Released } from "./shrink.ts";
import type { Tt } from "./tt.ts";
import { turnQueue } from "./turns.ts";

/** Reclaims in a row that freed no frame before memory counts as exhausted (MAX_RECLAIM_RETRIES). */
const RECLAIM_RETRIES_MAX = 16;

/** Frames that `tt` still needs. */
function needOf(tt: Tt): number {
  return tt.numPages - tt.resident;
}

/** Frames that others have claimed: free, and yet not to be had. A sync operation claims none. */
function claimedByOthers({ frames }: TtmGlobal, claim: Claim | undefined): number {
  return frames.claimed - (claim ? claim.frames : 0);
}

/** Free frames that an operation may have. */
function freeFor(pool: Pool, claim: Claim | undefined): number {
  return pool.free - claimedByOthers(pool.global, claim);
}

/** Claims of the free frames what `tt` still needs. */
export function claimRoom(pool: Pool, tt: Tt, claim: Claim): void {
  claim.raise(Math.min(needOf(tt), freeFor(pool, claim)));
}

/** Frames that are lacking; those pooled for it count when they are enough. */
function lackingFor(pool: Pool, tt: Tt, claim?: Claim): number {
  const wanted = needOf(tt) + pool.global.watermarks.min;
  const lacking = wanted - freeFor(pool, claim);
  return lacking > 0 && lacking > pool.pooledFor(tt) ? lacking : 0;
}

/**
 * Pages that may leave together for `tt`. Who puts new content in mostly goes on with more of it; who waits
 * for content to come back waits for no other.
 */
function clusterFor({ global }: Pool, tt: Tt): number {
  return tt.shrunken ? 0 : global.clusterPages;
}

/** Whether `makeRoom` has nothing to do. */
export function hasRoom(pool: Pool, tt: Tt, claim?: Claim): boolean {
  const { allocated, limits, watermarks } = pool.global;
  const need = needOf(tt);
  if (freeFor(pool, claim) < need + watermarks.min) return false;
  if (!tt.shrunken && reserve(pool, tt, claim) <= 0) return false;
  if (!tt.counted) return true;
  if (pool.dma32 && allocated.dma32Pages + need > limits.dma32Pages) return false;
  return allocated.pages + need <= limits.pages;
}

/**
 * Says after each reclaim, told what that released, whether another one may help: not for ever, as it may
 * have been what is no frame, or others may have taken it.
 */
function worthRetrying(global: TtmGlobal): (released: number) => boolean {
  let held = global.heldPages;
  let left = RECLAIM_RETRIES_MAX;
  return (released) => {
    left = global.heldPages < held ? RECLAIM_RETRIES_MAX : left - 1;
    held = global.heldPages;
    return released > 0 && left > 0;
  };
}

/** Waits for others in a row before memory counts as exhausted. */
const WAITS_MAX = 16;

/**
 * Where to wait for those who may let go of what is lacking: shrinks under way or, for who is `patient`, whoever
 * pinned or mapped pages for a moment only: until the event loop has turned.
 */
function awaited({ frames }: TtmGlobal, patient: boolean): WaitQueue | undefined {
  const { transits } = frames;
  if (transits.count > 0) return transits.queue;
  return patient && frames.stuck > 0 ? turnQueue() : undefined;
}

/**
 * Reclaims until the frames that `tt` still needs are free or pooled for it, within the limits. With a
 * `claim` they are kept for it, and who finds nothing to reclaim waits for those who write pages out.
 */
export function* makeRoom(pool: Pool, tt: Tt, claim?: Claim, first?: Released): Steps<void> {
  try {
    yield* findFrames(pool, tt, claim, first);
    yield* keepLimits(pool, tt, claim);
  } finally {
    // There may be more than it needs; or it gave up, and what others wait for comes from elsewhere.
    pool.global.frames.transits.wakeNext();
  }
}

function* findFrames(
  pool: Pool,
  tt: Tt,
  claim: Claim | undefined,
  first: Released | undefined,
): Steps<void> {
  const { global } = pool;
  const again = worthRetrying(global);
  let waits = 0;
  let patient = claim !== undefined;
  let cluster = clusterFor(pool, tt);
  let last = first;
  const { transits } = global.frames;
  if (claim && transits.count > 0 && transits.queue.first && lackingFor(pool, tt, claim) > 0) {
    // Those who wait already found nothing; to look again for each who comes would be a square.
    claimRoom(pool, tt, claim);
    const stopped = yield transits.queue;
    if (stopped) throw stopped;
  }
  while (last || lackingFor(pool, tt, claim) > 0) {
    if (claim) claimRoom(pool, tt, claim);
    const { released, failure } =
      last ?? (yield* pool.reclaim(lackingFor(pool, tt, claim), cluster));
    last = undefined;
    if (again(released) || pool.dirty(tt, 0, tt.numPages, false) > 0) continue;
    if (failure && cluster > 0) {
      // It may have been a page that need not leave.
      cluster = 0;
      continue;
    }
    if (lackingFor(pool, tt, claim) === 0) break;
    const full = failure === undefined || codeOf(failure) === "ENOSPC";
    const queue = full && waits++ < WAITS_MAX ? awaited(global, patient) : undefined;
    if (queue) {
      patient &&= queue === transits.queue;
      const stopped = yield queue;
      if (stopped) throw stopped;
      continue;
    }
    // A restore goes on with little: what it reads stays, and frees slots for others to leave to.
    const there = freeFor(pool, claim) + pool.pooledFor(tt);
    const little = tt.shrunken && there > 0 && claimedByOthers(global, claim) === 0;
    if (there >= needOf(tt) || little) break;
    throw failure ?? noMemory(pool, tt);
  }
}

/** Leaves a frame or a slot to exchange with, and has others shrink whose pages are over a limit. */
function* keepLimits(pool: Pool, tt: Tt, claim: Claim | undefined): Steps<void> {
  const { global } = pool;
  const again = worthRetrying(global);
  if (!tt.shrunken) yield* keepReserve(pool, tt, claim);
  // Over a page limit, others shrink if they can (ttm_tt_populate); if nobody can, so be it. A restore
  // goes on even if they fail to: it frees the slots they lack.
  if (!tt.counted) return;
  const { allocated, limits } = global;
  while (allocated.pages + needOf(tt) > limits.pages) {
    const over = allocated.pages + needOf(tt) - limits.pages;
    const { released, failure } = yield* pool.reclaim(over);
    if (failure && !tt.shrunken) throw failure;
    if (!again(released)) break;
  }
  while (pool.dma32 && allocated.dma32Pages + needOf(tt) > limits.dma32Pages) {
    const { released, failure } = yield* pool.reclaim(1);
    if (failure && !tt.shrunken) throw failure;
    if (!again(released)) break;
  }
}

/** The same at a stretch. Mostly frames are all that is lacking, and one reclaim is enough. */
export function makeRoomNow(pool: Pool, tt: Tt): void {
  const lacking = lackingFor(pool, tt);
  const first = lacking > 0 ? pool.reclaimNow(lacking, clusterFor(pool, tt)) : undefined;
  if (!hasRoom(pool, tt)) drain(pool.global, makeRoom(pool, tt, undefined, first));
}

/**
 * With every frame and every slot taken, nothing could ever be exchanged again: new content leaves one
 * of them free.
 */
function* keepReserve(pool: Pool, tt: Tt, claim: Claim | undefined): Steps<void> {
  const { global } = pool;
  // Slots of pages that were written since count neither as free nor as clean.
  while (reserve(pool, tt, claim) <= 0) if (global.reclaimSlots(1) === 0) break;
  if (reserve(pool, tt, claim) > 0) return;
  // If something can be purged, that makes room; if something can be moved, swap has room.
  const { failure } = yield* pool.reclaim(1);
  if (reserve(pool, tt, claim) > 0) return;
  const { engine, space } = global;
  const promised = reserve(pool, tt, claim) + engine.freeSlots - space.spare;
  if (failure !== undefined || promised <= 0) throw failure ?? global.swapFull();
}

/** Frames that `tt` may have, and slots that can be counted on, that are left when it has all it needs. */
function reserve(pool: Pool, tt: Tt, claim: Claim | undefined): number {
  const { engine, space } = pool.global;
  const frames = pool.dma32
    ? pool.free + pool.pooledFor(tt)
    : engine.freePages + engine.pooledPages;
  const free = frames - claimedByOthers(pool.global, claim);
  return free + space.spare + engine.cleanPages - needOf(tt);
}

export function noMemory(pool: Pool, tt: Tt): TtmError {
  const { global } = pool;
  const { engine } = global;
  const text =
    `${tt.numPages} pages are needed, ${pool.free + tt.resident} of ${engine.geometry.frames} are ` +
    "free or its own, and the others are pinned or in use: unmap or unpin buffers, or raise memory " +
    `(now ${formatSize(global.memory)})`;
  return new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", text);
}
