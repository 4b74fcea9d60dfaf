/*
 * Tagged entries: what does the engine take for an entry when it turns pages into handles, handles into
 * pages, looks where pages lie, and gathers them in runs?
 *
 * Nothing is transferred here. Encoding is a shrink (prepare and commit: slots taken, frames freed),
 * decoding a restore (frames taken, slots freed), scanning finds pages that lie side by side, gathering
 * finds pages that lie anywhere. Held against a plain loop over a Uint32Array in JavaScript that does
 * nothing but the arithmetic.
 */
import * as abi from "../assembly/abi.ts";
import { type RawEngine, rawEngine } from "./engine_exports.ts";
import {
  type Bench,
  main,
  type Phase,
  QUICK,
  randomFrom,
  rounds,
  Samples,
  shuffle,
} from "./harness.ts";

const VECTOR = 512;
const ALL_ORDERS = 0x3ff;

function must(rc: number): number {
  if (rc < 0) throw new Error(`the engine returned ${rc}`);
  return rc;
}

/** Vectors of 512 populated entries each. */
function vectors({ wasm, buffer }: RawEngine, count: number, how: number): number[] {
  const words = new Uint32Array(buffer);
  const entries = words.subarray((words[abi.HEADER / 4 + abi.H_ENTRY] as number) >>> 2);
  return Array.from({ length: count }, () => {
    const vector = must(wasm.vectorAlloc(VECTOR));
    fill(wasm, vector, how);
    // Zeros would need no slot.
    for (let i = 0; i < VECTOR; i++) words[(entries[vector + i] as number) >>> 2] = 1;
    return vector;
  });
}

function fill(wasm: RawEngine["wasm"], vector: number, how: number): void {
  for (let at = 0; at < VECTOR; ) {
    const covered = must(wasm.fillPrepare(vector, VECTOR, at, 0, VECTOR - at, how, 0, VECTOR));
    at += must(wasm.fillCommit(vector, VECTOR, at, 0, covered, covered, how));
  }
}

function walks(engine: RawEngine, list: readonly number[], how: number): Phase[] {
  const { wasm, buffer } = engine;
  const item = new Uint32Array(buffer, abi.ITEMS, abi.ITEM_BYTES / 4);
  return [
    {
      name: "scan",
      run: () => {
        for (const vector of list) must(wasm.vectorExtents(vector, VECTOR, 0, VECTOR));
      },
    },
    {
      name: "encode",
      run: () => {
        for (const vector of list) {
          item[0] = vector;
          item[1] = VECTOR;
          item[2] = 0;
          item[3] = 0;
          must(wasm.shrinkCommit(1, must(wasm.shrinkPrepare(1, VECTOR))));
        }
      },
    },
    {
      name: "decode",
      run: () => {
        for (const vector of list) fill(wasm, vector, how);
      },
    },
  ];
}

/** The arithmetic alone: entries in a typed array, nothing else kept. */
function plain(entries: number): Phase[] {
  const list = Uint32Array.from({ length: entries }, (_, i) => (i + 1) * 4096);
  let runs = 0;
  return [
    {
      name: "scan in JavaScript",
      run: () => {
        for (let i = 1; i < entries; i++) {
          if ((list[i] as number) !== (list[i - 1] as number) + 4096) runs++;
        }
      },
    },
    {
      name: "encode in JavaScript",
      run: () => {
        for (let i = 0; i < entries; i++) list[i] = ((i + 1) << 1) | 1;
      },
    },
    {
      name: "decode in JavaScript",
      run: () => {
        for (let i = 0; i < entries; i++) list[i] = ((list[i] as number) >>> 1) * 4096;
        if (runs < 0) throw new Error("unreachable");
      },
    },
  ];
}

async function measure(bench: Bench, count: number, scattered: boolean): Promise<void> {
  const entries = count * VECTOR;
  const frames = scattered ? 2 * entries : entries;
  const engine = rawEngine(frames, entries, entries, false);
  if (scattered) {
    const all = Uint32Array.from({ length: frames }, () => must(engine.wasm.allocPages(0)));
    const random = randomFrom(1);
    const gone = Uint32Array.from({ length: entries }, (_, i) => all[2 * i + random(2)] as number);
    for (const pfn of shuffle(gone, random)) engine.wasm.givePages(pfn, 0);
  }
  const how = scattered ? 1 : ALL_ORDERS;
  const list = vectors(engine, count, how);
  const samples = new Samples();
  await samples.interleave(rounds(15), [walks(engine, list, how), plain(entries)]);
  const where = `${entries} entries, ${scattered ? "single pages anywhere" : "chunks of 512"}`;
  for (const name of ["scan", "encode", "decode"]) {
    const text = name === "scan" && scattered ? "gather" : name;
    bench.row(`${text}, ${where}`, samples, name, {
      unit: "ns/entry",
      per: entries,
      against: `${name} in JavaScript`,
    });
  }
}

await main("entries", async (bench) => {
  for (const scattered of [false, true]) {
    await measure(bench, 128, scattered);
    if (!QUICK) await measure(bench, 512, scattered);
  }
});
