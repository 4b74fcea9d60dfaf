/*
 * The kernel's operations on a tt, each in a sync and an async form: what `ttm-wasm/ttm` offers to those
 * who drive pools and tts themselves. The tt is locked for the time of the operation.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { TtmError, type TtmOperation } from "../errors.ts";
import type { Signal } from "../host_types.ts";
import { asSignal, assertBoolean, assertOptions, assertWhole, takeOptions } from "../options.ts";
import { assertStack } from "../stack.ts";
import { lacks, NEED_NOTHING, type Need } from "./admission.ts";
import { Claim } from "./frames.ts";
import type { TtmGlobal } from "./global.ts";
import { Pool, poolOf } from "./pool.ts";
import { OVERWRITES_NOTHING, populate, populateSync } from "./restore.ts";
import { segmentsOf } from "./segments.ts";
import { assertOurs, assertShrinkable, assertTarget, partial, Shrink } from "./shrink.ts";
import type { Released } from "./shrinker.ts";
import { AsyncTask, interruptible, type Task } from "./task.ts";
import { TT_FLAG_DONTNEED, Tt } from "./tt.ts";
import { heldByOthers, run, runSync, throwFailure } from "./work.ts";

/** How an operation may behave (struct ttm_operation_ctx). */
export interface OperationContext {
  /** Whether `signal` may stop it. Default: yes. */
  readonly interruptible?: boolean;
  /**
   * Looked at between two transfers; once aborted, the operation fails with EINTR; a retry resumes.
   */
  readonly signal?: Signal;
}

const CONTEXT_OPTIONS: readonly (keyof OperationContext)[] = ["interruptible", "signal"];
const SHRINK_OPTIONS = [...CONTEXT_OPTIONS, "pages", "purge"] as const;

/** What a populate of `tt` needs: the pages it has already are nobody else's to take. */
function needOf(tt: Tt): () => Need {
  return () => ({ frames: tt.numPages - tt.resident, lacking: tt.numPages - tt.resident });
}

/**
 * Populates or restores all pages (ttm_tt_populate, ttm_tt_restore), at which the tt is no longer purgeable.
 * An interrupted one resumes.
 *
 * @throws TypeError for a pool of another memory
 * @throws TtmError ENOMEM, ENOSPC, EINTR, EIO, EFAULT: what was restored stays, a populate takes nothing
 */
export async function populateTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<void> {
  const task = taskOf("populate", context, "populateTt");
  throwFailure(
    await locked(pool, tt, task, needOf(tt), async (own, task) => {
      needed(tt);
      return populate(own, task, tt, OVERWRITES_NOTHING);
    }),
  );
}

/**
 * As `populateTt`, at once.
 *
 * @throws TypeError, TtmError as `populateTt` does; EBUSY while an operation on the tt is in flight, or such hold
 *   the memory it needs; EWOULDBLOCK when it needs I/O of an asynchronous swap device
 */
export function populateTtSync(pool: Pool, tt: Tt, context?: OperationContext): void {
  const task = taskOf("populate", context, "populateTt");
  const failure = lockedSync(pool, tt, task, (own) => {
    needed(tt);
    return populateSync(own, task, tt, OVERWRITES_NOTHING);
  });
  const { inside } = pool.global.admission;
  throwFailure(lacks(failure) && inside > 0 ? heldByOthers(task, failure) : failure);
}

/** Populate clears the purgeable mark, and what is populated is not purged. */
function needed(tt: Tt): void {
  if (tt.populated) return;
  tt.flags &= ~TT_FLAG_DONTNEED;
  tt.purged = false;
}

/** What a shrink is to do (struct ttm_backup_flags). */
export interface ShrinkTtOptions extends OperationContext {
  /** Pages to release; a chunk leaves whole. Default: all. */
  readonly pages?: number;
  /** Throw the content away instead. Default: if the tt is purgeable. */
  readonly purge?: boolean;
}

/**
 * Moves pages to swap, or throws them away (ttm_tt_shrink, ttm_tt_backup). A tt that is partly shrunken
 * can be shrunk further, and purged. Returns pages released.
 *
 * @throws TypeError for a pool of another memory
 * @throws TtmError EBUSY: coherent DMA, or pages that are not ours to shrink; ENOSPC, EIO, EINTR, when
 *   nothing was released
 */
export async function shrinkTt(pool: Pool, tt: Tt, options?: ShrinkTtOptions): Promise<number> {
  const { task, pages, purge } = shrinkOptions(options);
  let shrunk: Released = { released: 0 };
  await locked(pool, tt, task, NEED_NOTHING, async (own, task) => {
    const work = purged(own, tt, purge) ?? new Shrink(own.global, task, [tt], pages);
    if (work instanceof Shrink) await run(task, work);
    shrunk = work;
  });
  return partial(shrunk);
}

