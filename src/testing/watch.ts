import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { SlotRange, SwapRun } from "../swap/types.ts";

const PAGES_MAX = 256;

/** Watches over the pool's rules: what calls a pool makes of a device, and when. */
export class PoolWatch {
  readonly #slots: number;
  readonly #depth: number;
  /** Slots of calls in flight. */
  readonly #busy = new Set<number>();
  #inFlight = 0;
  #discarding = 0;
  #open = false;
  /** The first rule that the pool broke. */
  broken: string | undefined;
  /** Most calls that were in flight at once. */
  most = 0;

  constructor(slots: number, depth: number) {
    this.#slots = slots;
    this.#depth = depth;
  }

  /** What a call is refused with that breaks a rule. */
  #break(rule: string): TypeError {
    this.broken ??= rule;
    return new TypeError(`rule of swap devices broken by the pool: ${rule}`);
  }

  opened(): void {
    if (this.#open) throw this.#break("open is called once");
    this.#open = true;
  }

  closed(): void {
    if (!this.#open) throw this.#break("close is called once, after open");
    if (this.#inFlight > 0) throw this.#break(`close with ${this.#inFlight} calls in flight`);
    this.#open = false;
  }

  /** Looks at the runs of a call; returns its slots. */
  slotsOf(runs: readonly SwapRun[], holds: ((slot: number) => boolean) | undefined): number[] {
    if (!this.#open) throw this.#break("a call to a device that is not open");
    if (runs.length === 0) throw this.#break("a call without runs");
    const slots: number[] = [];
    for (const { slot: first, views } of runs) {
      if (views.length === 0) throw this.#break("a run without views");
      let slot = first;
      for (const { length } of views) {
        if (length === 0 || length % PAGE_SIZE !== 0) throw this.#break("views are whole pages");
        for (let at = 0; at < length; at += PAGE_SIZE) slots.push(slot++);
      }
    }
    if (slots.length > PAGES_MAX) throw this.#break(`${slots.length} pages in one call`);
    for (const slot of slots) {
      this.#inRange(slot);
      if (holds && !holds(slot)) throw this.#break(`slot ${slot} is read, and was never written`);
    }
    if (new Set(slots).size !== slots.length) throw this.#break("a call names a slot twice");
    return slots;
  }

  #inRange(slot: number): void {
    if (Number.isInteger(slot) && slot >= 1 && slot <= this.#slots) return;
    throw this.#break(`slot ${slot} of ${this.#slots}`);
  }

  /** A call begins. Returns what to call at its end. One of the Sync form is over before another can begin. */
  begin(slots: readonly number[], kind: "read" | "write" | "discard", sync: boolean): () => void {
    const taken = slots.find((slot) => this.#busy.has(slot));
    if (taken !== undefined) throw this.#break(`two calls overlap on slot ${taken}`);
    if (kind === "write" && this.#discarding > 0) throw this.#break("a write during a discard");
    if (kind !== "discard" && !sync && this.#inFlight >= this.#depth) {
      throw this.#break(`more than queueDepth (${this.#depth}) calls in flight`);
    }
    for (const slot of slots) this.#busy.add(slot);
    if (kind === "discard") this.#discarding++;
    else this.#inFlight++;
    this.most = Math.max(this.most, this.#inFlight);
    return () => {
      for (const slot of slots) this.#busy.delete(slot);
      if (kind === "discard") this.#discarding--;
      else this.#inFlight--;
    };
  }

  /** Looks at a discard; returns the slots of `held` that it names. */
  discarded(ranges: readonly SlotRange[], end: number, held: Iterable<number>): number[] {
    if (!this.#open) throw this.#break("a call to a device that is not open");
    let last = 0;
    for (const { slot, pages } of ranges) {
      this.#inRange(slot);
      this.#inRange(slot + pages - 1);
      if (slot <= last) throw this.#break("ranges of a discard ascend, and do not overlap");
      last = slot + pages - 1;
      if (slot <= end && end <= last) throw this.#break(`a discard of slot ${end}, its own end`);
    }
    if (!(end >= 0 && end <= this.#slots)) throw this.#break(`a discard with end ${end}`);
    const inside = (at: number) => ranges.some((r) => at >= r.slot && at < r.slot + r.pages);
    const taken = [...this.#busy].find(inside);
    if (taken !== undefined) throw this.#break(`two calls overlap on slot ${taken}`);
    return [...held].filter(inside);
  }
}
