/*
 * Shrink: moves pages of a batch of tts to swap, page vectors in index order, several small tts in
 * one run of slots (ttm_pool_shrink_tt, ttm_pool_backup). Every page moved is released for good,
 * whatever happens to the next.
 */
import { BAD, ENOSPC, ITEMS_MAX, LOST } from "../../assembly/abi.ts";
import type { ShrinkItem } from "../engine/engine.ts";
import { codeOf, failureOf, show, TtmError } from "../errors.ts";
import { BORDER, type Steps, stopped } from "./driver.ts";
import type { Claim } from "./frames.ts";
import { countersOf, type TtmGlobal } from "./global.ts";
import type { Pool } from "./pool.ts";
import { dropHeld } from "./restore.ts";
import { BATCH_PAGES, type Moved, pagesOf, transferExtents, transferNow } from "./transfer.ts";
import {
  poolOf,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";

/** What a shrink or a reclaim came to: pages released, and what stopped it, if anything did. */
export interface Released {
  readonly released: number;
  readonly failure?: unknown;
}

/** Pages released; when there are none, what stopped it is thrown. */
export function partial({ released, failure }: Released): number {
  if (released === 0 && failure) throw failure;
  return released;
}

/** @throws RangeError unless `pages` is a number of pages above 0 */
export function assertTarget(pages: unknown): void {
  if (typeof pages === "number" && pages > 0) return;
  throw new RangeError(`pages must be a number of pages above 0, not ${show(pages)}`);
}

/** @throws TtmError EBUSY for pages that cannot leave: others' pages, and those for coherent DMA */
export function assertShrinkable(pool: Pool, tt: Tt): void {
  assertOurs(tt);
  if (!pool.coherent) return;
  throw new TtmError("EBUSY", "shrink", "pages for coherent DMA cannot be shrunk, only purged");
}

/** @throws TtmError EBUSY for pages that belong to others, which cannot be purged either */
export function assertOurs(tt: Tt): void {
  const foreign = (tt.flags & (TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE)) === TT_FLAG_EXTERNAL;
  if (!tt.sg && !foreign) return;
  throw new TtmError("EBUSY", "shrink", "the pages of this tt are not ours to shrink");
}

interface Entry extends ShrinkItem {
  readonly tt: Tt;
  /** Its place among the tts. */
  readonly index: number;
}

/** A shrink on its way through `tts`. */
interface Walk {
  readonly global: TtmGlobal;
  /** Of whom the frames are to be that it releases; `undefined`: anybody's. */
  readonly claim: Claim | undefined;
  readonly tts: readonly Tt[];
  readonly target: number;
  released: number;
  failure: unknown;
  /** How the store said that it is full, if it did: then the walk goes on with the slots that it had. */
  full: unknown;
  /** Slots to try at a time of those set aside. */
  tries: number;
  /** The first tt that may have pages left, and the entry from which to look at it. */
  first: number;
  start: number;
}

/** Some pages of a walk that leave together: `items` prepared, `pages` of them. */
interface Batch {
  readonly items: readonly Entry[];
  readonly pages: number;
  /** Why its slots were set aside, when they were. */
  readonly retry: number;
}

/**
 * Moves pages of `tts` to swap, in order, until `target` are released; a chunk leaves whole, so it may
 * be more. A chunk held by an interrupted restore is given back first.
 */
export function* shrink(
  global: TtmGlobal,
  tts: readonly Tt[],
  target: number,
  claim?: Claim,
): Steps<Released> {
  const walk = begin(global, tts, target, claim);
  let batch = next(walk);
  // With nothing on its way nobody waits for it: it would only wake those who have nothing either.
  if (!batch) return walk;
  global.frames.transits.begin();
  try {
    for (; batch; batch = next(walk)) {
      const { pages } = batch;
      const now = transferNow(global, true, pages, 0);
      end(walk, batch, now ?? (yield* transferExtents(global, true, pages, 0)));
      if (!done(walk)) walk.failure = yield BORDER;
    }
  } finally {
    global.frames.transits.end();
  }
  return walk;
}

/** The same at a stretch, where transfers are `immediate`: for a target of a batch or so. */
export function shrinkNow(global: TtmGlobal, tts: readonly Tt[], target: number): Released {
  const walk = begin(global, tts, target, undefined);
  for (let batch = next(walk); batch; batch = next(walk)) {
    end(walk, batch, transferNow(global, true, batch.pages, 0) as Moved);
    if (!done(walk)) walk.failure = stopped(global);
  }
  return walk;
}

function begin(
  global: TtmGlobal,
  tts: readonly Tt[],
  target: number,
  claim: Claim | undefined,
): Walk {
  const walk: Walk = {
    global,
    claim,
    tts,
    target,
    released: 0,
    failure: undefined,
    full: undefined,
    tries: 1,
    first: 0,
    start: 0,
  };
  for (const tt of tts) walk.released += dropHeld(tt);
  skip(walk);
  return walk;
}

/** Goes past tts that have no page left. */
function skip(walk: Walk): void {
  while (walk.first < walk.tts.length && (walk.tts[walk.first] as Tt).resident === 0) {
    walk.first++;
    walk.start = 0;
  }
}

function done({ tts, target, released, failure, first }: Walk): boolean {
  return failure !== undefined || released >= target || first >= tts.length;
}

/** Prepares the next batch; `undefined` when the walk has come to its end, or to a failure. */
function next(walk: Walk): Batch | undefined {
  const { tts, target, released } = walk;
  if (done(walk)) return undefined;
  const want = Math.min(Math.ceil(target - released), BATCH_PAGES);
  const { items, pages } = choose(tts, walk.first, walk.start, want);
  try {
    return prepare(walk, items, Math.min(want, pages));
  } catch (error) {
    walk.failure = walk.full ?? failureOf("shrink", error);
    return undefined;
  }
}

/** Commits a batch, and moves the walk on: all before the first item that did not come to its end have left. */
function end(walk: Walk, { items, retry }: Batch, moved: Moved): void {
  const left = commit(walk.global, items, moved);
  if (retry === LOST && moved.pages > 0) walk.global.engine.slotsBack();
  if (retry === BAD) walk.tries *= 2;
  walk.released += left;
  walk.claim?.raise(walk.claim.frames + left);
  walk.failure = moved.failure;
  if (moved.refused && !walk.full && codeOf(moved.failure) === "ENOSPC") {
    // Now it is known what the store has: the same pages again, within that.
    walk.full = moved.failure;
    walk.failure = undefined;
    const { index, start } = items[0] as Entry;
    walk.first = index;
    walk.start = start;
    skip(walk);
    return;
  }
  const open = items.find(({ next, entries }) => next < entries);
  walk.first = open ? open.index : (items[items.length - 1] as Entry).index + 1;
  walk.start = open ? open.next : 0;
  skip(walk);
  // Nothing moved, and nothing stopped it: there is nothing to go on with.
  if (left === 0) walk.first = walk.tts.length;
}

/** The tts from `first` on that together have `want` pages; the walk of the first begins at `start`. */
function choose(
  tts: readonly Tt[],
  first: number,
  start: number,
  want: number,
): { items: Entry[]; pages: number } {
  const items: Entry[] = [];
  let pages = 0;
  for (let index = first; index < tts.length && pages < want && items.length < ITEMS_MAX; index++) {
    const tt = tts[index] as Tt;
    if (tt.resident === 0) continue;
    const from = index === first ? start : 0;
    const { vector, numPages: entries } = tt;
    items.push({ tt, index, vector, entries, start: from, next: from, released: 0 });
    pages += tt.resident;
  }
  return { items, pages };
}

/**
 * Reserves slots for about `budget` pages. With none left it tries bad ones: one, and if that goes well twice
 * as many each time; or while nothing has left one that the store was too full for.
 *
 * @throws TtmError ENOSPC when there is none at all
 */
function prepare(walk: Walk, items: readonly Entry[], budget: number): Batch {
  const { global, released, full, tries } = walk;
  const { engine, space } = global;
  // One chunk at a time when it may be made to fail.
  const pages = global.faults.on ? 1 : budget;
  if (global.fails("slot")) throw new TtmError("ENOSPC", "shrink", "injected fault");
  const good = engine.goodSlots;
  if (good < pages) global.reclaimSlots(pages - good);
  let prepared = engine.shrinkPrepare(items, pages);
  // The last slots may be those of clean pages in this very batch.
  if (prepared === -ENOSPC && forget(items)) prepared = engine.shrinkPrepare(items, pages);
  const retry = prepared === -ENOSPC ? space.retry(tries, released === 0 && !full) : 0;
  if (retry > 0) prepared = engine.shrinkPrepare(items, Math.min(tries, pages));
  if (prepared === -ENOSPC) throw global.swapFull();
  return { items, pages: prepared, retry };
}

/** Lets the pages go that were moved. Returns how many. */
function commit(global: TtmGlobal, items: readonly Entry[], how: Moved): number {
  const { engine, space } = global;
  const stats = countersOf(global);
  const { moved, pages, refused, failure } = how;
  let released: number;
  try {
    released = engine.shrinkCommit(items, moved);
  } catch (error) {
    throw global.poison(error);
  }
  if (refused) space.refused(refused.slot, pagesOf(refused.extents), codeOf(failure));
  stats.pagesOut += pages;
  stats.pagesClean += Math.max(released - pages, 0);
  for (const { tt, released } of items) if (released > 0) left(tt, released);
  // Traces may look at any of them, so they hear of it when all is noted.
  if (global.trace) {
    for (const { tt, released } of items) {
      if (released > 0) global.trace?.({ type: "shrink", tt: tt.id, pages: released });
    }
  }
  return released;
}

/** Makes clean pages of a batch dirty; says whether that freed a slot. */
function forget(items: readonly Entry[]): boolean {
  return (
    items.reduce((slots, { tt }) => slots + poolOf(tt).dirty(tt, 0, tt.numPages, false), 0) > 0
  );
}

/** Some pages of `tt` have left: it is shrunken, and no longer to be used for DMA. */
function left(tt: Tt, pages: number): void {
  const pool = poolOf(tt);
  const { clean } = pool.global;
  pool.dropMappings(tt);
  tt.restore = undefined;
  pool.account(tt, -pages);
  tt.flags &= ~TT_FLAG_PRIV_POPULATED;
  tt.flags |= TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED;
  if (tt.resident === 0) clean.delete(tt);
}
