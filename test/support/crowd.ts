/* Many operations at once, and what they cost: counted in calls of the swap device, pages and tries. */
import type { BufferObject, Device } from "../../src/index.ts";
import type { MapSwap } from "./map_swap.ts";

/** What was done between two looks. */
export interface Cost {
  /** Calls of the swap device; 0 for swap in RAM. */
  calls: number;
  /** Pages that were moved, either way. */
  pages: number;
  /** Populates and restores that came to their end, and those that did not (counts). */
  filled: number;
  interrupted: number;
}

/** Runs `work`, and tells what it cost on `device`. */
export async function costOf(
  device: Device,
  swap: MapSwap | undefined,
  work: () => Promise<unknown>,
): Promise<Cost> {
  const cost: Cost = { calls: 0, pages: 0, filled: 0, interrupted: 0 };
  const moved = () => {
    const { pagesIn, pagesOut } = device.stats();
    return pagesIn + pagesOut;
  };
  const before = { calls: swap?.calls.length ?? 0, pages: moved() };
  device.trace = ({ type }) => {
    if (type === "populate" || type === "restore") cost.filled++;
    if (type === "interrupt") cost.interrupted++;
  };
  await work();
  device.trace = undefined;
  cost.calls = (swap?.calls.length ?? 0) - before.calls;
  cost.pages = moved() - before.pages;
  return cost;
}

/** Does `use` with each of `bos`, at most `atOnce` of them at the same time. Rejects as the first of them does. */
export async function crowd(
  bos: readonly BufferObject[],
  atOnce: number,
  use: (bo: BufferObject, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const one = async () => {
    for (let index = next++; index < bos.length; index = next++) {
      await use(bos[index] as BufferObject, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, bos.length) }, one));
}

/** @throws Error when something of an operation that has ended is left behind */
export function expectRest({ global }: Device): void {
  const { admission, frames, tasks } = global;
  const { transits } = frames;
  const left = {
    inside: admission.inside,
    claims: frames.claimed,
    taken: frames.taken,
    tasks: tasks.size,
    transits: transits.count,
    waiting: transits.queue.first ? 1 : 0,
  };
  if (Object.values(left).some((count) => count !== 0) || admission.exclusive) {
    throw new Error(`operations left something behind: ${JSON.stringify(left)}`);
  }
}
