import { PAGE_SIZE } from "../../assembly/abi.ts";
import { show, TtmError } from "../errors.ts";
import { after } from "../host.ts";
import type { HostSignal, View } from "../host_types.ts";
import { assertWhole, takeOptions } from "../options.ts";
import type {
  AsyncSwapDevice,
  ShortWrite,
  SlotRange,
  SwapRun,
  SyncSwapDevice,
} from "../swap/types.ts";
import { PoolWatch } from "./watch.ts";

/** A call that a scripted device got. */
export interface ScriptedCall {
  /** What was called. */
  readonly kind: "read" | "write" | "discard";
  /** Whether it was the Sync form. */
  readonly sync: boolean;
  /** Position among all calls, from 1. */
  readonly index: number;
  /** Its runs, or the ranges of a discard. */
  readonly runs: readonly SlotRange[];
  /** Pages in all. */
  readonly pages: number;
  /** Of a discard: the last slot that still holds something. */
  readonly end: number | undefined;
  /** What the pool gave along. */
  readonly signal: HostSignal | undefined;
}

/** What a scripted device is to make of a call; nothing said: do it at once. */
export interface ScriptedAnswer {
  /** Milliseconds that it takes, or what it waits for: a promise that never settles is a device that never answers. */
  readonly wait?: number | Promise<unknown>;
  /** Of a write: stores so many pages only, and says so; also 0. */
  readonly take?: number;
  /** What it fails with; with `take`, why a short write stopped. */
  readonly error?: unknown;
  /** Gives the wait up when the signal is aborted, and rejects with its reason. */
  readonly heeds?: boolean;
}

/** Options of `scriptedSwap`. */
export interface ScriptedSwapOptions {
  /** Capacity in pages. */
  readonly slots: number;
  /** For messages. Default: `"scripted"`. */
  readonly name?: string;
  /** Which pairs of calls it has. Default: `"both"`. */
  readonly pairs?: "sync" | "async" | "both";
  /** Calls that may be in flight. Default: 4. */
  readonly queueDepth?: number;
  /** Pages that it has room for in truth; `capacity` may be changed later. Default: all. */
  readonly capacity?: number;
  /** Slots to which writes fail with EIO, as they do from `bad`. Default: none. */
  readonly bad?: Iterable<number>;
  /** Whether it has `discard`. Default: true. */
  readonly discards?: boolean;
  /** Says what to make of a call, when it comes. */
  readonly script?: (call: ScriptedCall) => ScriptedAnswer | undefined | void;
}

/**
 * A store in memory that does as it was told, and watches over the pool. Of the calls those are there that `pairs`
 * says. What fails does so as badly as it may: garbage in the slots of a write, garbage in the views of a read.
 */
export interface ScriptedSwap extends SyncSwapDevice, AsyncSwapDevice {
  /** Pages by slot: what was written and not discarded. */
  readonly pages: Map<number, Uint8Array>;
  /** All calls so far. */
  readonly calls: ScriptedCall[];
  /** The first rule of the contract that the pool broke; such a call also throws. */
  readonly broken: string | undefined;
  /** Most calls that were in flight at once. */
  readonly mostInFlight: number;
  /** How often it was opened. */
  readonly opened: number;
  /** How often it was closed. */
  readonly closed: number;
  /** Pages that it has room for. */
  capacity: number;
  /** Slots to which writes fail with EIO. */
  readonly bad: Set<number>;
  /** As the option. */
  script: ScriptedSwapOptions["script"] | undefined;
}

const OPTIONS: readonly (keyof ScriptedSwapOptions)[] = [
  ...(["slots", "name", "pairs", "queueDepth"] as const),
  ...(["capacity", "bad", "discards", "script"] as const),
];
const PAIRS: readonly unknown[] = ["sync", "async", "both"];

/**
 * A swap device for tests of what uses swap devices: its latency, the order in which calls end, refusals, short
 * writes, and answers that come late or never are scripted, call by call.
 *
 * @throws TypeError, RangeError when an option is not what it should be
 */
