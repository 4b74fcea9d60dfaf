/* Swap devices of the benchmarks, of the family that tests use. */
import { PAGE_SIZE } from "../src/index.ts";
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
