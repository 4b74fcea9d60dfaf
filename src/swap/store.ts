/*
 * A swap device as the pool uses it, whatever it was handed over as: in linear memory, of the first edition of
 * the contract or of the second, with one pair of calls or with both.
 */
import { show } from "../errors.ts";
import { assertWhole } from "../options.ts";
import type {
  AsyncSwapDevice,
  BlockSwapDevice,
  ShortWrite,
  SlotRange,
  SwapDevice,
  SwapRun,
  SyncSwapDevice,
} from "./types.ts";

/** Where pages go, for the pool. */
export interface Store {
  /** For messages and statistics. */
  readonly name: string;
  /** Capacity in pages; 0 in linear memory: as many as there are page frames. */
  readonly slots: number;
  /** It lies in linear memory: the engine copies, no call is made, and it keeps its promises. */
  readonly ram: boolean;
  /** Whether what it holds takes memory of the host's. */
  readonly inMemory: boolean;
  /** Whether it has `readSync` and `writeSync`. */
  readonly sync: boolean;
  /** Whether it has `read` and `write`. */
  readonly async: boolean;
  /** Most runs of one call. */
  readonly runs: number;
  /** Most calls in flight: for one batch of an operation, and in all. */
  readonly width: number;
  readonly queueDepth: number;
  /** Whether writes may say how far they came. */
  readonly short: boolean;
  readonly readSync: (runs: readonly SwapRun[]) => unknown;
  readonly writeSync: (runs: readonly SwapRun[]) => unknown;
  readonly read: (runs: readonly SwapRun[], signal?: AbortSignal) => unknown;
  readonly write: (runs: readonly SwapRun[], signal?: AbortSignal) => unknown;
  readonly open: (() => void | Promise<void>) | undefined;
  readonly discard:
    | ((ranges: readonly SlotRange[], end: number) => void | Promise<void>)
    | undefined;
  /** Gives memory of its own back that it does not need. Returns bytes. */
  readonly trim: (() => unknown) | undefined;
  /** Memory that it has (bytes). */
  readonly memoryBytes: (() => number) | undefined;
  readonly close: (() => void | Promise<void>) | undefined;
}

const SLOTS_MAX = 2 ** 31 - 1;
const QUEUE_DEPTH_MAX = 1024;

/** What it does not have, nobody calls. */
const NONE = (): void => {};

const RAM = Object.freeze({
  name: "ram",
  ram: true,
  inMemory: true,
  sync: true,
  async: false,
  runs: Number.POSITIVE_INFINITY,
  width: 1,
  queueDepth: 1,
  short: false,
  readSync: NONE,
  writeSync: NONE,
  read: NONE,
  write: NONE,
  open: undefined,
  discard: undefined,
  trim: undefined,
  memoryBytes: undefined,
  close: undefined,
});

/** Users' devices by what they were adopted as. */
const sources = new WeakMap<Store, SwapDevice>();

/** The user's device itself. */
export function sourceOf(store: Store): SwapDevice | undefined {
  return sources.get(store);
}

type Given = Partial<SyncSwapDevice & AsyncSwapDevice & BlockSwapDevice> & { ram?: unknown };

/**
 * A user's swap device as it was when it was handed over: its name, its slots, and which methods it has stay as
 * they were read here, once. What a method is, is looked at whenever it is called.
 *
 * @throws TypeError, RangeError when it is none
 */
export function adopt(device: SwapDevice): Store {
  if (typeof device !== "object" || device === null) throw noSwap(device);
  const given = device as unknown as Given;
  if (given.ram === true) {
    const { slots } = device;
    // More than fits is told by its size.
    assertWhole(slots, "swap.slots", 0);
    return Object.freeze({ ...RAM, slots });
  }
  const { name, slots, queueDepth, async: waits, ...methods } = taken(given);
  const sync = isPair(methods.readSync, methods.writeSync);
  const async = isPair(methods.read, methods.write);
  if (!sync && !async) throw noSwap(device);
  if (typeof name !== "string" || name === "") {
    throw new TypeError(`swap.name must be a string that is not empty, not ${show(name)}`);
  }
  if (!Number.isInteger(slots) || (slots as number) < 1 || (slots as number) > SLOTS_MAX) {
    throw new RangeError(`swap.slots must be 1 to ${SLOTS_MAX} pages, not ${show(slots)}`);
  }
  if (waits !== undefined && typeof waits !== "boolean") {
    throw new TypeError(`swap.async must be true or false, not ${show(waits)}`);
  }
  for (const [method, value] of Object.entries(methods)) {
    if (value === undefined || typeof value === "function") continue;
    throw new TypeError(`swap.${method} must be a function, not ${show(value)}`);
  }
  if (queueDepth !== undefined) assertWhole(queueDepth, "swap.queueDepth", 1, QUEUE_DEPTH_MAX);
  const first = methods.readSync === undefined && queueDepth === undefined;
  const store: Store = Object.freeze({
    name,
    slots: slots as number,
    ram: false,
    inMemory: "memoryBytes" in given,
    ...(first
      ? firstEdition(given, waits === true)
      : secondEdition(given, sync, async, queueDepth)),
    open: methods.open && (() => given.open?.()),
    discard:
      (methods.discard && ((ranges, end) => given.discard?.(ranges, end))) ??
      (methods.truncate && ((_, end) => given.truncate?.(end))),
    trim: methods.trim && (() => given.trim?.()),
    memoryBytes: "memoryBytes" in given ? () => bytesOf(() => given.memoryBytes) : undefined,
    close: methods.close && (() => given.close?.()),
  } satisfies Store);
  sources.set(store, device);
  return store;
}

