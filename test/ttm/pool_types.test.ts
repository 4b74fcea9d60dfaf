/*
 * Who shares pools with whom: the DMA32 zone, siblings on one memory, coherent pools.
 */
import { describe, expect, test } from "vitest";
import { createDeviceSync, type Device, PAGE_SIZE } from "../../src/index.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, unpopulateTt } from "../../src/ttm.ts";
import { ArraySwap } from "../support/array_swap.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";
import { filled } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { expectInvariants, expectUntouched } from "./support/invariants.ts";
import { addressesOf, kit, pooledPages, written } from "./support/kit.ts";
import { expectContent } from "./support/subject.ts";

const ZONE = 512 * PAGE_SIZE;

describe("the DMA32 zone", () => {
  /** The device, and where its first frame lies: the zone is what a DMA32 pool is given first. */
  function zoned(memory = 1024): { device: Device; base: number } {
    const { device, global } = kit({ memory, swap: 4 * memory }, { dma32: ZONE });
    const pool = new Pool(global, { dma32: true });
    const { tt } = written(pool, 1, 1);
    const [base] = addressesOf(global, tt);
    finiTt(pool, tt);
    return { device, base: base as number };
  }

  test("gives pages to pools of DMA32, and only it does", () => {
    const { device, base } = zoned();
    const pool = new Pool(device.global, { dma32: true });
    const tts = [300, 200, 12].map((pages, i) => written(pool, pages, i));
    for (const { tt, bytes } of tts) expectContent(device.global, tt, bytes);
    const addresses = tts.flatMap(({ tt }) => addressesOf(device.global, tt));
    expect(Math.min(...addresses)).toBe(base);
    expect(Math.max(...addresses)).toBe(base + ZONE - PAGE_SIZE);
    failsSync("ENOMEM", () => populateTtSync(pool, new Tt(1)));
    device.check();
  });

  test("is spared by others as long as there is memory outside it", () => {
    const { device, base } = zoned();
    const first = written(device.pool, 512, 1);
    expect(Math.min(...addressesOf(device.global, first.tt))).toBe(base + ZONE);
    const second = written(device.pool, 10, 2);
    expect(Math.max(...addressesOf(device.global, second.tt))).toBeLessThan(base + ZONE);
  });

  function dma32Device(): Device {
    const swap = new ArraySwap(4096);
    const pool = { dma32: true };
    return createDeviceSync({ memory: 2048 * PAGE_SIZE, swap, dma32: ZONE, pool });
  }

  test("is reclaimed when it is full, although memory outside it is free", () => {
    const device = dma32Device();
    const bos = Array.from({ length: 6 }, (_, i) => filled(device, 200, i));
    expect(bos.reduce((sum, bo) => sum + bo.residentPages, 0)).toBeLessThanOrEqual(512);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.check();
  });

  test("is ENOMEM when all of it is pinned, although memory outside it is free", () => {
    const device = dma32Device();
    const pinned = filled(device, 500, 1);
    pinned.pinSync();
    const bo = device.createBuffer(20 * PAGE_SIZE);
    failsSync("ENOMEM", () => bo.writeSync(0, pattern(2, bo.size)));
    device.check();
    pinned.unpin();
    bo.writeSync(0, pattern(2, bo.size));
    expectSame(contentSync(bo), pattern(2, bo.size), "written at last");
    expectSame(contentSync(pinned), pattern(1, pinned.size), "pinned before");
  });

  test("has pool types of its own", () => {
    const { device } = zoned();
    const { global } = device;
    const pool = new Pool(global, { dma32: true });
    const low = written(pool, 16, 1, { caching: "wc" });
    const high = written(device.pool, 16, 2, { caching: "wc" });
    unpopulateTt(pool, low.tt);
    expect([pooledPages(global, "wc"), pooledPages(global, "wc 32")]).toEqual([0, 16]);
    unpopulateTt(device.pool, high.tt);
    expect([pooledPages(global, "wc"), pooledPages(global, "wc 32")]).toEqual([16, 16]);
    const uc = written(pool, 8, 3, { caching: "uc" });
    unpopulateTt(pool, uc.tt);
    expect([pooledPages(global, "uc"), pooledPages(global, "uc 32")]).toEqual([0, 8]);
    expectUntouched(global);
  });

  test("is all of the memory when nobody says otherwise, or says more", () => {
    const devices = [kit({ memory: 100 }), kit({ memory: 100 }, { dma32: "1 GiB" })];
    for (const { device, global } of devices) {
      const pool = new Pool(global, { dma32: true });
      const { tt } = written(pool, 100, 1);
      finiTt(pool, tt);
      device.check();
    }
  });

  test("must end where the largest chunk does", () => {
    expect(() => kit({ memory: 1024 }, { dma32: 511 * PAGE_SIZE })).toThrow(/multiple of 2 MiB/);
  });

  test("keeps chunks from merging across its end", () => {
    const { device } = zoned(1024);
    const { global } = device;
    const pool = new Pool(global, { dma32: true, orders: [0] });
    const high = new Pool(global, { orders: [0] });
    const low = written(pool, 512, 1);
    const rest = written(high, 512, 2);
    finiTt(pool, low.tt);
    finiTt(high, rest.tt);
    expect(global.engine.freeChunks()[9]).toBe(2);
    device.check();
  });
});

