/*
 * Who runs what moves content. A loop over batches is a generator, which yields the transfers it wants done and
 * commits when they are; it knows nothing of promises, signals or event loops. `run` awaits a device, and
 * lets others run now and then. `runNow` does at a stretch what never yields: the form that such a loop has
 * beside its generator, if it is on the way to every page. `runSync` and `drain` run generators so.
 */
import type { TtmError } from "../errors.ts";
import { interrupted, interruptible, type Task } from "./task.ts";
import { ownError, perform, performNow, type Transfer, type TransferContext } from "./transfer.ts";

/** Between two batches: nothing to do, but a place to stop. */
export const BORDER: undefined = undefined;

/** A generator of the transfers it wants done, and of borders; it is told what went wrong, if something did. */
export type Steps<T> = Generator<Transfer | undefined, T, TtmError | undefined>;

/** What stops the task at work between two batches, if something does. */
export function stopped(context: TransferContext): TtmError | undefined {
  const { current } = context;
  try {
    return current?.signal?.aborted ? interrupted(current) : undefined;
  } catch (error) {
    return ownError(context, (current as Task).op, undefined, error);
  }
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
  while (!step.done) {
    // Transfers come from steps on another memory only: those on this one are done on the spot.
    const { current = NO_TASK } = context;
    step = steps.next(step.value ? performNow(current, step.value) : stopped(context));
  }
  return step.value;
}

const NO_TASK: Task = { op: "shrink", signal: undefined };

/** Runs the steps to their end, synchronously. */
export function runSync<T>(context: TransferContext, task: Task, steps: Steps<T>): T {
  return runNow(context, task, () => drain(context, steps));
}

/** How long async drivers hold the event loop at a stretch (milliseconds), one operation or many. */
const SLICE_MS = 8;

/** When the first of them began since the event loop turned last; `undefined`: none has. */
let slice: number | undefined;

/** Whether it is time to let the event loop turn. */
function sliceEnded(): boolean {
  const now = performance.now();
  if (slice !== undefined) return now - slice > SLICE_MS;
  slice = now;
  onTurn(() => {
    slice = undefined;
  });
  return false;
}

/** Runs the steps to their end, letting the event loop turn between transfers now and then. */
export async function run<T>(context: TransferContext, task: Task, steps: Steps<T>): Promise<T> {
  interruptible(task);
  let step = resume(context, steps);
  while (!step.done) {
    if (sliceEnded()) {
      await turn();
      slice = undefined;
    }
    const transfer = step.value;
    let failure: TtmError | undefined;
    try {
      if (task.signal?.aborted) failure = interrupted(task);
      else {
        const pending = transfer && perform(transfer);
        if (pending) await pending;
      }
    } catch (error) {
      failure = ownError(transfer?.context ?? context, task.op, transfer, error);
    }
    step = resume(context, steps, failure);
  }
  return step.value;
}

/** Goes on with steps that may wait, whoever called: a device or a shrinker may do so on the spot. */
function resume<T>(
  context: TransferContext,
  steps: Steps<T>,
  failure?: TtmError,
): IteratorResult<Transfer | undefined, T> {
  const outer = context.current;
  context.current = undefined;
  try {
    return steps.next(failure);
  } finally {
    context.current = outer;
  }
}

/** Calls `then` when the event loop has turned. */
function onTurn(then: () => void): void {
  try {
    if (typeof setImmediate === "function") return void setImmediate(then);
  } catch {
    // Edge runtimes have one that throws.
  }
  setTimeout(then, 0);
}

/** One turn of the event loop (cond_resched): timers and I/O get their chance. */
function turn(): Promise<void> {
  return new Promise(onTurn);
}
