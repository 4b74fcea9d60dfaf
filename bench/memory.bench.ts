/*
 * Memory: how many bytes of metadata does a page frame, a page of an object and a swap slot take? What
 * does an object take on the JavaScript side? And does the process stay within the budget it was given?
 *
 * `ratio` is what the README promises, divided by what is found.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import * as abi from "../assembly/abi.ts";
import { createDeviceSync } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { rawEngine } from "./engine_exports.ts";
import { type Bench, collected, KIB, MIB, main, PAGE, QUICK, randomFrom } from "./harness.ts";

/** Linear memory beside the pages themselves, in bytes. */
function metadata(frames: number, slots: number, entries: number): number {
  const { header } = rawEngine(frames, slots, entries, false);
  return (header[abi.H_FIRST_PFN] as number) * PAGE;
}

/** What one more of a thing takes: two engines that differ in nothing else. */
function engineBytes(bench: Bench): void {
  const [frames, slots, entries] = [2 ** 16, 2 ** 20, 2 ** 20];
  const base = metadata(frames, slots, entries);
  const cases: [string, number, number][] = [
    ["a page frame", (metadata(2 * frames, slots, entries) - base) / frames, 16],
    [
      "a page of an object, checksum included",
      (metadata(frames, slots, 2 * entries) - base) / entries,
      12,
    ],
    ["a swap slot", (metadata(frames, 2 * slots, entries) - base) / slots, 1],
  ];
  for (const [text, bytes, most] of cases) {
    const against = `at most ${most}`;
    bench.value(`metadata of ${text}`, [bytes], { unit: "bytes", ratio: most / bytes, against });
  }
  const fixed = metadata(16, 16, 16);
  bench.value("metadata of the smallest engine", [fixed / KIB], { unit: "KiB" });
}

/** Resident set of this process in bytes. */
function rss(): number {
  return process.memoryUsage.rss();
}

/** Bytes of living JavaScript objects. */
async function heap(): Promise<number> {
  await collected();
  if (!("Bun" in globalThis)) return process.memoryUsage().heapUsed;
  const name = "bun:jsc";
  const { heapStats } = (await import(name)) as {
    heapStats(): { heapSize: number; extraMemorySize: number };
  };
  // Without what buffers hold outside the heap.
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize - extraMemorySize;
}

/** Heap of an object: a fresh one, and one with pages. */
async function heapBytes(bench: Bench): Promise<void> {
  const count = QUICK ? 20_000 : 100_000;
  const device = createDeviceSync({ memory: count * PAGE, swap: fileSwap({ size: MIB }) });
  const before = await heap();
  const buffers = Array.from({ length: count }, () => device.createBuffer(PAGE));
  const fresh = await heap();
  const byte = new Uint8Array(1);
  for (const buffer of buffers) buffer.writeSync(0, byte);
  const written = await heap();
  bench.value("JavaScript heap of a new object", [(fresh - before) / count], { unit: "bytes" });
  bench.value("JavaScript heap of a written object", [(written - before) / count], {
    unit: "bytes",
  });
  device.closeSync({ force: true });
}

/** Peak of the resident set so far, where the system tells (bytes). */
function peak(): number | undefined {
  try {
    const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
    return line ? Number(line[1]) * KIB : undefined;
  } catch {
    return undefined;
  }
}

/** Four times the memory's worth of objects is written, read and written at random. */
async function budget(bench: Bench): Promise<void> {
  const memory = QUICK ? 32 * MIB : 256 * MIB;
  await collected();
  const before = rss();
  const device = createDeviceSync({ memory, swap: fileSwap({ size: 5 * memory }) });
  const bytes = 64 * KIB;
  const buffers = Array.from({ length: (4 * memory) / bytes }, () => device.createBuffer(bytes));
  const data = new Uint8Array(bytes).fill(0x5a);
  for (const buffer of buffers) buffer.writeSync(0, data);
  const random = randomFrom(1);
  for (let i = 0; i < (QUICK ? 2000 : 20_000); i++) {
    const buffer = buffers[random(buffers.length)];
    if (random(4) === 0) buffer?.writeSync(0, data);
    else buffer?.readSync(0, data);
  }
  const after = peak() ?? rss();
  const given = device.stats().memoryBytes;
  const text = `after churn of ${(4 * memory) / MIB} MiB in ${memory / MIB} MiB`;
  bench.value(`linear memory over the page frames, ${text}`, [(given - memory) / MIB], {
    unit: "MiB",
  });
  bench.value(`resident set that came with the device, ${text}`, [(after - before) / MIB], {
    unit: "MiB",
    ratio: memory / (after - before),
    against: "its memory",
  });
  device.closeSync({ force: true });
}

await main("memory", async (bench) => {
  await budget(bench); // first: the peak is the process's
  engineBytes(bench);
  await heapBytes(bench);
  for (const [text, cases] of [
    ["metadata of a page frame, 16 bytes", /^metadata of a page frame/],
    ["metadata of an object's page, 12 bytes", /^metadata of a page of/],
    ["metadata of a swap slot, 1 byte", /^metadata of a swap slot/],
  ] as const) {
    bench.promise(text, "ratio", cases, { atLeast: 1 });
  }
});
