/*
 * What one runtime does, in a process of its own: load, read back in sequence, read in zipf order,
 * measure. All of it but the trim is synchronous: nothing else runs here, and a synchronous call costs least.
 */
import process from "node:process";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { TtmError } from "../errors.ts";
import { createDeviceSync, type Device } from "../index.ts";
import { formatSize } from "../size.ts";
import { compressedSwap } from "../swap/compressed.ts";
import { fileSwap } from "../swap/file.ts";
import { ramSwap } from "../swap/ram.ts";
import type { SwapDevice } from "../swap/types.ts";
import type { Caching } from "../ttm/caching.ts";
import { FAULT_SITES } from "../ttm/fault.ts";
import type { SwapChoice } from "./args.ts";
import { CommandError, firstLine, reasonOf } from "./errors.ts";
import type { SourceFile } from "./files.ts";
import { Garbage } from "./garbage.ts";
import { measureFile, measureRam } from "./measure.ts";
import { ChangedError, type LoadTarget, loadFile, Objects } from "./objects.ts";
import { type ReadCounts, Reader, salvage } from "./reader.ts";
import type { JobReport, Measurements, TrimReport } from "./report.ts";
import { Retry } from "./retry.ts";
import type { Rss } from "./rss.ts";
import { zipf } from "./zipf.ts";

/** All that a child process needs to know. */
export interface JobInput {
  readonly files: readonly SourceFile[];
  readonly size: number;
  readonly objectSize: number;
  readonly memory: number;
  readonly accesses: number;
  readonly seed: number;
  readonly interrupt: number;
  readonly swap: SwapChoice;
  readonly swapSize: number;
  readonly caching: Caching;
  /** Bytes that pools may hold; `undefined`: the library's default. */
  readonly poolSize: number | undefined;
  /** Share of calls that fail on purpose, 0..1. */
  readonly fault: number;
  /** Whether to give memory back to the host in between. */
  readonly trim: boolean;
  /** The swap file at its path is ours, from the runtime before. */
  readonly overwrite: boolean;
}

export type Phase = "load" | "sequential" | "zipf" | "trim" | "measure";

/** Where a job says how it is going. */
export interface JobEvents {
  progress(phase: Phase, done: number, total: number): void;
  warning(text: string): void;
}

/** Draws of the interruptions are not those of the accesses. */
const INTERRUPT_SALT = 0x5bd1e995;

/**
 * Runs the job. `idle` was resident before any of it.
 *
 * @throws CommandError for all that the user can mend
 */
export async function runJob(
  input: JobInput,
  rss: Rss,
  idle: number,
  said: JobEvents,
): Promise<JobReport> {
  const device = openDevice(input);
  const retry = new Retry(input.fault > 0);
  const garbage = new Garbage();
  const events: JobEvents = {
    progress(phase, done, total) {
      // A round of measuring leaves as much garbage as a thousand reads.
      if (phase === "measure") garbage.collect();
      else garbage.tick();
      rss.sample();
      said.progress(phase, done, total);
    },
    warning: said.warning,
  };
  try {
    const objects = new Objects();
    const ram = input.swap.kind === "ram";
    const reader = new Reader(objects, input.interrupt, input.seed ^ INTERRUPT_SALT, ram, retry);
    const report = { ...identity(), memoryBytes: device.stats().pages.total * PAGE_SIZE };
    let times: Float64Array;
    try {
      injectFaults(device, input.fault, input.seed);
      load({ device, caching: input.caching, retry }, input, objects, events);
      readInSequence(reader, objects.count, events);
      times = readInZipfOrder(reader, objects.count, input, events);
    } catch (error) {
      throw explained(error, input, objects);
    }
    injectFaults(device, 0, 0);
    const { pagesOut, pagesIn, pagesClean, faults } = device.stats();
    const counts: ReadCounts = { ...reader.counts };
    const { count, bytes } = objects;
    const trim = input.trim
      ? await trimAndRead(device, reader, objects.count, rss, events)
      : undefined;
    garbage.collect();
    const measured = measure(device, objects, input, events);
    device.check();
    const peak = rss.peak();
    return {
      ...report,
      objects: count,
      bytes,
      accesses: input.accesses,
      ...counts,
      pagesOut,
      pagesIn,
      pagesClean,
      faults,
      p50us: quantile(times, 0.5),
      p99us: quantile(times, 0.99),
      rssIdleBytes: idle,
      rssPeakBytes: peak.bytes,
      rssSource: peak.source,
      ...(trim && { trim }),
      measured,
    };
  } finally {
    device.closeSync({ force: true });
  }
}

function openDevice(input: JobInput): Device {
  const { swap, swapSize, memory, overwrite, poolSize } = input;
  let device: SwapDevice;
  if (swap.kind === "ram") device = ramSwap({ size: swapSize });
  else if (swap.kind === "compressed") device = compressedSwap({ size: swapSize });
  else if (swap.path === undefined) device = fileSwap({ size: swapSize });
  else device = fileSwap({ size: swapSize, path: swap.path, overwrite });
  try {
    const limits = poolSize === undefined ? {} : { pagePoolSize: Math.floor(poolSize / PAGE_SIZE) };
    return createDeviceSync({ memory, swap: device, limits });
  } catch (error) {
    const option = error instanceof TtmError ? "--swap" : "--memory and --swap-size";
    throw new CommandError(`${option}: ${firstLine((error as Error).message)}`);
  }
}