describe("devices on one memory", () => {
  test("share the pools of write-combined and uncached pages", () => {
    const { device, global } = kit({ memory: 128 });
    const sibling = device.createSibling({ beneficialOrder: 4 });
    const { tt } = written(device.pool, 16, 1, { caching: "uc" });
    const addresses = addressesOf(global, tt);
    unpopulateTt(device.pool, tt);
    const other = written(sibling.pool, 16, 2, { caching: "uc" });
    expect(addressesOf(global, other.tt)).toEqual(addresses);
    expect(global.engine.cachingChanges).toEqual({ pages: 16, runs: 1 });
  });

  test("reclaim from each other", () => {
    const { device } = kit({ memory: 64, swap: 256 });
    const sibling = device.createSibling();
    const mine = filled(device, 60, 1);
    const theirs = filled(sibling, 60, 2);
    expect(mine.residentPages).toBeLessThan(60);
    expectSame(contentSync(mine), pattern(1, mine.size), "mine");
    expectSame(contentSync(theirs), pattern(2, theirs.size), "theirs");
    device.check();
  });

  test("give back what their buffers held when one of them is closed by force", () => {
    const { device, global } = kit({ memory: 64, swap: 64 });
    const sibling = device.createSibling();
    const stays = filled(device, 10, 1);
    filled(sibling, 20, 2);
    filled(sibling, 20, 3).shrinkSync();
    sibling.createBuffer(PAGE_SIZE);
    const interrupted = filled(sibling, 10, 4);
    interrupted.shrinkSync();
    sibling.closeSync({ force: true });
    expect(device.stats().pages.free + device.stats().pages.pooled).toBe(54);
    expect(device.stats().slots.free).toBe(64);
    device.check();
    expectSame(contentSync(stays), pattern(1, stays.size), "content");
    stays.destroy();
    expectUntouched(global);
  });

  test("close the swap device with the last of them", () => {
    let closed = 0;
    const swap = Object.assign(new ArraySwap(64), { close: () => void closed++ });
    const device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap });
    const sibling = device.createSibling();
    device.closeSync();
    expect(closed).toBe(0);
    sibling.closeSync();
    expect(closed).toBe(1);
  });

  test("close it also after one of them could not be created", () => {
    let closed = 0;
    const swap = Object.assign(new ArraySwap(64), { close: () => void closed++ });
    const device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap });
    expect(() => device.createSibling({ orders: [3] })).toThrow(RangeError);
    device.closeSync();
    expect(closed).toBe(1);
  });
});

describe("a coherent pool", () => {
  test("keeps its chunks mapped, cached ones too, and to itself", () => {
    const { device, global } = kit({ memory: 128 });
    const [a, b] = [new Pool(global, { coherent: true }), new Pool(global, { coherent: true })];
    for (const caching of ["cached", "wc", "uc"] as const) {
      const { tt } = written(a, 16, 1, { caching, dma: true });
      const address = tt.dmaAddress(0);
      expect(global.iommu.size).toBe(1);
      unpopulateTt(a, tt);
      expect(global.iommu.size).toBe(1);
      expect(device.stats().pages.pooled).toBe(16);
      expectInvariants(global, []);
      const other = written(b, 16, 2, { caching, dma: true });
      expect(other.tt.dmaAddress(0)).not.toBe(address);
      populateTtSync(a, tt);
      expect(tt.dmaAddress(0)).toBe(address);
      expectInvariants(global, [
        { pool: a, tt },
        { pool: b, tt: other.tt },
      ]);
      finiTt(a, tt);
      finiTt(b, other.tt);
      global.poolShrinker.drain(0);
      expect(global.iommu.size).toBe(0);
    }
    a.close();
    b.close();
    expectUntouched(global);
  });

  test("has its own limit of kinds: with too many of them the next is refused, until one closes", () => {
    const { device, global } = kit({ memory: 64 });
    const pools: Pool[] = [];
    expect(() => {
      for (;;) pools.push(new Pool(global, { coherent: true }));
    }).toThrow(/no more than \d+ pool types/);
    expect(pools.length).toBeGreaterThanOrEqual(8);
    pools.pop()?.close();
    const last = new Pool(global, { coherent: true });
    const { tt } = written(last, 8, 1);
    finiTt(last, tt);
    last.close();
    for (const pool of pools) pool.close();
    expectUntouched(global);
    device.check();
  });

  test("whose buffers fill the memory makes the next one wait in vain: ENOMEM", () => {
    const { device } = kit({ memory: 64 }, { pool: { coherent: true } });
    const bo = filled(device, 60, 1);
    const next = device.createBuffer(10 * PAGE_SIZE);
    failsSync("ENOMEM", () => next.writeSync(0, pattern(2, next.size)));
    expect(device.shrinkSync()).toBe(0);
    failsSync("EBUSY", () => bo.shrinkSync());
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.advise("dontneed");
    next.writeSync(0, pattern(2, next.size));
    expect(bo.advise("willneed")).toBe(false);
    device.check();
  });

  test("does not stop others from being reclaimed", () => {
    const { device } = kit({ memory: 64 }, { limits: { pages: 60 } });
    const sibling = device.createSibling({ coherent: true });
    const fixed = filled(sibling, 20, 1);
    const bos = [2, 3, 4].map((seed) => filled(device, 20, seed));
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i + 2, bo.size), `buffer ${i}`);
    });
    expect(fixed.residentPages).toBe(20);
    expect(device.shrinkSync()).toBeGreaterThan(0);
    expect(device.shrinkSync()).toBe(0);
    device.check();
  });

  test("is purged, but not shrunken", () => {
    const { global } = kit({ memory: 64 });
    const pool = new Pool(global, { coherent: true });
    const { tt } = written(pool, 19, 1);
    failsSync("EBUSY", () => shrinkTtSync(pool, tt));
    expect(shrinkTtSync(pool, tt, { purge: true })).toBe(19);
    expect(global.iommu.pages).toBe(global.engine.pooledPages);
    pool.close();
    expectUntouched(global);
  });
});
