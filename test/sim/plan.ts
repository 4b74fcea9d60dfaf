/*
 * What a run is made of, all of it drawn from the seed before anything is done: so that operations can be left out,
 * and the others stay what they were.
 */
import type { DeviceOptions } from "../../src/index.ts";
import { Random } from "../../src/testing/random.ts";
import { FAULT_KINDS, FAULTS, type Fault, type FaultKind } from "./faults.ts";
import type { SwapSetup } from "./swap.ts";

/** What an operation does, and how often it is chosen where it is not switched off. */
const WEIGHTS = {
  create: 8,
  destroy: 3,
  write: 26,
  read: 30,
  map: 4,
  unmap: 5,
  useMapping: 4,
  pin: 2,
  unpin: 3,
  populate: 4,
  shrink: 5,
  shrinkDevice: 4,
  dontneed: 2,
  willneed: 2,
  ahead: 2,
  reading: 2,
  discard: 4,
  resize: 2,
  hibernate: 0.4,
  resume: 0.6,
  settle: 1,
  tune: 0.5,
  look: 1,
  sibling: 0.4,
};

export type Kind = keyof typeof WEIGHTS | "fault" | "inject";

const KINDS = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[];
/** Without these a run shows nothing. */
const ALWAYS: readonly Kind[] = ["create", "write", "read"];

/** One operation: numbers choose what it is done to. */
export interface Op {
  readonly kind: Kind;
  readonly subject: number;
  readonly a: number;
  readonly b: number;
  /** Whether it is of the Sync form, where there is one. */
  readonly sync: boolean;
  /** Turns and timers that go before it. */
  readonly gap: number;
  /** The look at its signal that finds it aborted; 0: none does. */
  readonly abortAt: number;
  /** Milliseconds after which it is aborted; below 0: it is not. */
  readonly abortAfter: number;
  readonly fault: Fault | undefined;
}

/** Everything that a seed decides. */
export interface Plan {
  readonly seed: number;
  readonly frames: number;
  /** Swap in linear memory, or a simulated device. */
  readonly swap: SwapSetup | "ram";
  readonly slots: number;
  readonly options: Omit<DeviceOptions, "memory" | "swap">;
  /** Of each further device on the memory, what its pool is like. */
  readonly siblings: readonly PoolOptions[];
  /** Whether somebody watches events, and uses buffers meanwhile. */
  readonly watches: boolean;
  /** Pages that buffers may have together. */
  readonly pagesMax: number;
  /** Pages of a buffer at most. */
  readonly bufferMax: number;
  readonly buffersMax: number;
  /** Pages that pins and mappings may hold. */
  readonly holdMax: number;
  /** Async operations at a time. */
  readonly users: number;
  /** What a look at the clock takes (milliseconds). */
  readonly tick: number;
  /** Operations between two looks at every invariant. */
  readonly checkEvery: number;
  /** How it ends. */
  readonly ending: "whole" | "close" | "force";
  readonly ops: readonly Op[];
}

type PoolOptions = NonNullable<DeviceOptions["pool"]>;

/** Kinds of pools; pages of the last one do not leave. */
const POOLS: readonly PoolOptions[] = [
  ...[{}, {}, { orders: [9, 4, 0] }, { orders: [0] }, { beneficialOrder: 2 }],
  ...[{ dma32: true }, { coherent: true }],
];

function swapSetup(random: Random, slots: number): SwapSetup | "ram" {
  if (random.percent(15)) return "ram";
  return {
    slots,
    pairs: random.pick(["sync", "async", "async", "both"] as const),
    queueDepth: random.pick([1, 2, 4, 32]),
    latency: random.pick([0.1, 1, 10, 100]),
    slow: random.pick([0, 10, 50, 100]),
    discards: random.percent(70),
    checksums: random.percent(70),
  };
}

function optionsOf(random: Random, swap: SwapSetup | "ram", frames: number): Plan["options"] {
  const high = Math.max(Math.floor(frames / random.pick([4, 8, 16])), 3);
  return {
    checksums: swap === "ram" ? random.percent(50) : swap.checksums,
    keepClean: random.percent(70),
    transferPages: random.pick([1, 3, 16, 256]),
    pool: random.pick(POOLS.slice(0, -2)),
    ...(random.percent(30) ? { watermarks: { min: random.below(2), low: high - 2, high } } : {}),
  };
}

