/* Throwing content away: counts, states, and that it takes no swap space. */
import { describe, expect, test } from "vitest";
import {
  Pool,
  populateTtSync,
  shrinkTtSync,
  TT_FLAG_DONTNEED,
  type TtOptions,
} from "../../../src/ttm.ts";
import { codeOf, Rig } from "./rig.ts";
import { STATES, swapped } from "./states.ts";

const flags = TT_FLAG_DONTNEED;

/** A populated tt that may be purged. */
function purgeable(rig: Rig, pages: number, options: TtOptions = {}, pool = rig.pool) {
  const tt = rig.filled(pages, options, pool);
  tt.flags |= flags;
  return tt;
}

describe("purge", () => {
  test("pages released are the pages that were held, for every size and order", () => {
    for (const [pages, orders] of [
      [1, [0]],
      [2, [0]],
      [3, [0]],
      [4, [2, 0]],
      [5, [2, 0]],
      [19, [4, 0]],
      [512, [9, 0]],
      [600, [9, 4, 0]],
    ] as const) {
      using rig = new Rig({ memory: 1024 });
      const pool = new Pool(rig.global, { orders });
      for (const dma of [false, true]) {
        const around = [rig.filled(1, {}, pool), rig.filled(1, {}, pool)] as const;
        const tt = purgeable(rig, pages, { dma }, pool);
        expect(shrinkTtSync(pool, tt), `${pages} pages of orders ${orders}`).toBe(pages);
        expect(rig.facts()).toMatchObject({ slots: 0, mappings: 0, broken: undefined });
        expect(rig.swap.writes).toEqual([]);
        for (const other of around) rig.expectMarked(other);
      }
      expect(rig.facts().held).toBe(4);
    }
  });

  test("it needs no swap space: with every slot in use a purge works and a shrink is ENOSPC", () => {
    using rig = new Rig({ slots: 1 });
    shrinkTtSync(rig.pool, rig.filled(1));
    const tt = purgeable(rig, 4);
    expect(shrinkTtSync(rig.pool, tt)).toBe(4);
    const needed = rig.filled(4);
    const before = rig.snapshot(needed);
    expect(codeOf(() => shrinkTtSync(rig.pool, needed))).toBe("ENOSPC");
    expect(rig.snapshot(needed)).toEqual(before);
  });

  test("it empties a tt in every state, and what comes back is zeros", () => {
    for (const [state, make] of STATES) {
      using rig = new Rig();
      const tt = make(rig, { dma: true });
      const { resident, vector } = tt;
      tt.flags |= flags;
      expect(shrinkTtSync(rig.pool, tt), state).toBe(resident);
      expect(tt).toMatchObject({ populated: false, shrunken: false, swapped: false, resident: 0 });
      expect(tt).toMatchObject({ vector: -1, purged: vector >= 0, restore: undefined });
      expect(rig.facts()).toMatchObject({ held: 0, slots: 0, mappings: 0 });
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt, 0);
      expect(tt.purged).toBe(false);
    }
  });

  test("content in swap goes too, at once, although no page is released", () => {
    using rig = new Rig();
    const tt = swapped(rig);
    tt.flags |= flags;
    expect(shrinkTtSync(rig.pool, tt)).toBe(0);
    expect(rig.facts().slots).toBe(0);
    expect(tt.purged).toBe(true);
  });

  test("a purged tt stays purgeable until it is populated, and is not from then on", () => {
    using rig = new Rig();
    const tt = purgeable(rig, 4);
    shrinkTtSync(rig.pool, tt);
    expect(tt.purgeable).toBe(true);
    populateTtSync(rig.pool, tt);
    expect(tt.purgeable).toBe(false);
    rig.mark(tt);
    expect(shrinkTtSync(rig.pool, tt)).toBe(4);
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("no order is left behind: the frames merge into the largest chunk again", () => {
    using rig = new Rig({ memory: 512 });
    const before = rig.global.engine.freeChunks();
    expect(before[9]).toBe(1);
    const tt = purgeable(rig, 300, {}, new Pool(rig.global, { orders: [5, 3, 0] }));
    shrinkTtSync(rig.pool, tt);
    expect(rig.global.engine.freeChunks()).toEqual(before);
    populateTtSync(rig.pool, tt);
    expect(rig.orders(tt)).toEqual([8, 5, 3, 2]);
  });

  test("purged pages go to the system, not to their pool; pages for coherent DMA to theirs", () => {
    using rig = new Rig();
    expect(shrinkTtSync(rig.pool, purgeable(rig, 4, { caching: "wc" }))).toBe(4);
    expect(rig.facts()).toMatchObject({ held: 0, pooled: 0, broken: undefined });
    const pool = new Pool(rig.global, { coherent: true });
    expect(shrinkTtSync(pool, purgeable(rig, 4, { dma: true }, pool))).toBe(4);
    expect(rig.facts()).toMatchObject({ held: 0, pooled: 4, mappings: 1 });
  });

  test("it can be asked for, and asked not to be done", () => {
    using rig = new Rig();
    const tt = rig.filled(4);
    expect(shrinkTtSync(rig.pool, tt, { purge: true })).toBe(4);
    expect(tt.purged).toBe(true);
    const kept = purgeable(rig, 4);
    expect(shrinkTtSync(rig.pool, kept, { purge: false })).toBe(4);
    expect(kept.shrunken).toBe(true);
    populateTtSync(rig.pool, kept);
    rig.expectMarked(kept);
  });
});
