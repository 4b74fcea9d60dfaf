import { MapSwap, type MapSwapOptions, type SwapCall } from "./map_swap.ts";

/**
 * A store that does not keep its promise: it has room for some slots only, or has bad ones; and that gives
 * space back, if it is told to.
 */
export class LimitedSwap extends MapSwap {
  /** Most slots that it has room for. */
  capacity: number = Number.POSITIVE_INFINITY;
  /** How it says that it has no more. */
  full: () => unknown = () => Object.assign(new Error("no space left"), { code: "ENOSPC" });
  readonly bad: Set<number> = new Set();
  /** Slots that it holds room for. */
  readonly taken: Set<number> = new Set();
  refusals: SwapCall[] = [];
  truncated: number[] = [];

  constructor(options: MapSwapOptions) {
    super(options);
    this.before = (call) => this.#limit(call);
  }

  #limit(call: SwapCall): void {
    if (!call.out) return;
    const slots = Array.from({ length: call.pages }, (_, i) => call.slot + i);
    const fresh = slots.filter((slot) => !this.taken.has(slot));
    if (this.taken.size + fresh.length > this.capacity) {
      this.refusals.push(call);
      throw this.full();
    }
    if (slots.some((slot) => this.bad.has(slot))) {
      this.refusals.push(call);
      throw Object.assign(new Error("a bad block"), { code: "EIO" });
    }
    for (const slot of fresh) this.taken.add(slot);
  }

  /** Forgets what lies above, as a file that is cut off does. */
  cut(slots: number): void {
    this.truncated.push(slots);
    for (const slot of [...this.stored.keys()]) if (slot > slots) this.stored.delete(slot);
    for (const slot of this.taken) if (slot > slots) this.taken.delete(slot);
  }
}

/** The same with `truncate`. */
export class CuttableSwap extends LimitedSwap {
  truncate(slots: number): void {
    this.cut(slots);
  }
}
