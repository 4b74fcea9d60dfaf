/** The asynchronous operations in flight on a device. */
export class Operations {
  #running = 0;
  #waiting: (() => void)[] = [];

  /** Operations begun and not yet ended. */
  get inFlight(): number {
    return this.#running + this.#waiting.length;
  }

  /** Counts `body` as in flight until it settles. */
  async track<T>(body: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await body();
    } finally {
      this.#running--;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const wake of waiting) wake();
    }
  }

  /**
   * For an operation that found no memory: resolves when another one ends. `undefined` when all
   * others wait too, so that nobody waits for ever.
   */
  anotherEnds(): Promise<void> | undefined {
    if (this.#running < 2) return undefined;
    this.#running--;
    return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => {
      this.#running++;
    });
  }
}
