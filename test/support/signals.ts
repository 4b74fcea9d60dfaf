import type { Signal } from "../../src/index.ts";

/** A signal that counts how often it is looked at, and is aborted from one look on. */
export class CountingSignal implements Signal {
  looks = 0;
  readonly reason: unknown = new Error("the test's reason");
  readonly #abortAt: number;

  /** @param abortAt first look that finds it aborted, from 1; never by default */
  constructor(abortAt: number = Number.POSITIVE_INFINITY) {
    this.#abortAt = abortAt;
  }

  get aborted(): boolean {
    this.looks++;
    return this.looks >= this.#abortAt;
  }
}
