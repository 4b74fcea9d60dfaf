import { PAGE_SIZE } from "../../src/index.ts";
import { type FakeSwapOptions, pagesOf, StoreSwap, type SwapCall } from "./fake_swap.ts";

export type { FakeSwapOptions as MapSwapOptions, SwapCall } from "./fake_swap.ts";

/**
 * A swap device over a Map, that watches over the rules of `BlockSwapDevice` and fails on demand, as
 * badly as it may: a failed write leaves garbage in the slots, a failed read garbage in the views.
 */
export class MapSwap extends StoreSwap {
  /** Runs before each call takes effect; what it throws is what the call fails with. */
  before: ((call: SwapCall) => void) | undefined;
  readonly calls: SwapCall[] = [];
  /** How often each slot was read since the last `forget()`. */
  readonly reads: Map<number, number> = new Map();
  /** The first rule of a swap device that the pool broke. */
  broken: string | undefined;
  opened = 0;
  closed = 0;
  readonly #busy = new Set<number>();

  constructor(options: FakeSwapOptions) {
    super(options);
  }

  override open(): void {
    this.opened++;
  }

  override close(): void | Promise<void> {
    this.closed++;
    return super.close();
  }

  /** Calls so far in one direction. */
  count(out: boolean): number {
    return this.calls.filter((call) => call.out === out).length;
  }

  /** Pages that were in the calls of one direction. */
  pages(out: boolean): number {
    return this.calls.reduce((sum, call) => sum + (call.out === out ? call.pages : 0), 0);
  }

  /** Starts all counts anew. */
  forget(): void {
    this.calls.length = 0;
    this.made = 0;
    this.reads.clear();
  }

  protected override admit(call: SwapCall, views: readonly Uint8Array[]): void {
    const { out, slot, pages } = call;
    if (views.length === 0 || views.some((view) => view.length % PAGE_SIZE !== 0 || !view.length)) {
      throw this.#break("views are not whole pages");
    }
    if (slot < 1 || slot + pages - 1 > this.slots) {
      throw this.#break(`slots ${slot} to ${slot + pages - 1} of ${this.slots}`);
    }
    this.calls.push(call);
    for (let s = slot; s < slot + pages; s++) {
      if (this.#busy.has(s)) throw this.#break(`two calls overlap on slot ${s}`);
      if (!out && !this.stored.has(s)) throw this.#break(`slot ${s} was never written`);
    }
    for (let s = slot; s < slot + pages; s++) this.#busy.add(s);
  }

  protected override release({ slot, pages }: SwapCall): void {
    for (let s = slot; s < slot + pages; s++) this.#busy.delete(s);
  }

  #break(rule: string): Error {
    this.broken ??= rule;
    return new TypeError(`rule of swap devices broken: ${rule}`);
  }

  protected override move(call: SwapCall, views: readonly Uint8Array[]): void {
    try {
      this.before?.(call);
    } catch (error) {
      this.#spoil(call, views);
      throw error;
    }
    super.move(call, views);
    if (call.out) return;
    for (let s = call.slot; s < call.slot + call.pages; s++) {
      this.reads.set(s, (this.reads.get(s) ?? 0) + 1);
    }
  }

  /** What a call leaves behind that failed. */
  #spoil({ out, slot }: SwapCall, views: readonly Uint8Array[]): void {
    let at = slot;
    for (const view of views) {
      if (!out) view.fill(0xbd);
      else
        for (const [s] of pagesOf(at, view))
          this.stored.set(s, new Uint8Array(PAGE_SIZE).fill(0xbd));
      at += view.length / PAGE_SIZE;
    }
  }
}

/** For `MapSwap.before`: fails the `k`-th call of one direction from now on, from 1. */
export function failAt(out: boolean, k: number, error: unknown): (call: SwapCall) => void {
  let seen = 0;
  return (call) => {
    if (call.out === out && ++seen === k) throw error;
  };
}

/** For `MapSwap.before`: fails every call of one direction. */
export function failAll(out: boolean, error: unknown): (call: SwapCall) => void {
  return (call) => {
    if (call.out === out) throw error;
  };
}