/**
 * As `shrinkTt`, at once. Returns pages released.
 *
 * @throws TtmError as `shrinkTt` does; EBUSY while an operation on the tt is in flight, too; EWOULDBLOCK when the
 *   swap device is asynchronous
 */
export function shrinkTtSync(pool: Pool, tt: Tt, options?: ShrinkTtOptions): number {
  const { task, pages, purge } = shrinkOptions(options);
  return partial(
    lockedSync(pool, tt, task, (own) => {
      const work = purged(own, tt, purge) ?? new Shrink(own.global, task, [tt], pages);
      if (work instanceof Shrink) runSync(own.global, task, work);
      own.global.frames.transits.wakeNext();
      return work;
    }),
  );
}

/** @throws TypeError, RangeError for an option that cannot be meant */
function shrinkOptions(options: ShrinkTtOptions | undefined) {
  const given = takeOptions(options, SHRINK_OPTIONS, "shrinkTt");
  const { pages = Number.POSITIVE_INFINITY, purge, ...context } = given;
  assertTarget(pages);
  if (purge !== undefined) assertBoolean(purge, "purge");
  return { task: taskOf("shrink", context, "shrinkTt"), pages, purge };
}

/** What a purge comes to, if that is asked for; else the tt can be shrunk. */
function purged(pool: Pool, tt: Tt, purge = tt.purgeable): Released | undefined {
  assertOurs(tt);
  if (purge) return { released: pool.purge(tt) };
  assertShrinkable(pool, tt);
  return undefined;
}

/**
 * Moves the whole content to swap, or nothing: what had moved when it failed or was stopped is brought
 * back, into the frames it came from, before anybody else gets at the tt (ttm_tt_swapout). Returns pages.
 *
 * @throws TypeError for a pool of another memory
 * @throws TtmError EBUSY: coherent DMA, or pages that are not ours; ENOSPC, EIO, EINTR: what stopped it.
 *   If a page cannot be read back, the tt stays shrunken, and the error of that is the `cause`
 */
export async function swapoutTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<number> {
  const task = taskOf("shrink", context, "swapoutTt");
  let pages = 0;
  await locked(pool, tt, task, NEED_NOTHING, async (own, task) => {
    assertShrinkable(own, tt);
    const { global } = own;
    const { populated } = tt;
    const claim = new Claim(global.frames);
    try {
      const work = new Shrink(global, task, [tt], Number.POSITIVE_INFINITY, claim);
      await run(task, work);
      const { released, failure } = work;
      if (failure === undefined) pages = released;
      else if (populated && !tt.populated && !global.closed) {
        claim.end();
        const back = new AsyncTask("restore", whileOpen(global), task.owner);
        rethrow(failure, await populate(own, back, tt, OVERWRITES_NOTHING));
      } else throw failure;
    } finally {
      claim.end();
    }
  });
  return pages;
}

/** As `swapoutTt`, at a stretch; for swap devices that are synchronous. */
export function swapoutTtSync(pool: Pool, tt: Tt, context?: OperationContext): number {
  const task = taskOf("shrink", context, "swapoutTt");
  return lockedSync(pool, tt, task, (own) => {
    assertShrinkable(own, tt);
    const { global } = own;
    const { populated } = tt;
    const work = new Shrink(global, task, [tt], Number.POSITIVE_INFINITY);
    runSync(global, task, work);
    const { released, failure } = work;
    if (failure === undefined) return released;
    if (populated && !tt.populated && !global.closed) {
      const back: Task = { op: "restore", signal: whileOpen(global) };
      rethrow(failure, populateSync(own, back, tt, OVERWRITES_NOTHING));
    }
    throw failure;
  });
}

/** Stops with the last device, when its swap device is closed: nothing can be read any more, nor be used. */
function whileOpen(global: TtmGlobal): Signal {
  return {
    get aborted() {
      return global.closed;
    },
  };
}

/** @throws TtmError what stopped a swapout, with what kept its pages from coming back, if something did */
function rethrow(failure: unknown, lost: unknown): never {
  if (lost === undefined || !(failure instanceof TtmError)) throw failure;
  throw new TtmError(failure.code, failure.op, failure.message, lost);
}

/**
 * Gives back everything a populated tt holds; nothing happens to one that is not (ttm_tt_unpopulate). Returns
 * frames freed.
 *
 * @throws TtmError EBUSY while an operation on it is in flight
 */