export function scriptedSwap(options: ScriptedSwapOptions): ScriptedSwap {
  const given = takeOptions(options, OPTIONS, "scriptedSwap");
  const { slots, pairs = "both", queueDepth = 4, discards = true } = given;
  assertWhole(slots, "slots", 1, 2 ** 31 - 1);
  assertWhole(queueDepth, "queueDepth", 1, 1024);
  if (!PAIRS.includes(pairs)) {
    throw new TypeError(`pairs must be "sync", "async" or "both", not ${show(pairs)}`);
  }
  const device = new Scripted({ ...given, slots }, queueDepth) as Partial<
    Record<keyof ScriptedSwap, unknown>
  >;
  // What a device has is looked for by name.
  const none = [
    ...(pairs === "async" ? (["readSync", "writeSync"] as const) : []),
    ...(pairs === "sync" ? (["read", "write", "queueDepth"] as const) : []),
    ...(discards ? [] : (["discard"] as const)),
  ];
  for (const name of none) Object.defineProperty(device, name, { value: undefined });
  return device as ScriptedSwap;
}

/** A call, while the device is at it. */
interface Task {
  readonly call: ScriptedCall;
  readonly answer: ScriptedAnswer;
  readonly slots: readonly number[];
  readonly runs: readonly SwapRun[];
  readonly end: () => void;
}

class Scripted implements ScriptedSwap {
  readonly name: string;
  readonly slots: number;
  readonly queueDepth: number;
  readonly pages: Map<number, Uint8Array> = new Map();
  readonly calls: ScriptedCall[] = [];
  readonly bad: Set<number>;
  capacity: number;
  script: ScriptedSwapOptions["script"] | undefined;
  opened = 0;
  closed = 0;
  readonly #watch: PoolWatch;
  /** Slots whose write failed: what they hold is not to be read. */
  readonly #spoilt = new Set<number>();

  constructor(options: ScriptedSwapOptions, queueDepth: number) {
    this.name = options.name ?? "scripted";
    this.slots = options.slots;
    this.queueDepth = queueDepth;
    this.capacity = options.capacity ?? options.slots;
    this.bad = new Set(options.bad);
    this.script = options.script;
    this.#watch = new PoolWatch(options.slots, queueDepth);
  }

  get broken(): string | undefined {
    return this.#watch.broken;
  }

  get mostInFlight(): number {
    return this.#watch.most;
  }

  open(): void {
    this.#watch.opened();
    this.opened++;
  }

  close(): void {
    this.#watch.closed();
    this.closed++;
    this.pages.clear();
  }

  readSync(runs: readonly SwapRun[]): void {
    this.#now(this.#begin("read", true, runs), (task) => this.#fill(task));
  }

  writeSync(runs: readonly SwapRun[]): void | ShortWrite {
    return this.#now(this.#begin("write", true, runs), (task) => this.#store(task));
  }

  async read(runs: readonly SwapRun[], signal?: HostSignal): Promise<void> {
    return this.#later(this.#begin("read", false, runs, signal), (task) => this.#fill(task));
  }

  async write(runs: readonly SwapRun[], signal?: HostSignal): Promise<void | ShortWrite> {
    return this.#later(this.#begin("write", false, runs, signal), (task) => this.#store(task));
  }

  discard(ranges: readonly SlotRange[], end: number): void | Promise<void> {
    const slots = this.#watch.discarded(ranges, end, this.pages.keys());
    const call = this.#record("discard", true, ranges, undefined, end);
    const task = this.#task(call, slots, []);
    const forget = () => {
      if (task.answer.error !== undefined) throw task.answer.error;
      for (const slot of slots) this.pages.delete(slot);
    };
    return task.answer.wait === undefined ? this.#now(task, forget) : this.#later(task, forget);
  }

