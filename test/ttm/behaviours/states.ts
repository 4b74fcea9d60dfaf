/* Every state a tt can be in, and how it gets there: 19 pages, of orders 4, 1 and 0. */
import { expect } from "vitest";
import { populateTtSync, shrinkTtSync, type Tt, type TtOptions } from "../../../src/ttm.ts";
import { codeOf, type Rig } from "./rig.ts";

export const STATES: readonly [string, (rig: Rig, options?: TtOptions) => Tt][] = [
  ["never populated", (rig, options) => rig.tt(19, options)],
  ["populated", (rig, options) => rig.filled(19, options)],
  ["all in swap", (rig, options) => swapped(rig, options)],
  ["partly in swap", (rig, options) => shrunkenBy(rig, 7, options)],
  ["stopped in its first chunk", (rig, options) => stopped(rig, 4, options)],
  ["stopped between two chunks", (rig, options) => stopped(rig, 17, options)],
  ["stopped in a later chunk", (rig, options) => stopped(rig, 18, options)],
  ["stopped before its caching", (rig, options) => uncached(rig, options)],
];

/** All of it has left. */
export function swapped(rig: Rig, options?: TtOptions): Tt {
  const tt = rig.filled(19, options);
  shrinkTtSync(rig.pool, tt);
  return tt;
}

/** The first `pages` pages have left, then a write failed. */
export function shrunkenBy(rig: Rig, pages: number, options?: TtOptions): Tt {
  const tt = rig.filled(19, options);
  rig.swap.failAt(true, pages + 1);
  expect(shrinkTtSync(rig.pool, tt)).toBe(pages);
  rig.swap.forget();
  return tt;
}

/** A restore of it failed at page `k`, from 1. */
export function stopped(rig: Rig, k: number, options?: TtOptions): Tt {
  const tt = swapped(rig, options);
  rig.swap.failAt(false, k);
  expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
  rig.swap.forget();
  return tt;
}

/** All of it is back, but its caching could not be applied. */
export function uncached(rig: Rig, options?: TtOptions): Tt {
  const tt = swapped(rig, { caching: "uc", ...options });
  rig.device.injectFault("caching", { probability: 100 });
  expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("ENOMEM");
  return tt;
}
