/*
 * Clean pages: what does it save that a page which was only read since its restore leaves without a
 * transfer? An object shrunk clean against the same one dirty; and a workload of which 90 of 100 accesses
 * read (objects chosen by Zipf's law), with `keepClean` and without.
 */
import { type BufferObject, createDeviceSync, type Device, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { filled } from "./buffers.ts";
import {
  type Bench,
  clock,
  KIB,
  MIB,
  main,
  PAGE,
  QUICK,
  randomFrom,
  rounds,
  Samples,
} from "./harness.ts";

type Swap = "ram" | "file";

function device(swap: Swap, memory: number, slots: number, keepClean: boolean): Device {
  const device = swap === "ram" ? ramSwap({ size: slots }) : fileSwap({ size: slots });
  return createDeviceSync({ memory, swap: device, keepClean, checksums: swap === "file" });
}

/** Shrinks 64 MiB of objects; what happened to them since their restore is the difference. */
async function shrinks(bench: Bench, swap: Swap, bytes: number): Promise<void> {
  const total = 64 * MIB;
  const dev = device(swap, total, 2 * total, true);
  const buffers = filled(dev, total / bytes, bytes);
  const byte = new Uint8Array(1);
  // A byte of every page is written, so that all of them must go out again.
  const touch = () => {
    for (const buffer of buffers) {
      for (let at = 0; at < bytes; at += PAGE) buffer.writeSync(at, byte);
    }
  };
  const back = () => {
    for (const buffer of buffers) buffer.populateSync();
  };
  const shrink = () => {
    for (const buffer of buffers) buffer.shrinkSync();
  };
  shrink();
  const samples = new Samples();
  await samples.interleave(rounds(9), [
    [{ name: "clean", before: back, run: shrink }],
    [
      {
        name: "dirty",
        before: () => {
          back();
          touch();
        },
        run: shrink,
      },
    ],
  ]);
  const text = `objects of ${bytes / KIB} KiB, ${swap}`;
  const options = { unit: "ns/page", per: total / PAGE };
  bench.row(`shrink of dirty pages, ${text}`, samples, "dirty", options);
  bench.row(`shrink of clean pages, ${text}`, samples, "clean", {
    ...options,
    against: "dirty",
    label: "dirty pages",
  });
  dev.closeSync({ force: true });
}

/** Ranks 0..n-1 by Zipf's law with exponent 1, as a table to look a random number up in. */
function zipf(n: number): (random: (limit: number) => number) => number {
  const sums = new Float64Array(n);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    sum += 1 / (i + 1);
    sums[i] = sum;
  }
  return (random) => {
    const at = (random(2 ** 30) / 2 ** 30) * sum;
    let low = 0;
    let high = n - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** A quarter of the data fits the memory; 9 of 10 accesses read 4 KiB, one writes them. */
async function workload(bench: Bench, swap: Swap): Promise<void> {
  const memory = QUICK ? 8 * MIB : 32 * MIB;
  const bytes = 64 * KIB;
  const count = (4 * memory) / bytes;
  const accesses = QUICK ? 5_000 : 20_000;
  const rank = zipf(count);
  const samples = new Samples();
  const sides = [true, false].map((keepClean) => {
    const dev = device(swap, memory, 5 * memory, keepClean);
    const buffers = filled(dev, count, bytes);
    const data = new Uint8Array(PAGE);
    let seed = 1;
    const name = keepClean ? "clean" : "dirty";
    const run = () => {
      const random = randomFrom(seed++);
      const before = dev.stats().pagesOut;
      const start = clock();
      for (let i = 0; i < accesses; i++) {
        const buffer = buffers[rank(random)] as BufferObject;
        const at = random(bytes / PAGE) * PAGE;
        if (random(10) === 0) buffer.writeSync(at, data);
        else buffer.readSync(at, data);
      }
      const pages = (dev.stats().pagesOut - before) / accesses;
      return { [name]: clock() - start, [`${name}, pages`]: pages };
    };
    return [{ name, run }];
  });
  await samples.interleave(rounds(7), sides);
  const text = `Zipf, 90 % reads, ${swap}`;
  bench.row(`${text}, every page goes out`, samples, "dirty", { unit: "ns/access", per: accesses });
  bench.row(`${text}, clean pages leave for free`, samples, "clean", {
    unit: "ns/access",
    per: accesses,
    against: "dirty",
    label: "every page goes out",
  });
  bench.row(`${text}, pages out, every page`, samples, "dirty, pages", { unit: "pages/access" });
  bench.row(`${text}, pages out, clean ones free`, samples, "clean, pages", {
    unit: "pages/access",
    against: "dirty, pages",
    label: "every page goes out",
  });
}

await main("clean_pages", async (bench) => {
  for (const swap of ["file", "ram"] as const) {
    for (const bytes of [64 * KIB, 2 * MIB]) await shrinks(bench, swap, bytes);
    await workload(bench, swap);
  }
});
