/*
 * Copy: is the engine's page copy as fast as memory.copy, Uint8Array.set, and C's memcpy?
 *
 * All of them move the same pages of one memory, side by side or in random order (both ends shuffled);
 * C does so in memory of its own, in a process that is asked in turns. Every page was touched before:
 * what the first touch of one costs is a row of its own.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import process from "node:process";
import * as abi from "../assembly/abi.ts";
import { bareCopy } from "./bare.ts";
import { type RawEngine, rawEngine } from "./engine_exports.ts";
import {
  type Bench,
  GIB,
  MIB,
  main,
  now,
  PAGE,
  type Phase,
  QUICK,
  randomFrom,
  rounds,
  Samples,
  shuffle,
  sizeName,
} from "./harness.ts";

const CPU = process.argv.includes("--cpu");

/** The C program of copy.c, or nothing where there is no compiler. */
class Compiled {
  readonly #child: ChildProcess;
  #answered: ((line: string) => void) | undefined;

  private constructor(path: string) {
    this.#child = spawn(path, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.on("data", (data) => this.#answered?.(String(data)));
  }

  static make(): Compiled | undefined {
    const path = "build/bench/copy";
    const clock = CPU ? "CLOCK_PROCESS_CPUTIME_ID" : "CLOCK_MONOTONIC";
    const args = ["-O2", `-DCLOCK_OPTION=${clock}`, "-o", path, "bench/copy.c"];
    const { status } = spawnSync(process.env.CC ?? "cc", args, { stdio: "inherit" });
    return status === 0 ? new Compiled(path) : undefined;
  }

  /** Nanoseconds of one pass over so many pages. */
  copy(pages: number, how: "seq" | "rand" | "whole"): Promise<number> {
    return new Promise((resolve) => {
      this.#answered = (line) => resolve(Number(line));
      this.#child.stdin?.write(`${pages} ${how}\n`);
    });
  }

  end(): void {
    this.#child.kill();
  }
}

/** Pages to copy from and to: page numbers of an engine's frames. */
interface Pairs {
  readonly from: Uint32Array;
  readonly to: Uint32Array;
}

function pairs(first: number, pages: number, random: boolean): Pairs {
  const from = Uint32Array.from({ length: pages }, (_, i) => first + i);
  const to = Uint32Array.from({ length: pages }, (_, i) => first + pages + i);
  if (random) {
    shuffle(from, randomFrom(1));
    shuffle(to, randomFrom(2));
  }
  return { from, to };
}

/**
 * The engine's batched copy, as a shrink to RAM swap makes it: the exchange area is filled by hand, and the
 * entries that it is about; and swap is said to begin where the frames to copy to lie, so that it moves the very
 * pairs the others do.
 */
function engineBatches({ wasm, buffer, header }: RawEngine, { from, to }: Pairs): () => void {
  const words = abi.EXTENT_BYTES / 4;
  const first = header[abi.H_FIRST_PFN] as number;
  header[abi.H_RAM] = first * PAGE;
  const entries = new Uint32Array(buffer, header[abi.H_ENTRY], from.length);
  const shadows = new Uint32Array(buffer, header[abi.H_SHADOW], from.length);
  const lists: Uint32Array[] = [];
  for (let at = 0; at < from.length; at += 512) {
    const count = Math.min(512, from.length - at);
    const list = new Uint32Array(count * words);
    for (let i = 0; i < count; i++) {
      const address = (from[at + i] as number) * PAGE;
      const slot = (to[at + i] as number) - first + 1;
      list.set([address, slot, 1, i, at + i], i * words);
      entries[at + i] = address;
      shadows[at + i] = slot << abi.SLOT_SHIFT;
    }
    lists.push(list);
  }
  const area = new Uint32Array(buffer, abi.EXTENTS, words * abi.EXTENTS_MAX);
  return () => {
    for (const list of lists) {
      area.set(list);
      header[abi.H_EXTENTS] = list.length / words;
      const pages = list.length / words;
      if (wasm.ramTransfer(1) !== pages) throw new Error("a batch was not copied");
    }
  };
}

function contenders(engine: RawEngine, { from, to }: Pairs): Phase[] {
  const { wasm, buffer } = engine;
  const bytes = new Uint8Array(buffer);
  const pieces = Array.from(from, (pfn, i) => ({
    from: pfn * PAGE,
    to: (to[i] as number) * PAGE,
    bytes: PAGE,
  }));
  const count = from.length;
  const once = count < 1024 ? 16 : 1; // small sizes several times, for the clock's sake
  const repeat = (work: () => void) => () => {
    for (let i = 0; i < once; i++) work();
  };
  const phases: Phase[] = [
    { name: "memory.copy", run: bareCopy(wasm.memory, pieces) },
    { name: "engine, batched", run: engineBatches(engine, { from, to }) },
    {
      name: "engine, a call a page",
      run: () => {
        for (let i = 0; i < count; i++) wasm.pageCopy(to[i] as number, from[i] as number);
      },
    },
    {
      name: "Uint8Array.set",
      run: () => {
        for (let i = 0; i < count; i++) {
          const at = (from[i] as number) * PAGE;
          bytes.set(bytes.subarray(at, at + PAGE), (to[i] as number) * PAGE);
        }
      },
    },
    {
      name: "copyWithin",
      run: () => {
        for (let i = 0; i < count; i++) {
          const at = (from[i] as number) * PAGE;
          bytes.copyWithin((to[i] as number) * PAGE, at, at + PAGE);
        }
      },
    },
  ];
  return phases.map(({ name, run }) => ({ name, run: repeat(run as () => void) }));
}

async function measure(bench: Bench, size: number, compiled: Compiled | undefined): Promise<void> {
  const pages = size / PAGE;
  const engine = rawEngine(2 * pages, 1, pages, false);
  const { wasm, header, buffer } = engine;
  // All frames as raw single pages, which pageCopy asks for.
  for (let i = 0; i < 2 * pages; i++) wasm.allocPages(0);
  const first = header[abi.H_FIRST_PFN] as number;
  const start = now();
  const touched = new Uint8Array(buffer, first * PAGE, 2 * size);
  for (let at = 0; at < touched.length; at += PAGE) touched[at] = 0x5a;
  const touch = (now() - start) / (2 * pages);
  bench.value(`first touch of a page, ${sizeName(size)}`, [touch], { unit: "ns/page" });
  touched.fill(0x5a);
  const once = pages < 1024 ? 16 : 1;
  for (const how of ["seq", "rand"] as const) {
    const phases = contenders(engine, pairs(first, pages, how === "rand"));
    if (compiled) {
      const run = async () => {
        let sum = 0;
        for (let i = 0; i < once; i++) sum += await compiled.copy(pages, how);
        return sum;
      };
      phases.push({ name: "C memcpy", run });
    }
    const samples = new Samples();
    await samples.interleave(
      rounds(size >= GIB ? 5 : 15),
      phases.map((phase) => [phase]),
    );
    for (const { name } of phases) {
      const against = name === "memory.copy" ? {} : { against: "memory.copy" };
      const text = `${name}, ${how === "seq" ? "sequential" : "random"}, ${sizeName(size)}`;
      bench.row(text, samples, name, { unit: "ns/page", per: pages * once, ...against });
    }
  }
}

await main("copy", async (bench) => {
  const compiled = Compiled.make();
  for (const size of QUICK ? [MIB, 64 * MIB] : [MIB, 64 * MIB, GIB]) {
    await measure(bench, size, compiled);
  }
  compiled?.end();
});
