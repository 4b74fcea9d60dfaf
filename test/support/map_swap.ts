import { type BlockSwapDevice, PAGE_SIZE } from "../../src/index.ts";

/** One call of a swap device. */
export interface SwapCall {
  readonly out: boolean;
  readonly slot: number;
  readonly pages: number;
  /** Position among all calls, from 1. */
  readonly index: number;
}

export interface MapSwapOptions {
  readonly slots: number;
  /** Makes the device asynchronous: every call waits for this first. */
  readonly delay?: () => Promise<void>;
}

/**
 * A swap device over a Map, that watches over the rules of `BlockSwapDevice` and fails on demand, as
 * badly as it may: a failed write leaves garbage in the slots, a failed read garbage in the views.
 */
export class MapSwap implements BlockSwapDevice {
  readonly name = "map";
  readonly slots: number;
  readonly async: boolean;
  /** Runs before each call takes effect; what it throws is what the call fails with. */
  before: ((call: SwapCall) => void) | undefined;
  readonly calls: SwapCall[] = [];
  /** How often each slot was read since the last `forget()`. */
  readonly reads: Map<number, number> = new Map();
  readonly stored: Map<number, Uint8Array> = new Map();
  /** The first rule of a swap device that the pool broke. */
  broken: string | undefined;
  opened = 0;
  closed = 0;
  readonly #delay: (() => Promise<void>) | undefined;
  readonly #busy = new Set<number>();

  constructor(options: MapSwapOptions) {
    this.slots = options.slots;
    this.#delay = options.delay;
    this.async = options.delay !== undefined;
  }

  open(): void {
    this.opened++;
  }

  close(): void | Promise<void> {
    this.closed++;
    return this.#delay?.();
  }

  write(slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    return this.#call(true, slot, views);
  }

  read(slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    return this.#call(false, slot, views);
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
    this.reads.clear();
  }

  #call(out: boolean, slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    const pages = this.#pagesIn(slot, views);
    const call = { out, slot, pages, index: this.calls.length + 1 };
    this.calls.push(call);
    const used = Array.from({ length: pages }, (_, i) => slot + i);
    for (const s of used) {
      if (this.#busy.has(s)) throw this.#break(`two calls overlap on slot ${s}`);
      if (!out && !this.stored.has(s)) throw this.#break(`slot ${s} was never written`);
    }
    if (!this.#delay) {
      this.#perform(call, views);
      return;
    }
    for (const s of used) this.#busy.add(s);
    return this.#delay()
      .then(() => this.#perform(call, views))
      .finally(() => {
        for (const s of used) this.#busy.delete(s);
      });
  }

  #break(rule: string): Error {
    this.broken ??= rule;
    return new TypeError(`rule of swap devices broken: ${rule}`);
  }

  #pagesIn(slot: number, views: readonly Uint8Array[]): number {
    const bytes = views.reduce((sum, view) => sum + view.length, 0);
    if (views.length === 0 || views.some((view) => view.length % PAGE_SIZE !== 0 || !view.length)) {
      throw this.#break("views are not whole pages");
    }
    const pages = bytes / PAGE_SIZE;
    if (slot < 1 || slot + pages - 1 > this.slots) {
      throw this.#break(`slots ${slot} to ${slot + pages - 1} of ${this.slots}`);
    }
    return pages;
  }

  #perform(call: SwapCall, views: readonly Uint8Array[]): void {
    let failure: { error: unknown } | undefined;
    try {
      this.before?.(call);
    } catch (error) {
      failure = { error };
    }
    let slot = call.slot;
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE, slot++) {
        const page = view.subarray(at, at + PAGE_SIZE);
        if (failure) {
          if (call.out) this.stored.set(slot, new Uint8Array(PAGE_SIZE).fill(0xbd));
          else page.fill(0xbd);
        } else if (call.out) this.stored.set(slot, page.slice());
        else {
          page.set(this.stored.get(slot) as Uint8Array);
          this.reads.set(slot, (this.reads.get(slot) ?? 0) + 1);
        }
      }
    }
    if (failure) throw failure.error;
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
