import { failureOf, TtmError, type TtmOperation, withoutStack } from "../errors.ts";

/** What is looked at between two transfers: an `AbortSignal`, or anything with its two fields. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

/** What a driver runs: its name, for messages, and what may stop it. */
export interface Task {
  readonly op: TtmOperation;
  readonly signal: Signal | undefined;
}

/** What an aborted signal means for its task. */
export function interrupted({ op, signal }: Task): TtmError {
  const text = "interrupted; nothing is lost, and the same call goes on where this one stopped";
  const reason = reasonOf(signal);
  return withoutStack(() => new TtmError("EINTR", op, text, reason));
}

/** Why it was aborted; what its getter throws is as good a reason. */
function reasonOf(signal: Signal | undefined): unknown {
  try {
    return signal?.reason;
  } catch (error) {
    return error;
  }
}

/** What stops a task now, if anything does: its signal, or that this cannot be looked at. */
export function interruption(task: Task): TtmError | undefined {
  try {
    return task.signal?.aborted ? interrupted(task) : undefined;
  } catch (error) {
    return failureOf(task.op, error, "its signal cannot be looked at");
  }
}

/** @throws TtmError EINTR when its signal is aborted */
export function interruptible(task: Task): void {
  const failure = interruption(task);
  if (failure) throw failure;
}
