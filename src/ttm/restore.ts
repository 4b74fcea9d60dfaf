/*
 * Populate and restore: one state machine that gives every entry of a tt a page.
 *
 *   E empty | P populated | B shrunken | D destroyed
 *   I  between two chunks, entries up to `cursor` are pages
 *   R  a chunk at `cursor` is held, `read` of its entries have their content
 *
 *             populate                       +--------- error, nothing read: chunk given back
 *   E ------------------------------> P      v         |
 *   ^ \_ error: frames given back _/  ^      I ----> R(0) --read--> R(n) --chunk read--> I
 *   | purge                           |      |         ^             | error: chunk kept
 *   P <---------- all pages ----------|------+         |             v
 *   | shrink > 0                                       +--resume-- R(n), saved
 *   v          restore()
 *   B ----------------------------> I
 *   B, I, R -- shrink --> B   the held chunk is given back: its slots are still valid
 *   any -- destroy --> D      frames, slots and the held chunk are freed
 *
 * - A chunk becomes visible when all of it is read (fillCommit), never before.
 * - A resume starts at the saved cursor, whether inside a chunk or between two; the order of the
 *   next chunk is chosen anew.
 * - Every attempt reports its own error: EINTR, ENOMEM, ENOSPC, EIO.
 * - Pages that never left keep their frames; nothing is copied for them.
 * - A part is filled in the same way, from its first page that is lacking; the tt is B then, unless that was all.
 */
