import { PAGE_SIZE } from "../../../assembly/abi.ts";
import { codecOf } from "../../codec/codec.ts";
import { failureOf, show } from "../../errors.ts";
import type { EngineModule } from "../../host_types.ts";
import { assertBoolean, assertOptions } from "../../options.ts";
import { formatSize, pagesOf, parseSize, type Size } from "../../size.ts";
import { coded } from "../coded.ts";
import type { ShortWrite, SwapRun, SyncSwapDevice } from "../types.ts";
import { bytesOf } from "../views.ts";
import { Blocks, type BlocksFigures } from "./blocks.ts";

/** `"lz4"`; or `"none"`: pages are kept as they are, which suits content that is compressed already. */
export type CompressedAlgorithm = "lz4" | "none";

/** Options of `compressedSwap`. */
export interface CompressedSwapOptions {
  /** Swap space in bytes, as the pool counts it: pages, not what they are compressed to. Rounded up to pages. */
  readonly size: Size;
  /**
   * Most bytes of memory that the pages may take, 1 MiB and up. Beyond it the space is full: for new pages with an
   * eighth of it left, in which those that it has can be exchanged for others. Default: `size`, a quarter of that, and
   * 1 MiB, in which as many pages find room that do not compress.
   */
  readonly limit?: Size;
  /** How pages are compressed. Default: `"lz4"`. */
  readonly algorithm?: CompressedAlgorithm;
  /**
   * Whether pages that do not shrink to three quarters are refused, as if the space were full, instead of being
   * kept as they are: for who passes them on to another device. Default: false.
   */
  readonly refuse?: boolean;
  /** The compiled codec, `ttm-wasm/codec.wasm`, for hosts that neither compile inlined bytes nor resolve the package's. */
  readonly module?: EngineModule;
}

/** What a compressed swap holds. */
export interface CompressedSwapStats {
  /** Pages that it holds. */
  readonly pages: number;
  /** Of these, those that repeat four bytes, and take nothing. */
  readonly samePages: number;
  /** Of these, those that are kept as they are. */
  readonly rawPages: number;
  /** Bytes that the pages are compressed to, those included that were written again and whose neighbours are still held. */
  readonly storedBytes: number;
  /** Bytes of memory that these lie in. */
  readonly storageBytes: number;
  /** How many times smaller pages are than they were, without those that take nothing. */
  readonly ratio: number;
}

/** Swap space in memory, compressed. */
export interface CompressedSwap extends SyncSwapDevice {
  /** What it holds at the moment. */
  stats(): CompressedSwapStats;
  /** Bytes of memory that what it holds takes. */
  readonly memoryBytes: number;
  /** Moves what it holds together, and gives back the memory that is free then. Returns how many bytes that were. */
  trim(): number;
}

const OPTIONS: readonly string[] = ["size", "limit", "algorithm", "refuse", "module"];
/** The least that `limit` can be (bytes). */
export const LIMIT_MIN: number = 2 ** 20;

/** `compressedSwap`, with the codec that its build brings along. */
export function makeSwap(options: CompressedSwapOptions, codec: () => unknown): CompressedSwap {
  if (options === undefined) {
    throw new TypeError('compressedSwap needs at least a size: compressedSwap({ size: "1 GiB" })');
  }
  assertOptions(options, OPTIONS, "compressedSwap");
  const { size, limit, algorithm = "lz4", refuse = false, module } = options;
  const slots = pagesOf(parseSize(size, "compressedSwap size"));
  const most =
    limit === undefined
      ? 1.25 * slots * PAGE_SIZE + LIMIT_MIN
      : parseSize(limit, "compressedSwap limit");
  if (most < LIMIT_MIN) {
    throw new RangeError(
      `compressedSwap limit must be ${formatSize(LIMIT_MIN)} or more, not ${show(limit)}`,
    );
  }
  if (algorithm !== "lz4" && algorithm !== "none") {
    throw new TypeError(`compressedSwap algorithm must be "lz4" or "none", not ${show(algorithm)}`);
  }
  assertBoolean(refuse, "compressedSwap refuse");
  const settings = {
    slots,
    limit: most,
    compress: algorithm === "lz4",
    raw: !refuse,
  };
  const open = () => new Blocks(codecOf(module ?? codec(), "compressedSwap module"), settings);
  const full = refuse
    ? "compressed swap is full, or a page does not shrink"
    : `compressed swap is full: its pages take ${formatSize(settings.limit)}; give compressedSwap a higher limit, ` +
      "or use another swap device, such as fileSwap";
  return deviceOf(slots, open, full);
}

const NOTHING: BlocksFigures = { pages: 0, same: 0, raw: 0, bytes: 0, storage: 0, ratio: 1 };

function deviceOf(slots: number, open: () => Blocks, full: string): CompressedSwap {
  let blocks: Blocks | undefined;
  const opened = (): Blocks => {
    if (!blocks) throw coded("ENODEV", "compressed swap is not open");
    return blocks;
  };
  return {
    name: "compressed",
    slots,
    open() {
      try {
        blocks = open();
      } catch (error) {
        throw error instanceof TypeError ? error : failureOf("open", error, "compressed swap");
      }
    },
    readSync(runs) {
      for (const run of runs) opened().read(run);
    },
    writeSync: (runs) => write(opened(), runs, full),
    discard: (ranges) => blocks?.discard(ranges),
    get memoryBytes() {
      return blocks?.figures.storage ?? 0;
    },
    trim: () => blocks?.trim() ?? 0,
    stats() {
      const { pages, same, raw, bytes, storage, ratio } = blocks?.figures ?? NOTHING;
      return {
        pages,
        samePages: same,
        rawPages: raw,
        storedBytes: bytes,
        storageBytes: storage,
        ratio,
      };
    },
    close() {
      blocks?.clear();
      blocks = undefined;
    },
  };
}

/** Stores what there is room for, from the first page on. */
function write(blocks: Blocks, runs: readonly SwapRun[], full: string): ShortWrite | undefined {
  let pages = 0;
  for (const run of runs) {
    let stored = 0;
    let why: Error | undefined;
    try {
      stored = blocks.write(run);
    } catch (error) {
      // The host has no memory for more of them: that is where it ends.
      why = coded("ENOSPC", "the host has no more memory for swap", noMemory(error));
    }
    pages += stored;
    if (why || stored < bytesOf(run.views) / PAGE_SIZE) {
      forget(blocks, runs, pages);
      return { pages, error: why ?? coded("ENOSPC", full) };
    }
  }
  return undefined;
}

/** What a host says that has no more memory; anything else is thrown on. */
function noMemory(error: unknown): RangeError {
  if (error instanceof RangeError) return error;
  throw error;
}

/** What the slots beyond the first `pages` had counts no more, and nobody will discard slots that were refused. */
function forget(blocks: Blocks, runs: readonly SwapRun[], pages: number): void {
  let stored = pages;
  const ranges = runs.map(({ slot, views }) => {
    const count = bytesOf(views) / PAGE_SIZE;
    const kept = Math.min(stored, count);
    stored -= kept;
    return { slot: slot + kept, pages: count - kept };
  });
  try {
    blocks.discard(ranges);
  } catch (error) {
    // They are gone; what is left is to be moved together when there is memory for that.
    noMemory(error);
  }
}