/** Each field, read once. */
function taken({
  name,
  slots,
  queueDepth,
  async,
  read,
  write,
  readSync,
  writeSync,
  open,
  discard,
  truncate,
  trim,
  close,
}: Given) {
  const methods = { read, write, readSync, writeSync, open, discard, truncate, trim, close };
  return { name, slots, queueDepth, async, ...methods };
}

function isPair(read: unknown, write: unknown): boolean {
  return typeof read === "function" && typeof write === "function";
}

type Common =
  | "name"
  | "slots"
  | "ram"
  | "inMemory"
  | "open"
  | "discard"
  | "trim"
  | "memoryBytes"
  | "close";
type Calls = Omit<Store, Common>;

/** What a device says that it has, for figures: what cannot be is none, and so is what it fails to say. */
function bytesOf(said: () => unknown): number {
  try {
    const bytes = said();
    return Number.isFinite(bytes) && (bytes as number) >= 0 ? (bytes as number) : 0;
  } catch {
    return 0;
  }
}

/** One run a call, one call of an operation at a time, and as many operations as there are. */
function firstEdition(given: Given, waits: boolean): Calls {
  const device = given as BlockSwapDevice;
  const read = ([run]: readonly SwapRun[]) =>
    device.read((run as SwapRun).slot, (run as SwapRun).views);
  const write = ([run]: readonly SwapRun[]) =>
    device.write((run as SwapRun).slot, (run as SwapRun).views);
  return {
    sync: !waits,
    async: waits,
    runs: 1,
    width: 1,
    queueDepth: Number.POSITIVE_INFINITY,
    short: false,
    readSync: read,
    writeSync: write,
    read,
    write,
  };
}

function secondEdition(given: Given, sync: boolean, async: boolean, queueDepth = 1): Calls {
  const device = given as SyncSwapDevice & AsyncSwapDevice;
  return {
    sync,
    async,
    runs: Number.POSITIVE_INFINITY,
    width: queueDepth,
    queueDepth,
    short: true,
    readSync: (runs) => device.readSync(runs),
    writeSync: (runs) => device.writeSync(runs),
    // One with Sync calls alone is waited for while it discards.
    read: (runs, signal) => (async ? device.read(runs, signal) : device.readSync(runs)),
    write: (runs, signal) => (async ? device.write(runs, signal) : device.writeSync(runs)),
  };
}

/**
 * What a write returned that came to its end: how far it came.
 *
 * @throws TypeError when it says what cannot be
 */
export function shortOf(value: unknown, asked: number): ShortWrite | undefined {
  if (value === undefined) return undefined;
  const { pages, error } = Object(value) as Partial<ShortWrite>;
  if (typeof pages === "number" && Number.isInteger(pages) && pages >= 0 && pages <= asked) {
    if (pages === asked) return undefined;
    return { pages, error: error ?? new Error("it stopped, and did not say why") };
  }
  throw new TypeError(`it returned ${show(value)} instead of nothing, or { pages, error }`);
}

function noSwap(given: unknown): TypeError {
  const text = "swap must be a swap device such as ramSwap() or fileSwap({ size })";
  return new TypeError(`${text}${hintOf(given)}`);
}

/** What somebody may have meant who gave this as a swap device. */
function hintOf(swap: unknown): string {
  if (typeof swap === "function") return `, not a function: call ${show(swap.name)}`;
  if (typeof swap !== "string") return "";
  const size = /^[\d.]+ ?[kmgt]?i?b?$/i.test(swap);
  const options = size ? `size: "${swap}"` : `path: ${JSON.stringify(swap)}, size: "4 GiB"`;
  return `, not a string: fileSwap({ ${options} }) of ttm-wasm/swap/file`;
}
