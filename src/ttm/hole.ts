/*
 * Holes: entries whose content is given up, in the middle of others that keep theirs (truncate_inode_pages_range,
 * FALLOC_FL_PUNCH_HOLE). They read as zeros, as those do that were never written, and take neither frames nor slots.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Pool } from "./pool.ts";
import { dropHeldIn } from "./restore.ts";
import { segmentsOf } from "./segments.ts";
import { TT_FLAG_PRIV_POPULATED, TT_FLAG_PRIV_SHRUNKEN, TT_FLAG_SWAPPED, type Tt } from "./tt.ts";

/**
 * Entries [from, to) of a locked tt read as zeros from now on: frames and slots are given back, and a chunk that
 * reaches beyond them is split. With `stays`, and for coherent DMA, pages that are in memory stay where they are, and
 * are cleared. A tt in which nothing is left has no vector any more. Returns frames freed.
 */
export function punchHole(pool: Pool, tt: Tt, from: number, to: number, stays: boolean): number {
  if (tt.vector < 0 || from >= to) return 0;
  const { global } = pool;
  let freed = dropHeldIn(tt, from, to);
  if (stays || pool.coherent) clear(pool, tt, from, to);
  else freed += empty(pool, tt, from, to);
  if (tt.resident === 0) {
    global.clean.delete(tt);
    if (global.engine.isBlank(tt.vector, tt.numPages)) pool.release(tt);
  }
  global.space.trim();
  global.poolShrinker.drain(global.limits.pagePoolSize);
  global.trace?.({ type: "discard", tt: tt.id, pages: freed });
  return freed;
}

/** Empties entries, whatever they are. Returns frames freed. */
function empty(pool: Pool, tt: Tt, from: number, to: number): number {
  pool.dropMappings(tt);
  const freed = pool.global.engine.vectorPunch(
    tt.vector,
    tt.numPages,
    from,
    to - from,
    pool.flags(tt),
  );
  pool.account(tt, 0 - freed); // never -0, which is no small integer
  tt.flags &= ~TT_FLAG_PRIV_POPULATED;
  tt.flags |= TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED;
  tt.gaps = true;
  return freed;
}

/** Makes those that are pages zeros, and empties the others. */
function clear(pool: Pool, tt: Tt, from: number, to: number): void {
  const { engine } = pool.global;
  const { vector, numPages } = tt;
  for (let i = from; i < to; ) {
    const page = engine.firstPage(vector, i, to);
    if (page > i) {
      engine.vectorPunch(vector, numPages, i, page - i, pool.flags(tt));
      tt.gaps = true;
    }
    i = engine.firstMissing(vector, page, to);
    if (i === page) continue;
    for (const each of segmentsOf(engine, tt, page * PAGE_SIZE, (i - page) * PAGE_SIZE)) {
      each.fill(0);
    }
  }
  pool.dirty(tt, from, to - from, false);
}
