/* Bugs that were found upstream after the RFC. */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE } from "../../../src/index.ts";
import { finiTt, populateTtSync, shrinkTtSync } from "../../../src/ttm.ts";
import { codeOf, idsOf, Rig, residentOf, Store } from "./rig.ts";
import { shrunkenBy, swapped } from "./states.ts";

const ONCE = { probability: 100, times: 1 } as const;

describe("later bugs", () => {
  test("a resume that finds nothing left to read still finishes, and the state goes last", () => {
    using rig = new Rig();
    const tt = swapped(rig, { caching: "wc", dma: true });
    rig.device.injectFault("caching", { ...ONCE, times: 2 });
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("ENOMEM");
      expect(tt.restore).toMatchObject({ cursor: 19, read: 0 });
    }
    for (let cycle = 0; cycle < 3; cycle++) {
      populateTtSync(rig.pool, tt);
      expect(tt).toMatchObject({ populated: true, restore: undefined });
      expect(rig.shape(tt)).toBe("P".repeat(19));
      expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 1));
      rig.expectMarked(tt);
      expect(shrinkTtSync(rig.pool, tt)).toBe(19);
    }
  });

  test("a walk ends though every object fails, and leaves each in its place", () => {
    using rig = new Rig();
    const bos = rig.buffers(3, 20);
    const order = residentOf(rig.device);
    expect(order).toEqual(idsOf(bos));
    rig.swap.before = () => {
      throw new Error("no more writes");
    };
    // The first two of them are tried, then all.
    for (const pages of [32, 60]) {
      expect(codeOf(() => rig.device.shrinkSync({ pages }))).toBe("EIO");
      expect(residentOf(rig.device)).toEqual(order);
    }
    rig.swap.forget();
    expect(rig.device.shrinkSync()).toBe(60);
  });

  test("an object whose pages have left leaves the list, and comes back with them, at its end", () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 2) as [BufferObject, BufferObject, BufferObject];
    const { reclaimer } = rig.device;
    const counts = (shrinkable: number, unevictable: number) => ({
      ...{ purgeable: 0, shrinkable, unevictable },
    });
    expect(reclaimer.resources.counts).toEqual(counts(3, 0));
    expect(a.shrinkSync()).toBe(2);
    expect(reclaimer.resources.counts).toEqual(counts(2, 1));
    expect(residentOf(rig.device)).toEqual(idsOf([b, c]));
    a.populateSync();
    expect(reclaimer.resources.counts).toEqual(counts(3, 0));
    expect(residentOf(rig.device)).toEqual(idsOf([b, c, a]));
    // A part of its pages is no reason to leave the list.
    rig.swap.failAt(true, 2);
    expect(rig.device.shrinkSync({ pages: 2 })).toBe(1);
    expect(b.residentPages).toBe(1);
    expect(reclaimer.resources.counts).toEqual(counts(3, 0));
    expect(residentOf(rig.device)).toEqual(idsOf([b, c, a]));
    rig.swap.forget();
    expect(rig.device.shrinkSync()).toBe(5);
    expect(reclaimer.resources.counts).toEqual(counts(0, 3));
    for (const bo of [a, b, c]) bo.destroy();
    expect(reclaimer.resources.counts).toEqual(counts(0, 0));
  });

  test("a restore that finds no memory fails by itself: nobody else loses anything", () => {
    using rig = new Rig({ memory: 16, slots: 16 });
    const [a, b] = rig.buffers(2, 8) as [BufferObject, BufferObject];
    a.shrinkSync();
    b.pinSync();
    const [c] = rig.buffers(1, 8) as [BufferObject];
    c.pinSync();
    const before = [rig.snapshot(b.tt), rig.snapshot(c.tt)];
    expect(codeOf(() => a.populateSync())).toBe("ENOMEM");
    expect([rig.snapshot(b.tt), rig.snapshot(c.tt)]).toEqual(before);
    c.unpin();
    rig.expectFilled(a);
    rig.expectFilled(b);
  });

  test("new content leaves a frame or a slot, so that what there is can still be exchanged", () => {
    using rig = new Rig({ memory: 32, slots: 8 });
    const bos: BufferObject[] = [];
    let code: string | undefined;
    while (code === undefined && bos.length < 50) {
      code = codeOf(() => bos.push(...rig.buffers(1, 1)));
    }
    expect(code).toBe("ENOSPC");
    expect(bos.length).toBeGreaterThan(32);
    expect(bos.length).toBeLessThan(32 + 8);
    for (let round = 0; round < 2; round++) for (const bo of bos) rig.expectFilled(bo);
  });

  test("shrinking leaves free memory in as large chunks as it was", () => {
    using rig = new Rig({ memory: 64 });
    const before = rig.global.engine.freeChunks();
    const tt = swapped(rig);
    expect(rig.global.engine.freeChunks()).toEqual(before);
    for (let i = 0; i < 3; i++) {
      populateTtSync(rig.pool, tt);
      expect(rig.orders(tt)).toEqual([4, 1, 0]);
      shrinkTtSync(rig.pool, tt);
    }
    expect(rig.global.engine.freeChunks()).toEqual(before);
  });

  test("a buffer in swap, in whole or in part, is not taken for one without content", () => {
    for (const part of [false, true]) {
      using rig = new Rig();
      const [bo] = rig.buffers(1, 4) as [BufferObject];
      if (part) rig.swap.failAt(true, 3);
      expect(bo.shrinkSync()).toBe(part ? 2 : 4);
      rig.swap.forget();
      expect(bo.tt.swapped).toBe(true);
      bo.writeSync(0, new Uint8Array(PAGE_SIZE)); // one page only
      const bytes = bo.readSync(0, new Uint8Array(bo.size));
      expect(bytes.findIndex((byte) => byte !== 0)).toBe(PAGE_SIZE);
      expect(bytes.subarray(PAGE_SIZE).every((byte) => byte === 1)).toBe(true);
    }
  });

  test("pages that leave one by one are counted one by one", () => {
    using rig = new Rig();
    const total = rig.device.stats().pages.total;
    for (let pages = 1; pages < 19; pages++) {
      const tt = shrunkenBy(rig, pages, { caching: "wc" });
      const { free, pooled } = rig.device.stats().pages;
      expect(free + pooled + 19 - pages).toBe(total);
      expect(rig.global.heldPages).toBe(19 - pages);
      expect(finiTt(rig.pool, tt)).toBe(19 - pages);
      expect(rig.facts()).toMatchObject({ held: 0, broken: undefined });
    }
  });

  test("reclaim lets go of every lock it took, when it fails as well", () => {
    using rig = new Rig({ memory: 16, slots: 32 });
    const bos = rig.buffers(4, 4);
    rig.swap.before = (out, slot) => {
      if (out && slot > 5) throw new Error("no more writes");
    };
    const big = rig.device.createBuffer(16 * PAGE_SIZE);
    expect(codeOf(() => big.populateSync())).toBe("EIO");
    for (const bo of [...bos, big]) expect(bo.tt.lock.held).toBe(false);
    big.destroy();
    for (const bo of bos) rig.expectFilled(bo);
  });

  test("one that cannot be purged now does not end the pass over the others", () => {
    using rig = new Rig();
    const bos = rig.buffers(3, 2);
    for (const bo of bos) bo.advise("dontneed");
    bos[0]?.tt.lock.tryLock();
    expect(rig.device.shrinkSync({ pages: 4 })).toBe(4);
    bos[0]?.tt.lock.unlock();
    expect(bos.map((bo) => bo.residentPages)).toEqual([2, 0, 0]);
    expect(rig.swap.writes).toEqual([]);
  });

  test("a device that is refused has opened no swap, and one that is closed closes it once", () => {
    const memory = 64 * 1024;
    const swap = new Store(16);
    for (const wrong of [
      { watermarks: { min: 3, low: 2, high: 1 } },
      { limits: { pages: -1 } },
      { transferPages: 0 },
      { pool: { orders: [3] } },
    ]) {
      expect(() => createDeviceSync({ memory, swap, ...wrong })).toThrow(RangeError);
    }
    expect([swap.opened, swap.closed]).toEqual([0, 0]);
    const device = createDeviceSync({ memory, swap });
    const sibling = device.createSibling();
    device.closeSync();
    expect([swap.opened, swap.closed]).toEqual([1, 0]);
    sibling.closeSync();
    expect([swap.opened, swap.closed]).toEqual([1, 1]);
    expect(() => sibling.createBuffer(1)).toThrow(TypeError);
  });
});
