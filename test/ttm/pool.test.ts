/* A pool by itself: what it is asked for, what it allocates, and what it keeps when it is closed. */
import { describe, expect, test } from "vitest";
import type { PoolOptions } from "../../src/ttm.ts";
import { finiTt, Pool, populateTtSync, Tt, unpopulateTt } from "../../src/ttm.ts";
import { expectAllFree } from "../support/devices.ts";
import { kit, ordersOf, pooledChunks, written } from "./support/kit.ts";

describe("a pool is refused", () => {
  const { global } = kit({ memory: 16 }).device;

  test.each<[string, PoolOptions, RegExp]>([
    [
      "an order above the largest",
      { orders: [10, 0] },
      /^orders must be whole numbers from 0 to 9/,
    ],
    ["half an order", { orders: [0, 1.5] }, /^orders must be whole numbers from 0 to 9, not 1\.5/],
    ["an order twice", { orders: [3, 0, 3] }, /^orders name 3 twice/],
    ["orders without the last resort", { orders: [9, 4] }, /^orders must include 0/],
    ["an effort for no order", { beneficialOrder: -1 }, /^beneficialOrder must be/],
  ])("for %s", (_, options, message) => {
    expect(() => new Pool(global, options)).toThrow(RangeError);
    expect(() => new Pool(global, options)).toThrow(message);
  });

  test.each<[string, object, RegExp]>([
    ["orders that are no list", { orders: 9 }, /^orders must be an array/],
    ["a flag that is none", { coherent: 1 }, /^coherent must be/],
    ["another flag that is none", { dma32: "yes" }, /^dma32 must be/],
  ])("for %s, as a TypeError", (_, options, message) => {
    expect(() => new Pool(global, options as PoolOptions)).toThrow(TypeError);
    expect(() => new Pool(global, options as PoolOptions)).toThrow(message);
  });

  test("for a global that is none", () => {
    expect(() => new Pool({} as never)).toThrow(/^global must be the `global` of a device/);
  });
});

describe("a pool allocates", () => {
  test.each<[string, PoolOptions, number[]]>([
    ["the largest chunks that fit, by default", {}, [9, 6, 1, 0]],
    ["orders of its list only", { orders: [4, 0] }, [...Array(36).fill(4), 0, 0, 0]],
    ["nothing above what is worth an effort", { beneficialOrder: 6 }, [...Array(9).fill(6), 1, 0]],
  ])("%s", (_, options, orders) => {
    const { device, global } = kit({ memory: 1024 });
    const pool = new Pool(global, options);
    const tt = new Tt(512 + 64 + 3);
    populateTtSync(pool, tt);
    expect(ordersOf(global, tt)).toEqual(orders);
    finiTt(pool, tt);
    expectAllFree(device);
  });
});

describe("what a pool has", () => {
  test("is shared with all pools of its caching, which take chunks that it gave", () => {
    const { device, global } = kit({ memory: 64 });
    const [one, other] = [new Pool(global), new Pool(global)];
    const { tt } = written(one, 16, 1, { caching: "uc" });
    const page = global.engine.entry(tt.vector);
    unpopulateTt(one, tt);
    expect(pooledChunks(global, "uc")[4]).toBe(1);
    const taker = new Tt(16, { caching: "uc" });
    populateTtSync(other, taker);
    expect(global.engine.entry(taker.vector)).toBe(page);
    expect(device.stats().pages.pooled).toBe(0);
  });

  test("is counted as held while a tt has it, not while it is pooled", () => {
    const { device, global } = kit({ memory: 64 });
    const { tt } = written(device.pool, 16, 1, { caching: "wc" });
    expect([global.heldPages, global.allocated.pages]).toEqual([16, 16]);
    unpopulateTt(device.pool, tt);
    expect([global.heldPages, global.allocated.pages]).toEqual([0, 0]);
    expect(device.stats().pages).toMatchObject({ free: 48, pooled: 16 });
  });

  test("goes back to the allocator when it is closed, if nobody else may use it; a second time does nothing", () => {
    const { device, global } = kit({ memory: 64 });
    const pool = new Pool(global, { coherent: true });
    const types = global.types.filter((type) => type !== undefined).length;
    unpopulateTt(pool, written(pool, 16, 1).tt);
    expect(device.stats().pages.pooled).toBe(16);
    expect(global.iommu.pages).toBeGreaterThan(0);
    for (let i = 0; i < 2; i++) {
      pool.close();
      expect(device.stats().pages).toMatchObject({ free: 64, pooled: 0 });
      expect(global.iommu.pages).toBe(0);
    }
    expect(global.types.filter((type) => type !== undefined).length).toBe(types - 3);
  });
});
