/*
 * How an operation gets at a buffer's pages: lock the buffer, bring all of it in, use it. The lock is
 * held from the first transfer to the last byte copied, so nobody sees a buffer half moved.
 */
import type { BufferObject } from "./buffer_object.ts";
import type { Device } from "./device.ts";
import { TtmError, type TtmOperation } from "./errors.ts";
import { type Keep, populate } from "./ttm/restore.ts";
import {
  interruptible,
  run,
  runSync,
  type Signal,
  type Steps,
  throwFailure,
} from "./ttm/transfer.ts";

/** What is done, for error messages; what will be overwritten; and what may stop it. */
export interface Access {
  readonly op: TtmOperation;
  readonly keep: Keep;
  readonly signal: Signal | undefined;
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
  interruptible(a.signal, a.op);
  lockSync(bo, a.op);
  const fresh = bo.tt.vector < 0;
  let done: { result: T } | undefined;
  let failure: unknown;
  try {
    if (!bo.tt.populated) failure = runSync(device.global, a.op, steps(device, bo, a), a.signal);
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
        throwFailure(await run(device.global, a.op, steps(device, bo, a), until(bo, a.signal)));
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
  interruptible(a.signal, a.op);
  lockSync(bo, a.op);
  try {
    return runSync(device.global, a.op, work(), a.signal);
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
  return locked(device, bo, a, false, () =>
    run(device.pool.global, a.op, work(), until(bo, a.signal)),
  );
}

function steps({ pool }: Device, { tt }: BufferObject, { keep }: Access): Steps<unknown> {
  // A restore may stop and go on for another caller, so it clears what has no content.
  return populate(pool, tt, tt.shrunken ? KEEP_NONE : keep);
}

/** Stops for the caller's signal, or because the buffer is destroyed. */
function until(bo: BufferObject, signal: Signal | undefined): Signal {
  return {
    get aborted() {
      return bo.destroyed || Boolean(signal?.aborted);
    },
    get reason() {
      return signal?.reason;
    },
  };
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
  { op, signal }: Access,
  use: boolean,
  body: () => Promise<T>,
): Promise<T> {
  return device.operations.track(async () => {
    await device.operations.turn(bo.turn);
    await bo.tt.lock.lock();
    let done = false;
    try {
      bo.assertAlive();
      interruptible(signal, op);
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
