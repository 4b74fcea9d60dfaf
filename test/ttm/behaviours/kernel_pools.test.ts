/* What the kernel has today around pools: types, limits, their shrinker, tables, faults. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../../src/index.ts";
import {
  FaultAttr,
  finiTt,
  Pool,
  populateTtSync,
  SHRINK_EMPTY,
  SHRINK_STOP,
  type Shrinker,
  ShrinkerRegistry,
  shrinkTtSync,
  TT_FLAG_EXTERNAL,
  type TtOptions,
  unpopulateTt,
} from "../../../src/ttm.ts";
import { codeOf, Rig } from "./rig.ts";

/** Fills a tt and frees it again. */
function pass(rig: Rig, pages: number, options: TtOptions, pool: Pool = rig.pool): void {
  unpopulateTt(pool, rig.filled(pages, options, pool));
}

/** The numbers of a row of the page_pool table. */
function row(rig: Rig, name: string): number[] | undefined {
  const lines = rig.device.debugfs("page_pool").split("\n");
  const line = lines.find((each) => each.split(":")[0]?.trim() === name);
  return line?.split(":")[1]?.match(/\d+/g)?.map(Number);
}

describe("kernel today: pools", () => {
  test("one list for each caching, zone and order; all devices of a memory share them", () => {
    using rig = new Rig({ memory: 1024, dma32: "2 MiB" });
    const low = new Pool(rig.global, { dma32: true });
    pass(rig, 3, { caching: "wc" });
    pass(rig, 4, { caching: "uc" });
    pass(rig, 1, { caching: "wc" }, low);
    pass(rig, 2, { caching: "uc" }, low);
    pass(rig, 8, {});
    expect(["wc", "uc", "wc 32", "uc 32"].map((name) => rig.pooled(name))).toEqual([
      { 0: 1, 1: 1 },
      { 2: 1 },
      { 0: 1 },
      { 1: 1 },
    ]);
    const sibling = rig.device.createSibling();
    const bo = sibling.createBuffer(3 * PAGE_SIZE, { caching: "wc" });
    bo.populateSync();
    expect(rig.pooled("wc")).toEqual({});
    bo.destroy();
    expect(rig.pooled("wc")).toEqual({ 0: 1, 1: 1 });
    sibling.closeSync();
  });

  test("pages of the DMA32 zone come from it, and are spared otherwise", () => {
    using rig = new Rig({ memory: 1024, dma32: "2 MiB" });
    const low = new Pool(rig.global, { dma32: true });
    const first = rig.filled(1, {}, low);
    const [base] = rig.entries(first) as [number];
    const zone = (tt: Parameters<Rig["entries"]>[0]) =>
      rig.entries(tt).map((entry) => entry - base < 512 * PAGE_SIZE);
    expect(new Set(zone(rig.filled(512)))).toEqual(new Set([false]));
    expect(new Set(zone(rig.filled(511, {}, low)))).toEqual(new Set([true]));
    expect(codeOf(() => rig.filled(1, {}, low))).toBe("ENOMEM");
  });

  test("coherent pools keep their chunks, cached ones too, mapped and to themselves", () => {
    using rig = new Rig();
    const pool = new Pool(rig.global, { coherent: true });
    const other = new Pool(rig.global, { coherent: true });
    pass(rig, 4, {}, pool);
    expect(rig.facts()).toMatchObject({ held: 0, pooled: 4, mappings: 1 });
    pass(rig, 4, {}, other);
    expect(rig.facts()).toMatchObject({ pooled: 8, mappings: 2 });
    const again = rig.filled(4, { dma: true }, pool);
    expect(rig.facts()).toMatchObject({ pooled: 4, mappings: 2 });
    expect(rig.addresses(again)).not.toContain(undefined);
    finiTt(pool, again);
    pool.close();
    expect(rig.facts()).toMatchObject({ pooled: 4, mappings: 1 });
    other.close();
    expect(rig.facts()).toMatchObject({ pooled: 0, mappings: 0 });
    pool.close(); // a second time it does nothing
    const drained = new Pool(rig.global, { coherent: true });
    pass(rig, 4, {}, drained);
    rig.global.poolShrinker.drain(0);
    expect(rig.facts()).toMatchObject({ pooled: 0, mappings: 0 });
  });

  test("a chunk is cleared as it is given, and taken by the next who wants its caching", () => {
    using rig = new Rig();
    const old = rig.filled(4, { caching: "wc" });
    const [address] = rig.entries(old) as [number];
    unpopulateTt(rig.pool, old);
    expect(rig.global.engine.view(address, 4 * PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
    expect(rig.entries(rig.filled(4, { caching: "uc" }))).not.toContain(address);
    const tt = rig.tt(4, { caching: "wc" });
    populateTtSync(rig.pool, tt);
    expect(rig.entries(tt)[0]).toBe(address);
  });

  test("pools hold half of the memory at most, unless told otherwise", () => {
    using rig = new Rig({ memory: 64 });
    expect(rig.global.limits.pagePoolSize).toBe(32);
    for (let i = 0; i < 4; i++) pass(rig, 60, { caching: i % 2 === 0 ? "wc" : "uc" });
    expect(rig.facts().pooled).toBeLessThanOrEqual(32);
    using none = new Rig({ limits: { pagePoolSize: 0 } });
    pass(none, 5, { caching: "wc" });
    expect(none.facts().pooled).toBe(0);
    expect(() => new Rig({ limits: { pagePoolSize: 0.5 } })).toThrow(RangeError);
  });

  test("the pool shrinker counts pooled pages, frees round the lists, and stops when all are empty", () => {
    using rig = new Rig();
    const { poolShrinker } = rig.global;
    expect(poolShrinker).toMatchObject({ name: "drm-ttm_pool", seeks: 1, batch: 160 });
    expect(poolShrinker.countObjects()).toBe(SHRINK_EMPTY);
    const pool = new Pool(rig.global, { orders: [0] });
    for (const caching of ["wc", "uc"] as const) pass(rig, 3, { caching }, pool);
    expect(poolShrinker.countObjects()).toBe(6);
    const control = { nrToScan: 4, nrScanned: 0, kswapd: false };
    expect(poolShrinker.scanObjects(control)).toBe(4);
    expect(control.nrScanned).toBe(4);
    expect([rig.pooled("wc"), rig.pooled("uc")]).toEqual([{ 0: 1 }, { 0: 1 }]);
    expect(poolShrinker.scanObjects(control)).toBe(2);
    expect(poolShrinker.scanObjects(control)).toBe(SHRINK_STOP);
    expect(rig.facts().broken).toBe(undefined);
  });

  test("pooled pages go before anything is moved to swap", () => {
    using rig = new Rig({ memory: 16 });
    const [bo] = rig.buffers(1, 4);
    pass(rig, 8, { caching: "wc" });
    rig.filled(12);
    expect(rig.facts().pooled).toBe(0);
    expect(bo?.residentPages).toBe(4);
    expect(rig.swap.writes).toEqual([]);
  });

  test("a page is counted as held, as pooled or as free, and moves between the three", () => {
    using rig = new Rig({ memory: 64 });
    const counts = () => {
      const { pages } = rig.device.stats();
      return [rig.global.heldPages, pages.pooled, pages.free];
    };
    const tt = rig.filled(4, { caching: "wc" });
    expect(counts()).toEqual([4, 0, 60]);
    unpopulateTt(rig.pool, tt);
    expect(counts()).toEqual([0, 4, 60]);
    populateTtSync(rig.pool, tt);
    expect(counts()).toEqual([4, 0, 60]);
    shrinkTtSync(rig.pool, tt);
    expect(counts()).toEqual([0, 0, 64]);
    populateTtSync(rig.pool, tt);
    unpopulateTt(rig.pool, tt);
    rig.global.poolShrinker.drain(0);
    expect(counts()).toEqual([0, 0, 64]);
  });

  test("pooled chunks that are too large for a populate go back to the system for it", () => {
    using rig = new Rig({ memory: 16, limits: { pagePoolSize: 16 } });
    pass(rig, 16, { caching: "wc" });
    expect(rig.pooled("wc")).toEqual({ 4: 1 });
    const tt = rig.filled(3, { caching: "wc" });
    expect(rig.orders(tt)).toEqual([1, 0]);
    expect(rig.facts().pooled).toBe(0);
  });

  test("shrinkers are asked in their order, in scans of their size, until enough is freed", () => {
    const asked: string[] = [];
    const shrinker = (name: string, has: number, more: Partial<Shrinker>): Shrinker => {
      let left = has;
      return {
        name,
        countObjects: () => left || SHRINK_EMPTY,
        scanObjects: (control) => {
          asked.push(`${name} ${control.nrToScan}`);
          const freed = Math.min(left, control.nrToScan);
          left -= freed;
          return freed || SHRINK_STOP;
        },
        ...more,
      };
    };
    const run = (registry: ShrinkerRegistry, pages: number) => {
      const slab = registry.begin({ op: "shrink", signal: undefined }, pages, false);
      expect(slab.attempt()).toBeUndefined();
      return slab;
    };
    const registry = new ShrinkerRegistry(() => {});
    const stuck = shrinker("stuck", 1, { scanObjects: () => SHRINK_STOP });
    for (const each of [
      shrinker("empty", 0, {}),
      stuck,
      shrinker("cheap", 100, { batch: 40, seeks: 1 }),
      shrinker("dear", 300, { seeks: 4 }),
    ]) {
      registry.register(each);
    }
    expect(run(registry, 200)).toMatchObject({ released: 200 });
    expect(asked).toEqual(["cheap 80", "cheap 80", "dear 64", "dear 36"]);
    asked.length = 0;
    registry.unregister(registry.list.find(({ name }) => name === "dear") as Shrinker);
    expect(run(registry, 10)).toMatchObject({ released: 0 });
    expect(asked).toEqual([]);
  });

  test("page_pool shows chunks by type and order, and pages of the limit", () => {
    using rig = new Rig({ limits: { pagePoolSize: 40 } });
    const pool = new Pool(rig.global, { coherent: true });
    pass(rig, 19, { caching: "wc" });
    pass(rig, 2, {}, pool);
    expect(row(rig, "wc")).toEqual([1, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    expect(row(rig, "uc")).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(row(rig, "DMA")).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(row(rig, "total")).toEqual([21, 40]);
    const [header, ...rows] = rig.device.debugfs("page_pool").split("\n");
    expect(header?.match(/---( |\d)\d---/g)?.length).toBe(10);
    expect(rows[0]).toMatch(/^wc {4}\t:( {7}1 ?){2}/);
    const names = rows.map((line) => line.split(":")[0]?.trim()).filter((name) => name);
    expect(names).toEqual(["wc", "uc", "wc 32", "uc 32", "DMA", "DMA wc", "DMA uc", "total"]);
  });

  test("reading page_pool_shrink scans one batch, tt_shrink one object; buffer_objects counts", () => {
    using rig = new Rig({ memory: 1024, slots: 128 });
    expect(rig.device.debugfs("page_pool_shrink")).toBe("0/0\n");
    pass(rig, 400, { caching: "wc" }, new Pool(rig.global, { orders: [0] }));
    expect(rig.device.debugfs("page_pool_shrink")).toBe("400/160\n");
    expect(rig.device.debugfs("tt_shrink")).toBe("0\n");
    const bos = rig.buffers(2, 32);
    expect(rig.device.debugfs("buffer_objects")).toBe("2\n");
    expect(rig.device.debugfs("tt_shrink")).toBe("32\n");
    expect(bos.map((bo) => bo.residentPages)).toEqual([0, 32]);
    const small = rig.buffers(20, 1);
    for (const left of [0, 1]) {
      expect(rig.device.debugfs("tt_shrink")).toBe(left === 0 ? "32\n" : "1\n");
      expect(small.filter((bo) => bo.residentPages === 0)).toHaveLength(left);
    }
    expect(() => rig.device.debugfs("nothing" as "page_pool")).toThrow(RangeError);
  });

  test("over the page limit a populate lets others shrink, and goes on when nobody can", () => {
    using rig = new Rig({ limits: { pages: 16 } });
    const [bo] = rig.buffers(1, 12);
    rig.filled(6);
    expect(bo?.residentPages).toBe(0);
    expect(rig.global.allocated.pages).toBe(6);
    rig.filled(20);
    expect(rig.global.allocated.pages).toBe(26);
    rig.filled(4, { flags: TT_FLAG_EXTERNAL });
    expect(rig.global.allocated.pages).toBe(26);
  });

  test("an error of that shrink is the populate's, and the counts are as before", () => {
    using rig = new Rig({ limits: { pages: 16 } });
    const [bo] = rig.buffers(1, 12);
    rig.swap.failAt(true, 1);
    const tt = rig.tt(6);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
    expect(rig.global.allocated.pages).toBe(12);
    expect(tt).toMatchObject({ populated: false, vector: -1, resident: 0 });
    expect(bo?.residentPages).toBe(12);
  });

  test("pages of DMA32 pools have a limit of their own", () => {
    using rig = new Rig({ limits: { dma32Pages: 8 }, pool: { dma32: true } });
    const [bo] = rig.buffers(1, 6);
    expect(rig.global.allocated).toEqual({ pages: 6, dma32Pages: 6 });
    rig.filled(6);
    expect(bo?.residentPages).toBe(0);
    expect(rig.global.allocated).toEqual({ pages: 6, dma32Pages: 6 });
  });

  test("fault attributes: probability, interval, times and space; off unless asked for", () => {
    const fails = (options: Parameters<FaultAttr["set"]>[0], calls: number) => {
      const attr = new FaultAttr();
      attr.set(options);
      return Array.from({ length: calls }, () => Number(attr.shouldFail())).join("");
    };
    expect(fails({}, 4)).toBe("0000");
    expect(fails({ probability: 100 }, 4)).toBe("1000"); // times is 1
    expect(fails({ probability: 100, times: -1, interval: 3 }, 7)).toBe("0010010");
    expect(fails({ probability: 100, times: 2, space: 2 }, 6)).toBe("001100");
    const half = fails({ probability: 50, times: -1, seed: 7 }, 64);
    expect(half).toBe(fails({ probability: 50, times: -1, seed: 7 }, 64));
    expect(half).not.toBe(fails({ probability: 50, times: -1, seed: 8 }, 64));
    expect(half.replaceAll("0", "").length).toBeGreaterThan(16);
    expect(half.replaceAll("1", "").length).toBeGreaterThan(16);
    for (const wrong of [{ probability: 101 }, { interval: 0 }, { times: -2 }, { space: 0.5 }]) {
      expect(() => new FaultAttr().set(wrong)).toThrow(RangeError);
    }
  });

  test("every site fails with its error, once told to, and loses nothing", () => {
    const codes = { slot: "ENOSPC", write: "EIO", read: "EIO", alloc: "ENOMEM", map: "EFAULT" };
    for (const [site, code] of Object.entries({ ...codes, caching: "ENOMEM" })) {
      using rig = new Rig({ pool: { orders: [0] } });
      const tt = rig.filled(4, { caching: "wc", dma: true });
      const out = site === "slot" || site === "write";
      if (!out) shrinkTtSync(rig.pool, tt);
      rig.device.injectFault(site as "slot", { probability: 100 });
      const run = () => (out ? shrinkTtSync : populateTtSync)(rig.pool, tt);
      expect(codeOf(run), site).toBe(code);
      expect(rig.device.stats().faults).toBe(1);
      if (out) expect(tt.populated).toBe(true);
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt);
    }
    using rig = new Rig();
    expect(() => rig.device.injectFault("swap" as "slot", {})).toThrow(RangeError);
  });

  test("a fault in the middle of a shrink leaves a part of it done", () => {
    using rig = new Rig();
    const tt = rig.filled(19);
    rig.device.injectFault("write", { probability: 100, space: 9 });
    expect(shrinkTtSync(rig.pool, tt)).toBe(9);
    expect(rig.shape(tt)).toBe(`${"H".repeat(9)}${"P".repeat(10)}`);
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });
});
