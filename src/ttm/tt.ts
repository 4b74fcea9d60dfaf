import { PAGE_SIZE } from "../../assembly/abi.ts";
import { show } from "../errors.ts";
import { Lock } from "../lock.ts";
import { assertBoolean, assertOptions, assertWhole } from "../options.ts";
import { type Caching, cachingCode } from "./caching.ts";
import type { DmaMapping } from "./dma.ts";

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

/** Where a restore stands (struct ttm_pool_tt_restore). */
export interface RestoreState {
  /** Where it goes on (an entry). Those before it are pages, unless only a part of the tt was wanted. */
  cursor: number;
  /** Entries from `cursor` on that are read into the chunk held there. */
  read: number;
  /** Bus address of the held chunk, if the tt wants one. */
  mapping: DmaMapping | undefined;
  /** Whether a page of that chunk could not be read: who does not need all of the chunk does without it. */
  failed: boolean;
}

/** The pool that pages are from, as far as a tt knows it. */
export interface PageSource {
  /** Whether its pages stay mapped for DMA. */
  readonly coherent: boolean;
  /** Whether they are from the DMA32 zone. */
  readonly dma32: boolean;
}

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

const TT_OPTIONS: readonly (keyof TtOptions)[] = ["caching", "dma", "id", "flags", "sg"];
const FLAGS_GIVEN =
  TT_FLAG_ZERO_ALLOC | TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE | TT_FLAG_DONTNEED;

/**
 * The page vector of one buffer object (struct ttm_tt). Its entries lie in the engine, in the vector
 * that starts at `vector`; there is one only while something is in it.
 *
 *   empty      no vector            reads as zeros
 *   populated  POPULATED            every entry is a page
 *   shrunken   SHRUNKEN | SWAPPED   entries are handles, or pages that did not leave
 */
export class Tt {
  readonly #numPages: number;
  readonly #caching: Caching;
  readonly #id: number;
  readonly #sg: readonly number[] | undefined;
  readonly #lock: Lock = new Lock();
  readonly #dma: Map<number, DmaMapping> | undefined;
  /**
   * TT_FLAG_DONTNEED may be set and cleared at any time. The others are not to be changed by hand: totals were
   * counted by those that can be given, and operations rely on what SWAPPED and PRIV_... say of the entries.
   */
  flags: number;
  /** @internal First entry in the engine, or -1: looked up for each use, since vectors are moved (vectors.ts). */
  vector = -1;
  /** @internal Its place among those that have a vector. */
  place = -1;
  /** Where its pages come from and go to, while it has a vector (struct ttm_pool_tt_restore, pool). */
  pool: PageSource | undefined = undefined;
  /** @internal Whether a shrinker can have its pages: those of buffers that are not pinned. */
  evictable = false;
  /** @internal Page of its buffer that its first one is, for messages. */
  start = 0;
  /** Frames it holds: its pages, and the chunk of an interrupted restore. */
  resident = 0;
  /** @internal Whether entries may have no content while others have: zeros have left, or only a part was filled. */
  gaps = false;
  /** Its content was thrown away since it was last populated. */
  purged = false;
  /** Where an interrupted restore goes on; only while shrunken. */
  restore: RestoreState | undefined = undefined;

  /** @throws TypeError, RangeError unless `numPages` is a whole number of pages above 0, and for options */
  constructor(numPages: number, options: TtOptions = {}) {
    assertWhole(numPages, "numPages", 1);
    assertOptions(options, TT_OPTIONS, "tt");
    const { caching = "cached", flags = 0, dma = false, sg, id = 0 } = options;
    cachingCode(caching);
    assertWhole(flags, "flags", 0);
    if ((flags & ~FLAGS_GIVEN) !== 0)
      throw new RangeError(`flags ${flags} are not all of those that can be given`);
    assertBoolean(dma, "dma");
    assertWhole(id, "id", 0);
    this.#numPages = numPages;
    this.#caching = caching;
    this.flags = flags;
    this.#id = id;
    this.#sg = sg && addresses(sg, numPages);
    this.#dma = dma ? new Map() : undefined;
  }

  /** Pages in all. */
  get numPages(): number {
    return this.#numPages;
  }

  /** How its pages are cached while it is populated. */
  get caching(): Caching {
    return this.#caching;
  }

  /** For messages and traces. */
  get id(): number {
    return this.#id;
  }

  /** Bus addresses of pages that lie elsewhere; `undefined`: they are ours. */
  get sg(): readonly number[] | undefined {
    return this.#sg;
  }

  /** @internal Its reservation: whoever moves its pages holds it. */
  get lock(): Lock {
    return this.#lock;
  }

  /** Mapping of each chunk that has one, by its first entry; `undefined`: it wants none. */
  get dma(): Map<number, DmaMapping> | undefined {
    return this.#dma;
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

function addresses(sg: readonly number[], numPages: number): readonly number[] {
  if (!Array.isArray(sg) || sg.length !== numPages) {
    throw new TypeError(`sg must be an array of ${numPages} bus addresses, not ${show(sg)}`);
  }
  return Object.freeze(
    Array.from({ length: numPages }, (_, i) => {
      const address: unknown = sg[i];
      assertWhole(address, "each address of sg", 0);
      return address;
    }),
  );
}
