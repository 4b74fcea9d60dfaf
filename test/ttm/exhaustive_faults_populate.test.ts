/*
 * Whatever the first population of a tt needs is refused once, at every place where it is asked for. All
 * of it is given back, and a second attempt succeeds. With pools of all kinds; coherent ones, whose tts
 * can only be populated and purged, among them.
 */
import { describe, expect, test } from "vitest";
import { createDeviceSync, PAGE_SIZE, ramSwap, type TrimMeans } from "../../src/index.ts";
import {
  type FaultSite,
  finiTt,
  Pool,
  type PoolOptions,
  populateTtSync,
  shrinkTtSync,
  Tt,
  unpopulateTt,
} from "../../src/ttm.ts";
import { pattern } from "../support/bytes.ts";
import { HERE, stepWith, Trims } from "../support/trims.ts";
import { ALL_ORDERS, FAULT_CODES, withFault } from "./support/faults.ts";
import { expectInvariants, expectUntouched } from "./support/invariants.ts";
import { CACHINGS, expectContent, SIZES, ttmErrorOf, writeContent } from "./support/subject.ts";

const SITES: readonly { site: FaultSite; times: number }[] = [
  { site: "alloc", times: 1 },
  { site: "alloc", times: ALL_ORDERS },
  { site: "alloc", times: -1 },
  { site: "map", times: 1 },
  { site: "caching", times: 1 },
];

const POOLS: readonly { name: string; options: PoolOptions }[] = [
  { name: "any order", options: {} },
  { name: "three orders", options: { orders: [9, 4, 0] } },
  { name: "single pages", options: { orders: [0] } },
  { name: "DMA32", options: { dma32: true } },
  { name: "coherent", options: { coherent: true } },
];

// Of single pages a thousand would be refused one by one, with nothing new; trims at every step take longer.
const cases = ["no", ...HERE].flatMap((trims) =>
  (trims === "no" ? SIZES : [19]).flatMap((pages) =>
    (trims === "no" ? CACHINGS : ["wc" as const]).flatMap((caching) =>
      [false, true].flatMap((dma) =>
        POOLS.filter(({ name }) => pages < 100 || name !== "single pages").map((pool) => {
          return { pages, caching, dma, trims, ...pool };
        }),
      ),
    ),
  ),
);
const TITLE = "$name: $pages pages, $caching, dma: $dma, trims: $trims";

/** Steps on a memory of their own, with a trim after each, or with none. */
function stepsOf(trims: string, frames = trims === "no" ? 2048 : 256) {
  const device = createDeviceSync({ memory: frames * PAGE_SIZE, swap: ramSwap() });
  const trimmer = trims === "no" ? undefined : new Trims(device, trims as TrimMeans);
  trimmer?.soil();
  return { global: device.global, step: <T>(work: () => T) => stepWith(trimmer, work) };
}

describe.each(SITES)("$site refused, $times times", ({ site, times }) => {
  test.each(cases)(`leaves the tt empty, and a retry succeeds: ${TITLE}`, (c) => {
    const { global, step } = stepsOf(c.trims);
    const pool = new Pool(global, c.options);
    const tt = new Tt(c.pages, { caching: c.caching, dma: c.dma });
    tt.evictable = c.trims !== "no"; // as those of buffers: nobody has views on it while it is moved
    const zeros = new Uint8Array(c.pages * PAGE_SIZE);
    const dirt = pattern(c.pages, zeros.length);
    for (let k = 0, fired = true; fired; k++) {
      const attempt = withFault(global, { site, k, times }, () =>
        step(() => populateTtSync(pool, tt)),
      );
      fired = attempt.fired;
      if (attempt.code !== undefined) {
        expect(attempt).toEqual({ fired: true, code: FAULT_CODES[site] });
        expect(tt).toMatchObject({ flags: 0, resident: 0, vector: -1, restore: undefined });
      } else {
        expect(fired && !(site === "alloc" && times === 1)).toBe(false);
      }
      expectInvariants(global, [{ pool, tt }]);
      step(() => populateTtSync(pool, tt));
      expectInvariants(global, [{ pool, tt }]);
      expectContent(global, tt, zeros);
      writeContent(pool, tt, dirt);
      expect(step(() => unpopulateTt(pool, tt))).toBe(c.pages);
    }
    expect(global.stats.interrupted).toBe(0);
    pool.close();
    expectUntouched(global);
  });
});

describe("a tt of a coherent pool", () => {
  const coherent = cases.filter(({ name }) => name === "coherent");

  test.each(coherent)(`is purged, but never shrunken: ${TITLE}`, (c) => {
    const { global, step } = stepsOf(c.trims);
    const pool = new Pool(global, c.options);
    const tt = new Tt(c.pages, { caching: c.caching, dma: c.dma });
    tt.evictable = c.trims !== "no"; // as those of buffers: nobody has views on it while it is moved
    const bytes = pattern(c.pages, c.pages * PAGE_SIZE);
    step(() => populateTtSync(pool, tt));
    writeContent(pool, tt, bytes);
    const mappings = global.iommu.size;
    for (let i = 0; i < 3; i++) {
      expect(ttmErrorOf(() => step(() => shrinkTtSync(pool, tt)))?.code).toBe("EBUSY");
      expectInvariants(global, [{ pool, tt }]);
      expectContent(global, tt, bytes);
    }
    expect(global.iommu.size).toBe(mappings);
    expect(step(() => shrinkTtSync(pool, tt, { purge: true }))).toBe(c.pages);
    expect(tt).toMatchObject({ flags: 0, resident: 0, vector: -1 });
    expectInvariants(global, [{ pool, tt }]);
    step(() => populateTtSync(pool, tt));
    expectContent(global, tt, new Uint8Array(bytes.length));
    expectInvariants(global, [{ pool, tt }]);
    expect(step(() => finiTt(pool, tt))).toBe(c.pages);
    pool.close();
    expectUntouched(global);
  });
});
