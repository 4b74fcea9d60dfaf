/* What the RFC got wrong, where the tests of the other files do not show it already. */
import { describe, expect, test } from "vitest";
import { finiTt, Pool, populateTtSync, shrinkTtSync, unpopulateTt } from "../../../src/ttm.ts";
import { codeOf, Rig, stopAt } from "./rig.ts";
import { shrunkenBy, swapped } from "./states.ts";

const ONCE = { probability: 100, times: 1 } as const;
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe("rfc defects", () => {
  test("a resumed restore maps later chunks for themselves, and leaks no mapping", () => {
    for (let k = 1; k <= 19; k++) {
      using rig = new Rig();
      const tt = swapped(rig, { dma: true });
      rig.swap.failAt(false, k);
      expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
      const before = rig.addresses(tt);
      populateTtSync(rig.pool, tt);
      const after = rig.addresses(tt);
      expect(rig.global.iommu.pages, `stopped at page ${k}`).toBe(19);
      expect(after.length).toBe(new Set(after).size);
      expect(after).not.toContain(undefined);
      before.forEach((address, i) => {
        if (address !== undefined) expect(after[i]).toBe(address);
      });
    }
  });

  test("a stop between two chunks, for whatever reason, is resumed from there", () => {
    for (const site of ["alloc", "map", "caching"] as const) {
      using rig = new Rig();
      const pool = new Pool(rig.global, { orders: [2, 0] });
      const tt = rig.filled(12, { caching: "wc", dma: true }, pool);
      shrinkTtSync(pool, tt);
      rig.swap.forget();
      const times = site === "alloc" ? 2 : 1;
      const space = site === "caching" ? 0 : 1;
      rig.device.injectFault(site, { probability: 100, times, space });
      expect(
        codeOf(() => populateTtSync(pool, tt)),
        site,
      ).toBe(site === "map" ? "EFAULT" : "ENOMEM");
      const there = site === "caching" ? 12 : 4;
      expect(tt.restore).toMatchObject({ cursor: there, read: 0 });
      expect(rig.facts()).toMatchObject({ held: there, slots: 12 - there });
      const kept = rig.entries(tt).slice(0, there);
      if (there < 12) {
        // Stopped once more, and in a chunk this time.
        expect(codeOf(() => populateTtSync(pool, tt, { signal: stopAt(2) }))).toBe("EINTR");
        expect(tt.restore?.cursor).toBe(there);
      }
      populateTtSync(pool, tt);
      expect(rig.entries(tt).slice(0, there)).toEqual(kept);
      expect(rig.swap.reads).toEqual(upTo(12));
      expect(rig.global.allocated.pages).toBe(12);
      rig.expectMarked(tt);
    }
  });

  test("a resume takes no chunk larger than what remains, though a pool has one", () => {
    using rig = new Rig();
    const options = { caching: "wc" } as const;
    const spare = [rig.filled(16, options), rig.filled(16, options)];
    const tt = rig.filled(19, options);
    shrinkTtSync(rig.pool, tt);
    for (const each of spare) unpopulateTt(rig.pool, each);
    expect(rig.pooled("wc")).toEqual({ 4: 2 });
    rig.swap.failAt(false, 10);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
    expect(rig.heldOrder(tt, 0)).toBe(4);
    expect(rig.pooled("wc")).toEqual({ 4: 1 });
    populateTtSync(rig.pool, tt);
    expect(rig.orders(tt)).toEqual([4, 1, 0]);
    expect(rig.pooled("wc")).toEqual({ 4: 1 });
    rig.expectMarked(tt);
  });

  test("only pages have their caching changed, not the empty entries and handles between them", () => {
    using rig = new Rig();
    const tt = shrunkenBy(rig, 5, { caching: "wc" });
    const before = rig.device.stats().caching;
    expect(shrinkTtSync(rig.pool, tt, { purge: true })).toBe(14);
    // Eleven single pages of the split chunk, and chunks of two and of one.
    expect(rig.device.stats().caching).toEqual({
      pages: before.pages + 14,
      runs: before.runs + 13,
    });
    expect(rig.facts()).toMatchObject({ held: 0, pooled: 0, broken: undefined });
  });

  test("a stop loses no progress of caching: nothing is changed twice or left unchanged", () => {
    for (let k = 1; k <= 19; k++) {
      using rig = new Rig();
      const pooled = rig.filled(2, { caching: "wc" });
      const tt = rig.filled(19, { caching: "wc" });
      shrinkTtSync(rig.pool, tt);
      unpopulateTt(rig.pool, pooled);
      const before = rig.device.stats().caching.pages;
      rig.swap.failAt(false, k);
      expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
      populateTtSync(rig.pool, tt);
      // All but the two of the pool.
      expect(rig.device.stats().caching.pages - before, `stopped at page ${k}`).toBe(17);
      expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 1));
    }
  });

  test("the largest order has a list of its own in every pool type", () => {
    using rig = new Rig({ memory: 2048 });
    rig.global.limits.pagePoolSize = 2048;
    const wc = rig.filled(512, { caching: "wc" });
    const uc = rig.filled(1, { caching: "uc" });
    expect(rig.orders(wc)).toEqual([9]);
    finiTt(rig.pool, wc);
    expect(rig.pooled("wc")).toEqual({ 9: 1 });
    expect(rig.pooled("uc")).toEqual({});
    finiTt(rig.pool, uc);
    expect(rig.pooled("uc")).toEqual({ 0: 1 });
    const next = rig.filled(512, { caching: "wc" });
    expect(rig.facts().pooled).toBe(1);
    rig.expectMarked(next);
  });

  test("a vector with holes is purged and shrunk to its end", () => {
    for (const purge of [false, true]) {
      using rig = new Rig();
      const tt = rig.holed(12, 5);
      rig.swap.failAt(false, 5);
      const pool = new Pool(rig.global, { orders: [1, 0] });
      expect(codeOf(() => populateTtSync(pool, tt))).toBe("EIO");
      rig.swap.forget();
      expect(rig.shape(tt)).toBe("PPPPH.......");
      expect(shrinkTtSync(pool, tt, { purge })).toBe(4);
      expect(rig.facts()).toMatchObject({ held: 0, slots: purge ? 0 : 5 });
      populateTtSync(pool, tt);
      rig.expectMarked(tt, purge ? 0 : 5);
    }
  });

  test("what stopped a shrink that released something is told by the next one", () => {
    for (const [slots, code] of [
      [7, "ENOSPC"],
      [64, "EIO"],
    ] as const) {
      using rig = new Rig({ slots });
      const tt = rig.filled(19);
      rig.swap.before = (_, slot) => {
        if (slot > 7) throw new Error("it broke");
      };
      expect(shrinkTtSync(rig.pool, tt)).toBe(7);
      expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe(code);
      rig.swap.forget();
    }
  });

  test("an order that cannot be had is not remembered: the next call begins anew", () => {
    using rig = new Rig();
    const tt = swapped(rig);
    rig.device.injectFault("alloc", { ...ONCE, times: 4 });
    expect(codeOf(() => populateTtSync(rig.pool, tt, { signal: stopAt(2) }))).toBe("EINTR");
    expect(tt.restore).toMatchObject({ cursor: 1, read: 0 });
    expect(rig.orders(tt)).toEqual([0]);
    populateTtSync(rig.pool, tt);
    expect(rig.orders(tt)).toEqual([0, 4, 1]);
  });
});
