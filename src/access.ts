/*
 * How an operation gets at a buffer's pages: lock the buffer, bring all of it in, use it. The lock is
 * held from the first transfer to the last byte copied, so nobody sees a buffer half moved.
 */
import type { BufferObject } from "./buffer_object.ts";
import type { Device } from "./device.ts";
import { TtmError, type TtmOperation } from "./errors.ts";
import { run, runNow, runSync, type Steps, throwFailure } from "./ttm/driver.ts";
import { type Keep, populate, populateNow } from "./ttm/restore.ts";
import { interruptible, type Signal, type Task } from "./ttm/task.ts";
import type { Tt } from "./ttm/tt.ts";

/** What is done, what may stop it, and what it will overwrite. */
export interface Access extends Task {
  readonly keep: Keep;
}

const KEEP_NONE: Keep = { from: 0, to: 0 };

/** An access that overwrites nothing. */
export function access(
  op: TtmOperation,
  signal: Signal | undefined,
  keep: Keep = KEEP_NONE,
): Access {
  return { op, keep, signal };
}

/** Runs `use` while every page of `bo` is in memory. */
export function withPagesSync<T>(device: Device, bo: BufferObject, a: Access, use: () => T): T {
  interruptible(a);
  lockSync(bo, a.op);
  const { pool } = device;
  const { tt } = bo;
  const fresh = tt.vector < 0;
  let done: { result: T } | undefined;
  let failure: unknown;
  try {
    if (!tt.populated) {
      failure = runNow(device.global, a, () => populateNow(pool, tt, keepOf(tt, a)));
    }
    // Shrinkers, devices and signals of the user's may have destroyed it meanwhile.
    bo.assertAlive();
    if (failure === undefined) done = { result: useOrRelease(device, bo, fresh, use) };
  } finally {
    release(device, bo, done !== undefined);
  }
  if (!done) throw failure;
  return done.result;
}

/** Runs `use` while every page of `bo` is in memory; brings them in asynchronously. */
export function withPages<T>(
  device: Device,
  bo: BufferObject,
  a: Access,
  use: () => T,
): Promise<T> {
  return locked(device, bo, a, true, async () => {
    const fresh = bo.tt.vector < 0;
    while (!bo.tt.populated) {
      const { changes } = device.global.activity;
      try {
        throwFailure(
          await run(device.global, until(bo, a), populate(device.pool, bo.tt, keepOf(bo.tt, a))),
        );
      } catch (error) {
        await memoryOrThrow(device, bo, error, changes);
      }
    }
    bo.assertAlive();
    return useOrRelease(device, bo, fresh, use);
  });
}

/** Pages that `use` was to overwrite were not cleared: when it fails, nobody may see them. */
function useOrRelease<T>(device: Device, bo: BufferObject, fresh: boolean, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (fresh) device.pool.release(bo.tt);
    throw error;
  }
}

/** Runs steps on a locked `bo`, synchronously. */
export function stepsSync<T>(device: Device, bo: BufferObject, a: Access, work: () => Steps<T>): T {
  interruptible(a);
  lockSync(bo, a.op);
  try {
    return runSync(device.global, a, work());
  } finally {
    release(device, bo, false);
  }
}

/** Runs steps on a locked `bo`, asynchronously. */
export function stepsAsync<T>(
  device: Device,
  bo: BufferObject,
  a: Access,
  work: () => Steps<T>,
): Promise<T> {
  return locked(device, bo, a, false, () => run(device.global, until(bo, a), work()));
}

/** A restore may stop and go on for another caller, so it clears what has no content. */
function keepOf(tt: Tt, { keep }: Access): Keep {
  return tt.shrunken ? KEEP_NONE : keep;
}

/** Stops for the caller's signal, or because the buffer is destroyed. */
function until(bo: BufferObject, { op, signal }: Task): Task {
  const either = {
    get aborted() {
      return bo.destroyed || Boolean(signal?.aborted);
    },
    get reason() {
      return signal?.reason;
    },
  };
  return { op, signal: either };
}

/**
 * Out of memory while others are at work: lets go of the buffer, so that its pages can be reclaimed,
 * and waits for one of them to end, or not at all if one has since `changes` was read. Any other error
 * is thrown on.
 */
async function memoryOrThrow(
  device: Device,
  bo: BufferObject,
  error: unknown,
  changes: number,
): Promise<void> {
  const ended =
    error instanceof TtmError && error.code === "ENOMEM" && !bo.destroyed
      ? device.global.activity.anotherEnds(changes)
      : undefined;
  if (!ended) throw error;
  device.reclaimer.settle(bo);
  bo.unlock();
  await ended;
  await bo.tt.lock.lock();
  bo.assertAlive();
}

/** Operations take their turns; then they lock the pages, which they may let go of and lock again. */
function lockSync(bo: BufferObject, op: TtmOperation): void {
  const turn = bo.turn.tryLock();
  if (turn && bo.tt.lock.tryLock()) return;
  if (turn) bo.turn.unlock();
  const text = "an asynchronous operation on this buffer is in flight; await it first";
  throw new TtmError("EBUSY", op, text);
}

function locked<T>(
  device: Device,
  bo: BufferObject,
  a: Access,
  use: boolean,
  body: () => Promise<T>,
): Promise<T> {
  return device.operations.track(async () => {
    await device.operations.turn(bo.turn);
    await bo.tt.lock.lock();
    let done = false;
    try {
      bo.assertAlive();
      interruptible(a);
      const result = await body();
      bo.assertAlive();
      done = true;
      return result;
    } catch (error) {
      bo.assertAlive();
      throw error;
    } finally {
      release(device, bo, done && use);
    }
  });
}

/** Only an operation that used the buffer, and succeeded, counts as a use. */
function release(device: Device, bo: BufferObject, used: boolean): void {
  if (used) device.reclaimer.used(bo);
  else device.reclaimer.settle(bo);
  bo.unlock();
  bo.turn.unlock();
  device.kswapd.wake();
}
