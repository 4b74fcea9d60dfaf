/*
 * What stops a stream: the caller's signal, or the stream itself. To the operations of the buffer it is a signal like
 * any other, on hosts without AbortController, too.
 */
import { TtmError, type TtmOperation } from "../errors.ts";
import type { Signal } from "../host_types.ts";
import { reasonOf } from "../ttm/task.ts";

type Listenable = Pick<AbortSignal, "addEventListener" | "removeEventListener">;

function isListenable(signal: object): signal is Listenable {
  const { addEventListener, removeEventListener } = signal as Partial<Listenable>;
  return typeof addEventListener === "function" && typeof removeEventListener === "function";
}

export class Stop implements Signal {
  readonly #op: TtmOperation;
  readonly #given: Signal | undefined;
  readonly #heard = new Set<() => void>();
  /** The stream that fails when it is the caller's signal that stops it. */
  #failing: { error(reason: unknown): void } | undefined;
  #stopped = false;
  #reason: unknown;

  /** @param given of the caller; one that cannot be listened to is looked at between two operations */
  constructor(op: TtmOperation, given: Signal | undefined) {
    this.#op = op;
    this.#given = given;
    if (given && isListenable(given)) given.addEventListener("abort", this.#onAbort);
  }

  /** Whether who listens was told: there is nobody any more to give anything to. */
  get stopped(): boolean {
    return this.#stopped;
  }

  get aborted(): boolean {
    return this.#stopped || Boolean(this.#given?.aborted);
  }

  get reason(): unknown {
    return this.#stopped ? this.#reason : reasonOf(this.#given);
  }

  /** Has a stream fail with EINTR once the caller's signal is aborted, at once if it is. */
  fails(stream: { error(reason: unknown): void }): void {
    this.#failing = stream;
    if (this.aborted) this.#onAbort();
  }

  /** Stops it: who listens hears of that at once. */
  abort(reason: unknown): void {
    if (this.#stopped) return;
    this.#reason = reason;
    this.#stopped = true;
    for (const heard of [...this.#heard]) heard();
    this.end();
  }

  /** Nothing is left to be stopped: the caller's signal is let go of. */
  end(): void {
    const given = this.#given;
    try {
      if (given && isListenable(given)) given.removeEventListener("abort", this.#onAbort);
    } catch {
      // The listener stays, and does nothing: no reason for a stream to fail.
    }
  }

  addEventListener(_: "abort", heard: () => void): void {
    this.#heard.add(heard);
  }

  removeEventListener(_: "abort", heard: () => void): void {
    this.#heard.delete(heard);
  }

  /** The failure of what was stopped. */
  get failure(): TtmError {
    return new TtmError("EINTR", this.#op, "interrupted, and not to be gone on with", this.reason);
  }

  /** @throws TtmError EINTR once it is stopped */
  assertGoesOn(): void {
    if (this.aborted) throw this.failure;
  }

  /**
   * What `waiting` comes to, unless it is stopped before: nobody waits for it then.
   *
   * @throws TtmError EINTR
   */
  orStopped<T>(waiting: PromiseLike<T> | T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const heard = () => reject(this.failure);
      this.#heard.add(heard);
      const settled = () => this.#heard.delete(heard);
      Promise.resolve(waiting).finally(settled).then(resolve, reject);
    });
  }

  readonly #onAbort = (): void => {
    this.abort(reasonOf(this.#given));
    this.#failing?.error(this.failure);
  };
}