/** The plan of a seed, with so many operations. */
export function planOf(seed: number, count: number): Plan {
  const random = new Random(seed);
  const frames = random.pick([16, 20, 32, 64, 128, 256]);
  const times = random.pick([0.5, 1, 2, 4, 8]);
  const slots = Math.max(Math.floor(frames * times) + random.below(3), 4);
  const swap = swapSetup(random, slots);
  const all = frames + slots;
  // All that can be held; as much as swap alone has, to the page; or less.
  const pagesMax = random.pick([
    all,
    slots,
    slots,
    all,
    Math.floor(all * 0.6),
    Math.floor(slots / 2),
  ]);
  return {
    seed,
    ...{ frames, slots, swap, pagesMax: Math.max(pagesMax, 2) },
    options: optionsOf(random, swap, frames),
    siblings: Array.from({ length: random.pick([0, 0, 0, 1, 2]) }, () => random.pick(POOLS)),
    watches: random.percent(30),
    bufferMax: random.pick([1, 4, frames >> 2, frames >> 1, frames, frames * 3]),
    buffersMax: random.pick([3, 10, 50, 200]),
    holdMax: random.pick([frames >> 3, frames >> 2, frames >> 1, frames * 2]),
    users: random.pick([1, 1, 3, 8, 30, 200]),
    tick: random.pick([0.0005, 0.01, 0.3, 3]),
    checkEvery: random.pick([4, 32, 64, 128]),
    ending: random.pick(["whole", "whole", "close", "force"] as const),
    ops: opsOf(random, count, swap),
  };
}

/** The plan with some of its operations. */
export function keeping(plan: Plan, indices: readonly number[]): Plan {
  const ops = indices.flatMap((i) => plan.ops[i] ?? []);
  return { ...plan, ops };
}

interface Mix {
  readonly kinds: readonly Kind[];
  readonly weights: readonly number[];
  readonly total: number;
}

/** A part of the kinds, each as often as chance will have it. */
function mixOf(random: Random): Mix {
  const kinds = KINDS.filter((kind) => ALWAYS.includes(kind) || random.percent(65));
  const weights = kinds.map((kind) => WEIGHTS[kind] * random.pick([0.3, 1, 1, 3]));
  return { kinds, weights, total: weights.reduce((sum, weight) => sum + weight, 0) };
}

function kindOf({ kinds, weights, total }: Mix, random: Random): Kind {
  let at = random.fraction() * total;
  for (const [i, weight] of weights.entries()) {
    at -= weight;
    if (at < 0) return kinds[i] as Kind;
  }
  return "read";
}

function faultsOf(random: Random, swap: SwapSetup | "ram"): FaultKind[] {
  if (swap === "ram" || random.percent(35)) return [];
  const some = FAULT_KINDS.filter(() => random.percent(40));
  return some.filter((kind) => {
    const { damages, waits } = FAULTS[kind];
    return !(damages && !swap.checksums) && !(waits && swap.pairs === "sync");
  });
}

function opsOf(random: Random, count: number, swap: SwapSetup | "ram"): Op[] {
  const mix = mixOf(random);
  const faults = faultsOf(random, swap);
  const faulty = faults.length > 0 ? random.pick([0.3, 1, 5]) : 0;
  const injects = random.percent(15) ? 1 : 0;
  const aborts = random.pick([0, 0, 5, 25]);
  const syncs = random.pick([0, 10, 50, 100]);
  const gaps = random.pick([0, 1, 3, 10]);
  const sticks = random.pick([0, 50, 80]);
  let subject = 0;
  return Array.from({ length: count }, (_, i) => {
    if (!random.percent(sticks)) subject = random.next();
    const fault = random.fraction() * 100 < faulty && i > 10;
    const inject = !fault && random.fraction() * 100 < injects && i > 10;
    const looks = random.percent(aborts) ? 1 + random.below(random.pick([3, 12, 60])) : 0;
    const inTime = random.percent(50);
    const kind = random.pick(faults.length > 0 ? faults : (["eio"] as const));
    return {
      kind: fault ? "fault" : inject ? "inject" : i < 3 ? "create" : kindOf(mix, random),
      ...{ subject, a: random.next(), b: random.next(), sync: random.percent(syncs) },
      gap: random.below(gaps + 1),
      abortAt: inTime ? 0 : looks,
      abortAfter: inTime && looks > 0 ? random.fraction() * looks : -1,
      fault: fault
        ? { kind, on: FAULTS[kind].on ?? random.pick([undefined, "read", "write"] as const) }
        : undefined,
    };
  });
}
