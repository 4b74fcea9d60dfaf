/* Populating an empty tt: all of it, or nothing. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../../src/index.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, unpopulateTt } from "../../../src/ttm.ts";
import { Crumbs } from "../support/crumbs.ts";
import { codeOf, Rig } from "./rig.ts";

const ALL = { probability: 100, times: 1 } as const;

describe("populate", () => {
  test("each chunk gets a mapping of its own, and its pages follow each other on the bus", () => {
    using rig = new Rig();
    const tt = rig.filled(19, { dma: true });
    expect(rig.global.iommu.size).toBe(3); // orders 4, 1, 0
    expect(rig.global.iommu.pages).toBe(19);
    const addresses = rig.addresses(tt) as number[];
    expect(new Set(addresses).size).toBe(19);
    for (const [first, pages] of [
      [0, 16],
      [16, 2],
    ] as const) {
      for (let i = 1; i < pages; i++) {
        expect(addresses[first + i]).toBe((addresses[first] as number) + i * PAGE_SIZE);
      }
    }
    expect(rig.addresses(rig.filled(3))).toEqual([undefined, undefined, undefined]);
  });

  test("a mapping that fails is EFAULT, and the tt is as empty as before", () => {
    for (const space of [0, 1, 2]) {
      using rig = new Rig();
      const tt = rig.tt(19, { dma: true });
      const before = rig.snapshot(tt);
      rig.device.injectFault("map", { ...ALL, space });
      expect(
        codeOf(() => populateTtSync(rig.pool, tt)),
        `after ${space} mappings`,
      ).toBe("EFAULT");
      expect(rig.snapshot(tt)).toEqual(before);
      populateTtSync(rig.pool, tt);
      expect(rig.global.iommu.pages).toBe(19);
    }
  });

  test("whatever fails on the way, an empty tt is empty again and nothing is held", () => {
    const orders = [0];
    for (const [site, space, code] of [
      ["alloc", 0, "ENOMEM"],
      ["alloc", 2, "ENOMEM"],
      ["caching", 0, "ENOMEM"],
    ] as const) {
      using rig = new Rig();
      const pool = new Pool(rig.global, { orders });
      const tt = rig.tt(4, { caching: "wc" }, pool);
      const before = rig.snapshot(tt);
      rig.device.injectFault(site, { ...ALL, space });
      expect(
        codeOf(() => populateTtSync(pool, tt)),
        site,
      ).toBe(code);
      expect(rig.snapshot(tt)).toEqual(before);
    }
  });

  test("without room for a page vector it is ENOMEM, and no trace is left", () => {
    using rig = new Rig({ memory: 16, slots: 16 });
    const tt = rig.tt(1000);
    const before = rig.snapshot(tt);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("ENOMEM");
    expect(rig.snapshot(tt)).toEqual(before);
    expect(tt.restore).toBe(undefined);
  });

  test("room for a page vector that is free in many places is room", () => {
    using rig = new Rig({ memory: 64, slots: 64 });
    const crumbs = new Crumbs(rig.global, 8);
    crumbs.scatter();
    const tts = [rig.filled(5), rig.filled(6), rig.filled(7)] as const;
    shrinkTtSync(rig.pool, tts[1]);
    const tt = rig.filled(30);
    populateTtSync(rig.pool, tts[1]);
    for (const each of [...tts, tt]) rig.expectMarked(each);
    crumbs.clear();
  });

  test("without all the frames it needs it takes none", () => {
    using rig = new Rig({ memory: 16 });
    rig.exhaust(7);
    const events: string[] = [];
    rig.device.trace = (event) => events.push(event.type);
    const tt = rig.tt(8);
    const before = rig.snapshot(tt);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("ENOMEM");
    expect(rig.snapshot(tt)).toEqual(before);
    expect(events).toEqual(["reclaim", "interrupt"]);
  });

  test("pages are zero when first seen, whatever the frames held before", () => {
    using rig = new Rig({ memory: 16 });
    for (const caching of ["cached", "wc"] as const) {
      const old = rig.filled(16, { caching });
      finiTt(rig.pool, old);
      const tt = rig.tt(16);
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt, 0);
      finiTt(rig.pool, tt);
    }
  });

  test("one that is populated is left alone", () => {
    using rig = new Rig();
    const tt = rig.filled(5, { caching: "uc", dma: true });
    const before = rig.snapshot(tt);
    rig.device.injectFault("alloc", ALL);
    populateTtSync(rig.pool, tt);
    expect(rig.snapshot(tt)).toEqual(before);
    rig.expectMarked(tt);
  });

  test("caching is applied once, in as few runs as the pages lie in", () => {
    using rig = new Rig({ memory: 32 });
    const before = rig.device.stats().caching;
    expect(before).toEqual({ pages: 0, runs: 0 });
    const tt = rig.filled(19, { caching: "wc" });
    expect(rig.orders(tt).length).toBe(3);
    expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 1));
    expect(rig.device.stats().caching).toEqual({ pages: 19, runs: 1 });
    expect(rig.caching(rig.filled(3))).toEqual([0, 0, 0]);
    expect(rig.device.stats().caching).toEqual({ pages: 19, runs: 1 });
  });

  test("pages from a pool have their caching; only those from the system are changed, run by run", () => {
    using rig = new Rig();
    const pool = new Pool(rig.global, { orders: [4, 0] });
    const first = rig.filled(16, { caching: "wc" }, pool);
    unpopulateTt(pool, first);
    expect(rig.pooled("wc")).toEqual({ 4: 1 });
    const tt = rig.filled(36, { caching: "wc" }, pool);
    expect(rig.orders(tt)).toEqual([4, 4, 0, 0, 0, 0]);
    expect(rig.pooled("wc")).toEqual({});
    expect(rig.device.stats().caching).toEqual({ pages: 16 + 20, runs: 2 });
    expect(new Set(rig.caching(tt))).toEqual(new Set([1]));
  });

  test("when it ends it is populated, no longer purgeable, and has no state", () => {
    using rig = new Rig();
    const tt = rig.filled(4);
    expect(tt).toMatchObject({ populated: true, shrunken: false, swapped: false, resident: 4 });
    expect(tt.restore).toBe(undefined);
    expect(shrinkTtSync(rig.pool, tt)).toBe(4);
    expect(tt).toMatchObject({ populated: false, shrunken: true, resident: 0 });
  });
});
