/* What is used in turns, and whose turn it is: operations on one object take effect in the order of the calls. */
import type { Bdev } from "./bdev.ts";
import { TtmError, type TtmOperation } from "./errors.ts";
import type { Lock } from "./lock.ts";
import type { Reclaimable } from "./reclaim.ts";
import { assertStack } from "./stack.ts";
import type { AsyncTask, Task } from "./ttm/task.ts";
import { nextTurn, timeLeft } from "./ttm/turns.ts";
import { throwFailure } from "./ttm/work.ts";

/** A buffer, as far as its pages can be used. */
export interface Accessed extends Reclaimable {
  /** Whose turn it is; the pages have a lock of their own, which reclaim tries too. */
  readonly turn: Lock;
  readonly destroyed: boolean;
  /** Whether it is destroyed, or its device closed. */
  readonly gone: boolean;
  /** @throws TypeError when it is destroyed, or its device closed */
  assertAlive(): void;
}

/**
 * Runs `body` for each of `objects`, in order, when it is its turn there. Its place in all queues is taken at once,
 * so that operations take effect in the order of the calls. It ends when `body` says false.
 *
 * @param gathers what is brought in stays until all is there: one such operation goes on at a time. It has all its turns
 *   before, so that whoever has a turn can wait until it has come to its end.
 */
export function onTurns(
  bdev: Bdev,
  objects: readonly Accessed[],
  { op, signal }: Task,
  body: (task: AsyncTask, index: number) => Promise<boolean> | boolean,
  gathers = false,
): Promise<void> {
  assertStack();
  const inTurns = async (task: AsyncTask): Promise<void> => {
    const places = objects.map((bo) => takeTurn(task, bo));
    let index = 0;
    let gathered: (() => void) | undefined;
    // Where it does not come to any more, it lets others go first as soon as it is its turn.
    const leave = (from: number) => {
      for (let i = from; i < objects.length; i++) {
        const { turn } = objects[i] as Accessed;
        const place = places[i];
        if (!place) turn.unlock();
        else if (place !== PASSED) place.then(() => turn.unlock(), ignore);
        places[i] = PASSED;
      }
    };
    // A device may keep it where it is for ever.
    const stays = objects.length > 1 ? task.onStop(() => leave(index + 1)) : ignore;
    try {
      if (gathers) {
        await Promise.all(places);
        gathered = await holdLock(task, bdev.global.frames.gathering);
        bdev.global.frames.gathered++;
      }
      for (let goesOn = true; goesOn && index < objects.length; index++) {
        throwFailure(task.stopped);
        const bo = objects[index] as Accessed;
        const place = places[index];
        if (place) await place;
        try {
          if (!timeLeft()) await nextTurn();
          bo.assertAlive();
          const going = body(task, index);
          goesOn = typeof going === "boolean" ? going : await going;
          bo.assertAlive();
        } catch (error) {
          if (!task.stopped) bo.assertAlive();
          throw task.stopped ?? error;
        } finally {
          bo.turn.unlock();
          places[index] = PASSED;
        }
      }
    } finally {
      gathered?.();
      stays();
      leave(index);
    }
  };
  return bdev.tasks.start(op, signal, () => (objects[0] as Accessed).destroyed, inTurns);
}

/** The place of one whose turn is over. */
const PASSED: Promise<void> = Promise.resolve();

function ignore(): void {}

/** Takes a turn that is free, or a place in the queue for it. */
function takeTurn(task: AsyncTask, { turn }: Accessed): Promise<void> | undefined {
  if (turn.tryLock()) return undefined;
  const place = task.wait(turn.queue, undefined);
  place.catch(ignore); // what stops it is heard where it stands now
  return place;
}

/**
 * Waits for a lock; `first`: before those who wait already. Returns what lets go of it, as does what stops the task:
 * a device may keep it for ever.
 */
export async function holdLock(task: AsyncTask, lock: Lock, first = false): Promise<() => void> {
  if (!lock.tryLock()) await task.wait(lock.queue, undefined, first);
  let held = true;
  const letGo = () => {
    if (held) lock.unlock();
    held = false;
  };
  const stays = task.onStop(letGo);
  return () => {
    stays();
    letGo();
  };
}

export function hasItsTurn(op: TtmOperation): TtmError {
  const text = "an asynchronous operation on this buffer is in flight; await it first";
  return new TtmError("EBUSY", op, text);
}

/** @throws TtmError EBUSY: an async operation has its turn */
export function assertFree({ turn }: Accessed, op: TtmOperation): void {
  if (turn.held) throw hasItsTurn(op);
}