  #record(
    kind: ScriptedCall["kind"],
    sync: boolean,
    runs: readonly SlotRange[],
    signal: HostSignal | undefined,
    end?: number,
  ): ScriptedCall {
    const pages = runs.reduce((sum, run) => sum + run.pages, 0);
    const call = { kind, sync, index: this.calls.length + 1, runs, pages, end, signal };
    this.calls.push(call);
    return call;
  }

  #begin(
    kind: "read" | "write",
    sync: boolean,
    runs: readonly SwapRun[],
    signal?: HostSignal,
  ): Task {
    const written = (slot: number) => this.pages.has(slot) && !this.#spoilt.has(slot);
    const holds = kind === "read" ? written : undefined;
    const slots = this.#watch.slotsOf(runs, holds);
    const ranges = runs.map(({ slot, views }) => ({
      slot,
      pages: views.reduce((sum, view) => sum + view.length, 0) / PAGE_SIZE,
    }));
    return this.#task(this.#record(kind, sync, ranges, signal), slots, runs);
  }

  #task(call: ScriptedCall, slots: readonly number[], runs: readonly SwapRun[]): Task {
    const end = this.#watch.begin(slots, call.kind, call.sync);
    try {
      return { call, slots, runs, end, answer: this.script?.(call) ?? {} };
    } catch (error) {
      return { call, slots, runs, end, answer: { error } };
    }
  }

  #now<T>(task: Task, work: (task: Task) => T): T {
    try {
      if (task.answer.wait !== undefined) {
        throw new TtmError("EWOULDBLOCK", "shrink", "a Sync call that was told to wait");
      }
      return work(task);
    } finally {
      task.end();
    }
  }

  async #later<T>(task: Task, work: (task: Task) => T): Promise<T> {
    try {
      await waited(task);
      return work(task);
    } finally {
      task.end();
    }
  }

  #fill({ runs, slots, answer }: Task): void {
    const failed = answer.error !== undefined;
    for (const [i, page] of pagesOf(runs).entries()) {
      if (failed) page.fill(0xbd);
      else page.set(this.pages.get(slots[i] as number) as Uint8Array);
    }
    if (failed) throw answer.error;
  }

  #store({ runs, slots, answer }: Task): void | ShortWrite {
    const pages = pagesOf(runs);
    const { take, error } = answer;
    const most = take ?? (error === undefined ? pages.length : 0);
    for (const [i, page] of pages.entries()) {
      const slot = slots[i] as number;
      const refused = i < most ? this.#refuses(slot) : (error ?? full());
      if (refused === undefined) {
        this.pages.set(slot, page.slice());
        this.#spoilt.delete(slot);
        continue;
      }
      for (const left of slots.slice(i)) {
        this.pages.get(left)?.fill(0xbd);
        this.#spoilt.add(left);
      }
      if (i > 0 || take !== undefined) return { pages: i, error: refused };
      throw refused;
    }
  }

  #refuses(slot: number): unknown {
    if (this.bad.has(slot)) return Object.assign(new Error("a bad block"), { code: "EIO" });
    return this.pages.has(slot) || this.pages.size < this.capacity ? undefined : full();
  }
}

function full(): unknown {
  return Object.assign(new Error("no space left"), { code: "ENOSPC" });
}

function pagesOf(runs: readonly SwapRun[]): View[] {
  const pages: View[] = [];
  for (const { views } of runs) {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        pages.push(view.subarray(at, at + PAGE_SIZE));
      }
    }
  }
  return pages;
}

/** Rejects with the reason of a signal that is heeded. */
async function waited({ call: { signal }, answer: { wait, heeds } }: Task): Promise<void> {
  if (heeds) signal?.throwIfAborted();
  if (wait === undefined) return;
  const over =
    typeof wait === "number" ? new Promise<void>((resolve) => void after(wait, resolve)) : wait;
  if (!heeds || !signal) {
    await over;
    return;
  }
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    await Promise.race([over, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
