/*
 * Buddy allocator: what do an allocation and a free cost for each order, in fresh memory and in
 * fragmented memory?
 *
 * Fragmented: all memory was allocated in chunks of the order, and a random half of them freed. One call
 * of a contender allocates 64 chunks and frees 64 others at random places (in fresh memory, the same),
 * a call of the engine for each.
 */
import { rawEngine } from "./engine_exports.ts";
import { type Bench, main, QUICK, randomFrom, rounds, Samples, shuffle } from "./harness.ts";
import { type Micro, micro } from "./micro.ts";

const BATCH = 64;
const FRAMES = 2 ** 17;

function fresh(order: number): Micro {
  const { wasm } = rawEngine(FRAMES, 1, 1, false);
  const taken = new Uint32Array(BATCH);
  return {
    name: "fresh",
    run: () => {
      for (let i = 0; i < BATCH; i++) taken[i] = wasm.allocPages(order);
      for (let i = 0; i < BATCH; i++) wasm.givePages(taken[i] as number, order);
    },
  };
}

function fragmented(order: number): Micro {
  const { wasm } = rawEngine(FRAMES, 1, 1, false);
  const random = randomFrom(order + 1);
  const all = Uint32Array.from({ length: FRAMES >> order }, () => wasm.allocPages(order));
  shuffle(all, random);
  const half = all.length >> 1;
  for (let i = 0; i < half; i++) wasm.givePages(all[i] as number, order);
  const used = all.slice(half);
  const batch = Math.min(BATCH, half);
  const taken = new Uint32Array(batch);
  let at = 0;
  return {
    name: "fragmented",
    before: () => {
      shuffle(used, random);
    },
    run: () => {
      for (let i = 0; i < batch; i++) taken[i] = wasm.allocPages(order);
      for (let i = 0; i < batch; i++) {
        wasm.givePages(used[at] as number, order);
        used[at] = taken[i] as number;
        at = at + 1 === used.length ? 0 : at + 1;
      }
    },
  };
}

async function measure(bench: Bench, order: number): Promise<void> {
  const samples = new Samples();
  await micro(samples, rounds(5), [fresh(order), fragmented(order)]);
  const options = { unit: "ns/chunk", per: BATCH };
  bench.row(`alloc and free, order ${order}, fresh`, samples, "fresh", options);
  bench.row(`alloc and free, order ${order}, fragmented`, samples, "fragmented", {
    ...options,
    against: "fresh",
    label: "fresh memory",
  });
}

await main("buddy", async (bench) => {
  for (const order of QUICK ? [0, 9] : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) await measure(bench, order);
});
