/*
 * Tasks: what an operation is called in messages, and what may stop it. A sync operation looks at its signal
 * now and then; an async one also hears of an abort wherever it waits.
 */

import { failureOf, TtmError, type TtmOperation, withoutStack } from "../errors.ts";
import { after, newAbortController } from "../host.ts";
import type { Signal } from "../host_types.ts";
import { Waiter, type WaitQueue } from "../wait_queue.ts";

/** What is at work: its name, for messages, and what may stop it. */
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
export function reasonOf(signal: Signal | undefined): unknown {
  try {
    return signal?.reason;
  } catch (error) {
    return error;
  }
}

/** What stops a task now, if anything does: its signal, or that this cannot be looked at. */
export function interruption(task: Task): TtmError | undefined {
  try {
    if (!task.signal?.aborted) return undefined;
    const stop = interrupted(task);
    if (task instanceof AsyncTask) task.seen(stop);
    return stop;
  } catch (error) {
    return failureOf(task.op, error, "its signal cannot be looked at");
  }
}

/** @throws TtmError EINTR when its signal is aborted */
export function interruptible(task: Task): void {
  const failure = interruption(task);
  if (failure) throw failure;
}

/** An `AbortSignal`, which says when it is aborted; other signals are only looked at. */
type Listenable = Pick<AbortSignal, "addEventListener" | "removeEventListener">;

function listenable(signal: Signal | undefined): Listenable | undefined {
  const { addEventListener, removeEventListener } = (signal ?? {}) as Partial<Listenable>;
  const can = typeof addEventListener === "function" && typeof removeEventListener === "function";
  return can ? (signal as unknown as Listenable) : undefined;
}

/** Tasks by the signal that stops them: one listener for all, as hosts look through theirs, and warn of many. */
const audiences = new WeakMap<Listenable, { tasks: Set<AsyncTask>; onAbort: () => void }>();

function listen(source: Listenable, task: AsyncTask): void {
  const there = audiences.get(source);
  if (there) {
    there.tasks.add(task);
    return;
  }
  const tasks = new Set([task]);
  const onAbort = () => {
    for (const each of [...tasks]) each.stop(interrupted(each));
  };
  source.addEventListener("abort", onAbort);
  audiences.set(source, { tasks, onAbort });
}

function unlisten(source: Listenable, task: AsyncTask): void {
  const there = audiences.get(source);
  if (!there?.tasks.delete(task) || there.tasks.size > 0) return;
  audiences.delete(source);
  try {
    source.removeEventListener("abort", there.onAbort);
  } catch {
    // The listener stays, and does nothing: no reason to keep an outcome from its caller.
  }
}

/**
 * How long a caller whose operation was aborted is kept waiting for a device that is at work
 * (milliseconds): most answer soon, and then the caller learns how far the operation came.
 */
const GRACE_MS = 20;

/** Whose tasks these are: one device's, or undefined for those of the kernel's layer. */
export type TaskOwner = object | undefined;

/**
 * An operation of the async form, from the call until it has let go of everything. Its caller may hear of
 * the end before: an abort rejects at once what waits in a queue, and after a moment what a device is at
 * work for. The operation itself goes on until the device is done; until then nobody else gets its pages.
 */
export class AsyncTask implements Task, Signal {
  readonly op: TtmOperation;
  readonly owner: TaskOwner;
  readonly #given: Signal | undefined;
  readonly #gone: () => boolean;
  #ended = false;
  /** Of those who wait for the end: mostly nobody does. */
  #settled: { readonly promise: Promise<void>; resolve(): void } | undefined;
  #stopped: TtmError | undefined;
  /** Who is to hear that it is stopped: its waits, for one, as its calls may wait for their turns side by side. */
  #listeners: Set<() => void> | undefined;
  #reject: ((error: unknown) => void) | undefined;
  /** Cancels the wait for a device that is at work. */
  #cancel: (() => void) | undefined;
  readonly #source: Listenable | undefined;
  #controller: AbortController | undefined;

  /**
   * @param signal of the caller
   * @param gone whether what it is about has ceased to be: it stops then, too
   */
  constructor(
    op: TtmOperation,
    signal: Signal | undefined,
    owner: TaskOwner,
    gone: () => boolean = () => false,
  ) {
    this.op = op;
    this.owner = owner;
    this.#given = signal;
    this.#gone = gone;
    this.#source = listenable(signal);
    if (this.#source) listen(this.#source, this);
  }

  /** Its own: aborted by the caller's, when it is stopped, and when what it is about has ceased to be. */
  get signal(): Signal {
    return this;
  }

  get aborted(): boolean {
    return this.#stopped !== undefined || this.#gone() || Boolean(this.#given?.aborted);
  }

  get reason(): unknown {
    return this.#stopped?.cause ?? this.#given?.reason;
  }

  /** Settles, never rejecting, when the operation has let go of everything. */
  get settled(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    if (!this.#settled) {
      let resolve!: () => void;
      const promise = new Promise<void>((end) => {
        resolve = end;
      });
      this.#settled = { promise, resolve };
    }
    return this.#settled.promise;
  }

  /** For devices at work for it: aborted when it is stopped. `undefined` where the host has no such signals. */
  get abortSignal(): AbortSignal | undefined {
    if (!this.#controller) {
      this.#controller = newAbortController();
      if (this.#stopped) this.#controller?.abort(this.#stopped);
    }
    return this.#controller?.signal;
  }

  /** What stopped it from outside, if something did. */
  get stopped(): TtmError | undefined {
    return this.#stopped;
  }

  /** What its caller gets: the outcome of `work`, or what stops it before. `ended` is called at the end of it. */
  outcome<T>(work: Promise<T>, ended?: () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#reject = reject;
      work.then(
        (value) => {
          this.#end(ended);
          resolve(value);
        },
        (error) => {
          this.#end(ended);
          reject(error);
        },
      );
    });
  }

  #end(ended: (() => void) | undefined): void {
    this.#ended = true;
    if (this.#source) unlisten(this.#source, this);
    this.#cancel?.();
    ended?.();
    this.#settled?.resolve();
  }

  /** It was seen to be aborted: a caller's signal may say nothing itself, and it may wait in other places, too. */
  seen(stop: TtmError): void {
    if (this.#given?.aborted) this.stop(stop);
  }

  /** Stops it for `reason`, wherever it is. */
  stop(reason: TtmError): void {
    if (this.#stopped) return;
    this.#stopped = reason;
    this.#controller?.abort(reason);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const heard of listeners ?? []) heard();
    // If that was all it waited for, it ends before.
    if (!this.#ended) this.#cancel = after(GRACE_MS, () => this.#reject?.(reason));
  }

  /** Calls `heard` when it is stopped, at once if it is. Returns what takes that back. */
  onStop(heard: () => void): () => void {
    if (this.#stopped) heard();
    else {
      this.#listeners ??= new Set();
      this.#listeners.add(heard);
    }
    return () => {
      this.#listeners?.delete(heard);
    };
  }

  /**
   * Waits in a queue until it is woken; `first`: before those who wait already.
   *
   * @throws TtmError what stopped it, when that comes first
   */
  wait<T>(queue: WaitQueue<T>, wants: T, first = false): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(this.#stopped);
        return;
      }
      const stays = this.onStop(() => {
        queue.remove(waiter);
        reject(this.#stopped);
      });
      const waiter = new Waiter(wants, () => {
        stays();
        resolve();
      });
      if (first) queue.unshift(waiter);
      else queue.push(waiter);
    });
  }
}