export function unpopulateTt(pool: Pool, tt: Tt): number {
  return tt.populated ? finiTt(pool, tt) : 0;
}

/**
 * Ends a tt in whatever state it is (ttm_tt_fini). Returns frames freed.
 *
 * @throws TypeError for a pool of another memory
 * @throws TtmError EBUSY while an operation on it is in flight
 */
export function finiTt(pool: Pool, tt: Tt): number {
  const own = poolFor(pool, tt);
  assertStack();
  if (!tt.lock.tryLock()) throw busy("destroy");
  try {
    return own.release(tt);
  } finally {
    tt.lock.unlock();
  }
}

/**
 * The bytes of pages [first, first + count) of a populated tt, as views straight on the pages: one for each stretch
 * that lies side by side (ttm_bo_kmap). They are good until the tt is shrunk, purged or ended; nothing
 * keeps it from that, and later they may show other content.
 *
 * @param first in pages, default 0
 * @param count in pages, default all from `first` on
 * @throws TypeError for a pool of another memory; TypeError, RangeError for pages it does not have
 * @throws TtmError EFAULT while it is not populated
 */
export function kmapTt(pool: Pool, tt: Tt, first = 0, count?: number): Uint8Array[] {
  const own = poolFor(pool, tt);
  const { numPages } = tt;
  assertWhole(first, "first", 0, numPages - 1);
  const pages = count ?? numPages - first;
  assertWhole(pages, "count", 1, numPages - first);
  if (!tt.populated || tt.vector < 0) {
    throw new TtmError("EFAULT", "map", "this tt is not populated; populate it first");
  }
  // What is mapped may be written: what swap has of it is no longer worth anything.
  own.dirty(tt, first, pages, false);
  return segmentsOf(own.global.engine, tt, first * PAGE_SIZE, pages * PAGE_SIZE);
}

function busy(op: TtmOperation): TtmError {
  return new TtmError("EBUSY", op, "another operation on this tt is in flight");
}

/**
 * The pool that moves the pages of `tt`: the one they are from, whichever is named; the one named while it has
 * none.
 *
 * @throws TypeError for what is no pool or no tt, when they are of different memories, and when those are closed
 */
function poolFor(pool: Pool, tt: Tt): Pool {
  if (!(pool instanceof Pool)) throw new TypeError("pool must be a Pool");
  if (!(tt instanceof Tt)) throw new TypeError("tt must be a Tt");
  if (pool.global.closed) throw new TypeError("pool: its device is closed");
  pool.global.assertSound("populate");
  return ownPool(pool, tt);
}

/** The same for an operation that was begun: a close waits for it. */
function ownPool(pool: Pool, tt: Tt): Pool {
  const from = poolOf(tt) as Pool | undefined;
  const own = from && tt.resident > 0 ? from : pool;
  if ((from ?? own).global === pool.global) return own;
  throw new TypeError("pool: the pages of this tt are in the memory of another device");
}

function lockedSync<T>(pool: Pool, tt: Tt, task: Task, work: (pool: Pool) => T): T {
  poolFor(pool, tt);
  interruptible(task);
  assertStack();
  if (!tt.lock.tryLock()) throw busy(task.op);
  try {
    const own = ownPool(pool, tt);
    return work(own);
  } finally {
    tt.lock.unlock();
  }
}

/** Runs `work` inside, with `tt` locked, as a task of nobody's but the memory's. Returns what it returns. */
async function locked(
  pool: Pool,
  tt: Tt,
  { op, signal }: Task,
  need: () => Need,
  work: (pool: Pool, task: AsyncTask) => Promise<unknown>,
): Promise<unknown> {
  poolFor(pool, tt);
  assertStack();
  const { admission, tasks } = pool.global;
  const task = new AsyncTask(op, signal, undefined);
  const inside = async (): Promise<unknown> => {
    if (!tt.lock.tryLock()) await task.wait(tt.lock.queue, undefined);
    try {
      return await work(ownPool(pool, tt), task);
    } finally {
      tt.lock.unlock();
    }
  };
  tasks.add(task);
  return task.outcome(admission.run(task, need, inside), () => {
    tasks.delete(task);
  });
}

/** @throws TypeError for an option that there is not, or that cannot be meant */
function taskOf(op: TtmOperation, context: OperationContext | undefined, what: string): Task {
  if (context === undefined) return { op, signal: undefined };
  assertOptions(context, CONTEXT_OPTIONS, what);
  const { interruptible = true } = context;
  assertBoolean(interruptible, "interruptible");
  const signal = asSignal(context.signal);
  return { op, signal: interruptible ? signal : undefined };
}
