/*
 * Throughput as a ratio to a roof: the bare calls, moving the same bytes between other places of the
 * same kind. Ours and the roof take turns in every round, so that what else the machine does hits
 * both, and the first rounds only touch memory and files and let the compilers come to rest.
 *
 * A round takes some milliseconds, as long as a busy system lets a process run; so it is timed in
 * laps of a fraction of that, an object or a few. The time of the whole is the sum of each lap's
 * median over the rounds: a lap is hardly ever the one in which the process had to wait.
 */
import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import { TtmError } from "../errors.ts";
import { pagesOf } from "../size.ts";
import { BATCH_PAGES } from "../ttm/transfer.ts";
import type { Lap } from "./bare.ts";
import type { Objects } from "./objects.ts";
import type { Measured, Measurements } from "./report.ts";
import { CopyRoof, FileRoof, type Roof } from "./roof.ts";

export const ROUNDS = 31;
/** A file's pages in the cache of the system, and ours in the swap file, find their places. */
const WARMUP_FILE = 10;
/** The first work of its process: the compilers still replace code by better code. */
const WARMUP_RAM = 40;

/** Shares of the memory that the measured objects fill; a roof in the same memory takes as much. */
export const SHARE_RAM: number = 5 / 8;
const SHARE_FILE = 7 / 16;

type Progress = (done: number, total: number) => void;

/**
 * Indices of objects spread over the whole list, so that their sizes are typical, with `budget`
 * pages together at most.
 */
export function spread(sizes: readonly number[], budget: number): number[] {
  const total = sizes.reduce((sum, size) => sum + pagesOf(size), 0);
  const stride = Math.max(1, total / budget);
  const indices: number[] = [];
  let left = budget;
  // From the middle of each stride; the list is in order of size, and neither end is typical.
  for (let at = (stride - 1) / 2; at < sizes.length; at += stride) {
    const index = Math.floor(at);
    const pages = pagesOf(sizes[index] as number);
    if (pages > left) continue;
    left -= pages;
    indices.push(index);
  }
  return indices;
}

/** Shrink to a file and restore from it, against writeSync and readSync. */
export function measureFile(
  device: Device,
  objects: Objects,
  path: string | undefined,
  progress: Progress,
): Measurements {
  const set = takeSet(device, objects, SHARE_FILE);
  if (set.length === 0) return {};
  const roof = FileRoof.open(device, set, path);
  if (!roof) return {};
  try {
    const measure = (checksums: boolean, before: number) => {
      // Nothing of the set is in swap, and nothing else is looked at any more.
      for (const buffer of set) buffer.mapSync().unmap();
      device.global.checksums = checksums;
      const rounds = new Rounds(set, WARMUP_FILE);
      rounds.run(
        (done, total) => progress(before + done, 2 * total),
        (ours) => pair(device, set, roof, ours, rounds),
      );
      return [rounds.result("shrink"), rounds.result("restore")] as const;
    };
    const [shrinkSums, restoreSums] = measure(true, 0);
    const [shrink, restore] = measure(false, WARMUP_FILE + ROUNDS);
    return { shrink, restore, shrinkSums, restoreSums };
  } finally {
    roof.close();
  }
}

/** Populate, shrink to RAM swap and restore from it, against memory.copy. */
export function measureRam(device: Device, objects: Objects, progress: Progress): Measurements {
  const set = takeSet(device, objects, SHARE_RAM);
  if (set.length === 0) return {};
  const roof = new CopyRoof(set);
  const rounds = new Rounds(set, WARMUP_RAM);
  rounds.run(progress, (ours) => {
    pair(device, set, roof, ours, rounds, () => populate(device, set, roof, rounds));
  });
  return {
    populate: rounds.result("populate"),
    ramShrink: rounds.result("shrink"),
    ramRestore: rounds.result("restore"),
  };
}

/** Objects to measure; every other one is in swap then, or destroyed if that is too small. */
function takeSet(device: Device, objects: Objects, share: number): BufferObject[] {
  const { pages, slots } = device.stats();
  const sizes = objects.buffers.map((buffer) => buffer.size);
  const chosen = new Set(spread(sizes, Math.floor(Math.min(pages.total * share, slots.total))));
  const set = objects.buffers.filter((_, index) => chosen.has(index));
  const others = objects.buffers.filter((_, index) => !chosen.has(index));
  try {
    device.shrinkSync();
  } catch (error) {
    if (!(error instanceof TtmError) || error.code !== "ENOSPC") throw error;
  }
  if (device.stats().pages.free < pages.total) for (const buffer of others) buffer.destroy();
  return set;
}

