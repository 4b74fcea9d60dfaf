/** Somebody who waits in a queue, with what he waits for. */
export class Waiter<T> {
  readonly wants: T;
  readonly #wake: () => void;
  prev: Waiter<T> | undefined = undefined;
  next: Waiter<T> | undefined = undefined;

  constructor(wants: T, wake: () => void) {
    this.wants = wants;
    this.#wake = wake;
  }

  wake(): void {
    this.#wake();
  }
}

/** Those who wait for one thing, first come first served (wait_queue_head). Every operation is O(1). */
export class WaitQueue<T = void> {
  #first: Waiter<T> | undefined;
  #last: Waiter<T> | undefined;

  /** @internal Who has waited longest. */
  get first(): Waiter<T> | undefined {
    return this.#first;
  }

  /** @internal Puts somebody at the end. */
  push(waiter: Waiter<T>): void {
    waiter.prev = this.#last;
    if (this.#last) this.#last.next = waiter;
    else this.#first = waiter;
    this.#last = waiter;
  }

  /** @internal Puts somebody before all others. */
  unshift(waiter: Waiter<T>): void {
    waiter.next = this.#first;
    if (this.#first) this.#first.prev = waiter;
    else this.#last = waiter;
    this.#first = waiter;
  }

  /** @internal Takes somebody out who stands in this queue, wherever that is. */
  remove(waiter: Waiter<T>): void {
    const { prev, next } = waiter;
    if (prev) prev.next = next;
    else this.#first = next;
    if (next) next.prev = prev;
    else this.#last = prev;
    waiter.prev = undefined;
    waiter.next = undefined;
  }

  /** @internal Takes the first out, who is to be woken by the caller. */
  shift(): Waiter<T> | undefined {
    const first = this.#first;
    if (first) this.remove(first);
    return first;
  }
}
