/*
 * The kernel's operations on a tt, each in a sync and an async form: what `ttm-wasm/ttm` offers to those
 * who drive pools and tts themselves. The tt is locked for the time of the operation.
 */
import { TtmError, type TtmOperation } from "../errors.ts";
import { asSignal, assertBoolean, assertOptions, takeOptions } from "../options.ts";
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
  readonly signal?: Signal;
}

const CONTEXT_OPTIONS: readonly (keyof OperationContext)[] = ["interruptible", "signal"];
const SHRINK_OPTIONS = [...CONTEXT_OPTIONS, "pages", "purge"] as const;

const KEEP_NONE = { from: 0, to: 0 };

/** Populates or restores all pages (ttm_tt_populate, ttm_tt_restore). An interrupted one resumes. */
export async function populateTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<void> {
  const task = taskOf("populate", context, "populateTt");
  throwFailure(await locked(pool, tt, task, () => populate(pool, tt, KEEP_NONE)));
}

export function populateTtSync(pool: Pool, tt: Tt, context?: OperationContext): void {
  const task = taskOf("populate", context, "populateTt");
  throwFailure(lockedSync(pool, tt, task, () => populateNow(pool, tt, KEEP_NONE)));
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
  const { task, pages, purge } = shrinkOptions(options);
  return partial(await locked(pool, tt, task, () => shrinkSteps(pool, tt, pages, purge)));
}

export function shrinkTtSync(pool: Pool, tt: Tt, options?: ShrinkTtOptions): number {
  const { task, pages, purge } = shrinkOptions(options);
  return partial(
    lockedSync(pool, tt, task, () => drain(pool.global, shrinkSteps(pool, tt, pages, purge))),
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

function* shrinkSteps(
  pool: Pool,
  tt: Tt,
  pages: number,
  purge: boolean | undefined,
): Steps<Released> {
  assertShrinkable(tt);
  if (purge ?? tt.purgeable) return { released: pool.purge(tt) };
  return yield* shrink(pool, [tt], pages);
}

function assertShrinkable(tt: Tt): void {
  const foreign = (tt.flags & (TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE)) === TT_FLAG_EXTERNAL;
  if (!tt.sg && !foreign) return;
  throw new TtmError("EBUSY", "shrink", "the pages of this tt are not ours to shrink");
}

/**
 * Moves the whole content to swap, or nothing: what had moved when it failed or was stopped is brought
 * back (ttm_tt_swapout). Returns pages.
 */
export function swapoutTtSync(pool: Pool, tt: Tt, context?: OperationContext): number {
  const task = taskOf("shrink", context, "swapoutTt");
  const { populated } = tt;
  const result = lockedSync(pool, tt, task, () => drain(pool.global, swapoutSteps(pool, tt)));
  if (result.failure && populated && !tt.populated) populateTtSync(pool, tt);
  return wholly(result);
}

export async function swapoutTt(pool: Pool, tt: Tt, context?: OperationContext): Promise<number> {
  const task = taskOf("shrink", context, "swapoutTt");
  const { populated } = tt;
  const result = await locked(pool, tt, task, () => swapoutSteps(pool, tt));
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

/** Gives back everything a populated tt holds; nothing happens to one that is not (ttm_tt_unpopulate). */
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

function lockedSync<T>({ global }: Pool, tt: Tt, task: Task, work: () => T): T {
  interruptible(task);
  if (!tt.lock.tryLock()) throw busy(task.op);
  try {
    return runNow(global, task, work);
  } finally {
    tt.lock.unlock();
  }
}

async function locked<T>({ global }: Pool, tt: Tt, task: Task, work: () => Steps<T>): Promise<T> {
  await tt.lock.lock();
  try {
    return await run(global, task, work());
  } finally {
    tt.lock.unlock();
  }
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
