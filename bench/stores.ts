/* Swap devices of the benchmarks, of the family that tests use. */
import { setImmediate } from "node:timers";
import { type AsyncSwapDevice, PAGE_SIZE, type SwapRun } from "../src/index.ts";
import { FakeSwap, StoreSwap } from "../test/support/fake_swap.ts";

/**
 * Swap space outside the linear memory that starts over at its end: it really copies, into pages that
 * are not in any cache, but what it holds of more than `bytes` is overwritten. For costs of sizes that
 * would not fit twice into this machine; what comes back is somebody else's, so no checksums.
 */
export class WrappingSwap extends FakeSwap {
  readonly name = "wrapping";
  readonly #store: Uint8Array;

  constructor(slots: number, bytes: number) {
    super({ slots });
    const { buffer } = new WebAssembly.Memory({ initial: bytes / 65536 });
    this.#store = new Uint8Array(buffer).fill(1);
  }

  protected override put(slot: number, view: Uint8Array): void {
    this.#pieces(slot, view, (piece, from) => this.#store.set(piece, from));
  }

  protected override take(slot: number, view: Uint8Array): void {
    this.#pieces(slot, view, (piece, from) => {
      piece.set(this.#store.subarray(from, from + piece.length));
    });
  }

  #pieces(slot: number, view: Uint8Array, move: (piece: Uint8Array, from: number) => void): void {
    const bytes = this.#store.length;
    let from = ((slot - 1) * PAGE_SIZE) % bytes;
    for (let done = 0; done < view.length; ) {
      const length = Math.min(view.length - done, bytes - from);
      move(view.subarray(done, done + length), from);
      done += length;
      from = (from + length) % bytes;
    }
  }
}

/** Takes all pages, and keeps none. Its calls do nothing at all, as what is left is what is measured. */
export class NoSwap extends FakeSwap {
  readonly name = "nothing";

  override write(): void {}
  override read(): void {}
  protected override put(): void {}
  protected override take(): void {}
}

/** A store whose calls take a while (milliseconds), however large they are, and do not wait for each other. */
export function slowSwap(slots: number, ms: number): StoreSwap {
  const delay = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  return new StoreSwap({ slots, delay }, "slow");
}

/**
 * A store at the other end of a connection: a call takes a while (milliseconds), however large it is, and as many
 * may be in flight as it likes. What is kept lies in one piece, so that copying costs next to nothing.
 */
export class RemoteSwap implements AsyncSwapDevice {
  readonly name = "remote";
  readonly slots: number;
  readonly queueDepth: number;
  readonly #ms: number;
  readonly #store: Uint8Array<ArrayBuffer>;
  /** Calls on their way, those begun first first, and when each ends. */
  readonly #flying: { readonly end: number; settle(): void }[] = [];
  #calls = 0;
  #runs = 0;

  constructor(slots: number, ms: number, queueDepth: number) {
    this.slots = slots;
    this.queueDepth = queueDepth;
    this.#ms = ms;
    // Filled, so that the system has given it its pages before anything is measured.
    this.#store = new Uint8Array(slots * PAGE_SIZE).fill(1);
  }

  /** Calls so far, and runs of all of them. */
  counts(): { readonly calls: number; readonly runs: number } {
    return { calls: this.#calls, runs: this.#runs };
  }

  async write(runs: readonly SwapRun[]): Promise<void> {
    await this.#wait(runs);
    for (const { slot, views } of runs) {
      let at = (slot - 1) * PAGE_SIZE;
      for (const view of views) {
        this.#store.set(view, at);
        at += view.length;
      }
    }
  }

  async read(runs: readonly SwapRun[]): Promise<void> {
    await this.#wait(runs);
    for (const { slot, views } of runs) {
      let at = (slot - 1) * PAGE_SIZE;
      for (const view of views) {
        view.set(this.#store.subarray(at, at + view.length));
        at += view.length;
      }
    }
  }

  async #wait(runs: readonly SwapRun[]): Promise<void> {
    this.#calls++;
    this.#runs += runs.length;
    const end = performance.now() + this.#ms;
    await new Promise<void>((settle) => {
      if (this.#flying.push({ end, settle }) === 1) setImmediate(this.#poll);
    });
  }

  /** Ends the first call if it is time, one a turn, as messages come. Timers would begin to wait after the last. */
  readonly #poll = (): void => {
    const first = this.#flying[0];
    if (first && performance.now() >= first.end) this.#flying.shift()?.settle();
    if (this.#flying.length > 0) setImmediate(this.#poll);
  };
}
