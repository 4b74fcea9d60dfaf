/*
 * Checksums: what does a second pass over the bytes cost at least? The bare calls of a file, each followed by
 * the engine's sums of the pages, by loads of all their bytes and nothing else, or by nothing.
 *
 * 64 MiB in calls of 1 MiB, straight from linear memory. Also the sum of a page that lies in the CPU's first
 * cache already, against loads of the same.
 */

import * as abi from "../assembly/abi.ts";
import { bareFile, pieces1MiB, toucher } from "./bare.ts";
import { rawEngine } from "./engine_exports.ts";
import { type Bench, MIB, main, PAGE, rounds, Samples } from "./harness.ts";
import { micro } from "./micro.ts";

const TOTAL = 64 * MIB;
const FRAMES = TOTAL / PAGE;
const CALL = MIB / PAGE;

/** An engine whose frames all belong to one vector, in chunks of 2 MiB side by side, prepared to leave. */
function full() {
  const engine = rawEngine(FRAMES, FRAMES, FRAMES, false);
  const { wasm, buffer } = engine;
  const vector = wasm.vectorAlloc(FRAMES);
  const BATCH = 512;
  for (let start = 0; start < FRAMES; start += BATCH) {
    const all = 0x3ff; // orders
    wasm.fillPrepare(vector, FRAMES, start, 0, BATCH, all, 0, FRAMES);
    wasm.fillCommit(vector, FRAMES, start, 0, BATCH, BATCH, all);
  }
  const entries = new Uint32Array(buffer, engine.header[8] as number, FRAMES);
  const first = entries[vector] as number;
  // Zeros would leave without a slot.
  new Uint8Array(buffer, first, TOTAL).fill(0x5a);
  const item = new Uint32Array(buffer, abi.ITEMS, abi.ITEM_BYTES / 4);
  for (let start = 0; start < FRAMES; start += BATCH) {
    item.set([vector, FRAMES, start]);
    if (wasm.shrinkPrepare(1, BATCH) !== BATCH) throw new Error("a batch was not prepared");
  }
  return { ...engine, vector, first };
}

async function files(bench: Bench): Promise<void> {
  const { wasm, first, buffer } = full();
  const file = bareFile();
  const views = pieces1MiB(buffer, first, TOTAL);
  file.write(views);
  const touch = toucher(wasm.memory);
  const behind: Record<string, (call: number) => void> = {
    nothing: () => {},
    loads: (call) => touch(first + call * MIB, MIB),
    sums: (call) => {
      if (wasm.sumPages(first / PAGE + call * CALL, CALL) < 0) throw new Error("sums were refused");
    },
  };
  for (const [side, transfer] of [
    ["write", (views: Uint8Array[], at: number) => file.write(views, undefined, at)],
    ["read", (views: Uint8Array[], at: number) => file.read(views, undefined, at)],
  ] as const) {
    const samples = new Samples();
    const phases = Object.entries(behind).map(([name, then]) => ({
      name,
      run: () => {
        for (let call = 0; call < views.length; call++) {
          transfer(views.slice(call, call + 1), call * MIB);
          then(call);
        }
      },
    }));
    await samples.interleave(
      rounds(21),
      phases.map((phase) => [phase]),
    );
    const options = { unit: "ns/page", per: FRAMES };
    bench.row(`${side}`, samples, "nothing", options);
    for (const name of ["loads", "sums"]) {
      bench.row(`${side}, and ${name}`, samples, name, {
        ...options,
        against: "nothing",
        label: `bare ${side}Sync`,
      });
    }
    bench.row(`${side}, and sums, beside loads`, samples, "sums", { ...options, against: "loads" });
  }
  file.close();
}

async function hot(bench: Bench): Promise<void> {
  const { wasm, first } = full();
  const touch = toucher(wasm.memory);
  const pfn = first / PAGE;
  const samples = new Samples();
  await micro(samples, rounds(11), [
    { name: "loads", run: () => touch(first, PAGE) },
    { name: "sum", run: () => wasm.pageChecksum(pfn) },
  ]);
  bench.row("loads of a page in the first cache", samples, "loads", { unit: "ns/page" });
  bench.row("sum of a page in the first cache", samples, "sum", {
    unit: "ns/page",
    against: "loads",
    label: "loads of it",
  });
}

await main("sums", async (bench) => {
  await files(bench);
  await hot(bench);
});
