/* What is on its way to a store of which many calls are in flight at the same time. */
import { expect, test } from "vitest";
import {
  type AsyncSwapDevice,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  type SwapRun,
} from "../../src/index.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { settles, turn } from "../support/delays.ts";

const DEPTH = 8;
/** Pages of the largest call, and of a batch of a shrink. */
const CALL_PAGES = 256;
const BATCH_PAGES = 512;

/** A store whose calls can be held until they are told to end. */
class HeldSwap implements AsyncSwapDevice {
  readonly name = "held";
  readonly slots: number;
  readonly queueDepth = DEPTH;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #held: (() => void)[] = [];
  /** Whether calls wait until they are told to end. */
  holds = false;

  constructor(slots: number) {
    this.slots = slots;
  }

  /** Calls in flight. */
  get flying(): number {
    return this.#held.length;
  }

  /** Ends the call that was begun first. */
  end(): void {
    this.#held.shift()?.();
  }

  async write(runs: readonly SwapRun[]): Promise<void> {
    await this.#hold();
    this.#each(runs, (slot, page) => this.#pages.set(slot, page.slice()));
  }

  async read(runs: readonly SwapRun[]): Promise<void> {
    await this.#hold();
    this.#each(runs, (slot, page) => page.set(this.#pages.get(slot) as Uint8Array));
  }

  #hold(): Promise<void> | undefined {
    return this.holds ? new Promise((end) => this.#held.push(end)) : undefined;
  }

  #each(runs: readonly SwapRun[], use: (slot: number, page: Uint8Array) => void): void {
    for (const { slot, views } of runs) {
      let next = slot;
      for (const view of views) {
        for (let at = 0; at < view.length; at += PAGE_SIZE) {
          use(next++, view.subarray(at, at + PAGE_SIZE));
        }
      }
    }
  }
}

/** Ends one call after the other while `work` is at it; says how many were in flight before each. */
async function flights(swap: HeldSwap, work: () => Promise<unknown>): Promise<number[]> {
  const seen: number[] = [];
  swap.holds = true;
  const done = work();
  for (await turn(); swap.flying > 0; await turn()) {
    seen.push(swap.flying);
    swap.end();
  }
  swap.holds = false;
  await settles(done);
  return seen;
}

/** As many as there can be, until the last `DEPTH` of so many calls end. */
function full(calls: number): number[] {
  return Array.from({ length: calls }, (_, i) => Math.min(DEPTH, calls - i));
}

function deviceOf(pages: number): { swap: HeldSwap; device: Device } {
  const swap = new HeldSwap(2 * pages);
  return { swap, device: createDeviceSync({ memory: pages * PAGE_SIZE, swap }) };
}

test("a shrink and a resume have as many calls in flight as the store likes, to their end", async () => {
  const calls = 4 * DEPTH;
  // A scan takes half of the memory.
  const { swap, device } = deviceOf(2 * calls * CALL_PAGES);
  const bytes = BATCH_PAGES * PAGE_SIZE;
  const buffers = Array.from({ length: calls / 2 }, () => device.createBuffer(bytes));
  for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, bytes));
  expect(await flights(swap, () => device.hibernate())).toEqual(full(calls));
  expect(await flights(swap, () => device.resume())).toEqual(full(calls));
  for (const [i, buffer] of buffers.entries()) {
    expectSame(await content(buffer), pattern(i, bytes), `buffer ${i}`);
  }
  device.check();
  await device.close({ force: true });
});
