/*
 * Shrink: moves pages of a batch of tts to swap, page vectors in index order, several small tts in
 * one run of slots (ttm_pool_shrink_tt, ttm_pool_backup). Every page moved is released for good,
 * whatever happens to the next.
 */
import { BAD, ENOSPC, ITEMS_MAX, LOST } from "../../assembly/abi.ts";
import type { ShrinkItem } from "../engine/exchange.ts";
import { codeOf, failureOf, show, TtmError } from "../errors.ts";
import type { Claim } from "./frames.ts";
import { countersOf, type TtmGlobal } from "./global.ts";
import { type Pool, poolOf } from "./pool.ts";
import { dropHeld } from "./restore.ts";
import type { Released } from "./shrinker.ts";
import { AsyncTask, type Task } from "./task.ts";
import { BATCH_PAGES, Moved, transfer } from "./transfer.ts";
import {
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";
import { border, Pending, type Work } from "./work.ts";

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

/** A tt that a batch takes pages of. */
interface Item extends ShrinkItem {
  readonly tt: Tt;
  /** Its place among the tts. */
  readonly index: number;
}

/** Some pages of a walk that leave together: `items` prepared, `pages` of them. */
interface Batch {
  readonly items: readonly Item[];
  readonly pages: number;
  /** Why its slots were set aside, when they were. */
  readonly retry: number;
  /** Whether it was prepared when the store was known to be full. */
  readonly full: boolean;
}

/**
 * A shrink on its way: moves pages of `tts` to swap, in order, until `target` are released; a chunk leaves
 * whole, so it may be more. A chunk held by an interrupted restore is given back first. On a store that takes
 * time several batches are on their way together.
 */
export class Shrink implements Work, Released {
  readonly #global: TtmGlobal;
  readonly #task: Task;
  readonly #tts: readonly Tt[];
  readonly #target: number;
  /** Of whom the frames are to be that it releases; `undefined`: anybody's. */
  readonly #claim: Claim | undefined;
  /** How the store said that it is full, if it did: then the walk goes on with the slots that it had. */
  #full: unknown = undefined;
  /** Pages that the store has taken. */
  #written = 0;
  /** Slots to try at a time of those set aside. */
  #tries = 1;
  /** Whether the last batch got fewer slots than it was to have: a part of a chunk may be on its way. */
  #scarce = false;
  /** The first tt that may have pages left, and the entry from which to look at it. */
  #first = 0;
  #start = 0;
  /** Batches on their way, on a store that takes time; their pages, and whether it counts as one who writes out. */
  #flying: Set<Promise<void>> | undefined = undefined;
  #flyingPages = 0;
  #transit = false;
  #begun = false;
  released = 0;
  failure: unknown = undefined;

  constructor(global: TtmGlobal, task: Task, tts: readonly Tt[], target: number, claim?: Claim) {
    this.#global = global;
    this.#task = task;
    this.#tts = tts;
    this.#target = target;
    this.#claim = claim;
  }

  attempt(): Pending | undefined {
    try {
      if (!this.#begun) this.#giveHeldBack();
      const pending = this.#walk();
      if (pending) return pending;
    } catch (error) {
      this.#over();
      throw error;
    }
    this.#over();
    return undefined;
  }

  /** Not before it is sure that it is not stopped at once: then nothing is to have changed. */
  #giveHeldBack(): void {
    this.#begun = true;
    for (const tt of this.#tts) this.released += dropHeld(tt);
    this.#skip();
  }

  #walk(): Pending | undefined {
    for (let batch = this.#next(); batch; batch = this.#next()) {
      this.#begin();
      const moved = transfer(this.#global, this.#task, true, batch.pages, 0);
      if (moved instanceof Moved) {
        this.#end(batch, moved);
        if (this.#done) break;
        const stop = border(this.#task);
        if (stop instanceof Pending) return stop;
        this.failure = stop;
      } else this.#fly(batch, moved);
    }
    return this.#flying?.size ? new Pending(Promise.race(this.#flying)) : undefined;
  }

  /** Those who find no frame wait for it; not with nothing on its way, which would only wake them for nothing. */
  #begin(): void {
    if (this.#transit || !(this.#task instanceof AsyncTask)) return;
    this.#transit = true;
    this.#global.frames.transits.begin();
  }

  #over(): void {
    if (!this.#transit) return;
    this.#transit = false;
    this.#global.frames.transits.end();
  }

  /** A batch whose pages are on their way leaves, or comes back, when they have come to their end. */
  #fly(batch: Batch, moving: Promise<Moved>): void {
    const { transits } = this.#global.frames;
    this.#flying ??= new Set();
    const flying = this.#flying;
    this.#flyingPages += batch.pages;
    transits.pages += batch.pages;
    const settled = moving.then((moved) => {
      flying.delete(settled);
      this.#flyingPages -= batch.pages;
      transits.pages -= batch.pages;
      try {
        this.#end(batch, moved);
      } catch (error) {
        this.failure ??= failureOf("shrink", error);
      }
    });
    flying.add(settled);
  }

  /** Goes past tts that have no page left. */
  #skip(): void {
    while (this.#first < this.#tts.length && (this.#tts[this.#first] as Tt).resident === 0) {
      this.#first++;
      this.#start = 0;
    }
  }

  /** All that is lacking is on its way, or has left; or something stopped it. */
  get #done(): boolean {
    const { released, failure } = this;
    const coming = released + this.#flyingPages;
    return failure !== undefined || coming >= this.#target || this.#first >= this.#tts.length;
  }

  /** Prepares the next batch; `undefined` when there is none, or none may be on its way beside the others. */
  #next(): Batch | undefined {
    const flying = this.#flyingPages;
    if (this.#done || (flying > 0 && flying + BATCH_PAGES > this.#flyingMax)) return undefined;
    const want = Math.min(Math.ceil(this.#target - this.released - flying), BATCH_PAGES);
    const { items, pages } = choose(this.#tts, this.#first, this.#start, want);
    try {
      const batch = this.#prepare(items, Math.min(want, pages));
      this.#scarce = !batch || (batch.pages < want && items.some(isOpen));
      // What needs no slot has left; or what is on its way has to come to its end first.
      if (!batch) return this.#flyingPages > 0 ? undefined : this.#next();
      this.#pass(items);
      return batch;
    } catch (error) {
      this.failure = this.#full ?? failureOf("shrink", error);
      return undefined;
    }
  }

  /**
   * Most pages on their way together: one batch while slots are short, or it is found out what the store takes. Else
   * there is one more than fits, so that its calls begin when others end, before anything is prepared.
   */
  get #flyingMax(): number {
    const { store, transferPages } = this.#global;
    if (this.#full || this.#scarce || store.width === 1) return 0;
    return store.width * transferPages + BATCH_PAGES;
  }

  /**
   * Reserves slots for about `budget` pages. With none left, what needs none leaves, once: `undefined` then, as while
   * some are on their way. After that it takes those that its own pages keep, and tries bad ones: one, and if that goes well twice as many each time; or
   * while nothing was written one that the store was too full for.
   *
   * @throws TtmError ENOSPC when there is none at all
   */
  #prepare(items: readonly Item[], budget: number): Batch | undefined {
    const global = this.#global;
    const { engine, space } = global;
    const full = this.#full !== undefined;
    // One chunk at a time when it may be made to fail.
    const pages = global.faults.on ? 1 : budget;
    if (global.fails("slot")) throw new TtmError("ENOSPC", "shrink", "injected fault");
    const good = engine.goodSlots;
    if (good < pages) global.reclaimSlots(engine.shrinkNeeds(items, pages) - good);
    let prepared = engine.shrinkPrepare(items, pages);
    if (prepared === -ENOSPC && (this.#flyingPages > 0 || this.#dropSaved())) return undefined;
    // Pages that keep their slots may stand behind one that has none.
    const taken = prepared === -ENOSPC ? global.reclaimSlots(pages, this.#tts) : 0;
    if (taken > 0) prepared = engine.shrinkPrepare(items, pages);
    const lost = this.#written === 0 && !full;
    const retry = prepared === -ENOSPC ? space.retry(this.#tries, lost) : 0;
    if (retry > 0) prepared = engine.shrinkPrepare(items, Math.min(this.#tries, pages));
    if (prepared === -ENOSPC) throw global.swapFull();
    return { items, pages: prepared, retry, full };
  }

  /** Lets go of pages that need no slot, as far as they are wanted, wherever they stand. Says whether there were any. */
  #dropSaved(): boolean {
    const { released } = this;
    const { engine } = this.#global;
    for (const tt of this.#tts) {
      if (this.#done) break;
      if (tt.resident === 0) continue;
      const pages = engine.shrinkSaved(tt.vector, tt.numPages, 0, tt.numPages);
      account(this.#global, 0, pages);
      if (pages > 0) becomeShrunken(tt, pages);
      this.#took(pages);
      if (pages > 0) this.#global.trace?.({ type: "shrink", tt: tt.id, pages });
    }
    this.#skip();
    return this.released > released;
  }

  /** Pages have left: their frames are its claim's, if it has one. */
  #took(pages: number): void {
    this.released += pages;
    this.#claim?.raise(this.#claim.frames + pages);
  }

  /** Moves on to the first item that was not looked at to its end: those before it are on their way. */
  #pass(items: readonly Item[]): void {
    const open = items.find(isOpen);
    this.#first = open ? open.index : (items[items.length - 1] as Item).index + 1;
    this.#start = open ? open.next : 0;
    this.#skip();
  }

  /** Commits a batch, and moves on. */
  #end(batch: Batch, moved: Moved): void {
    const { items, retry, full } = batch;
    const released = commit(this.#global, items, moved);
    this.#written += moved.pages;
    if (retry === LOST && moved.pages > 0) this.#global.engine.slotsBack();
    if (retry === BAD) this.#tries *= 2;
    this.#took(released);
    if (moved.refused && !full && codeOf(moved.failure) === "ENOSPC") {
      // Now it is known what the store has: the same pages again, within that.
      this.#full ??= moved.failure;
      const { index, start } = items[0] as Item;
      if (index < this.#first) this.#start = start;
      else if (index === this.#first) this.#start = Math.min(start, this.#start);
      this.#first = Math.min(index, this.#first);
      this.#skip();
      return;
    }
    this.failure ??= moved.failure;
    this.#skip();
    // Nothing moved, and nothing was passed that is on its way already: there is nothing to go on with.
    if (released === 0 && !items.some(({ start, next }) => next > start))
      this.#first = this.#tts.length;
  }
}

/** Whether it was not looked at to its end. */
function isOpen({ next, entries }: Item): boolean {
  return next < entries;
}

/** The tts from `first` on that together have `want` pages; the walk of the first begins at `start`. */
function choose(
  tts: readonly Tt[],
  first: number,
  start: number,
  want: number,
): { items: Item[]; pages: number } {
  const items: Item[] = [];
  let pages = 0;
  for (let index = first; index < tts.length && pages < want && items.length < ITEMS_MAX; index++) {
    const tt = tts[index] as Tt;
    if (tt.resident === 0) continue;
    const from = index === first ? start : 0;
    const { numPages: entries } = tt;
    items.push({ tt, index, entries, start: from, next: from, released: 0 });
    pages += tt.resident;
  }
  return { items, pages };
}

/** Lets the pages go that were moved. Returns how many. */
function commit(
  global: TtmGlobal,
  items: readonly Item[],
  { moved, pages, refused, failure }: Moved,
): number {
  const { engine, space } = global;
  let released: number;
  try {
    released = engine.shrinkCommit(items, moved);
  } catch (error) {
    throw global.poison(error);
  }
  for (const { slot, pages } of refused?.runs ?? []) space.refused(slot, pages, codeOf(failure));
  account(global, pages, released);
  for (const { tt, released } of items) if (released > 0) becomeShrunken(tt, released);
  // Traces may look at any of them, so they hear of it when all is noted.
  if (global.trace) {
    for (const { tt, released } of items) {
      if (released > 0) global.trace?.({ type: "shrink", tt: tt.id, pages: released });
    }
  }
  return released;
}

/** Counts pages that have left, `written` of them to swap by now. */
function account(global: TtmGlobal, written: number, released: number): void {
  const stats = countersOf(global);
  const { zeroPages } = global.engine;
  stats.pagesOut += written;
  stats.pagesZero += zeroPages;
  stats.pagesClean += Math.max(released - written - zeroPages, 0);
}

/** Some pages of `tt` have left: it is shrunken, and no longer to be used for DMA. */
function becomeShrunken(tt: Tt, pages: number): void {
  const pool = poolOf(tt);
  const { clean } = pool.global;
  pool.dropMappings(tt);
  tt.restore = undefined;
  pool.account(tt, -pages);
  if (pool.global.engine.zeroPages > 0) tt.gaps = true;
  tt.flags &= ~TT_FLAG_PRIV_POPULATED;
  tt.flags |= TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED;
  if (tt.resident === 0) clean.delete(tt);
}
