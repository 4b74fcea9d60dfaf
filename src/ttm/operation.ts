/*
 * The kernel's operations on a tt, each in a sync and an async form: what `ttm-wasm/ttm` offers to those
 * who drive pools and tts themselves. The tt is locked for the time of the operation.
 */
import { TtmError, type TtmOperation } from "../errors.ts";
import { drain, run, runNow, type Steps, throwFailure } from "./driver.ts";
import type { Pool } from "./pool.ts";
import { populate, populateNow } from "./restore.ts";
import { assertTarget, partial, type Released, shrink } from "./shrink.ts";
import { interruptible, type Signal, type Task } from "./task.ts";
import { TT_FLAG_EXTERNAL, TT_FLAG_EXTERNAL_MAPPABLE, type Tt } from "./tt.ts";

/** How an operation may behave (struct ttm_operation_ctx). */
export interface OperationContext {
  /** Whether `signal` may stop it. Default: yes. */
  readonly interruptible?: boolean;
  /**
   * Looked at between two transfers; once aborted, the operation fails with EINTR; a retry resumes.
   */
  readonly signal?: Signal;
}

const KEEP_NONE = { from: 0, to: 0 };

/**
 * Populates or restores all pages (ttm_tt_populate, ttm_tt_restore). An interrupted one resumes.
 *
 * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: the same call goes on where this one stopped
 */
export async function populateTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<void> {
  throwFailure(await locked(pool, tt, "populate", context, () => populate(pool, tt, KEEP_NONE)));
}

/**
 * As `populateTt`, at once.
 *
 * @throws TtmError as `populateTt` does; EBUSY while an operation on the tt is in flight; EWOULDBLOCK when it
 *   needs I/O of an asynchronous swap device
 */
export function populateTtSync(pool: Pool, tt: Tt, context?: OperationContext): void {
  throwFailure(lockedSync(pool, tt, "populate", context, () => populateNow(pool, tt, KEEP_NONE)));
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
 * @throws TtmError EBUSY: coherent DMA, or pages that are not ours to shrink; ENOSPC, EIO, EINTR, when
 *   nothing was released
 */
export async function shrinkTt(pool: Pool, tt: Tt, options?: ShrinkTtOptions): Promise<number> {
  return partial(
    await locked(pool, tt, "shrink", options, () => shrinkSteps(pool, tt, options ?? {})),
  );
}

/**
 * As `shrinkTt`, at once. Returns pages released.
 *
 * @throws TtmError as `shrinkTt` does; EBUSY while an operation on the tt is in flight, too; EWOULDBLOCK when the
 *   swap device is asynchronous
 */
export function shrinkTtSync(pool: Pool, tt: Tt, options?: ShrinkTtOptions): number {
  return partial(
    lockedSync(pool, tt, "shrink", options, () =>
      drain(pool.global, shrinkSteps(pool, tt, options ?? {})),
    ),
  );
}

function* shrinkSteps(pool: Pool, tt: Tt, options: ShrinkTtOptions): Steps<Released> {
  const { pages = Number.POSITIVE_INFINITY, purge = tt.purgeable } = options;
  assertTarget(pages);
  assertShrinkable(tt);
  if (purge) return { released: pool.purge(tt) };
  return yield* shrink(pool, [tt], pages);
}

function assertShrinkable(tt: Tt): void {
  const foreign = (tt.flags & (TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE)) === TT_FLAG_EXTERNAL;
  if (!tt.sg && !foreign) return;
  throw new TtmError("EBUSY", "shrink", "the pages of this tt are not ours to shrink");
}

/**
 * As `swapoutTt`, at once. Returns pages.
 *
 * @throws TtmError as `swapoutTt` does; EBUSY while an operation on the tt is in flight; EWOULDBLOCK when the
 *   swap device is asynchronous
 */
export function swapoutTtSync(pool: Pool, tt: Tt, context?: OperationContext): number {
  const { populated } = tt;
  const result = lockedSync(pool, tt, "shrink", context, () =>
    drain(pool.global, swapoutSteps(pool, tt)),
  );
  if (result.failure && populated && !tt.populated) populateTtSync(pool, tt);
  return wholly(result);
}

/**
 * Moves the whole content to swap, or nothing: what had moved when it failed or was stopped is brought
 * back (ttm_tt_swapout). Returns pages.
 *
 * @throws TtmError ENOSPC, EIO, EINTR: what stopped it
 */
export async function swapoutTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<number> {
  const { populated } = tt;
  const result = await locked(pool, tt, "shrink", context, () => swapoutSteps(pool, tt));
  // The frames that were just released are still there to take it back.
  if (result.failure && populated && !tt.populated) await populateTt(pool, tt);
  return wholly(result);
}

function* swapoutSteps(pool: Pool, tt: Tt): Steps<Released> {
  assertShrinkable(tt);
  return yield* shrink(pool, [tt], Number.POSITIVE_INFINITY);
}

function wholly({ released, failure }: Released): number {
  if (failure) throw failure;
  return released;
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
 * @throws TtmError EBUSY while an operation on it is in flight
 */
export function finiTt(pool: Pool, tt: Tt): number {
  if (!tt.lock.tryLock()) throw busy("destroy");
  const freed = pool.release(tt);
  tt.lock.unlock();
  return freed;
}

function busy(op: TtmOperation): TtmError {
  return new TtmError("EBUSY", op, "another operation on this tt is in flight");
}

function lockedSync<T>(
  { global }: Pool,
  tt: Tt,
  op: TtmOperation,
  context: OperationContext | undefined,
  work: () => T,
): T {
  const task = taskOf(op, context);
  interruptible(task);
  if (!tt.lock.tryLock()) throw busy(op);
  try {
    return runNow(global, task, work);
  } finally {
    tt.lock.unlock();
  }
}

async function locked<T>(
  { global }: Pool,
  tt: Tt,
  op: TtmOperation,
  context: OperationContext | undefined,
  work: () => Steps<T>,
): Promise<T> {
  await tt.lock.lock();
  try {
    return await run(global, taskOf(op, context), work());
  } finally {
    tt.lock.unlock();
  }
}

function taskOf(op: TtmOperation, context: OperationContext = {}): Task {
  return { op, signal: context.interruptible === false ? undefined : context.signal };
}
