import { CACHED, UNCACHED, WRITE_COMBINED } from "../../assembly/abi.ts";
import { show } from "../errors.ts";

/** How the CPU caches a page (enum ttm_caching). Simulated: an attribute of each page. */
export type Caching = "cached" | "wc" | "uc";

const CODES: Readonly<Record<Caching, number>> = {
  cached: CACHED,
  wc: WRITE_COMBINED,
  uc: UNCACHED,
};

/** @throws TypeError when it is none of the three */
export function cachingCode(caching: Caching): number {
  if (typeof caching !== "string" || !Object.hasOwn(CODES, caching)) {
    throw new TypeError(`caching must be "cached", "wc" or "uc", not ${show(caching)}`);
  }
  return CODES[caching];
}

/** A list of free chunks for each order, of one caching; of one pool if it is its own. */
export interface PoolType {
  /** As debugfs calls it. */
  readonly name: string;
  /** How its pages are cached. */
  readonly caching: Caching;
  /** The pool that it belongs to, if it is not shared: told which of its chunks has gone to the allocator. */
  readonly pool?: { unpooled(address: number): void };
}

/** Pool types that all pools of one memory share: write-combined and uncached, each also in DMA32. */
export const SHARED_TYPES: readonly PoolType[] = Object.freeze([
  Object.freeze({ name: "wc", caching: "wc" }),
  Object.freeze({ name: "uc", caching: "uc" }),
  Object.freeze({ name: "wc 32", caching: "wc" }),
  Object.freeze({ name: "uc 32", caching: "uc" }),
]);

/** Types of a pool for coherent DMA, which keeps its mappings and therefore its own pages. */
export const COHERENT_TYPES: readonly PoolType[] = [
  { name: "DMA", caching: "cached" },
  { name: "DMA wc", caching: "wc" },
  { name: "DMA uc", caching: "uc" },
];
