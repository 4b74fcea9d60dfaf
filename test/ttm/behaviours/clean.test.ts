/* Clean pages: restored, not written since, and therefore in swap still. */
import { describe, expect, test } from "vitest";
import { type BufferObject, PAGE_SIZE } from "../../../src/index.ts";
import { finiTt, populateTtSync, shrinkTtSync } from "../../../src/ttm.ts";
import { codeOf, idsOf, Rig, type RigOptions, residentOf } from "./rig.ts";

const ONE = new Uint8Array(1);

/** A buffer of `pages` clean pages, numbered 1. */
function cleanBuffer(pages: number, options?: RigOptions): { rig: Rig; bo: BufferObject } {
  const rig = new Rig({ keepClean: true, ...options });
  const [bo] = rig.buffers(1, pages) as [BufferObject];
  bo.shrinkSync();
  bo.populateSync();
  expect(rig.global.engine.cleanPages).toBe(pages);
  rig.swap.forget();
  return { rig, bo };
}

describe("clean pages", () => {
  test("a restored page keeps its slot, and leaves again without a transfer", () => {
    const { rig, bo } = cleanBuffer(5);
    using _ = rig;
    expect(rig.facts()).toMatchObject({ held: 5, slots: 5 });
    for (let cycle = 1; cycle <= 3; cycle++) {
      expect(bo.shrinkSync()).toBe(5);
      expect(rig.swap.writes).toEqual([]);
      expect(rig.device.stats().pagesClean).toBe(5 * cycle);
      rig.expectFilled(bo);
      expect(rig.facts()).toMatchObject({ held: 5, slots: 5 });
    }
  });

  test("a page that may have been written is none, whether by write or by a mapping to write", () => {
    for (const [how, use, dirty] of [
      ["read", (bo: BufferObject) => bo.readSync(0, ONE), 0],
      ["mapped to read", (bo: BufferObject) => bo.mapSync({ write: false }).unmap(), 0],
      ["written", (bo: BufferObject) => bo.writeSync(PAGE_SIZE, ONE), 1],
      ["written", (bo: BufferObject) => bo.writeSync(PAGE_SIZE - 1, new Uint8Array(2)), 2],
      ["mapped", (bo: BufferObject) => bo.mapSync().unmap(), 5],
    ] as const) {
      const { rig, bo } = cleanBuffer(5);
      using _ = rig;
      use(bo);
      // A part that is written goes back to where it came from.
      expect(rig.facts().slots, how).toBe(dirty < 5 ? 5 : 0);
      expect(bo.shrinkSync()).toBe(5);
      expect(rig.swap.writes.length).toBe(dirty);
    }
  });

  test("a part that was written goes back to the slots it came from", () => {
    const { rig, bo } = cleanBuffer(5);
    using _ = rig;
    const slots = () =>
      Array.from({ length: 5 }, (_, i) => rig.global.engine.shadow(bo.tt.vector + i) >>> 1);
    const before = slots();
    bo.writeSync(PAGE_SIZE, ONE);
    expect(slots()).toEqual(before);
    expect(bo.shrinkSync()).toBe(5);
    expect(rig.swap.writes).toEqual([before[1]]);
    expect(rig.facts().slots).toBe(5);
    bo.populateSync();
    bo.writeSync(0, new Uint8Array(bo.size));
    expect(rig.facts().slots).toBe(0);
  });

  test("pages that never left are none", () => {
    const { rig, bo } = cleanBuffer(4);
    using _ = rig;
    bo.writeSync(0, new Uint8Array(bo.size).fill(1));
    rig.swap.failAt(true, 3);
    expect(bo.shrinkSync()).toBe(2);
    rig.swap.forget();
    bo.populateSync();
    expect(rig.global.engine.cleanPages).toBe(2);
    expect(bo.shrinkSync()).toBe(4);
    expect(rig.swap.writes.length).toBe(2);
    rig.expectFilled(bo);
  });

  test("clean pages leave although those behind them cannot", () => {
    const { rig, bo } = cleanBuffer(4, { slots: 64 });
    using _ = rig;
    bo.writeSync(2 * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(1));
    rig.swap.failAt(true, 1);
    expect(bo.shrinkSync()).toBe(2);
    rig.swap.forget();
    rig.expectFilled(bo);
  });

  test("clean pages leave although no slot is free for those behind them", () => {
    using rig = new Rig({ keepClean: true, slots: 32 });
    const tt = rig.filled(4);
    shrinkTtSync(rig.pool, tt);
    populateTtSync(rig.pool, tt);
    rig.mark(tt, 2, 4);
    const other = rig.filled(rig.global.engine.freeSlots);
    shrinkTtSync(rig.pool, other);
    expect(rig.global.engine.freeSlots).toBe(0);
    expect(shrinkTtSync(rig.pool, tt)).toBe(2);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("ENOSPC");
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("with swap full, slots that hold copies are enough for a reclaim to go on", () => {
    using rig = new Rig({ keepClean: true, memory: 16, slots: 8 });
    const [dirty, clean, away] = rig.buffers(3, 4) as [BufferObject, BufferObject, BufferObject];
    clean.shrinkSync();
    clean.populateSync();
    away.shrinkSync();
    expect(rig.global.engine.freeSlots).toBe(0);
    expect(residentOf(rig.device)).toEqual(idsOf([dirty, clean]));
    const [pinned] = rig.buffers(1, 7) as [BufferObject];
    pinned.pinSync();
    // One frame and no slot is free; but four slots hold copies of pages that are in memory.
    const [last] = rig.buffers(1, 4) as [BufferObject];
    expect(last.residentPages).toBe(4);
    expect(dirty.residentPages + clean.residentPages).toBe(4);
    last.destroy();
    for (const bo of [dirty, clean, away]) rig.expectFilled(bo);
  });

  test("when slots run short clean pages give theirs up, and none is lost by it", () => {
    const { rig, bo } = cleanBuffer(8, { slots: 16 });
    using _ = rig;
    const tt = rig.filled(16);
    expect(shrinkTtSync(rig.pool, tt)).toBe(16);
    expect(rig.global.engine.cleanPages).toBe(0);
    rig.expectFilled(bo);
    finiTt(rig.pool, tt);
    expect(bo.shrinkSync()).toBe(8);
    rig.expectFilled(bo);
  });

  test("as long as no slot is lacking all of them may be such", () => {
    using rig = new Rig({ keepClean: true, slots: 16 });
    const tts = Array.from({ length: 8 }, () => rig.filled(2));
    for (const tt of tts) shrinkTtSync(rig.pool, tt);
    expect(rig.global.engine.freeSlots).toBe(0);
    for (const tt of tts) populateTtSync(rig.pool, tt);
    // The first came while every slot held all that there was of a page.
    expect(rig.global.engine.cleanPages).toBeGreaterThanOrEqual(12);
    rig.swap.forget();
    for (const tt of tts.slice(2)) shrinkTtSync(rig.pool, tt);
    expect(rig.swap.writes).toEqual([]);
    for (const tt of tts.slice(2)) populateTtSync(rig.pool, tt);
    for (const tt of tts) rig.expectMarked(tt);
  });

  test("pages of a write-combined tt with DMA addresses leave for free as well", () => {
    using rig = new Rig({ keepClean: true });
    const tt = rig.filled(19, { caching: "wc", dma: true });
    shrinkTtSync(rig.pool, tt);
    for (const pages of [19, 2]) {
      populateTtSync(rig.pool, tt);
      expect(rig.global.iommu.pages).toBe(19);
      expect(new Set(rig.addresses(tt)).size).toBe(19);
      rig.swap.forget();
      rig.mark(tt, 0, 19 - pages);
      expect(shrinkTtSync(rig.pool, tt)).toBe(19);
      expect(rig.swap.writes.length).toBe(19 - pages);
      expect(rig.facts().mappings).toBe(0);
    }
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("clean pages are mapped once, whatever came between two attempts to restore", () => {
    for (const shrink of [false, true]) {
      using rig = new Rig({ keepClean: true });
      const tt = rig.filled(19, { dma: true });
      shrinkTtSync(rig.pool, tt);
      rig.swap.failAt(false, 18);
      expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
      expect(tt.restore).toMatchObject({ cursor: 16, read: 1 });
      expect(rig.global.iommu.pages).toBe(18);
      // Takes back the chunk in progress, and then nothing leaves.
      rig.device.injectFault("slot", { probability: 100 });
      if (shrink) expect(shrinkTtSync(rig.pool, tt)).toBe(2);
      rig.device.injectFault("slot", {});
      populateTtSync(rig.pool, tt);
      expect(rig.global.iommu.pages).toBe(19);
      expect(new Set(rig.addresses(tt)).size).toBe(19);
      rig.expectMarked(tt);
    }
  });

  test("clean pages that stayed behind are mapped once when the others come back", () => {
    using rig = new Rig({ keepClean: true });
    const tt = rig.filled(19, { dma: true });
    shrinkTtSync(rig.pool, tt);
    populateTtSync(rig.pool, tt);
    expect(shrinkTtSync(rig.pool, tt, { pages: 1 })).toBe(16);
    expect(rig.global.engine.cleanPages).toBe(3);
    rig.device.injectFault("map", { probability: 100, times: 1, space: 1 });
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EFAULT");
    populateTtSync(rig.pool, tt);
    expect(rig.global.iommu.pages).toBe(19);
    expect(new Set(rig.addresses(tt)).size).toBe(19);
    rig.expectMarked(tt);
  });
});
