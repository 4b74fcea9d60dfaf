import { PAGE_SIZE } from "../../src/index.ts";
import { FakeSwap, type SwapCall } from "./fake_swap.ts";

/**
 * A swap device over one array: fast enough for millions of transfers of a page. It counts how often
 * each slot is read, refuses to read what was not written, and fails on demand, as badly as it may.
 */
export class ArraySwap extends FakeSwap {
  readonly name = "array";
  /** Content, slot 1 first. */
  readonly bytes: Uint8Array;
  /** Reads of each slot since the last `forget()`; the first is unused. */
  readonly reads: Uint32Array;
  /** What every write, or every read, fails with. */
  writeFailure: unknown;
  readFailure: unknown;
  /** Runs in the midst of each call. */
  during: (() => void) | undefined;
  readonly #written: Uint8Array;
  readonly #keeps: boolean;
  /** Pages written, and pages read, since the last `forget()`. */
  pagesOut = 0;
  pagesIn = 0;

  /** @param keeps whether it keeps content; without, it is for tests that look at metadata only */
  constructor(slots: number, keeps = true) {
    super({ slots });
    this.#keeps = keeps;
    this.bytes = new Uint8Array(keeps ? slots * PAGE_SIZE : 0);
    this.reads = new Uint32Array(slots + 1);
    this.#written = new Uint8Array(slots + 1);
  }

  protected override admit(_call: SwapCall, _views: readonly Uint8Array[]): void {
    this.during?.();
  }

  protected override put(slot: number, view: Uint8Array): void {
    const pages = view.length / PAGE_SIZE;
    if (this.writeFailure !== undefined) this.fail(slot, view.length);
    if (this.#keeps) this.bytes.set(view, (slot - 1) * PAGE_SIZE);
    this.#written.fill(1, slot, slot + pages);
    this.pagesOut += pages;
  }

  protected override take(slot: number, view: Uint8Array): void {
    const pages = view.length / PAGE_SIZE;
    if (this.readFailure !== undefined) {
      view.fill(0xbd);
      throw this.readFailure;
    }
    for (let i = slot; i < slot + pages; i++) {
      if (this.#written[i] === 0) throw new Error(`slot ${i} is read, but was never written`);
      this.reads[i] = (this.reads[i] as number) + 1;
    }
    if (this.#keeps) {
      view.set(this.bytes.subarray((slot - 1) * PAGE_SIZE, (slot - 1 + pages) * PAGE_SIZE));
    }
    this.pagesIn += pages;
  }

  /** Leaves garbage in slots, and fails. */
  protected fail(slot: number, length: number): never {
    const at = (slot - 1) * PAGE_SIZE;
    if (this.#keeps) this.bytes.fill(0xbd, at, at + length);
    throw this.writeFailure;
  }

  /** Starts all counts anew. */
  forget(): void {
    this.reads.fill(0);
    this.pagesOut = 0;
    this.pagesIn = 0;
  }

  /** @throws Error unless exactly `pages` slots were read, each once */
  expectEachReadOnce(pages: number): void {
    if (this.pagesIn !== pages) throw new Error(`${this.pagesIn} pages were read, not ${pages}`);
    const twice = this.reads.findIndex((count) => count > 1);
    if (twice > 0) throw new Error(`slot ${twice} was read ${this.reads[twice]} times`);
  }
}
