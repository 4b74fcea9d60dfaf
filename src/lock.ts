import { WaitQueue } from "./wait_queue.ts";

/**
 * Lock of one object (its reservation). Reclaim only ever tries it; callers may queue for it. It is
 * handed from one to the next, so nobody slips in between.
 */
export class Lock {
  #held = false;
  #queue: WaitQueue | undefined;

  get held(): boolean {
    return this.#held;
  }

  /** Those who wait for it, first come first served; who is woken has it. */
  get queue(): WaitQueue {
    this.#queue ??= new WaitQueue();
    return this.#queue;
  }

  /** Takes the lock if it is free. */
  tryLock(): boolean {
    if (this.#held) return false;
    this.#held = true;
    return true;
  }

  /** Hands the lock to the next in the queue, or frees it. */
  unlock(): void {
    const next = this.#queue?.shift();
    if (next) next.wake();
    else this.#held = false;
  }
}
