import type { Lock } from "./lock.ts";
import type { Activity } from "./ttm/activity.ts";

/** The asynchronous operations in flight on a device. */
export class Operations {
  readonly #activity: Activity;
  #inFlight = 0;

  /** `activity`: of all devices on the memory. */
  constructor(activity: Activity) {
    this.#activity = activity;
  }

  /** Callers' operations begun and not yet ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Counts `body` as in flight until it settles. */
  async track<T>(body: () => Promise<T>): Promise<T> {
    this.#inFlight++;
    try {
      return await this.background(body);
    } finally {
      this.#inFlight--;
    }
  }

  /** Work that others may wait for, but that is nobody's operation. */
  async background<T>(body: () => Promise<T>): Promise<T> {
    this.#activity.begin();
    try {
      return await body();
    } finally {
      this.#activity.end();
    }
  }

  /** Waits for its turn. Queued, an operation is not at work: those before it may wait for others to end. */
  turn(lock: Lock): Promise<void> | undefined {
    const turn = lock.lock(() => this.#activity.begin());
    if (turn) this.#activity.pause();
    return turn;
  }
}
