/*
 * Which buffers leave first: misses of src/resource.ts beside those of other orders, as models, and of the best there
 * can be. Below 1: fewer than LRU, the least recently used first. A row has the median, the least and the most of
 * workloads of one kind, and of memories of a 32nd, an 8th, a quarter and half of what is used.
 *
 * The kinds: uses along a zipf distribution; the same with passes over all of as much again; loops; a hot set of
 * three quarters of the memory that passes of 32 times the memory come between; a set that moves on. Page references
 * of real programs are read from the folder `TTM_BENCH_TRACES` (NAME.k16.gz: a varint for each reference, zigzag of
 * the number less the one before, times 2), if there is one. Then the same on a device, beside its own model.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";
import { createDeviceSync, ramSwap } from "../src/index.ts";
import { type Bench, main, median, PAGE, QUICK, randomFrom, shuffle } from "./harness.ts";
import {
  ArcModel,
  ClockModel,
  KernelModel,
  LirsModel,
  LruModel,
  OursModel,
  optimalMisses,
  type Policy,
  S3FifoModel,
  TwoQModel,
} from "./policies.ts";
import { readReferences } from "./trace_file.ts";

/** Page numbers, in the order in which they are used. */
interface Workload {
  readonly kind: string;
  readonly name: string;
  readonly uses: Int32Array;
  /** Distinct ones; they are 0 up to this. */
  readonly pages: number;
  /** Sizes of memories (pages). */
  readonly frames: readonly number[];
}

const MODELS: Record<string, (frames: number) => Policy> = {
  "second chance": (frames) => new ClockModel(frames),
  "2Q": (frames) => new TwoQModel(frames),
  "S3-FIFO": (frames) => new S3FifoModel(frames),
  ARC: (frames) => new ArcModel(frames),
  "Linux' two lists": (frames) => new KernelModel(frames),
  LIRS: (frames) => new LirsModel(frames),
  ours: (frames) => new OursModel(frames),
  "ours, were a half cold": (frames) => new OursModel(frames, 1),
  "ours, were a quarter cold": (frames) => new OursModel(frames, 3),
  "ours, uses one within a 16th": (frames) => new OursModel(frames, 2, 16),
  "ours, uses one within a 64th": (frames) => new OursModel(frames, 2, 64),
};

/** Traces lack references to what was used a moment ago, so they are right for no smaller memory. */
const TRACE_FRAMES_MIN = 39;

const random = randomFrom(1);

function workload(
  kind: string,
  name: string,
  uses: ArrayLike<number>,
  frames?: number[],
): Workload {
  const all = Int32Array.from(uses);
  const pages = all.reduce((most, page) => Math.max(most, page), 0) + 1;
  const sizes = frames ?? [32, 8, 4, 2].map((part) => Math.floor(pages / part));
  return { kind, name, uses: all, pages, frames: sizes };
}

/** The references of a trace. */
function references(file: string): number[] {
  return readReferences(gunzipSync(readFileSync(file)));
}

function traces(): Workload[] {
  const folder = process.env.TTM_BENCH_TRACES;
  if (folder === undefined) {
    console.error("  no traces of programs: TTM_BENCH_TRACES names no folder");
    return [];
  }
  const names = readdirSync(folder).filter((name) => name.endsWith(".k16.gz"));
  return names.map((name) => {
    const all = workload("programs", name, references(join(folder, name)));
    return { ...all, frames: all.frames.filter((frames) => frames >= TRACE_FRAMES_MIN) };
  });
}

const ITEMS = 2048;
const USES = QUICK ? 40_000 : 200_000;

