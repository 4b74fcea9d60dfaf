/*
 * Populate and restore: one state machine that gives every entry of a tt a page.
 *
 *   E empty | P populated | B shrunken | D destroyed
 *   I  between two chunks, `cursor` entries are pages
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
 */
import { ENOMEM, HOW_KEEP, HOW_ORDERS } from "../../assembly/abi.ts";
import type { FillWindow } from "../engine/engine.ts";
import { codeOf, failureOf, TtmError } from "../errors.ts";
import { isRam } from "../swap/adopt.ts";
import { cachingCode } from "./caching.ts";
import type { DmaMapping } from "./dma.ts";
import { BORDER, type Steps, stopped } from "./driver.ts";
import { Claim } from "./frames.ts";
import { countersOf } from "./global.ts";
import type { Pool } from "./pool.ts";
import { claimRoom, hasRoom, makeRoom, makeRoomNow, noMemory } from "./room.ts";
import { Mismatch, type Moved, transferExtents, transferNow } from "./transfer.ts";
import {
  poolOf,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";

/** Where a restore stands (struct ttm_pool_tt_restore). */
export interface RestoreState {
  /** Entries from 0 on that are pages. */
  cursor: number;
  /** Entries from `cursor` on that are read into the chunk held there. */
  read: number;
  /** Bus address of the held chunk, if the tt wants one. */
  mapping: DmaMapping | undefined;
}

/** Entries that the caller is about to overwrite whole, so that they need no clearing. */
export interface Keep {
  readonly from: number;
  readonly to: number;
}

export const KEEP_NONE: Keep = { from: 0, to: 0 };

/** A populate on its way. */
interface Fill {
  readonly pool: Pool;
  readonly tt: Tt;
  readonly state: RestoreState;
}

/** Entries that are filled together, `covered` of them from `start` on, and how the engine is to do it. */
interface Batch extends FillWindow {
  readonly how: number;
  covered: number;
}

/**
 * Makes `tt` populated (ttm_pool_alloc, ttm_pool_restore_and_alloc). Stopped while it restores, it
 * goes on there next time; stopped while it populates an empty tt, that one is empty again.
 *
 * Returns what stopped it, if something did: a TtmError ENOMEM, ENOSPC (no frame could be reclaimed, and
 * why), EINTR, EIO, EFAULT (DMA).
 */
export function* populate(pool: Pool, tt: Tt, keep: Keep): Steps<unknown> {
  if (tt.populated) return undefined;
  const { global } = pool;
  const fill = begin(pool, tt);
  const claim = new Claim(global.frames);
  let failure: unknown;
  try {
    addVector(pool, tt);
    while (failure === undefined && lacksPages(fill)) {
      if (!hasRoom(pool, tt, claim)) yield* makeRoom(pool, tt, claim);
      claimRoom(pool, tt, claim);
      const { resident } = tt;
      const batch = prepare(fill, keep);
      claim.take(tt.resident - resident);
      const now = transferNow(global, false, batch.covered, batch.done);
      const moved = now ?? (yield* transferExtents(global, false, batch.covered, batch.done));
      failure = commit(fill, batch, moved);
      if (now && failure === undefined && lacksPages(fill)) failure = yield BORDER;
    }
    if (failure === undefined) finish(pool, tt);
  } catch (error) {
    failure = failureOf("populate", error);
  }
  claim.end();
  return end(fill, failure);
}

/** The same at a stretch, where transfers are `immediate`. */
export function populateNow(pool: Pool, tt: Tt, keep: Keep): unknown {
  if (tt.populated) return undefined;
  const { global } = pool;
  const fill = begin(pool, tt);
  let failure: unknown;
  try {
    addVector(pool, tt);
    while (failure === undefined && lacksPages(fill)) {
      if (!hasRoom(pool, tt)) makeRoomNow(pool, tt);
      const batch = prepare(fill, keep);
      const moved = transferNow(global, false, batch.covered, batch.done) as Moved;
      failure = commit(fill, batch, moved);
      // Where there were no transfers to look at the signal between.
      const unseen = moved.pages === 0 || isRam(global.swap);
      if (unseen && failure === undefined && lacksPages(fill)) failure = stopped(global);
    }
    if (failure === undefined) finish(pool, tt);
  } catch (error) {
    failure = failureOf("populate", error);
  }
  return end(fill, failure);
}

function begin(pool: Pool, tt: Tt): Fill {
  const { trace } = pool.global;
  const stats = countersOf(pool.global);
  const state = tt.restore ?? { cursor: 0, read: 0, mapping: undefined };
  if (state.cursor + state.read > 0) {
    stats.resumed++;
    trace?.({ type: "resume", tt: tt.id, cursor: state.cursor, read: state.read });
  }
  tt.restore = state;
  return { pool, tt, state };
}

function lacksPages({ tt, state }: Fill): boolean {
  return state.cursor < tt.numPages && !tt.sg;
}

/** The tt is populated, or keeps what a restore has of it. Returns `failure`. */
function end({ pool, tt }: Fill, failure: unknown): unknown {
  const { trace } = pool.global;
  const stats = countersOf(pool.global);
  const restoring = tt.shrunken;
  if (failure !== undefined) {
    if (restoring) stats.interrupted++;
    else pool.release(tt);
    trace?.({ type: "interrupt", tt: tt.id, code: codeOf(failure) });
    return failure;
  }
  tt.restore = undefined;
  tt.flags &= ~(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED);
  tt.flags |= TT_FLAG_PRIV_POPULATED;
  trace?.({ type: restoring ? "restore" : "populate", tt: tt.id, pages: tt.numPages });
  return undefined;
}

function addVector(pool: Pool, tt: Tt): void {
  if (tt.sg) return;
  if (tt.vector < 0) tt.vector = pool.global.engine.vectorAlloc(tt.numPages);
  if (tt.vector >= 0) {
    // Pages bind a tt to their pool, slots do not.
    if (tt.resident === 0) tt.pool = pool;
    return;
  }
  const text = `no room for the page vector of a buffer of ${tt.numPages} pages; destroy buffers`;
  throw new TtmError("ENOMEM", "populate", text);
}

/** Holds the next chunks: one at a time when each has to be mapped, or may be made to fail. */
function prepare(fill: Fill, keep: Keep): Batch {
  const { pool, tt, state } = fill;
  const { global } = pool;
  const { engine, faults } = global;
  const mapped = tt.dma !== undefined || pool.coherent;
  // Else as much as one transfer moves: what else was held would be given back when it is the last.
  const budget = mapped || faults.on ? 1 : global.transferPages;
  const how = pool.how(tt);
  const allowed = faults.on && state.read === 0 ? withoutFailing(pool, tt, state, how) : how;
  const free = engine.freePages + engine.pooledPages;
  const batch = batchAt(tt, state, how);
  batch.covered = engine.fillPrepare(batch, budget, allowed, keep.from, keep.to);
  if (batch.covered === -ENOMEM && engine.pooledPages > 0) {
    // Pooled chunks are not cut: what is too large for the gaps here goes back to the allocator.
    global.poolShrinker.drain(0);
    batch.covered = engine.fillPrepare(batch, budget, allowed, keep.from, keep.to);
  }
  if (batch.covered === -ENOMEM) throw noMemory(pool, tt);
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

function isPage(entry: number): boolean {
  return entry !== 0 && entry % 2 === 0;
}

/** Where the next batch begins; what it covers is not known yet. */
function batchAt(tt: Tt, { cursor, read }: RestoreState, how: number): Batch {
  return { vector: tt.vector, entries: tt.numPages, start: cursor, done: read, how, covered: 0 };
}

/** The orders that are left when allocations fail on purpose, from the largest that fits down. */
function withoutFailing({ global }: Pool, tt: Tt, state: RestoreState, how: number): number {
  let orders = how & HOW_ORDERS & (2 * 2 ** (31 - Math.clz32(tt.numPages - state.cursor)) - 1);
  while (global.fails("alloc")) {
    orders &= ~(1 << (31 - Math.clz32(orders)));
    if (orders === 0) {
      throw new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", "injected fault");
    }
  }
  return (how & ~HOW_ORDERS) | orders;
}

/** Ends a batch that was moved, as far as it came. Returns what stopped it, if something did. */
function commit(fill: Fill, batch: Batch, { moved, pages, failure }: Moved): unknown {
  countersOf(fill.pool.global).pagesIn += pages;
  take(fill, batch, moved);
  return failure instanceof Mismatch ? mismatch(fill, batch, failure) : failure;
}

/** Lets what was read take effect, and moves the state on. `moved`: entries from the cursor on. */
function take({ pool, tt, state }: Fill, batch: Batch, moved: number): void {
  const { global } = pool;
  const { engine } = global;
  const free = engine.freePages + engine.pooledPages;
  const address = state.mapping ? engine.shadow(tt.vector + state.cursor) : 0;
  let committed: number;
  try {
    committed = engine.fillCommit(batch, batch.covered, moved, batch.how);
  } catch (error) {
    throw global.poison(error);
  }
  pool.account(tt, free - engine.freePages - engine.pooledPages);
  if (batch.how & HOW_KEEP && tt.shrunken && committed > 0) global.clean.add(tt);
  const { mapping } = state;
  if (mapping && committed > 0) tt.dma?.set(state.cursor, mapping);
  else if (mapping && moved === 0) pool.unmapHeld(address, mapping);
  if (committed > 0 || moved === 0) state.mapping = undefined;
  state.cursor += committed;
  state.read = moved - committed;
  global.space.trim();
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
  const batch = batchAt(tt, { ...state, read: 0 }, pool.howToSystem(tt));
  batch.covered = 1;
  take({ pool, tt, state }, batch, 0);
  return resident - tt.resident;
}

/** The error for a page that came back with another checksum. */
function mismatch({ pool, tt }: Fill, { start }: Batch, { at, slot }: Mismatch): TtmError {
  const text =
    `checksum mismatch: page ${start + at} of buffer ${tt.id} came back from slot ` +
    `${slot} of swap device ${pool.global.swap.name} with other content`;
  return new TtmError("EIO", "restore", text);
}
