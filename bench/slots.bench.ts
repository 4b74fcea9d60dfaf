/*
 * Slots: what do an allocation and a free cost in maps of 1 M and 16 M slots, the fuller the worse?
 *
 * A map is filled, then random slots of it are freed until it is as full as wanted: nothing but holes.
 * One call of a contender allocates a batch of 64 slots, one by one or in runs of up to 16, and frees 64
 * others at random places, so that it stays as it is. The loops are in JavaScript, one call of the
 * engine (slotAlloc, slotFree) for each slot or run.
 */
import * as abi from "../assembly/abi.ts";
import { type RawEngine, rawEngine } from "./engine_exports.ts";
import { type Bench, main, QUICK, randomFrom, rounds, Samples, shuffle } from "./harness.ts";
import { type Micro, micro } from "./micro.ts";

const BATCH = 64;
const M = 2 ** 20;

interface Filled {
  readonly engine: RawEngine;
  /** Slots in use, in random order; empty when the map is. */
  readonly used: Uint32Array;
}

/** A map of which a fraction is in use. */
function filled(slots: number, fraction: number): Filled {
  const engine = rawEngine(16, slots, 16, false);
  const { wasm } = engine;
  if (fraction === 0) return { engine, used: new Uint32Array(0) };
  if (wasm.slotAlloc(slots) !== 1) throw new Error("the map was not empty");
  const all = shuffle(
    Uint32Array.from({ length: slots }, (_, i) => i + 1),
    randomFrom(1),
  );
  const free = Math.round(slots * (1 - fraction));
  for (let i = 0; i < free; i++) wasm.slotFree(all[i] as number, 1);
  return { engine, used: all.slice(free) };
}

/** Allocates a batch in runs of up to `want`, and frees as many slots at random. */
function churn({ engine, used }: Filled, want: number): Pick<Micro, "run" | "before"> {
  const { wasm, header } = engine;
  const taken = new Uint32Array(BATCH);
  let at = 0;
  const allocate = () => {
    for (let count = 0; count < BATCH; ) {
      const slot = wasm.slotAlloc(Math.min(want, BATCH - count));
      if (slot < 0) throw new Error(`slotAlloc returned ${slot}`);
      const run = want === 1 ? 1 : (header[abi.H_RUN] as number);
      for (let i = 0; i < run; i++) taken[count++] = slot + i;
    }
  };
  if (used.length === 0) {
    return {
      run: () => {
        allocate();
        for (let i = 0; i < BATCH; i++) wasm.slotFree(taken[i] as number, 1);
      },
    };
  }
  const random = randomFrom(2);
  let ordered = 0;
  return {
    // What was allocated lies in order; it is to be freed at random again. Only so many are in order:
    // to shuffle all of 16 M each time would take longer than what is measured.
    before: () => {
      for (; ordered > 0; ordered--) {
        const i = (at - ordered + used.length) % used.length;
        const j = random(used.length);
        const slot = used[i] as number;
        used[i] = used[j] as number;
        used[j] = slot;
      }
    },
    run: () => {
      allocate();
      for (let i = 0; i < BATCH; i++) {
        wasm.slotFree(used[at] as number, 1);
        used[at] = taken[i] as number;
        at = at + 1 === used.length ? 0 : at + 1;
      }
      ordered = Math.min(ordered + BATCH, used.length);
    },
  };
}

async function measure(bench: Bench, want: number): Promise<void> {
  const contenders: Micro[] = [];
  for (const slots of QUICK ? [M] : [M, 16 * M]) {
    for (const percent of [0, 50, 99, 99.9]) {
      const map = filled(slots, percent / 100);
      contenders.push({ name: `${slots / M} M slots, ${percent} % full`, ...churn(map, want) });
    }
  }
  const samples = new Samples();
  await micro(samples, rounds(5), contenders);
  const base = "1 M slots, 50 % full";
  for (const { name } of contenders) {
    const text = `alloc${want === 1 ? "" : ` in runs of ${want}`} and free, ${name}`;
    const against = name === base ? {} : { against: base };
    bench.row(text, samples, name, { unit: "ns/slot", per: BATCH, ...against });
  }
}

await main("slots", async (bench) => {
  for (const want of [1, 16]) await measure(bench, want);
  if (QUICK) return;
  for (const what of ["alloc and free", "alloc in runs of 16 and free"]) {
    const cases = new RegExp(`^${what}, 16 M slots, 99 % full$`);
    const text = `slots: ${what}, 16 M at 99 % against 1 M at 50 %`;
    bench.promise(text, "ratio", cases, { atLeast: 0.25 });
  }
});
