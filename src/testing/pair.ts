import { PAGE_SIZE } from "../../assembly/abi.ts";
import { codeOf, messageOf, show } from "../errors.ts";
import { after } from "../host.ts";
import type { HostSignal } from "../host_types.ts";
import type { AsyncSwapDevice, ShortWrite, SwapRun, SyncSwapDevice } from "../swap/types.ts";
import { expectRule, SwapContractError, type SwapRule } from "./rules.ts";

/** A device that the suite looks at: all but RAM swap and those of the first edition. */
export type TestedDevice = SyncSwapDevice | AsyncSwapDevice;

/** A write that ended without all of its pages stored. */
export interface Refusal {
  readonly pages: number;
  readonly error: unknown;
}

/** A pair of calls of a device, both as promises, that looks at what they return. */
export interface Pair {
  /** `"readSync"` or `"read"`: for messages. */
  readonly reads: string;
  /** `"writeSync"` or `"write"`. */
  readonly writes: string;
  /** Calls that may be in flight at once. */
  readonly depth: number;
  /** Rejects with what the device throws. */
  read(runs: readonly SwapRun[], signal?: HostSignal): Promise<void>;
  /** What kept it from storing all, thrown or told. */
  write(runs: readonly SwapRun[], signal?: HostSignal): Promise<Refusal | undefined>;
}

/** The pairs that a device has, the sync one first. `patience`: milliseconds in which a call must settle. */
export function pairsOf(device: TestedDevice, patience: number): Pair[] {
  const pairs: Pair[] = [];
  const { readSync, queueDepth } = device as Partial<SyncSwapDevice & AsyncSwapDevice>;
  if (readSync) pairs.push(syncPair(device as SyncSwapDevice));
  if (queueDepth !== undefined) pairs.push(asyncPair(device as AsyncSwapDevice, patience));
  return pairs;
}

function syncPair(device: SyncSwapDevice): Pair {
  return {
    reads: "readSync",
    writes: "writeSync",
    depth: 1,
    async read(runs) {
      const given: unknown = device.readSync(runs);
      expectRule(!isPromise(given), "pairs", () => "readSync returned a promise");
    },
    async write(runs) {
      try {
        return refusal(device.writeSync(runs), "writeSync", runs);
      } catch (error) {
        return thrown(error);
      }
    },
  };
}

function asyncPair(device: AsyncSwapDevice, patience: number): Pair {
  return {
    reads: "read",
    writes: "write",
    depth: device.queueDepth,
    async read(runs, signal) {
      const pending: unknown = device.read(runs, signal);
      expectRule(isPromise(pending), "pairs", () => "read did not return a promise");
      await settled(pending, "read", patience);
    },
    async write(runs, signal) {
      try {
        const pending: unknown = device.write(runs, signal);
        expectRule(isPromise(pending), "pairs", () => "write did not return a promise");
        return refusal(await settled(pending, "write", patience), "write", runs);
      } catch (error) {
        return thrown(error);
      }
    },
  };
}

function isPromise(value: unknown): boolean {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}

function thrown(error: unknown): Refusal {
  if (error instanceof SwapContractError) throw error;
  return { pages: 0, error };
}

/** What a write returned, looked at. */
function refusal(given: unknown, call: string, runs: readonly SwapRun[]): Refusal | undefined {
  if (given === undefined) return undefined;
  expectRule(!isPromise(given), "pairs", () => `${call} returned a promise`);
  const short = given as Partial<ShortWrite> | null;
  const valid = typeof short === "object" && short !== null && "error" in short;
  expectRule(valid, "short", () => `${call} returned ${show(given)}`);
  const asked = runs.reduce((sum, { views }) => sum + views.reduce((n, v) => n + v.length, 0), 0);
  const { pages } = short;
  const fewer =
    Number.isInteger(pages) && (pages as number) >= 0 && (pages as number) * PAGE_SIZE < asked;
  expectRule(fewer, "short", () => `${call} says ${show(pages)} pages of ${asked / PAGE_SIZE}`);
  return short as ShortWrite;
}

/** @throws SwapContractError when a promise takes too long */
export async function settled<T>(pending: T, what: string, patience: number): Promise<Awaited<T>> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = after(patience, () => {
      reject(new SwapContractError("settles", `${what} took more than ${patience} ms`));
    });
  });
  try {
    return await Promise.race([pending, late]);
  } finally {
    cancel();
  }
}

/** @throws SwapContractError naming `rule` unless all was stored */
export function expectStored(refused: Refusal | undefined, rule: SwapRule, what: string): void {
  if (refused === undefined) return;
  const { pages, error } = refused;
  const code = codeOf(error);
  const text = `${what} stored ${pages} pages only: ${code}: ${messageOf(error)}`;
  throw new SwapContractError(rule, text, error);
}
