/** A signal that is aborted by hand, or by the n-th look at it, and counts who listens. */
export class SimSignal {
  reason: unknown = undefined;
  /** Looks at it. */
  looks = 0;
  readonly #listeners = new Set<() => void>();
  /** The look that finds it aborted. */
  readonly #abortAt: number;
  #aborted = false;

  constructor(abortAt: number = Number.POSITIVE_INFINITY) {
    this.#abortAt = abortAt;
  }

  get aborted(): boolean {
    this.looks++;
    if (this.looks >= this.#abortAt) this.#aborted = true;
    return this.#aborted;
  }

  /** Whether somebody may have seen it aborted. */
  get was(): boolean {
    return this.#aborted;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    for (const listener of [...this.#listeners]) listener();
  }

  addEventListener(_: "abort", listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
  }
}
