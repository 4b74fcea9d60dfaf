import type { Random } from "./random.ts";

/** Waits that end in random order: at once, after an immediate, or after a timer. */
export function randomDelay(random: Random): () => Promise<void> {
  return () => {
    switch (random.below(4)) {
      case 0:
        return Promise.resolve();
      case 1:
        return new Promise((resolve) => setImmediate(resolve));
      default:
        return new Promise((resolve) => setTimeout(resolve, random.below(3)));
    }
  };
}

/** A wait of one turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** @throws Error when `holds` still does not hold after many turns of the event loop */
export async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    if (turns > 3000) throw new Error("it never came to that");
    await turn();
  }
}

/** @throws Error when `running` still has not settled after many turns of the event loop */
export async function settles<T>(running: Promise<T>): Promise<T> {
  let over = false;
  const done = () => {
    over = true;
  };
  running.then(done, done);
  await until(() => over);
  return running;
}

/** Waits that end when the test says so. */
export class Gate {
  #waiting: (() => void)[] = [];
  #open = false;

  /** For `MapSwapOptions.delay`. */
  readonly pass = (): Promise<void> => {
    if (this.#open) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  };

  /** Calls that wait now. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets those through that wait now, and later ones too. */
  open(): void {
    this.#open = true;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Lets later calls wait. */
  close(): void {
    this.#open = false;
  }
}
