import { PAGE_SIZE, type SlotRange, type SwapRun } from "../../src/index.ts";
import { type CompressedSwap, compressedSwap } from "../../src/swap/compressed.ts";
import { ArraySwap } from "./array_swap.ts";
import type { SwapCall } from "./fake_swap.ts";

/** Compressed swap that counts, and fails, as an `ArraySwap` does. */
export class PackedSwap extends ArraySwap {
  readonly #inner: CompressedSwap;

  constructor(slots: number) {
    super(slots, false);
    this.#inner = roomySwap(slots);
  }

  override open(): void {
    void this.#inner.open?.();
  }

  override close(): void {
    void this.#inner.close?.();
  }

  discard(ranges: readonly SlotRange[]): void {
    void this.#inner.discard?.(ranges, 0);
  }

  trim(): number {
    return this.#inner.trim();
  }

  get memoryBytes(): number {
    return this.#inner.memoryBytes;
  }

  protected override move(call: SwapCall, views: readonly Uint8Array<ArrayBuffer>[]): void {
    super.move(call, views);
    const run = { slot: call.slot, views };
    if (call.out) this.#write(run);
    else this.#inner.readSync([run]);
  }

  #write(run: SwapRun): void {
    const short = this.#inner.writeSync([run]);
    if (short) throw short.error;
  }

  protected override fail(slot: number, length: number): never {
    this.#write({ slot, views: [new Uint8Array(length).fill(0xbd)] });
    return super.fail(slot, length);
  }
}

/** As many slots, and room in them for whatever is written. */
export function roomySwap(slots: number): CompressedSwap {
  return compressedSwap({ size: slots * PAGE_SIZE, limit: 2 * slots * PAGE_SIZE + 2 ** 20 });
}