/** Which runtime this is and not which was asked for: that is the point of the report. */
function identity(): { runtime: string; version: string } {
  const { bun, deno, node } = process.versions;
  if (bun) return { runtime: "bun", version: bun };
  if (deno) return { runtime: "deno", version: deno };
  return { runtime: "node", version: node };
}

/** Lets a share of all calls that can fail do so; the job does them again. */
function injectFaults(device: Device, share: number, seed: number): void {
  for (const site of FAULT_SITES) {
    device.injectFault(site, { probability: share * 100, times: -1, seed });
  }
}

function load(target: LoadTarget, input: JobInput, objects: Objects, events: JobEvents): void {
  const { objectSize, size } = input;
  let files = input.files;
  while (objects.bytes < size) {
    const before = objects.bytes;
    const kept: SourceFile[] = [];
    for (const file of files) {
      if (objects.bytes >= size) break;
      try {
        loadFile(target, file, objectSize, size, objects, () => {
          events.progress("load", Math.min(objects.bytes, size), size);
        });
        kept.push(file);
      } catch (error) {
        if (!(error instanceof ChangedError)) throw error;
        events.warning(`${error.message}; it is left out`);
      }
    }
    files = kept;
    if (objects.bytes === before) {
      throw new CommandError("every file changed or went away; name files that stay as they are");
    }
  }
}

function readInSequence(reader: Reader, count: number, events: JobEvents): void {
  for (let index = 0; index < count; index++) {
    reader.read(index);
    events.progress("sequential", index + 1, count);
  }
}

/** So long a host may take to let go of memory that it was told of (milliseconds). */
const LET_GO_MS = 500;

/** Everything leaves, and its memory goes back to the host; and everything is read again. */
async function trimAndRead(
  device: Device,
  reader: Reader,
  count: number,
  rss: Rss,
  events: JobEvents,
): Promise<TrimReport> {
  const rssBeforeBytes = rss.now();
  try {
    await device.shrink();
  } catch (error) {
    if (!(error instanceof TtmError) || error.code !== "ENOSPC") throw error;
  }
  const { means = null, by = null, bytes, declined } = await device.trim();
  await new Promise((resolve) => setTimeout(resolve, LET_GO_MS));
  const rssAfterBytes = rss.now();
  for (let index = 0; index < count; index++) {
    reader.read(index);
    events.progress("trim", index + 1, count);
  }
  const rssRestoredBytes = rss.now();
  return { means, by, bytes, declined, rssBeforeBytes, rssAfterBytes, rssRestoredBytes };
}

/** Returns the milliseconds of each access. */
function readInZipfOrder(
  reader: Reader,
  count: number,
  { accesses, seed }: JobInput,
  events: JobEvents,
): Float64Array {
  const times = new Float64Array(accesses);
  const next = zipf(count, seed);
  for (let i = 0; i < accesses; i++) {
    times[i] = reader.read(next());
    events.progress("zipf", i + 1, accesses);
  }
  return times;
}

function measure(
  device: Device,
  objects: Objects,
  { swap }: JobInput,
  events: JobEvents,
): Measurements {
  const progress = (done: number, total: number) => events.progress("measure", done, total);
  if (swap.kind === "ram") {
    const { populate, ramShrink, ramRestore } = measureRam(device, objects, progress);
    return populate && ramShrink && ramRestore
      ? { populate, shrink: ramShrink, restore: ramRestore, ramShrink, ramRestore }
      : {};
  }
  // There is no bare call that does the same.
  if (swap.kind === "compressed") return {};
  try {
    return measureFile(device, objects, swap.path, progress);
  } catch (error) {
    // The roof's file takes room of its own.
    const where = swap.path === undefined ? "the temp folder" : `the folder of ${swap.path}`;
    throw new CommandError(`measuring failed: ${reasonOf(error)}; make room in ${where}`);
  }
}

/** Nearest-rank quantile in microseconds. Sorts `times`. */
function quantile(times: Float64Array, q: number): number | null {
  if (times.length === 0) return null;
  times.sort();
  const index = Math.max(0, Math.ceil(q * times.length) - 1);
  return Number(((times[index] as number) * 1000).toFixed(1));
}

/** Says what to do about an error of the device; and what of the content is left: all, we trust. */
function explained(error: unknown, input: JobInput, objects: Objects): unknown {
  if (!(error instanceof TtmError)) return error;
  const { intact, bytes, failed } = salvage(objects);
  const left =
    failed === 0
      ? `all ${intact} objects written so far (${formatSize(bytes)}) were read back and are intact`
      : `of ${intact + failed} objects written so far only ${intact} could be read back intact`;
  // Behind the first clause the library advises programmers; who types options gets a hint of ours instead.
  const [what] = firstLine(error.message).split("; ");
  return new CommandError(`${what}; ${hint(error, input)}; ${left}`);
}

function hint(error: TtmError, { swap, swapSize, memory }: JobInput): string {
  // With a cause it is the disk that is full; without one the pool has used all of its slots.
  if (error.code === "ENOSPC" && error.cause === undefined) {
    return `raise --swap-size (now ${formatSize(swapSize)})`;
  }
  if (error.code === "ENOMEM") return `raise --memory (now ${formatSize(memory)})`;
  const where = swap.path ?? "the temp folder";
  const mend = error.code === "ENOSPC" ? "make room in" : "check";
  return `${mend} ${where}, or name another place with --swap file:PATH`;
}
