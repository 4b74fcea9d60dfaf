import { assertOptions, assertWhole, takeOptions } from "../options.ts";

/** Limits in pages. Default: half of the frames in pools, and no other limit than the frames. */
export interface Limits {
  /** Pages that pools may hold (module parameter page_pool_size). */
  pagePoolSize: number;
  /** Pages that tts may hold in all before a populate shrinks others (pages_limit). */
  pages: number;
  /** The same for tts of DMA32 pools (dma32_pages_limit). */
  dma32Pages: number;
}

const LIMITS = ["pagePoolSize", "pages", "dma32Pages"] as const;

/** Limits that may be set at any time, to a whole number of pages or to `Infinity`: no limit. */
export class LimitSettings implements Limits {
  #pagePoolSize: number;
  #pages: number = Number.POSITIVE_INFINITY;
  #dma32Pages: number = Number.POSITIVE_INFINITY;

  /** @throws TypeError, RangeError for a limit that cannot be meant */
  constructor(limits: Partial<Limits> | undefined, frames: number) {
    this.#pagePoolSize = Math.floor(frames / 2);
    Object.assign(this, takeOptions(limits, LIMITS, "limits"));
    Object.freeze(this);
  }

  get pagePoolSize(): number {
    return this.#pagePoolSize;
  }

  set pagePoolSize(pages: number) {
    this.#pagePoolSize = limit(pages, "pagePoolSize");
  }

  get pages(): number {
    return this.#pages;
  }

  set pages(pages: number) {
    this.#pages = limit(pages, "pages");
  }

  get dma32Pages(): number {
    return this.#dma32Pages;
  }

  set dma32Pages(pages: number) {
    this.#dma32Pages = limit(pages, "dma32Pages");
  }
}

function limit(pages: number, name: string): number {
  if (pages !== Number.POSITIVE_INFINITY) assertWhole(pages, `limits.${name}`, 0);
  return pages;
}

/** Free pages: below `min` allocations reclaim first, below `low` the background loop runs, to `high`. */
export interface Watermarks {
  /** Below it allocations reclaim first (free pages). */
  readonly min: number;
  /** Below it the background loop runs (free pages). */
  readonly low: number;
  /** Up to it the background loop reclaims (free pages). */
  readonly high: number;
}

/** @throws TypeError, RangeError unless they are whole numbers, each at least the one before, that fit */
export function watermarksOf(watermarks: Watermarks | undefined, frames: number): Watermarks {
  assertOptions(watermarks, ["min", "low", "high"], "watermarks");
  const { min, low, high } = watermarks ?? { min: 0, low: 0, high: 0 };
  assertWhole(high, "watermarks.high", 0, frames);
  assertWhole(low, "watermarks.low", 0, high);
  assertWhole(min, "watermarks.min", 0, low);
  return Object.freeze({ min, low, high });
}
