/** Lock of one object (its reservation). Reclaim only ever tries it; callers may queue for it. */
export class Lock {
  #held = false;
  #queue: (() => void)[] | undefined;

  get held(): boolean {
    return this.#held;
  }

  /** Takes the lock if it is free. */
  tryLock(): boolean {
    if (this.#held) return false;
    this.#held = true;
    return true;
  }

  /** Waits for the lock, first come first served; `onTurn` runs the moment it is handed over. */
  lock(onTurn?: () => void): Promise<void> | undefined {
    if (this.tryLock()) return undefined;
    return new Promise((resolve) => {
      this.#queue ??= [];
      this.#queue.push(() => {
        onTurn?.();
        resolve();
      });
    });
  }

  /** Hands the lock to the next in the queue, or frees it. */
  unlock(): void {
    const next = this.#queue?.shift();
    if (next) next();
    else this.#held = false;
  }
}
