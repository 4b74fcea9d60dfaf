import { show } from "../errors.ts";
import { takeOptions } from "../options.ts";
import { parseSize, type Size } from "../size.ts";

/**
 * How memory goes back to the host: in place, where WebAssembly's memories have a `discard`, or by Linux' `madvise`;
 * or by moving to another memory.
 */
export type TrimMeans = "discard" | "madvise" | "move";

/** Options of `trim`. */
export interface TrimOptions {
  /** Which means may be used: the first that the host has. Default: `["discard", "madvise", "move"]`. */
  readonly means?: readonly TrimMeans[];
  /**
   * What a move may take more for a moment, as all that is in memory is there twice then. Default: as much as it gives
   * back, which has to be 1 MiB or more.
   */
  readonly budget?: Size;
  /** Has the host collect garbage after a move, such as `globalThis.gc` or `Bun.gc`, instead of what is done for it. */
  readonly collect?: () => void;
}

/** What a trim came to. */
export interface Trimmed {
  /** Given back to the host: page frames, slots of RAM swap, and memory of the swap device. */
  readonly bytes: number;
  /** What of it the swap device says that it gave back. */
  readonly swapBytes: number;
  /** By which means frames went back; `undefined`: by none. */
  readonly means: TrimMeans | undefined;
  /** Whose call it was: `"bun:ffi"`, `"Deno.dlopen"` or `"koffi"` for `madvise`; else as `means`. */
  readonly by: string | undefined;
  /** Why those were not used that come before it. */
  readonly declined: readonly Declined[];
}

/** A means that was not used. */
export interface Declined {
  /** What was not used; `"swap"`: the swap device's own. */
  readonly means: TrimMeans | "swap";
  /** Why, in words. */
  readonly why: string;
}

/** What is asked of a trim. */
export interface TrimRequest {
  readonly means: readonly TrimMeans[];
  readonly budget: number | undefined;
  readonly collect: (() => void) | undefined;
}

const TRIM_OPTIONS = ["means", "budget", "collect"] as const;
const MEANS: readonly TrimMeans[] = ["discard", "madvise", "move"];

/** What is asked for when nothing is said. */
export const TRIM_DEFAULT: TrimRequest = { means: MEANS, budget: undefined, collect: undefined };

/** @throws TypeError, RangeError for options that there are not, or that cannot be meant */
export function trimRequest(options: TrimOptions | undefined): TrimRequest {
  const { means = MEANS, budget, collect } = takeOptions(options, TRIM_OPTIONS, "trim");
  if (!Array.isArray(means)) throw new TypeError(`means must be an array, not ${show(means)}`);
  for (const each of means) {
    if (MEANS.includes(each)) continue;
    throw new RangeError(`means must be some of ${MEANS.join(", ")}, not ${show(each)}`);
  }
  if (collect !== undefined && typeof collect !== "function") {
    throw new TypeError(`collect must be a function, not ${show(collect)}`);
  }
  return {
    means: MEANS.filter((each) => means.includes(each)),
    budget: budget === undefined ? undefined : budget === 0 ? 0 : parseSize(budget, "budget"),
    collect,
  };
}
