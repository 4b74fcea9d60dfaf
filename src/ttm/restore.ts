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
import { ENOMEM } from "../../assembly/abi.ts";
import { TtmError } from "../errors.ts";
import { formatSize } from "../size.ts";
import type { Pool } from "./pool.ts";
import { BATCH_PAGES, BORDER, type Steps, transferAtOnce, transferExtents } from "./transfer.ts";
import {
  TT_FLAG_DONTNEED,
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
 * @throws TtmError ENOMEM, ENOSPC (no frame could be reclaimed, and why), EINTR, EIO
 */
export function* populate(pool: Pool, tt: Tt, keep: Keep): Steps<void> {
  if (tt.populated) return;
  const restoring = tt.shrunken;
  if (tt.vector < 0) tt.vector = vectorFor(pool, tt);
  tt.restore ??= restoring ? { cursor: 0, read: 0 } : undefined;
  const state = tt.restore ?? { cursor: 0, read: 0 };
  if (state.cursor + state.read > 0) pool.stats.resumed++;
  try {
    while (state.cursor < tt.numPages) {
      if (pool.engine.freePages < tt.numPages - tt.resident) yield* makeRoom(pool, tt);
      yield* fill(pool, tt, state, keep);
      if (state.cursor < tt.numPages) yield BORDER;
    }
  } catch (error) {
    if (restoring) pool.stats.interrupted++;
    else pool.release(tt);
    throw error;
  }
  tt.restore = undefined;
  tt.purged = false;
  tt.flags &= ~(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED | TT_FLAG_DONTNEED);
  tt.flags |= TT_FLAG_PRIV_POPULATED;
}

function vectorFor(pool: Pool, tt: Tt): number {
  const vector = pool.engine.vectorAlloc(tt.numPages);
  if (vector >= 0) return vector;
  const text = `no room for the page vector of a buffer of ${tt.numPages} pages; destroy buffers`;
  throw new TtmError("ENOMEM", "populate", text);
}

/** Reclaims until the frames that `tt` still needs are free. */
function* makeRoom(pool: Pool, tt: Tt): Steps<void> {
  const { engine } = pool;
  while (engine.freePages < tt.numPages - tt.resident) {
    const need = tt.numPages - tt.resident;
    const { released, failure } = yield* pool.reclaim(need - engine.freePages);
    if (released > 0) continue;
    if (failure) throw failure;
    const text =
      `${need} pages are needed, ${engine.freePages} of ${engine.geometry.frames} are free, ` +
      "and the others are pinned or in use: unmap or unpin buffers, or raise memory " +
      `(now ${formatSize(pool.memory)})`;
    throw new TtmError("ENOMEM", tt.shrunken ? "restore" : "populate", text);
  }
}

/** One batch: hold chunks, read them, commit. */
function* fill(pool: Pool, tt: Tt, state: RestoreState, keep: Keep): Steps<void> {
  const { engine, stats } = pool;
  const window = {
    vector: tt.vector,
    entries: tt.numPages,
    start: state.cursor,
    done: state.read,
  };
  let free = engine.freePages;
  const covered = engine.fillPrepare(window, BATCH_PAGES, keep.from, keep.to);
  if (covered === -ENOMEM) throw new TtmError("ENOMEM", "populate", "no page frame is free");
  tt.resident += free - engine.freePages;

  const result =
    transferAtOnce(pool, false, covered) ??
    (yield* transferExtents(pool, false, covered, state.read));
  free = engine.freePages;
  const committed = engine.fillCommit(window, covered, result.moved, pool.flags);
  tt.resident -= engine.freePages - free;
  const bad = engine.badEntry;
  const moved = bad === undefined ? result.moved : bad - state.cursor;
  stats.pagesIn += result.pages;
  state.cursor += committed;
  state.read = moved - committed;
  if (result.failure) throw result.failure;
  if (bad !== undefined) throw badChecksum(pool, bad);
}

function badChecksum(pool: Pool, entry: number): TtmError {
  const text = `page ${entry} came back from swap device ${pool.swap.name} with other content`;
  return new TtmError("EIO", "restore", text);
}
