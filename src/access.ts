/*
 * How an operation gets at a buffer's pages: lock the buffer, bring all of it in, use it. The lock is
 * held from the first transfer to the last byte copied, so nobody sees a buffer half moved.
 */
import type { BufferObject } from "./buffer_object.ts";
import type { Device } from "./device.ts";
import { TtmError, type TtmOperation } from "./errors.ts";
import { type Keep, populate } from "./ttm/restore.ts";
import { interruptible, run, runSync, type Signal, type Steps } from "./ttm/transfer.ts";

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
  return lockedSync(device, bo, a.op, () => {
    if (!bo.tt.populated) runSync(device.pool.global, a.op, steps(device, bo, a), a.signal);
    return use();
  });
}

/** Runs `use` while every page of `bo` is in memory; brings them in asynchronously. */
export function withPages<T>(
  device: Device,
  bo: BufferObject,
  a: Access,
  use: () => T,
): Promise<T> {
  return locked(device, bo, a, async () => {
    while (!bo.tt.populated) {
      try {
        await run(device.pool.global, a.op, steps(device, bo, a), until(bo, a.signal));
      } catch (error) {
        await memoryOrThrow(device, bo, error);
      }
    }
    return use();
  });
}

/** Runs steps on a locked `bo`, synchronously. */
export function stepsSync<T>(device: Device, bo: BufferObject, a: Access, work: () => Steps<T>): T {
  interruptible(a.signal, a.op);
  return lockedSync(device, bo, a.op, () => runSync(device.pool.global, a.op, work(), a.signal));
}

/** Runs steps on a locked `bo`, asynchronously. */
export function stepsAsync<T>(
  device: Device,
  bo: BufferObject,
  a: Access,
  work: () => Steps<T>,
): Promise<T> {
  return locked(device, bo, a, () => run(device.pool.global, a.op, work(), until(bo, a.signal)));
}

function steps({ pool }: Device, { tt }: BufferObject, { keep }: Access): Steps<void> {
  // A restore may stop and go on for another caller, so it clears what has no content.
  return populate(pool, tt, tt.shrunken ? KEEP_NONE : keep);
}

/** Stops for the caller's signal, or because the buffer is destroyed. */
function until(bo: BufferObject, signal: Signal | undefined): Signal {
  return {
    get aborted() {
      return bo.destroyed || signal?.aborted === true;
    },
    get reason() {
      return signal?.reason;
    },
  };
}

/**
 * Out of memory while others are at work: lets go of the buffer, so that its pages can be reclaimed,
 * and waits for one of them to end. Any other error is thrown on.
 */
async function memoryOrThrow(device: Device, bo: BufferObject, error: unknown): Promise<void> {
  const ended =
    error instanceof TtmError && error.code === "ENOMEM" && !bo.destroyed
      ? device.operations.anotherEnds()
      : undefined;
  if (!ended) throw error;
  device.reclaimer.settle(bo);
  bo.unlock();
  await ended;
  await bo.tt.lock.lock();
  bo.assertAlive();
}

function lockedSync<T>(device: Device, bo: BufferObject, op: TtmOperation, body: () => T): T {
  if (!bo.tt.lock.tryLock()) {
    const text = "an asynchronous operation on this buffer is in flight; await it first";
    throw new TtmError("EBUSY", op, text);
  }
  let done = false;
  try {
    const result = body();
    done = true;
    return result;
  } finally {
    release(device, bo, done);
  }
}

function locked<T>(
  device: Device,
  bo: BufferObject,
  { op, signal }: Access,
  body: () => Promise<T>,
): Promise<T> {
  return device.operations.track(async () => {
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
      release(device, bo, done);
    }
  });
}

/** Only an operation that succeeded counts as a use. */
function release(device: Device, bo: BufferObject, done: boolean): void {
  if (done) device.reclaimer.used(bo);
  else device.reclaimer.settle(bo);
  bo.unlock();
  device.kswapd.wake();
}
