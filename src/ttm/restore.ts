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
import { formatSize } from "../size.ts";
import { cachingCode } from "./caching.ts";
import type { DmaMapping } from "./dma.ts";
import type { TtmGlobal } from "./global.ts";
import type { Pool } from "./pool.ts";
import { BORDER, Mismatch, type Steps, transferAtOnce, transferExtents } from "./transfer.ts";
import {
  TT_FLAG_DONTNEED,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";

/** Reclaims in a row that freed no frame before memory counts as exhausted (MAX_RECLAIM_RETRIES). */
const RECLAIM_RETRIES_MAX = 16;

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

/**
 * Makes `tt` populated (ttm_pool_alloc, ttm_pool_restore_and_alloc). Stopped while it restores, it
 * goes on there next time; stopped while it populates an empty tt, that one is empty again.
 *
 * Returns what stopped it, if something did: a TtmError ENOMEM, ENOSPC (no frame could be reclaimed, and
 * why), EINTR, EIO, EFAULT (DMA).
 */
export function* populate(pool: Pool, tt: Tt, keep: Keep): Steps<unknown> {
  if (tt.populated) return undefined;
  const { stats, trace } = pool.global;
  const restoring = tt.shrunken;
  const state = tt.restore ?? { cursor: 0, read: 0, mapping: undefined };
  if (state.cursor + state.read > 0) {
    stats.resumed++;
    trace?.({ type: "resume", tt: tt.id, cursor: state.cursor, read: state.read });
  }
  tt.restore = state;
  const failure = yield* fill(pool, tt, state, keep);
  if (failure !== undefined) {
    if (restoring) stats.interrupted++;
    else pool.release(tt);
    trace?.({ type: "interrupt", tt: tt.id, code: codeOf(failure) });
    return failure;
  }
  tt.restore = undefined;
  tt.purged = false;
  tt.flags &= ~(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED | TT_FLAG_DONTNEED);
  tt.flags |= TT_FLAG_PRIV_POPULATED;
  trace?.({ type: restoring ? "restore" : "populate", tt: tt.id, pages: tt.numPages });
  return undefined;
}

/** Batch by batch: hold chunks, read them, commit. Returns what stopped it. */
function* fill(pool: Pool, tt: Tt, state: RestoreState, keep: Keep): Steps<unknown> {
  const { global } = pool;
  try {
    if (tt.vector < 0 && !tt.sg) tt.vector = vectorFor(pool, tt);
    while (state.cursor < tt.numPages && !tt.sg) {
      if (!hasRoom(pool, tt)) yield* makeRoom(pool, tt);
      const window = windowAt(tt, state);
      const how = pool.how(tt);
      const covered = prepare(pool, tt, state, window, how, keep);
      const atOnce = transferAtOnce(global, false, covered, state.read);
      const result = atOnce ?? (yield* transferExtents(global, false, covered, state.read));
      global.stats.pagesIn += result.pages;
      commit(pool, tt, state, window, how, covered, result.moved);
      if (result.failure) return asError(pool, tt, window, result.failure);
      const stopped = atOnce && state.cursor < tt.numPages ? yield BORDER : undefined;
      if (stopped) return stopped;
    }
    finish(pool, tt);
    return undefined;
  } catch (error) {
    return failureOf("populate", error);
  }
}

function vectorFor({ global }: Pool, tt: Tt): number {
  const vector = global.engine.vectorAlloc(tt.numPages);
  if (vector >= 0) return vector;
  const text = `no room for the page vector of a buffer of ${tt.numPages} pages; destroy buffers`;
  throw new TtmError("ENOMEM", "populate", text);
}

/** Whether the frames that `tt` still needs are free, within the limits: nothing is to be reclaimed. */
function hasRoom(pool: Pool, tt: Tt): boolean {
  const { allocated, limits, watermarks } = pool.global;
  const need = tt.numPages - tt.resident;
  // One more, so that new content leaves a frame free.
  if (pool.free <= need + watermarks.min) return false;
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

/** Reclaims until the frames that `tt` still needs are free or pooled for it, within the limits. */
function* makeRoom(pool: Pool, tt: Tt): Steps<void> {
  const { global } = pool;
  const need = tt.numPages - tt.resident;
  const { min } = global.watermarks;
  const again = worthRetrying(global);
  while (pool.free < need + min && pool.free + pool.pooledFor(tt) < need + min) {
    const { released, failure } = yield* pool.reclaim(need + min - pool.free);
    if (again(released) || pool.dirty(tt, 0, tt.numPages) > 0) continue;
    const there = pool.free + pool.pooledFor(tt);
    // With swap full a restore goes on with little: what it reads frees slots for others to leave to.
    if (there >= need || (failure && tt.shrunken && there > 0)) break;
    throw failure ?? noMemory(pool, tt, need);
  }
  if (!tt.shrunken) yield* keepReserve(pool, need);
  // Over a page limit, others shrink if they can (ttm_tt_populate); if nobody can, so be it. A restore
  // goes on even if they fail to: it frees the slots they lack.
  if (!tt.counted) return;
  const { allocated, limits } = global;
  while (allocated.pages + need > limits.pages) {
    const over = allocated.pages + need - limits.pages;
    const { released, failure } = yield* pool.reclaim(over);
    if (failure && !tt.shrunken) throw failure;
    if (!again(released)) break;
  }
  while (pool.dma32 && allocated.dma32Pages + need > limits.dma32Pages) {
    const { released, failure } = yield* pool.reclaim(1);
    if (failure && !tt.shrunken) throw failure;
    if (!again(released)) break;
  }
}

/**
 * With every frame and every slot taken, nothing could ever be exchanged again: new content leaves one
 * of them free.
 */
function* keepReserve(pool: Pool, need: number): Steps<void> {
  const { engine } = pool.global;
  const left = () =>
    engine.freePages + engine.pooledPages + engine.freeSlots + engine.cleanPages - need;
  if (left() > 0) return;
  yield* pool.reclaim(1); // if something can be purged, that makes room
  if (left() <= 0) throw pool.global.swapFull();
}

function noMemory(pool: Pool, tt: Tt, need: number): TtmError {
  const { global } = pool;
  const { engine } = global;
  const text =
    `${need} pages are needed, ${pool.free} of ${engine.geometry.frames} are free, ` +
    "and the others are pinned or in use: unmap or unpin buffers, or raise memory " +
    `(now ${formatSize(global.memory)})`;
  return new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", text);
}

/** Where the next batch begins. */
function windowAt(tt: Tt, { cursor, read }: RestoreState): FillWindow {
  return { vector: tt.vector, entries: tt.numPages, start: cursor, done: read };
}

/** Holds the next chunks: one at a time when each has to be mapped, or may be made to fail. */
function prepare(
  pool: Pool,
  tt: Tt,
  state: RestoreState,
  window: FillWindow,
  how: number,
  keep: Keep,
): number {
  const { global } = pool;
  const { engine, faults } = global;
  const mapped = tt.dma !== undefined || pool.coherent;
  // Else as much as one transfer moves: what else was held would be given back when it is the last.
  const budget = mapped || faults.on ? 1 : global.transferPages;
  const allowed = faults.on && state.read === 0 ? withoutFailing(pool, tt, state, how) : how;
  const free = engine.freePages + engine.pooledPages;
  let covered = engine.fillPrepare(window, budget, allowed, keep.from, keep.to);
  if (covered === -ENOMEM && engine.pooledPages > 0) {
    // Pooled chunks are not cut: what is too large for the gaps here goes back to the allocator.
    global.poolShrinker.drain(0);
    covered = engine.fillPrepare(window, budget, allowed, keep.from, keep.to);
  }
  if (covered === -ENOMEM) throw noMemory(pool, tt, tt.numPages - tt.resident);
  pool.account(tt, free - engine.freePages - engine.pooledPages);
  const address = mapped ? engine.held(tt.vector + state.cursor) : 0;
  // Odd: no held chunk, but the slot of a clean page that never left; finish() maps it.
  if (address === 0 || address % 2 === 1 || state.mapping) return covered;
  if (pool.coherent) state.mapping = pool.coherentMapping(address, covered);
  else if (!global.fails("map")) state.mapping = global.iommu.map(covered);
  else {
    commit(pool, tt, state, window, how, covered, 0);
    throw new TtmError("EFAULT", "populate", "injected fault: the IOMMU mapped no pages");
  }
  return covered;
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

/** Lets what was read take effect, and moves the state on. `moved`: entries from the cursor on. */
function commit(
  pool: Pool,
  tt: Tt,
  state: RestoreState,
  window: FillWindow,
  how: number,
  covered: number,
  moved: number,
): void {
  const { global } = pool;
  const { engine } = global;
  const free = engine.freePages + engine.pooledPages;
  const address = state.mapping ? engine.held(tt.vector + state.cursor) : 0;
  const committed = engine.fillCommit(window, covered, moved, how);
  pool.account(tt, free - engine.freePages - engine.pooledPages);
  if (how & HOW_KEEP && tt.shrunken && committed > 0) global.clean.add(tt);
  const { mapping } = state;
  if (mapping && committed > 0) tt.dma?.set(state.cursor, mapping);
  else if (mapping && moved === 0) pool.unmapHeld(address, mapping);
  if (committed > 0 || moved === 0) state.mapping = undefined;
  state.cursor += committed;
  state.read = moved - committed;
}

/** What a tt needs beside its pages: mappings of those that never left, and its caching. */
function finish(pool: Pool, tt: Tt): void {
  const { global } = pool;
  const { engine } = global;
  if (tt.dma && tt.sg === undefined) {
    for (let i = 0; i < tt.numPages; ) {
      const pages = 1 << engine.chunk(engine.entry(tt.vector + i)).order;
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
export function dropHeld(pool: Pool, tt: Tt): number {
  const state = tt.restore;
  if (!state || state.read === 0) return 0;
  tt.restore = undefined;
  const resident = tt.resident;
  const window = { ...windowAt(tt, state), done: 0 };
  commit(pool, tt, state, window, pool.howToSystem(tt), 1, 0);
  return resident - tt.resident;
}

/** What stopped a batch, as an error of ours: a page with another checksum is named. */
function asError({ global }: Pool, tt: Tt, { start }: FillWindow, failure: unknown): unknown {
  if (!(failure instanceof Mismatch)) return failure;
  const text =
    `checksum mismatch: page ${start + failure.at} of buffer ${tt.id} came back from slot ` +
    `${failure.slot} of swap device ${global.swap.name} with other content`;
  return new TtmError("EIO", "restore", text);
}