import { ENOMEM, WALK_KEEP, WALK_ORDERS } from "../../assembly/abi.ts";
import type { FillWindow } from "../engine/engine.ts";
import { codeOf, failureOf, TtmError } from "../errors.ts";
import { cachingCode } from "./caching.ts";
import { Claim } from "./frames.ts";
import { countersOf, type TtmGlobal } from "./global.ts";
import { type Pool, poolOf } from "./pool.ts";
import { claimRoom, hasRoom, noMemory, Room, type Want } from "./room.ts";
import { AsyncTask, type Task } from "./task.ts";
import { BATCH_PAGES, Mismatch, Moved, transfer } from "./transfer.ts";
import {
  type RestoreState,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";
import { border, Pending, run, runSync, throwFailure, type Work } from "./work.ts";

/**
 * Entries [first, end), which the caller is about to write; [from, to) of them whole, so that they need neither be
 * cleared nor read.
 */
export interface Overwritten {
  readonly first: number;
  readonly from: number;
  readonly to: number;
  readonly end: number;
}

export const OVERWRITES_NOTHING: Overwritten = { first: 0, from: 0, to: 0, end: 0 };

/** Entries [from, to) of a tt: what of it is wanted. */
export interface Part {
  readonly from: number;
  readonly to: number;
}

/** Entries whose gaps are counted together. */
const BLOCK = 256;

/** Entries that are filled together, `covered` of them from `start` on, and what the engine is to do (`WALK_ORDERS` and so on). */
export interface Batch extends FillWindow {
  readonly flags: number;
  covered: number;
}

/** A tt that is being filled, and where that stands. */
interface Fill {
  readonly pool: Pool;
  readonly tt: Tt;
  readonly state: RestoreState;
}

/**
 * Makes `tt` populated, for a task that waits. Returns what stopped it, if something did: a TtmError ENOMEM, ENOSPC
 * (no frame could be reclaimed, and why), EINTR, EIO, EFAULT (DMA).
 *
 * @throws TtmError EINTR when the task is stopped before it begins
 */
export async function populate(
  pool: Pool,
  task: AsyncTask,
  tt: Tt,
  overwritten: Overwritten,
  part?: Part,
): Promise<unknown> {
  if (tt.populated) return undefined;
  const work = new Populate(pool, task, tt, overwritten, part);
  await run(task, work);
  return work.failure;
}

/** The same at a stretch. */
export function populateSync(
  pool: Pool,
  task: Task,
  tt: Tt,
  overwritten: Overwritten,
  part?: Part,
): unknown {
  if (tt.populated) return undefined;
  const work = new Populate(pool, task, tt, overwritten, part);
  runSync(pool.global, task, work);
  return work.failure;
}

/**
 * A populate on its way (ttm_pool_alloc, ttm_pool_restore_and_alloc). Stopped while it restores, it goes on
 * there next time; stopped while it populates an empty tt, that one is empty again.
 */
export class Populate implements Work, Fill, Want {
  readonly pool: Pool;
  readonly tt: Tt;
  readonly state: RestoreState;
  readonly #part: Part | undefined;
  /** Entries [cursor, `#to`) are to be pages in the end; and the first border of chunks from there on. */
  #to: number;
  #border: number;
  /** Frames of its own when it began, and those that it needed beside. */
  #resident = 0;
  #needed = 0;
  /** Entries without content from each block of `BLOCK` entries on; `undefined`: all have some. */
  #empty: Uint32Array | undefined = undefined;
  readonly #task: Task;
  readonly #overwritten: Overwritten;
  /** Frames that are its own once they are free: those of a task that waits for them. */
  readonly #claim: Claim | undefined;
  /** Room that is being made. */
  #room: Room | undefined = undefined;
  #begun = false;
  failure: unknown = undefined;

  constructor(pool: Pool, task: Task, tt: Tt, overwritten: Overwritten, part: Part | undefined) {
    this.pool = pool;
    this.tt = tt;
    this.state = tt.restore ?? { cursor: 0, read: 0, mapping: undefined, failed: false };
    this.#to = tt.numPages;
    this.#border = tt.numPages;
    this.#part = part;
    this.#task = task;
    this.#overwritten = overwritten;
    this.#claim = task instanceof AsyncTask ? new Claim(pool.global.frames) : undefined;
  }

  get pages(): number {
    return this.#part ? this.#part.to - this.#part.from : this.tt.numPages;
  }

  get lacking(): number {
    return this.#needed - (this.tt.resident - this.#resident);
  }

  get fresh(): number {
    const { pool, tt, state } = this;
    if (!tt.shrunken) return this.lacking;
    if (!this.#empty) return 0;
    const block = Math.ceil(state.cursor / BLOCK);
    const end = Math.min(block * BLOCK, this.#border);
    const behind = this.#empty[block] ?? 0;
    return behind + pool.global.engine.countEmpty(tt.vector, state.cursor, end);
  }

  attempt(): Pending | undefined {
    try {
      const pending = this.#fill();
      if (pending) return pending;
    } catch (error) {
      this.failure = failureOf("populate", error);
    }
    this.#claim?.end();
    this.#end();
    return undefined;
  }

  #fill(): Pending | undefined {
    const { pool, tt } = this;
    const { global } = pool;
    if (!this.#begun) this.#begin();
    while (this.failure === undefined && this.#lacksPages) {
      const waits = this.#makeRoom();
      if (waits) return waits;
      const { resident } = tt;
      const batch = prepare(this, this.#task, this.#overwritten, this.#border);
      this.#claim?.take(tt.resident - resident);
      const moved = transfer(global, this.#task, false, batch.covered, batch.done);
      if (!(moved instanceof Moved)) return new Pending(moved.then((m) => this.#commit(batch, m)));
      this.#commit(batch, moved);
      // A signal is looked at before each call; where there was none, here.
      const unseen = moved.pages === 0 || global.store.ram || this.#claim;
      const stop = unseen && this.failure === undefined && this.#lacksPages && border(this.#task);
      if (stop instanceof Pending) return stop;
      if (stop) this.failure = stop;
    }
    if (this.failure === undefined && this.#all) finish(pool, tt);
    return undefined;
  }

  /** Whether all of the tt is in memory then. */
  get #all(): boolean {
    const { tt, state } = this;
    return this.#part === undefined || (tt.resident === tt.numPages && state.read === 0);
  }

  #begin(): void {
    const { pool, tt, state } = this;
    this.#begun = true;
    tt.restore = state;
    const { cursor, read } = state;
    addVector(pool, tt);
    if (!tt.sg && !this.#findStart()) return;
    if (cursor + read > 0 && state.cursor === cursor && state.read === read) {
      countersOf(pool.global).resumed++;
      pool.global.trace?.({ type: "resume", tt: tt.id, cursor, read });
    }
    const { engine } = pool.global;
    this.#resident = tt.resident;
    this.#needed = this.#part
      ? engine.countGaps(tt.vector, state.cursor, this.#border)
      : tt.numPages - tt.resident;
    if (tt.shrunken && tt.gaps) this.#empty = this.#countEmpty();
  }

  /** Counted once: to count what is left for each batch would be a square. */
  #countEmpty(): Uint32Array {
    const { pool, tt, state } = this;
    const blocks = Math.ceil(this.#border / BLOCK);
    const empty = new Uint32Array(blocks + 1);
    for (let block = blocks - 1; block * BLOCK >= state.cursor && block >= 0; block--) {
      const end = Math.min((block + 1) * BLOCK, this.#border);
      const some = pool.global.engine.countEmpty(tt.vector, block * BLOCK, end);
      empty[block] = (empty[block + 1] as number) + some;
    }
    return empty;
  }

  /** Finds where the pages begin and end that are wanted. Says whether any is missing. */
  #findStart(): boolean {
    const { pool, tt, state } = this;
    const { engine } = pool.global;
    const { cursor } = state;
    if (!this.#part) {
      // If it was one of a part, gaps may be before its cursor, and what was written since may lie across it.
      const first = tt.gaps ? engine.firstMissing(tt.vector, 0, tt.numPages) : cursor;
      if (first !== cursor) this.#startAt(first);
      return true;
    }
    const { from, to } = this.#part;
    tt.gaps = true;
    const first = engine.firstMissing(tt.vector, from, to);
    this.#to = first === to ? 0 : to;
    if (first === to) return false;
    // A chunk that was read in part is gone on with, if the first page is in it; not if one of its pages cannot be
    // read, and that may be one that is not wanted.
    const held = state.read > 0 ? engine.chunkPages(engine.shadow(tt.vector + cursor)) : 0;
    const end = cursor + held;
    const wanted = cursor >= from && end <= to;
    const goesOn = first >= cursor && first < end && (wanted || !state.failed);
    if (!goesOn) this.#startAt(first);
    this.#border = engine.firstGap(tt.vector, to, tt.numPages);
    return true;
  }

  /** One chunk at most is held half read: what is in another one is needed less. */
  #startAt(first: number): void {
    const { tt, state } = this;
    if (state.read > 0) {
      dropHeld(tt);
      tt.restore = state;
      state.read = 0;
    }
    state.cursor = first;
  }

  get #lacksPages(): boolean {
    return this.state.cursor < this.#to && !this.tt.sg;
  }

  #makeRoom(): Pending | undefined {
    const { pool } = this;
    const claim = this.#claim;
    if (this.#room || !hasRoom(pool, this, claim)) {
      this.#room ??= new Room(pool, this.#task, this, claim);
      const waits = this.#room.attempt();
      if (waits) return waits;
      const { failure } = this.#room;
      this.#room = undefined;
      throwFailure(failure);
    }
    if (claim) claimRoom(pool, this, claim);
    return undefined;
  }

  /** Ends a batch that was moved, as far as it came. */
  #commit(batch: Batch, { moved, pages, failure }: Moved): void {
    try {
      countersOf(this.pool.global).pagesIn += pages;
      take(this, batch, moved);
      this.failure = failure instanceof Mismatch ? mismatch(this, batch, failure) : failure;
    } catch (error) {
      this.failure = failureOf("populate", error);
    }
  }

  /** The tt is populated, or keeps what a restore has of it. */
  #end(): void {
    const { pool, tt, state, failure } = this;
    const { trace } = pool.global;
    const restoring = tt.shrunken;
    if (failure !== undefined) {
      const code = codeOf(failure);
      state.failed = code !== "EINTR";
      if (restoring) countersOf(pool.global).interrupted++;
      else pool.release(tt);
      trace?.({ type: "interrupt", tt: tt.id, code });
      return;
    }
    // A part that lacked nothing leaves a chunk alone that is held elsewhere.
    tt.restore = state.read > 0 ? state : undefined;
    if (this.#all) becomePopulated(tt);
    else tt.flags |= TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED;
    if (this.#to === 0) return;
    trace?.({ type: restoring ? "restore" : "populate", tt: tt.id, pages: this.pages });
  }
}

/** Every entry of `tt` is a page. */
export function becomePopulated(tt: Tt): void {
  tt.flags &= ~(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED);
  tt.flags |= TT_FLAG_PRIV_POPULATED;
  tt.gaps = false;
}

function addVector(pool: Pool, tt: Tt): void {
  if (tt.sg) return;
  if (tt.vector >= 0 || pool.global.vectors.add(tt)) {
    // Pages bind a tt to their pool, slots do not.
    if (tt.resident === 0) tt.pool = pool;
    return;
  }
  const text =
    `no room for the page vector of a buffer of ${tt.numPages} pages beside those of others, which have an ` +
    "entry for each of their pages, written or not; destroy buffers";
  throw new TtmError("ENOMEM", "populate", text);
}

/** Holds the next chunks: one at a time when each has to be mapped, or may be made to fail. */
export function prepare(
  fill: Fill & Want,
  task: Task,
  overwritten: Overwritten,
  end: number,
): Batch {
  const { pool, tt, state } = fill;
  const { global } = pool;
  const { engine, faults } = global;
  const mapped = tt.dma !== undefined || pool.coherent;
  const budget = mapped || faults.on ? 1 : pagesTogether(global, task);
  const flags = pool.flags(tt);
  const allowed =
    faults.on && state.read === 0 ? withoutFailing(pool, tt, end - state.cursor, flags) : flags;
  const free = engine.freePages + engine.pooledPages;
  const batch = batchAt(tt, state, flags, end);
  batch.covered = engine.fillPrepare(batch, budget, allowed, overwritten.from, overwritten.to);
  if (batch.covered === -ENOMEM && engine.pooledPages > 0) {
    // Pooled chunks are not cut: what is too large for the gaps here goes back to the allocator.
    global.poolShrinker.drain(0);
    batch.covered = engine.fillPrepare(batch, budget, allowed, overwritten.from, overwritten.to);
  }
  if (batch.covered === -ENOMEM) throw noMemory(pool, fill);
  pool.account(tt, free - engine.freePages - engine.pooledPages);
  const at = tt.vector + state.cursor;
  // A page that never left is mapped by finish().
  if (!mapped || isPage(engine.entry(at)) || state.mapping) return batch;
  const address = engine.shadow(at);
  if (pool.coherent) state.mapping = pool.coherentMapping(address, batch.covered);
  else if (!global.fails("map")) state.mapping = global.iommu.map(batch.covered);
  else {
    take(fill, batch, 0);
    throw new TtmError("EFAULT", "populate", "injected fault: the IOMMU mapped no pages");
  }
  return batch;
}

/**
 * Pages that are read together: as many as one call moves, since what else was held would be given back when it
 * is the last; or as several calls do that are in flight at the same time.
 */
function pagesTogether({ store, transferPages }: TtmGlobal, task: Task): number {
  if (store.sync || !(task instanceof AsyncTask)) return transferPages;
  return Math.min(transferPages * store.width, BATCH_PAGES);
}

function isPage(entry: number): boolean {
  return entry !== 0 && entry % 2 === 0;
}

/** Where the next batch begins; what it covers is not known yet. */
function batchAt(
  tt: Tt,
  { cursor, read }: RestoreState,
  flags: number,
  entries: number = tt.numPages,
): Batch {
  return { tt, entries, start: cursor, done: read, flags, covered: 0 };
}

/** The orders that are left when allocations fail on purpose, from the largest that fits down. */
function withoutFailing({ global }: Pool, tt: Tt, most: number, flags: number): number {
  let orders = flags & WALK_ORDERS & (2 * 2 ** (31 - Math.clz32(most)) - 1);
  while (global.fails("alloc")) {
    orders &= ~(1 << (31 - Math.clz32(orders)));
    if (orders === 0) {
      throw new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", "injected fault");
    }
  }
  return (flags & ~WALK_ORDERS) | orders;
}

/** Lets what was read take effect, and moves the state on. `moved`: entries from the cursor on. */
export function take({ pool, tt, state }: Fill, batch: Batch, moved: number): void {
  const { global } = pool;
  const { engine } = global;
  const free = engine.freePages + engine.pooledPages;
  const address = state.mapping ? engine.shadow(tt.vector + state.cursor) : 0;
  let committed: number;
  try {
    committed = engine.fillCommit(batch, batch.covered, moved, batch.flags);
  } catch (error) {
    throw global.poison(error);
  }
  pool.account(tt, free - engine.freePages - engine.pooledPages);
  if (batch.flags & WALK_KEEP && tt.shrunken && committed > 0) global.clean.add(tt);
  const { mapping } = state;
  if (mapping && committed > 0) tt.dma?.set(state.cursor, mapping);
  else if (mapping && moved === 0) pool.unmapHeld(address, mapping);
  if (committed > 0 || moved === 0) state.mapping = undefined;
  state.cursor += committed;
  state.read = moved - committed;
  global.space.cameBack();
}

/** What a tt needs beside its pages: mappings of those that never left, and its caching. */
function finish(pool: Pool, tt: Tt): void {
  const { global } = pool;
  const { engine } = global;
  if (tt.dma && tt.sg === undefined) {
    for (let i = 0; i < tt.numPages; ) {
      const pages = 1 << engine.chunk(engine.pageAt(tt.vector + i)).order;
      if (!tt.dma.has(i)) {
        if (global.fails("map")) {
          throw new TtmError("EFAULT", "restore", "injected fault: the IOMMU mapped no pages");
        }
        tt.dma.set(i, global.iommu.map(pages));
      }
      i += pages;
    }
  }
  if (tt.caching === "cached" || tt.sg) return;
  if (global.fails("caching")) {
    throw new TtmError("ENOMEM", "populate", "injected fault: the caching could not be changed");
  }
  engine.vectorCaching(tt.vector, tt.numPages, cachingCode(tt.caching));
}

/**
 * Gives the chunk that an interrupted restore holds back to the system; what it had read will be read
 * again. Returns the frames freed.
 */
export function dropHeld(tt: Tt): number {
  const state = tt.restore;
  if (!state || state.read === 0) return 0;
  const pool = poolOf(tt);
  tt.restore = undefined;
  const resident = tt.resident;
  const batch = batchAt(tt, { ...state, read: 0 }, pool.flagsToSystem(tt));
  batch.covered = 1;
  take({ pool, tt, state }, batch, 0);
  return resident - tt.resident;
}

/** The same if that chunk has some of entries [from, to). */
export function dropHeldIn(tt: Tt, from: number, to: number): number {
  const { cursor, read } = tt.restore ?? { cursor: 0, read: 0 };
  if (read === 0 || cursor >= to) return 0;
  const { engine } = poolOf(tt).global;
  const pages = engine.chunkPages(engine.shadow(tt.vector + cursor));
  return cursor + pages > from ? dropHeld(tt) : 0;
}

/** The error for a page that came back with another checksum. */
export function mismatch({ pool, tt }: Fill, { start }: Batch, { at, slot }: Mismatch): TtmError {
  const text =
    `checksum mismatch: page ${tt.start + start + at} of buffer ${tt.id} came back from slot ` +
    `${slot} of swap device ${pool.global.swap.name} with other content`;
  return new TtmError("EIO", "restore", text);
}
