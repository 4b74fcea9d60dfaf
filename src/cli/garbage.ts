/** Calls between two collections. */
const EVERY = 1000;

interface BunGlobal {
  gc(synchronous: boolean): void;
}

/**
 * Keeps a long synchronous job from gathering garbage on Bun. Its engine takes the whole memory of
 * the device for live heap, and lets as much garbage gather before it collects on its own, unless
 * the event loop turns; which never happens here. Other runtimes need no help.
 */
export class Garbage {
  readonly #bun = (globalThis as { Bun?: BunGlobal }).Bun;
  #calls = 0;

  /** To be called after every piece of work. */
  tick(): void {
    if (++this.#calls % EVERY === 0) this.#bun?.gc(false);
  }

  collect(): void {
    this.#bun?.gc(true);
  }
}
