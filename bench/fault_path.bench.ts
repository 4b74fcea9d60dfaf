/*
 * Fault path: how long does one `readSync` of 4 KiB take, when the page is in memory, and when its object
 * has to come back first? Percentiles over single calls, because a fault is what somebody waits for.
 *
 * The object comes back whole: 64 KiB or 2 MiB. Memory is either free, or full, so that another object
 * must leave before. Held against one bare read call of as many bytes into the same kind of memory, and
 * for the page in memory against a bare copy of 4 KiB.
 */
import { readSync } from "node:fs";
import { createDeviceSync, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { bareFile, pieces1MiB } from "./bare.ts";
import {
  type Bench,
  KIB,
  MIB,
  main,
  now,
  PAGE,
  QUICK,
  quantile,
  randomFrom,
  rounds,
  shuffle,
} from "./harness.ts";

const QUANTILES: [string, number][] = [
  ["p50", 0.5],
  ["p99", 0.99],
  ["p999", 0.999],
];

/** Microseconds of single calls, a list a round. */
class Latencies {
  readonly #rounds: Float64Array[] = [];

  /** Times `call` once for each of `count` indices. */
  round(count: number, keep: boolean, call: (i: number) => void): void {
    const times = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const start = now();
      call(i);
      times[i] = (now() - start) / 1e3;
    }
    if (keep) this.#rounds.push(times);
  }

  quantiles(q: number): number[] {
    return this.#rounds.map((times) => quantile(times as unknown as number[], q));
  }
}

function report(
  bench: Bench,
  text: string,
  ours: Latencies,
  bare: Latencies,
  against: string,
): void {
  for (const [name, q] of QUANTILES) {
    const mine = ours.quantiles(q);
    const other = bare.quantiles(q);
    const ratios = mine.map((value, i) => (other[i] as number) / value);
    bench.value(`${text}, ${name}`, mine, { unit: "µs", ratio: quantile(ratios, 0.5), against });
  }
}

async function resident(bench: Bench): Promise<void> {
  const device = createDeviceSync({ memory: 64 * MIB, swap: ramSwap() });
  const count = 1024 - 16;
  const buffers = Array.from({ length: count }, () => device.createBuffer(64 * KIB));
  const source = new Uint8Array(64 * KIB).fill(0x5a);
  for (const buffer of buffers) buffer.writeSync(0, source);
  const target = new Uint8Array(PAGE);
  const { buffer: bareBuffer } = new WebAssembly.Memory({ initial: 1024 });
  const bareBytes = new Uint8Array(bareBuffer).fill(0x5a);
  const ours = new Latencies();
  const bare = new Latencies();
  const random = randomFrom(1);
  for (let round = -2; round < rounds(9); round++) {
    const order = shuffle(
      Uint32Array.from({ length: 8 * count }, (_, i) => i),
      random,
    );
    const turns = [
      () =>
        ours.round(order.length, round >= 0, (i) => {
          const at = order[i] as number;
          buffers[at >> 3]?.readSync((at & 7) * 2 * PAGE, target);
        }),
      () =>
        bare.round(order.length, round >= 0, (i) => {
          const at = (order[i] as number) * 2 * PAGE;
          target.set(bareBytes.subarray(at, at + PAGE));
        }),
    ];
    for (const turn of round % 2 === 0 ? turns : turns.reverse()) turn();
  }
  report(bench, "page in memory", ours, bare, "a bare copy");
  device.closeSync({ force: true });
}

async function faults(
  bench: Bench,
  swap: "ram" | "file",
  bytes: number,
  full: boolean,
): Promise<void> {
  const total = QUICK ? 32 * MIB : 128 * MIB;
  const count = total / bytes;
  const memory = full ? total / 2 : total;
  const device = createDeviceSync({
    memory,
    swap: swap === "ram" ? ramSwap({ size: total }) : fileSwap({ size: 2 * total }),
    keepClean: false,
  });
  const source = new Uint8Array(bytes).fill(0x5a);
  const buffers = Array.from({ length: count }, () => {
    const buffer = device.createBuffer(bytes);
    buffer.writeSync(0, source);
    return buffer;
  });
  const file = bareFile();
  const { buffer: bareBuffer } = new WebAssembly.Memory({ initial: total / 65536 });
  new Uint8Array(bareBuffer).fill(0x5a);
  file.write(pieces1MiB(bareBuffer, 0, total));
  const views = Array.from(
    { length: count },
    (_, i) => new Uint8Array(bareBuffer, i * bytes, bytes),
  );
  const target = new Uint8Array(PAGE);
  const ours = new Latencies();
  const bare = new Latencies();
  const random = randomFrom(1);
  // With memory full, half of the objects are out; the least recently used, which are those of `order`.
  const faulting = full ? count / 2 : count;
  for (let round = -2; round < rounds(bytes > MIB ? 21 : 9); round++) {
    if (full) for (let i = 0; i < faulting; i++) buffers[i + faulting]?.readSync(0, target);
    else device.shrinkSync();
    const order = shuffle(
      Uint32Array.from({ length: faulting }, (_, i) => i),
      random,
    );
    const keep = round >= 0;
    const turns = [
      () => ours.round(faulting, keep, (i) => buffers[order[i] as number]?.readSync(0, target)),
      () =>
        bare.round(faulting, keep, (i) => {
          const at = order[i] as number;
          readSync(file.fd, views[at] as Uint8Array, 0, bytes, at * bytes);
        }),
    ];
    for (const turn of round % 2 === 0 ? turns : turns.reverse()) turn();
  }
  const size = bytes >= MIB ? `${bytes / MIB} MiB` : `${bytes / KIB} KiB`;
  const text = `object of ${size} in ${swap}, memory ${full ? "full" : "free"}`;
  report(bench, text, ours, bare, `a bare read of ${size}`);
  file.close();
  device.closeSync({ force: true });
}

await main("fault_path", async (bench) => {
  await resident(bench);
  for (const swap of ["ram", "file"] as const) {
    for (const bytes of [64 * KIB, 2 * MIB]) {
      for (const full of [false, true]) await faults(bench, swap, bytes, full);
    }
  }
});
