/*
 * Who runs what moves content. A loop over batches is a generator, which yields the transfers it wants done and
 * commits when they are; it knows nothing of promises, signals or event loops. `run` awaits a device, and
 * lets others run now and then. `runNow` does at a stretch what never yields: the form that such a loop has
 * beside its generator, if it is on the way to every page. `runSync` and `drain` run generators so.
 */
import { TtmError } from "../errors.ts";
import { WaitQueue } from "../wait_queue.ts";
import { type AsyncTask, interruptible, interruption, type Task } from "./task.ts";
import { ownError, perform, performNow, type Transfer, type TransferContext } from "./transfer.ts";
import { nextTurn, timeLeft } from "./turns.ts";

/** Between two batches: nothing to do, but a place to stop. */
export const BORDER: undefined = undefined;

/** What a loop over batches wants done: a transfer, a wait for others, or nothing (a border). */
export type Step = Transfer | WaitQueue | undefined;

/** A generator of the steps it wants done; it is told what went wrong with each, if something did. */
export type Steps<T> = Generator<Step, T, TtmError | undefined>;

/** What stops the task at work between two batches, if something does. */
export function stopped(context: TransferContext): TtmError | undefined {
  return context.current && interruption(context.current);
}

/** @throws what stopped some steps, if something did */
export function throwFailure(failure: unknown): void {
  if (failure !== undefined) throw failure;
}

/** Does `work` at a stretch, its transfers on the spot. */
export function runNow<T>(context: TransferContext, task: Task, work: () => T): T {
  interruptible(task);
  const outer = context.current;
  context.current = task;
  try {
    return work();
  } finally {
    context.current = outer;
  }
}

/** Runs steps to their end in the middle of what does not yield, for the task at work. */
export function drain<T>(context: TransferContext, steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next(doNow(context, step.value));
  return step.value;
}

const NO_TASK: Task = { op: "shrink", signal: undefined };

/** One step, on the spot. Returns what went wrong. */
function doNow(context: TransferContext, step: Step): TtmError | undefined {
  const { current = NO_TASK } = context;
  if (!step) return stopped(context);
  if (step instanceof WaitQueue) return heldByOthers(current);
  // Transfers come from steps on another memory only: those on this one are done on the spot.
  return performNow(current, step);
}

/** What a call is told that cannot wait, when it needs what async operations have. */
export function heldByOthers({ op }: Task, cause?: unknown): TtmError {
  const text =
    "the memory it needs is held by asynchronous operations in flight; await them first, or use the async form";
  return new TtmError("EBUSY", op, text, cause);
}

/** Runs the steps to their end, synchronously. */
export function runSync<T>(context: TransferContext, task: Task, steps: Steps<T>): T {
  return runNow(context, task, () => drain(context, steps));
}

/** Runs the steps to their end, letting the event loop turn between transfers now and then. */
export async function run<T>(
  context: TransferContext,
  task: AsyncTask,
  steps: Steps<T>,
): Promise<T> {
  interruptible(task);
  let step = resume(context, steps);
  while (!step.done) {
    // Who is to wait for others stands in their queue at once, lest they end in between.
    if (!(step.value instanceof WaitQueue) && !timeLeft()) await nextTurn();
    let failure: TtmError | undefined;
    try {
      failure = interruption(task);
      if (!failure) {
        const pending = begin(task, step.value);
        if (pending) await pending;
      }
    } catch (error) {
      failure = failureOf(context, task, step.value, error);
    }
    step = resume(context, steps, failure);
  }
  return step.value;
}

function begin(task: AsyncTask, step: Step): void | Promise<void> {
  if (!step) return undefined;
  return step instanceof WaitQueue ? task.wait(step, undefined) : perform(step);
}

function failureOf(context: TransferContext, { op }: Task, step: Step, error: unknown): TtmError {
  const transfer = step instanceof WaitQueue ? undefined : step;
  return ownError(transfer?.context ?? context, op, transfer, error);
}

/** Goes on with steps that may wait, whoever called: a device or a shrinker may do so on the spot. */
function resume<T>(
  context: TransferContext,
  steps: Steps<T>,
  failure?: TtmError,
): IteratorResult<Step, T> {
  const outer = context.current;
  context.current = undefined;
  try {
    return steps.next(failure);
  } finally {
    context.current = outer;
  }
}
