/** How many operations are at work on a memory, for those that wait for one of them to end. */
export class Activity {
  #running = 0;
  #changes = 0;
  #waiting: (() => void)[] = [];

  /** Grows whenever an operation ends, or lets go of its pages to wait. */
  get changes(): number {
    return this.#changes;
  }

  /** An operation begins, or goes on. */
  begin(): void {
    this.#running++;
  }

  /** An operation stands still. */
  pause(): void {
    this.#running--;
  }

  /** An operation ends; whoever waits looks again. */
  end(): void {
    this.#running--;
    this.#changes++;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#running += waiting.length;
    for (const wake of waiting) wake();
  }

  /**
   * For an operation that found no memory and lets go of its pages: resolves when another one ends, at
   * once if something changed since `seen`. `undefined` when all others wait too, so that nobody waits
   * for ever.
   */
  anotherEnds(seen: number): Promise<void> | undefined {
    if (this.#changes !== seen) return Promise.resolve();
    if (this.#running < 2) return undefined;
    this.#changes++;
    this.#running--;
    return new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