/** Pages released at a time: a batch of the library, as large a portion as it ever moves at once. */
const PORTION_PAGES = BATCH_PAGES;

/** One round: the set leaves and comes back, by us and by the bare calls. */
function pair(
  device: Device,
  set: readonly BufferObject[],
  roof: Roof,
  oursFirst: boolean,
  rounds: Rounds,
  between: () => void = () => {},
): void {
  const restore = (lap: Lap) => {
    for (const buffer of set) {
      buffer.populateSync();
      lap();
    }
  };
  restore(() => {});
  // Pages that swap still has would leave without a transfer.
  for (const buffer of set) buffer.mapSync().unmap();
  const pages = set.reduce((sum, buffer) => sum + buffer.residentPages, 0);
  const shrink = (lap: Lap) => {
    for (let left = pages; left > 0; ) {
      left -= device.shrinkSync({ pages: Math.min(left, PORTION_PAGES) });
      lap();
    }
  };
  rounds.time("shrink", shrink, (lap) => roof.out(lap), oursFirst);
  between();
  rounds.time("restore", restore, (lap) => roof.in(lap), oursFirst);
}

/** New buffers as large as those of the set, which is in swap. */
function populate(device: Device, set: readonly BufferObject[], roof: Roof, rounds: Rounds): void {
  const fresh = set.map(({ size }) => device.createBuffer(size));
  const ours = (lap: Lap) => {
    for (const buffer of fresh) {
      buffer.populateSync();
      lap();
    }
  };
  rounds.time("populate", ours, (lap) => roof.out(lap), true);
  for (const buffer of fresh) buffer.destroy();
}

type Kind = "populate" | "shrink" | "restore";

/** Times of all rounds that count. */
class Rounds {
  readonly #bytes: number;
  readonly #warmup: number;
  readonly #ours = new Map<Kind, number[][]>();
  readonly #roof = new Map<Kind, number[][]>();
  #counts = false;

  constructor(set: readonly BufferObject[], warmup: number) {
    this.#warmup = warmup;
    this.#bytes = set.reduce((sum, buffer) => sum + buffer.size, 0);
  }

  run(progress: Progress, round: (oursFirst: boolean) => void): void {
    const total = this.#warmup + ROUNDS;
    for (let i = 0; i < total; i++) {
      this.#counts = i >= this.#warmup;
      round(i % 2 === 0);
      progress(i + 1, total);
    }
  }

  time(kind: Kind, ours: Work, roof: Work, oursFirst: boolean): void {
    if (!oursFirst) this.#keep(this.#roof, kind, laps(roof));
    this.#keep(this.#ours, kind, laps(ours));
    if (oursFirst) this.#keep(this.#roof, kind, laps(roof));
  }

  result(kind: Kind): Measured {
    const ours = this.#ours.get(kind) ?? [];
    const roof = this.#roof.get(kind) ?? [];
    const ratios = ours.map((times, round) => total(roof[round] ?? []) / total(times));
    return {
      bytesPerSecond: (this.#bytes / undisturbed(ours)) * 1000,
      ratio: undisturbed(roof) / undisturbed(ours),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
    };
  }

  #keep(rounds: Map<Kind, number[][]>, kind: Kind, times: number[]): void {
    if (!this.#counts) return;
    const list = rounds.get(kind) ?? [];
    list.push(times);
    rounds.set(kind, list);
  }
}

type Work = (lap: Lap) => void;

/** Milliseconds of each lap. */
function laps(work: Work): number[] {
  const times: number[] = [];
  let start = performance.now();
  work(() => {
    const now = performance.now();
    times.push(now - start);
    start = now;
  });
  return times;
}

function total(times: readonly number[]): number {
  return times.reduce((sum, time) => sum + time, 0);
}

/** The sum of each lap's median; a lap that a round does not have took it no time. */
function undisturbed(rounds: readonly number[][]): number {
  const count = Math.max(0, ...rounds.map((times) => times.length));
  let sum = 0;
  for (let lap = 0; lap < count; lap++) sum += median(rounds.map((times) => times[lap] ?? 0));
  return sum;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}
