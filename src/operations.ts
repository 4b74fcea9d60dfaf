/** The asynchronous operations in flight on a device. */
export class Operations {
  #running = 0;
  #background = 0;
  #waiting: (() => void)[] = [];

  /** Callers' operations begun and not yet ended. */
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

  /**
   * For an operation that found no memory: resolves when another one ends. `undefined` when all
   * others wait too, so that nobody waits for ever.
   */
  anotherEnds(): Promise<void> | undefined {
    if (this.#running + this.#background < 2) return undefined;
    this.#running--;
    return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => {
      this.#running++;
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
