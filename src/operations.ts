import type { Lock } from "./lock.ts";

/** The asynchronous operations in flight on a device. */
export class Operations {
  #inFlight = 0;
  /** Of those: at work, neither queued for a buffer nor waiting for memory. */
  #running = 0;
  #background = 0;
  #waiting: (() => void)[] = [];

  /** Callers' operations begun and not yet ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Counts `body` as in flight until it settles. */
  async track<T>(body: () => Promise<T>): Promise<T> {
    this.#inFlight++;
    this.#running++;
    try {
      return await body();
    } finally {
      this.#inFlight--;
      this.#running--;
      this.#wake();
    }
  }

  /** Work of ours that others may wait for, but that is nobody's operation. */
  async background<T>(body: () => Promise<T>): Promise<T> {
    this.#background++;
    try {
      return await body();
    } finally {
      this.#background--;
      this.#wake();
    }
  }

  /** Waits for its turn. Queued, an operation is not at work: those before it may wait for others to end. */
  turn(lock: Lock): Promise<void> | undefined {
    const turn = lock.lock(() => this.#running++);
    if (turn) this.#running--;
    return turn;
  }

  /**
   * For an operation that found no memory: resolves when another one ends. `undefined` when all
   * others wait too, so that nobody waits for ever.
   */
  anotherEnds(): Promise<void> | undefined {
    if (this.#running + this.#background < 2) return undefined;
    this.#running--;
    return new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#running += waiting.length;
    for (const wake of waiting) wake();
  }
}
