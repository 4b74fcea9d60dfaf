/* Stores that probes swap to: pages by slot, in memory, with what a probe wants to go wrong. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { AsyncSwapDevice, SlotRange, SyncSwapDevice } from "../../../src/index.ts";

type Runs = Parameters<SyncSwapDevice["readSync"]>[0];

/** A store that does not wait; it may refuse some slots. */
export class Slots implements SyncSwapDevice {
  readonly name = "probe";
  readonly slots: number;
  readonly pages: Map<number, Uint8Array> = new Map();
  /** Slots that cannot be written, or not be read. */
  readonly unwritable: Set<number> = new Set();
  readonly unreadable: Set<number> = new Set();
  /** How often a write of each unwritable one was tried. */
  readonly tried: Map<number, number> = new Map();
  /** Called by each call, before it does anything. */
  called: () => void = () => {};

  constructor(slots: number) {
    this.slots = slots;
  }

  writeSync(runs: Runs): { pages: number; error: Error } | undefined {
    this.called();
    let pages = 0;
    for (const [slot, page] of pagesOf(runs)) {
      if (this.unwritable.has(slot)) {
        this.tried.set(slot, (this.tried.get(slot) ?? 0) + 1);
        return { pages, error: broken() };
      }
      this.pages.set(slot, page.slice());
      pages++;
    }
    return undefined;
  }

  readSync(runs: Runs): void {
    this.called();
    for (const [slot, page] of pagesOf(runs)) {
      if (this.unreadable.has(slot)) throw broken();
      page.set(this.pages.get(slot) as Uint8Array);
    }
  }

  discard(ranges: readonly SlotRange[]): void {
    for (const { slot, pages } of ranges) {
      for (let i = 0; i < pages; i++) this.pages.delete(slot + i);
    }
  }
}

/** A store that answers when it is told to. */
export class Answers implements AsyncSwapDevice {
  readonly name = "probe";
  readonly slots: number;
  readonly queueDepth: number;
  /** Pages that were moved. */
  moved = 0;
  /** Pages were written while slots were being discarded. */
  broken = false;
  /** Calls that have not been answered, and discards. */
  readonly #waiting: (() => void)[] = [];
  readonly #discards: (() => void)[] = [];
  readonly #store: Slots;

  constructor(slots: number, queueDepth: number) {
    this.slots = slots;
    this.queueDepth = queueDepth;
    this.#store = new Slots(slots);
  }

  /** Calls that wait for their answers (a count). */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Answers the call that has waited longest, or the last one. */
  answer(last = false): void {
    (last ? this.#waiting.pop() : this.#waiting.shift())?.();
  }

  /** Discards that wait for their answers (a count). */
  get discarding(): number {
    return this.#discards.length;
  }

  answerDiscard(): void {
    this.#discards.shift()?.();
  }

  discard(ranges: readonly SlotRange[]): Promise<void> {
    return new Promise((resolve) => {
      this.#discards.push(() => {
        this.#store.discard(ranges);
        resolve();
      });
    });
  }

  read(runs: Runs): Promise<void> {
    return this.#later(runs, () => this.#store.readSync(runs));
  }

  write(runs: Runs): Promise<void> {
    this.broken ||= this.discarding > 0;
    return this.#later(runs, () => void this.#store.writeSync(runs));
  }

  #later(runs: Runs, work: () => void): Promise<void> {
    for (const _ of pagesOf(runs)) this.moved++;
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        work();
        resolve();
      });
    });
  }
}

function* pagesOf(runs: Runs): Generator<[number, Uint8Array], void> {
  for (const { slot, views } of runs) {
    let at = slot;
    for (const view of views) {
      for (let byte = 0; byte < view.length; byte += PAGE_SIZE) {
        yield [at++, view.subarray(byte, byte + PAGE_SIZE)];
      }
    }
  }
}

export function broken(): Error {
  return Object.assign(new Error("a bad sector"), { code: "EIO" });
}
