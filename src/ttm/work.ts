/*
 * Work that moves content, and may have to wait: each loop is written once, as an attempt that does all it can
 * at a stretch. Where it stands is data (a cursor, a walk, a list), so when something has to be awaited the
 * attempt ends, says what it waits for, and is made again when that has come. What is to be done when a device
 * is done, such as the commit of a batch, belongs to what is pending, not to whoever waits.
 *
 * A Sync call makes one attempt: its task never waits, so that nothing becomes pending. Async is the same,
 * tried again. An interruption, a lack of memory and a slow device all stop an attempt in the same way.
 */
import { TtmError } from "../errors.ts";
import type { WaitQueue } from "../wait_queue.ts";
import { AsyncTask, interruptible, interruption, type Task } from "./task.ts";
import { nextTurn, timeLeft } from "./turns.ts";

/** Work that goes on where it stopped. */
export interface Work {
  /** Does all it can. Returns what it waits for, or `undefined` when it has come to its end. */
  attempt(): Pending | undefined;
}

/** What an attempt waits for: `done` never rejects. */
export class Pending {
  /** Settles when it has come. */
  readonly done: Promise<unknown>;

  /** For shrinkers of one's own, whose scans have to wait. */
  constructor(done: Promise<unknown>) {
    this.done = done;
  }
}

/** A memory, for those who run work on it. */
export interface Workplace {
  /** Sync operations at work, one within the other (a count). */
  busy: number;
}

/**
 * Does `work` at a stretch.
 *
 * @throws TtmError EINTR when the task is stopped before it begins
 */
export function runSync(place: Workplace, task: Task, work: Work): void {
  interruptible(task);
  place.busy++;
  try {
    if (work.attempt()) throw new Error("a task that cannot wait was told to");
  } finally {
    place.busy--;
  }
}

/**
 * Does `work` in attempts, between which the event loop turns now and then.
 *
 * @throws TtmError EINTR when the task is stopped before it begins
 */
export async function run(task: AsyncTask, work: Work): Promise<void> {
  interruptible(task);
  for (let pending = work.attempt(); pending; pending = work.attempt()) await pending.done;
}

/** Between two batches: what stops the task, if something does; or a turn of the event loop, if it is time. */
export function border(task: Task): TtmError | Pending | undefined {
  const stop = interruption(task);
  if (stop) return stop;
  return task instanceof AsyncTask && !timeLeft() ? new Pending(nextTurn()) : undefined;
}

/**
 * A place in a queue, taken at once, lest those end in between who are waited for. What stops the task ends
 * the wait: look at the task then.
 *
 * @throws TtmError EBUSY when the task cannot wait
 */
export function waitIn(task: Task, queue: WaitQueue): Pending {
  if (!(task instanceof AsyncTask)) throw heldByOthers(task);
  return new Pending(task.wait(queue, undefined).catch(() => {}));
}

/** What a call is told that cannot wait, when it needs what async operations have. */
export function heldByOthers({ op }: Task, cause?: unknown): TtmError {
  const text =
    "the memory it needs is held by asynchronous operations in flight; await them first, or use the async form";
  return new TtmError("EBUSY", op, text, cause);
}

/** @throws what stopped some work, if something did */
export function throwFailure(failure: unknown): void {
  if (failure !== undefined) throw failure;
}
