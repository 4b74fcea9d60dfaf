import { PAGE_SIZE } from "../../assembly/abi.ts";
import { Lock } from "../lock.ts";
import type { Caching } from "./caching.ts";
import type { DmaMapping } from "./dma.ts";
import type { RestoreState } from "./restore.ts";

// Bits of `Tt.flags`, numbered as in the RFC (ttm_tt.h).

/** Some of its content is in swap. */
export const TT_FLAG_SWAPPED: number = 1 << 0;
/** Pages are zero when they are first seen. They always are here. */
export const TT_FLAG_ZERO_ALLOC: number = 1 << 1;
/** Its pages belong to somebody else: not counted against the page limits, never shrunk. */
export const TT_FLAG_EXTERNAL: number = 1 << 2;
/** External, and yet its pages are ours to shrink. */
export const TT_FLAG_EXTERNAL_MAPPABLE: number = 1 << 3;
/** Its content may be thrown away under pressure. */
export const TT_FLAG_DONTNEED: number = 1 << 4;
/** Shrunken page by page: its vector holds swap handles. */
export const TT_FLAG_PRIV_SHRUNKEN: number = 1 << 30;
/** Every entry is a page. */
export const TT_FLAG_PRIV_POPULATED: number = 1 << 31;

/** Options of a `Tt`. */
export interface TtOptions {
  /** Default: cached. */
  readonly caching?: Caching;
  /** TT_FLAG_ZERO_ALLOC, _EXTERNAL, _EXTERNAL_MAPPABLE, _DONTNEED. */
  readonly flags?: number;
  /** Gives every page a bus address while it is populated (a tt with a dma_address array). */
  readonly dma?: boolean;
  /** Bus addresses of pages that lie elsewhere (an sg tt): it has no pages of ours. */
  readonly sg?: readonly number[];
  /** For messages. */
  readonly id?: number;
}

/**
 * The page vector of one buffer object (struct ttm_tt). Its entries lie in the engine, in the vector
 * that starts at `vector`; there is one only while something is in it.
 *
 *   empty      no vector            reads as zeros
 *   populated  POPULATED            every entry is a page
 *   shrunken   SHRUNKEN | SWAPPED   entries are handles, or pages that did not leave
 */
export class Tt {
  /** Pages in all. */
  readonly numPages: number;
  /** How its pages are cached while it is populated. */
  readonly caching: Caching;
  /** For messages and traces. */
  readonly id: number;
  /** Bus addresses of pages that lie elsewhere; `undefined`: they are ours. */
  readonly sg: readonly number[] | undefined;
  /** @internal Its reservation: whoever moves its pages holds it. */
  readonly lock: Lock = new Lock();
  /** TT_FLAG_... bits. */
  flags: number;
  /** @internal First entry in the engine, or -1. */
  vector = -1;
  /** Frames it holds: its pages, and the chunk of an interrupted restore. */
  resident = 0;
  /** Its content was thrown away since it was last populated. */
  purged = false;
  /** Where an interrupted restore goes on; only while shrunken. */
  restore: RestoreState | undefined = undefined;
  /** Mapping of each chunk that has one, by its first entry; `undefined`: it wants none. */
  readonly dma: Map<number, DmaMapping> | undefined;

  /** @throws RangeError unless `numPages` is a whole number of pages above 0 */
  constructor(numPages: number, options: TtOptions = {}) {
    if (!Number.isInteger(numPages) || numPages < 1) {
      throw new RangeError(`numPages must be a whole number above 0, not ${String(numPages)}`);
    }
    const { caching = "cached", flags = 0, dma = false, sg, id = 0 } = options;
    this.numPages = numPages;
    this.caching = caching;
    this.flags = flags;
    this.id = id;
    this.sg = sg;
    this.dma = dma ? new Map() : undefined;
  }

  /** Every entry is a page. */
  get populated(): boolean {
    return (this.flags & TT_FLAG_PRIV_POPULATED) !== 0;
  }

  /** Shrunken page by page, all or in part. */
  get shrunken(): boolean {
    return (this.flags & TT_FLAG_PRIV_SHRUNKEN) !== 0;
  }

  /** Some of its content is not in memory, by whichever way (ttm_tt_is_swapped, _is_backed_up). */
  get swapped(): boolean {
    return (this.flags & (TT_FLAG_SWAPPED | TT_FLAG_PRIV_SHRUNKEN)) !== 0;
  }

  /** Its content may be thrown away (TT_FLAG_DONTNEED). */
  get purgeable(): boolean {
    return (this.flags & TT_FLAG_DONTNEED) !== 0;
  }

  /** Whether its pages count against the page limits. */
  get counted(): boolean {
    return (this.flags & TT_FLAG_EXTERNAL) === 0;
  }

  /** Bus address of page `index`, if it has one. */
  dmaAddress(index: number): number | undefined {
    if (this.sg) return this.sg[index];
    for (const [first, { address, pages }] of this.dma ?? []) {
      if (index >= first && index < first + pages) return address + (index - first) * PAGE_SIZE;
    }
    return undefined;
  }
}
