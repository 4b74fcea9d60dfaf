/*
 * A clock and an event loop of the simulation's own. Time passes when somebody looks at the clock, and in leaps when
 * nothing else is left to do; turns and timers come in an order that the seed decides.
 */
import type { Random } from "../../src/testing/random.ts";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly then: () => void;
  cancelled: boolean;
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Turns, timers and the time (milliseconds) of one run. */
export class Clock {
  time = 0;
  /** Turns and timers that were run (a count). */
  events = 0;
  readonly #random: Random;
  /** What a look at the clock takes (milliseconds): how much is done within a slice of time. */
  readonly #tick: number;
  readonly #turns: (() => void)[] = [];
  /** A binary heap. */
  readonly #timers: Timer[] = [];
  #order = 0;

  constructor(random: Random, tick: number) {
    this.#random = random;
    this.#tick = tick;
  }

  now(): number {
    this.time += this.#tick;
    return this.time;
  }

  afterTurn(then: () => void): void {
    this.#turns.push(then);
  }

  /** Calls `then` after `ms`. Returns what cancels it. */
  after(ms: number, then: () => void): () => void {
    const timer: Timer = { at: this.time + ms, order: this.#order++, then, cancelled: false };
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  /** Turns and timers to come. */
  get pending(): number {
    this.#dropCancelled();
    return this.#turns.length + this.#timers.length;
  }

  /** Runs one turn or one timer; false: there is none. */
  step(): boolean {
    this.#dropCancelled();
    const timer = this.#timers[0];
    const turns = this.#turns.length > 0;
    if (!timer && !turns) return false;
    this.events++;
    if (timer && (!turns || (timer.at <= this.time && this.#random.chance(0.5)))) {
      this.#pop();
      this.time = Math.max(this.time, timer.at);
      timer.then();
    } else {
      this.time += this.#tick;
      (this.#turns.shift() as () => void)();
    }
    return true;
  }

  #dropCancelled(): void {
    while (this.#timers[0]?.cancelled) this.#pop();
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(timer, heap[up] as Timer)) break;
      heap[at] = heap[up] as Timer;
      at = up;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1] as Timer, heap[down] as Timer)) down++;
      if (!before(heap[down] as Timer, last)) break;
      heap[at] = heap[down] as Timer;
      at = down;
    }
    heap[at] = last;
  }
}
