import { TtmError, type TtmOperation, withoutStack } from "../errors.ts";

/** What is looked at between two transfers: an `AbortSignal`, or anything with its two fields. */
export interface Signal {
  /** Whether the operation is to stop. */
  readonly aborted: boolean;
  /** Why; becomes the `cause` of the EINTR. */
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
  const reason = signal?.reason;
  return withoutStack(() => new TtmError("EINTR", op, text, reason));
}

/** @throws TtmError EINTR when its signal is aborted */
export function interruptible(task: Task): void {
  if (task.signal?.aborted) throw interrupted(task);
}
