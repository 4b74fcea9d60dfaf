import type { FaultSite, TtmGlobal } from "../../../src/ttm.ts";
import { ttmErrorOf } from "./subject.ts";

/** The code that an injected fault of a site ends an operation with. */
export const FAULT_CODES: Readonly<Record<FaultSite, string>> = {
  alloc: "ENOMEM",
  map: "EFAULT",
  caching: "ENOMEM",
  slot: "ENOSPC",
  write: "EIO",
  read: "EIO",
};

/** What one attempt with a fault came to. */
export interface Attempt {
  /** Whether the fault was injected at all. */
  readonly fired: boolean;
  /** Code of the error, if there was one. */
  readonly code: string | undefined;
}

/**
 * Runs `work` while call `k` of a site, from 0, is the first to fail, `times` in a row; then turns faults
 * off.
 */
export function withFault(
  global: TtmGlobal,
  { site, k, times = 1 }: { site: FaultSite; k: number; times?: number },
  work: () => void,
): Attempt {
  const { faults } = global.stats;
  global.faults.set(site, { probability: 100, times, space: k });
  try {
    const code = ttmErrorOf(work)?.code;
    return { fired: global.stats.faults > faults, code };
  } finally {
    global.faults.set(site, {});
  }
}

/** More often than there are orders, so that a chunk of one page cannot be had either. */
export const ALL_ORDERS = 11;