/** Random uses, of which item `i` has a share of 1 / i^`exponent`. */
function zipf(exponent: number): number[] {
  const items = shuffle(
    Array.from({ length: ITEMS }, (_, i) => i),
    random,
  );
  const ends: number[] = [];
  for (let i = 1; i <= ITEMS; i++) ends.push((ends[i - 2] ?? 0) + i ** -exponent);
  return Array.from({ length: USES }, () => {
    const at = (random(2 ** 30) / 2 ** 30) * (ends[ITEMS - 1] as number);
    let [low, high] = [0, ITEMS - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return items[low] as number;
  });
}

const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

/** Ten passes over as much again, between the uses. */
function withScans(uses: readonly number[]): number[] {
  const part = uses.length / 10;
  return range(0, 10).flatMap((i) => [
    ...uses.slice(i * part, (i + 1) * part),
    ...range(ITEMS, ITEMS),
  ]);
}

function synthetic(): Workload[] {
  const all: Workload[] = [];
  for (const exponent of [0.8, 1, 1.2]) {
    const uses = zipf(exponent);
    const sizes = [32, 8, 4, 2].map((part) => ITEMS / part);
    all.push(workload("zipf", `zipf ${exponent}`, uses, sizes));
    all.push(workload("zipf with scans", `zipf ${exponent} with scans`, withScans(uses), sizes));
  }
  const loop = range(0, 20).flatMap(() => range(0, 1000));
  all.push(workload("loops", "a loop", loop, [31, 125, 250, 500, 900]));
  const rounds = () => range(0, 20).flatMap(() => range(0, 96));
  const scans = range(0, 5).flatMap(() => [...rounds(), ...range(96, 4096)]);
  all.push(workload("a hot set between scans", "hot set", scans, [128]));
  const moving = range(0, 100_000).map((i) => Math.floor(i / 5000) * 100 + random(150));
  all.push(workload("a set that moves on", "moving set", moving, [100, 150, 200, 400]));
  return all;
}

function missesOf(policy: Policy, uses: Int32Array): number {
  let misses = 0;
  for (const page of uses) if (!policy.use(page)) misses++;
  return misses;
}

/** Misses of each order, of LRU's, by its name; and a line with all hit rates. */
function compared({ name, uses }: Workload, frames: number): Map<string, number> {
  const lru = missesOf(new LruModel(frames), uses);
  const misses = new Map([["LRU", lru]]);
  for (const [order, model] of Object.entries(MODELS)) {
    misses.set(order, missesOf(model(frames), uses));
  }
  misses.set("the best there can be", optimalMisses(uses, frames));
  const rates = [...misses].map(
    ([order, count]) => `${order} ${(100 * (1 - count / uses.length)).toFixed(1)}`,
  );
  console.error(`  % hits, ${name}, ${frames} frames: ${rates.join(", ")}`);
  return new Map([...misses].map(([order, count]) => [order, count / lru]));
}

function models(bench: Bench, workloads: readonly Workload[]): void {
  for (const kind of new Set(workloads.map((each) => each.kind))) {
    const own = workloads.filter((each) => each.kind === kind);
    const results = own.flatMap((each) => each.frames.map((frames) => compared(each, frames)));
    for (const order of results[0]?.keys() ?? []) {
      if (order === "LRU") continue;
      const ratios = results.map((each) => each.get(order) as number);
      bench.value(`${kind}, ${order}`, ratios, { unit: "of LRU's misses" });
    }
  }
}

/** Misses of a device that holds `frames` buffers, after all were written in order; and of the model. */
function onDevice({ uses, pages }: Workload, frames: number, bytes: number): [number, number] {
  const swap = ramSwap({ size: pages * bytes });
  const device = createDeviceSync({ memory: frames * bytes, swap });
  // A page of zeros would be new content when it comes back, for which more is made room at a time.
  const source = new Uint8Array(bytes).fill(1);
  const buffers = range(0, pages).map(() => {
    const buffer = device.createBuffer(bytes);
    buffer.writeSync(0, source);
    return buffer;
  });
  const model = new OursModel(frames);
  for (let page = 0; page < pages; page++) model.use(page);
  const target = new Uint8Array(8);
  let misses = 0;
  for (const page of uses) {
    const buffer = buffers[page];
    if (!buffer) throw new Error(`there is no page ${page}`);
    if (buffer.residentPages === 0) misses++;
    buffer.readSync(0, target);
  }
  device.closeSync({ force: true });
  return [misses, missesOf(model, uses)];
}

function devices(bench: Bench, workloads: readonly Workload[]): void {
  for (const [text, bytes] of [
    ["64 KiB", 16 * PAGE],
    ["a page", PAGE],
  ] as const) {
    const ratios = workloads.flatMap((each) => {
      // Reclaim takes 16 pages at least.
      const sizes = each.frames.filter((frames) => frames >= 125);
      return sizes.map((frames) => {
        const [misses, expected] = onDevice(each, frames, bytes);
        console.error(`  ${each.name}, ${frames} buffers of ${text}: ${misses} of ${expected}`);
        return misses / expected;
      });
    });
    bench.value(`a device, buffers of ${text}`, ratios, { unit: "of its model's misses" });
  }
}

await main("policies", (bench) => {
  const workloads = [...synthetic(), ...traces()];
  models(bench, workloads);
  devices(bench, workloads);
  const worst = (kind: string) =>
    bench.rows.filter((row) => row.case === `${kind}, ours`).map((row) => row.max);
  const text = "misses, of LRU's, at most";
  for (const kind of ["zipf", "zipf with scans", "loops", "a hot set between scans"]) {
    bench.keep(`${text}: ${kind}`, worst(kind), { atMost: 1 });
  }
  const programs = bench.rows.filter((row) => row.case === "programs, ours");
  if (programs.length > 0) {
    bench.keep(
      `${text}: programs`,
      programs.map((row) => row.max),
      { atMost: 1.1 },
    );
    bench.keep(`${text}: programs, median`, [median(programs.map((row) => row.median))], {
      atMost: 1,
    });
  }
  const device = bench.rows.filter((row) => row.case.startsWith("a device, buffers of 64 KiB"));
  bench.keep(
    "a device, of its model",
    device.flatMap(({ min, max }) => [max, 1 / min]),
    {
      atMost: 1.02,
    },
  );
});
