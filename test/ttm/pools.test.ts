/*
 * Where chunks come from and go to: pool types by caching, zone and owner, their limit, and the orders of
 * chunks.
 */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/index.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, unpopulateTt } from "../../src/ttm.ts";
import { failsSync } from "../support/errors.ts";
import { CountingSignal } from "../support/signals.ts";
import { expectInvariants, expectUntouched } from "./support/invariants.ts";
import {
  addressesOf,
  kit,
  ordersOf,
  pooledChunks,
  pooledPages,
  type Written,
  written,
} from "./support/kit.ts";
import { expectContent } from "./support/subject.ts";

describe("a chunk that is freed", () => {
  test.each(["wc", "uc"] as const)(
    "goes to the pool of %s, cleared, with its caching",
    (caching) => {
      const { device, global } = kit({ memory: 64 });
      const { tt } = written(device.pool, 19, 1, { caching });
      const addresses = addressesOf(global, tt);
      const { pages, runs } = global.engine.cachingChanges;
      expect(unpopulateTt(device.pool, tt)).toBe(19);
      expect(pooledChunks(global, caching)).toEqual([1, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
      expect(device.stats().pages).toMatchObject({ free: 45, pooled: 19 });
      device.check();
      populateTtSync(device.pool, tt);
      expect(addressesOf(global, tt)).toEqual(addresses);
      expectContent(global, tt, new Uint8Array(19 * PAGE_SIZE));
      expect(global.engine.cachingChanges).toEqual({ pages, runs });
      expect(device.stats().pages.pooled).toBe(0);
    },
  );

  test("goes straight to the allocator when it is cached", () => {
    const { device } = kit({ memory: 64 });
    const { tt } = written(device.pool, 19, 1);
    unpopulateTt(device.pool, tt);
    expect(device.stats().pages).toMatchObject({ free: 64, pooled: 0 });
    expect(device.stats().caching).toEqual({ pages: 0, runs: 0 });
  });

  test("goes to the allocator when its caching is not that of the tt", () => {
    const { device, global } = kit({ memory: 64 });
    const tt = new Tt(16, { caching: "wc" });
    global.faults.set("caching", { probability: 100 });
    failsSync("ENOMEM", () => populateTtSync(device.pool, tt));
    expect(device.stats().pages).toMatchObject({ free: 64, pooled: 0 });
    device.check();
  });

  test("that left by a shrink goes to the allocator, cached", () => {
    const { device, global } = kit({ memory: 64 });
    const { tt, bytes } = written(device.pool, 19, 1, { caching: "uc" });
    shrinkTtSync(device.pool, tt);
    expect(device.stats().pages).toMatchObject({ free: 64, pooled: 0 });
    device.check();
    populateTtSync(device.pool, tt);
    expectContent(global, tt, bytes);
  });

  test("that a shrink takes from an interrupted restore goes to the allocator, and counts as released", () => {
    const { device, global } = kit({ memory: 64 }, { transferPages: 4 });
    const { tt } = written(device.pool, 16, 1, { caching: "wc" });
    shrinkTtSync(device.pool, tt);
    unpopulateTt(device.pool, written(device.pool, 16, 2, { caching: "wc" }).tt);
    expect(device.stats().pages.pooled).toBe(16);
    const signal = new CountingSignal(4);
    failsSync("EINTR", () => populateTtSync(device.pool, tt, { signal }));
    expect(tt.resident).toBe(16);
    expect(shrinkTtSync(device.pool, tt)).toBe(16);
    expect(device.stats().pages).toMatchObject({ free: 64, pooled: 0 });
    expectInvariants(global, [{ pool: device.pool, tt }]);
  });

  test("is taken from its pool before the allocator is asked, of the same order only", () => {
    const { device, global } = kit({ memory: 256 });
    const pooled = written(device.pool, 16, 1, { caching: "wc" });
    const [first] = addressesOf(global, pooled.tt);
    unpopulateTt(device.pool, pooled.tt);
    const small = written(device.pool, 15, 2, { caching: "wc" });
    expect(addressesOf(global, small.tt)).not.toContain(first);
    expect(pooledChunks(global, "wc")[4]).toBe(1);
    const other = written(device.pool, 16, 3, { caching: "uc" });
    expect(addressesOf(global, other.tt)).not.toContain(first);
    const same = written(device.pool, 20, 4, { caching: "wc" });
    expect(addressesOf(global, same.tt)[0]).toBe(first);
    expect(pooledPages(global, "wc")).toBe(0);
    for (const { tt } of [pooled, small, other, same]) finiTt(device.pool, tt);
    expectUntouched(global);
  });

  test("is given back when memory is short, whatever it was pooled for", () => {
    const { device, global } = kit({ memory: 64 });
    for (const caching of ["wc", "uc"] as const) {
      const tt = new Tt(32, { caching });
      populateTtSync(device.pool, tt);
      unpopulateTt(device.pool, tt);
    }
    expect(device.stats().pages).toMatchObject({ free: 32, pooled: 32 });
    const { tt, bytes } = written(device.pool, 64, 1);
    expectContent(global, tt, bytes);
    expect(device.stats().pages).toMatchObject({ free: 0, pooled: 0 });
    expect(global.stats.pagesOut).toBe(0);
  });
});

describe("the limit of pools", () => {
  test("is half of the memory by default", () => {
    const { device, global } = kit({ memory: 64 });
    expect(global.limits.pagePoolSize).toBe(32);
    const { tt } = written(device.pool, 64, 1, { caching: "wc" });
    unpopulateTt(device.pool, tt);
    expect(device.stats().pages.pooled).toBeLessThanOrEqual(32);
  });

  test.each([0, 1, 20, 63])("of %i pages holds when chunks are freed", (pagePoolSize) => {
    const { device } = kit({ memory: 64 }, { limits: { pagePoolSize }, pool: { orders: [0] } });
    const { tt } = written(device.pool, 64, 1, { caching: "wc" });
    unpopulateTt(device.pool, tt);
    expect(device.stats().pages.pooled).toBe(pagePoolSize);
    device.check();
  });

  test("drains one list after the other, not one of them first", () => {
    const { device, global } = kit(
      { memory: 256 },
      { limits: { pagePoolSize: 256 }, pool: { orders: [1, 0] } },
    );
    const uc = written(device.pool, 41, 2, { caching: "uc" });
    const wc = written(device.pool, 41, 1, { caching: "wc" });
    unpopulateTt(device.pool, uc.tt);
    unpopulateTt(device.pool, wc.tt);
    expect(pooledChunks(global, "wc").slice(0, 2)).toEqual([1, 20]);
    global.poolShrinker.drain(40);
    expect(pooledChunks(global, "wc").slice(0, 2)).toEqual([0, 10]);
    expect(pooledChunks(global, "uc").slice(0, 2)).toEqual([0, 10]);
    device.check();
  });

  test("that is lowered later holds from the next chunk on that is freed", () => {
    const { device, global } = kit({ memory: 128 }, { pool: { orders: [0] } });
    const [first, second] = [1, 2].map((seed) => written(device.pool, 32, seed, { caching: "wc" }));
    unpopulateTt(device.pool, (first as Written).tt);
    global.limits.pagePoolSize = 10;
    expect(device.stats().pages.pooled).toBe(32);
    unpopulateTt(device.pool, (second as Written).tt);
    expect(device.stats().pages.pooled).toBe(10);
  });
});

describe("the orders of chunks", () => {
  const RFC = [9, 4, 0];
  const four = Array<number>(5).fill(4);
  const single = Array<number>(8).fill(0);

  test.each([
    [{}, 19, [4, 1, 0]],
    [{}, 531, [9, 4, 1, 0]],
    [{}, 600, [9, 6, 4, 3]],
    [{ orders: RFC }, 19, [4, 0, 0, 0]],
    [{ orders: RFC }, 531, [9, 4, 0, 0, 0]],
    [{ orders: RFC }, 600, [9, ...four, ...single]],
    [{ orders: [0] }, 8, single],
    [{ beneficialOrder: 3 }, 19, [3, 3, 1, 0]],
    [{ beneficialOrder: 4, orders: RFC }, 33, [4, 4, 0]],
    [{ beneficialOrder: 9 }, 512, [9]],
  ])("%o: %i pages", (options, pages, orders) => {
    const { device, global } = kit({ memory: 1024 });
    const pool = new Pool(global, options);
    const { tt } = written(pool, pages, 1);
    expect(ordersOf(global, tt)).toEqual(orders);
    shrinkTtSync(pool, tt);
    populateTtSync(pool, tt);
    expect(ordersOf(global, tt)).toEqual(orders);
    device.check();
  });

  test.each([
    [{ orders: [1, 2] }, /must include 0/],
    [{ orders: [] }, /must include 0/],
    [{ orders: [10, 0] }, /from 0 to 9, not 10/],
    [{ orders: [-1, 0] }, /from 0 to 9, not -1/],
    [{ orders: [0.5, 0] }, /from 0 to 9, not 0.5/],
    [{ beneficialOrder: 10 }, /from 0 to 9, not 10/],
  ])("%o are refused", (options, message) => {
    const { global, device } = kit({ memory: 64 });
    expect(() => new Pool(global, options)).toThrow(RangeError);
    expect(() => new Pool(global, options)).toThrow(message);
    expect(() => device.createSibling(options)).toThrow(message);
  });

  test("a pool that has none of the orders that lie in its pool type still gets its memory", () => {
    const { device, global } = kit({ memory: 64 });
    const singles = new Pool(global, { orders: [0] });
    const large = written(device.pool, 16, 1, { caching: "wc" });
    const rest = written(device.pool, 48, 2);
    unpopulateTt(device.pool, large.tt);
    expect(device.stats().pages).toMatchObject({ free: 0, pooled: 16 });
    const { tt, bytes } = written(singles, 10, 3, { caching: "wc" });
    expectContent(global, tt, bytes);
    expectInvariants(global, [
      { pool: singles, tt },
      { pool: device.pool, tt: rest.tt },
      { pool: device.pool, tt: large.tt },
    ]);
  });

  test("pooled chunks too large for the gaps of a restore are no obstacle to it", () => {
    const { global, swap } = kit({ memory: 80 }, { transferPages: 1 });
    const pool = new Pool(global, { orders: [4, 0] });
    const { tt, bytes } = written(pool, 40, 1, { caching: "wc" });
    const stopAt = (pages: number) => {
      const end = swap.pagesIn + swap.pagesOut + pages;
      return {
        get aborted() {
          return swap.pagesIn + swap.pagesOut >= end;
        },
      };
    };
    // 30 of 40 pages leave, 17 come back, 15 of those leave again: gaps of 15 and 13 pages.
    expect(shrinkTtSync(pool, tt, { signal: stopAt(30) })).toBe(30);
    failsSync("EINTR", () => populateTtSync(pool, tt, { signal: stopAt(17) }));
    pool.dirty(tt, 0, 40, false);
    expect(shrinkTtSync(pool, tt, { signal: stopAt(15) })).toBe(15);
    const pooled = written(pool, 16, 2, { caching: "wc" });
    const rest = written(pool, 40, 3);
    unpopulateTt(pool, pooled.tt);
    expect(tt.resident).toBe(12);
    expect([global.engine.freePages, global.engine.pooledPages]).toEqual([12, 16]);
    populateTtSync(pool, tt);
    expectContent(global, tt, bytes);
    expectContent(global, rest.tt, rest.bytes);
    expect(global.engine.check()).toBeUndefined();
  });
});

describe("how often caching is changed", () => {
  test("once for all pages side by side, and not for those of a pool", () => {
    const { device, global } = kit({ memory: 256 }, { pool: { orders: [3, 2, 0] } });
    const first = written(device.pool, 8, 1, { caching: "wc" });
    expect(device.stats().caching).toEqual({ pages: 8, runs: 1 });
    const between = written(device.pool, 8, 2);
    unpopulateTt(device.pool, first.tt);
    expect(pooledChunks(global, "wc")[3]).toBe(1);
    // Of 21 pages the first 8 come from the pool, the others lie side by side.
    const { tt } = written(device.pool, 21, 3, { caching: "wc" });
    expect(device.stats().caching).toEqual({ pages: 8 + 13, runs: 2 });
    shrinkTtSync(device.pool, tt);
    // Back to the default, chunk by chunk: 8, 8, 4 and 1 pages.
    expect(device.stats().caching).toEqual({ pages: 8 + 13 + 21, runs: 6 });
    finiTt(device.pool, between.tt);
    device.check();
  });

  test("once for each run when a page of another caching lies between", () => {
    const { device, global } = kit({ memory: 16 }, { pool: { orders: [0] } });
    const pages = Array.from({ length: 16 }, (_, i) => written(device.pool, 1, i));
    for (const i of [2, 3, 4, 7, 8, 12]) finiTt(device.pool, (pages[i] as Written).tt);
    const { tt } = written(device.pool, 6, 99, { caching: "uc" });
    const addresses = addressesOf(global, tt).sort((a, b) => a - b);
    const runs = addresses.filter((at) => !addresses.includes(at - PAGE_SIZE)).length;
    expect(runs).toBe(3);
    expect(device.stats().caching.pages).toBe(6);
    expect(device.stats().caching.runs).toBeGreaterThanOrEqual(3);
    device.check();
  });
});

describe("a restore over a page limit", () => {
  test("goes on when the others cannot leave because swap is full", () => {
    const { device, global } = kit({ memory: 64, swap: 16 }, { keepClean: false });
    const { tt, bytes } = written(device.pool, 16, 1);
    shrinkTtSync(device.pool, tt);
    const bo = device.createBuffer(8 * PAGE_SIZE);
    bo.writeSync(0, new Uint8Array(bo.size).fill(7));
    global.limits.pages = 16;
    populateTtSync(device.pool, tt);
    expectContent(global, tt, bytes);
    expect(bo.readSync(0, new Uint8Array(bo.size))).toEqual(new Uint8Array(bo.size).fill(7));
  });
});
