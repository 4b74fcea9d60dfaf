import { type BlockSwapDevice, PAGE_SIZE } from "../../src/index.ts";

export interface FakeSwapOptions {
  readonly slots: number;
  /** Makes the device asynchronous: every call waits for this first. */
  readonly delay?: () => Promise<void>;
}

/** One call of a swap device. */
export interface SwapCall {
  readonly out: boolean;
  readonly slot: number;
  readonly pages: number;
  /** Position among all calls, from 1. */
  readonly index: number;
}

/**
 * What all swap devices of tests and benchmarks are made of: calls, one after the other or each after its delay,
 * that move whole pages between views and a store of theirs. What follows from a call beside that is said in
 * `admit`, before it waits, and in `move`.
 */
export abstract class FakeSwap implements BlockSwapDevice {
  abstract readonly name: string;
  readonly slots: number;
  readonly async: boolean;
  /** Calls so far. */
  protected made = 0;
  readonly #delay: (() => Promise<void>) | undefined;

  constructor({ slots, delay }: FakeSwapOptions) {
    this.slots = slots;
    this.#delay = delay;
    this.async = delay !== undefined;
  }

  /** Stores a view of one page or more in slots from `slot` on. */
  protected abstract put(slot: number, view: Uint8Array): void;
  /** Fills a view of one page or more from slots from `slot` on. */
  protected abstract take(slot: number, view: Uint8Array): void;

  open(): void {}

  close(): void | Promise<void> {
    return this.#delay?.();
  }

  write(slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    return this.#call(true, slot, views);
  }

  read(slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    return this.#call(false, slot, views);
  }

  #call(out: boolean, slot: number, views: readonly Uint8Array[]): void | Promise<void> {
    let bytes = 0;
    for (const view of views) bytes += view.length;
    const call = { out, slot, pages: bytes / PAGE_SIZE, index: ++this.made };
    this.admit(call, views);
    if (!this.#delay) return this.#settle(call, views);
    return this.#delay().then(
      () => this.#settle(call, views),
      (error: unknown) => {
        this.release(call);
        throw error;
      },
    );
  }

  #settle(call: SwapCall, views: readonly Uint8Array[]): void {
    try {
      this.move(call, views);
    } finally {
      this.release(call);
    }
  }

  /** Looks at a call when it comes. What it throws is the call's failure, and nothing was moved. */
  protected admit(_call: SwapCall, _views: readonly Uint8Array[]): void {}

  /** Is told of a call that has moved what it could. */
  protected release(_call: SwapCall): void {}

  protected move({ out, slot }: SwapCall, views: readonly Uint8Array[]): void {
    let at = slot;
    for (const view of views) {
      if (out) this.put(at, view);
      else this.take(at, view);
      at += view.length / PAGE_SIZE;
    }
  }
}

/** Pages of views, with the slot of each. */
export function* pagesOf(slot: number, view: Uint8Array): Generator<[number, Uint8Array]> {
  for (let at = 0; at < view.length; at += PAGE_SIZE) {
    yield [slot + at / PAGE_SIZE, view.subarray(at, at + PAGE_SIZE)];
  }
}

/** Pages in a Map, in slots that were written. */
export class StoreSwap extends FakeSwap {
  readonly name: string;
  readonly stored: Map<number, Uint8Array> = new Map();

  constructor(options: FakeSwapOptions, name = "map") {
    super(options);
    this.name = name;
  }

  protected override put(slot: number, view: Uint8Array): void {
    for (const [at, page] of pagesOf(slot, view)) {
      const stored = this.stored.get(at);
      if (stored) stored.set(page);
      else this.stored.set(at, page.slice());
    }
  }

  protected override take(slot: number, view: Uint8Array): void {
    for (const [at, page] of pagesOf(slot, view)) page.set(this.stored.get(at) as Uint8Array);
  }
}
