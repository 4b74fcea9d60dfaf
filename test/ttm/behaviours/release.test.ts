/* Free, unpopulate and destroy: in every state, and nothing is left behind. */
import { describe, expect, test } from "vitest";
import { createDeviceSync } from "../../../src/index.ts";
import {
  finiTt,
  kmapTt,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTt,
  shrinkTtSync,
  Tt,
  unpopulateTt,
} from "../../../src/ttm.ts";
import { codeOf, codeOfAsync, Rig, stopAt } from "./rig.ts";
import { STATES, stopped, uncached } from "./states.ts";

const NOTHING = { held: 0, slots: 0, mappings: 0, broken: undefined };

describe("release", () => {
  test("fini leaves nothing behind, in every state of a plain tt", () => {
    for (const [state, make] of STATES) {
      using rig = new Rig();
      const tt = make(rig);
      const { resident } = tt;
      expect(finiTt(rig.pool, tt), state).toBe(resident);
      expect(rig.facts(), state).toMatchObject(NOTHING);
      expect(tt).toMatchObject({ populated: false, shrunken: false, swapped: false, resident: 0 });
      expect(tt.restore).toBe(undefined);
      expect(finiTt(rig.pool, tt)).toBe(0);
    }
  });

  test("fini leaves nothing behind, in every state of a write-combined tt with DMA addresses", () => {
    for (const [state, make] of STATES) {
      using rig = new Rig();
      const options = { caching: "wc", dma: true } as const;
      const tt = make(rig, options);
      finiTt(rig.pool, tt);
      expect(rig.facts(), state).toMatchObject(NOTHING);
      // And what the pools have got is good for the next one.
      const next = rig.filled(19, options);
      rig.expectMarked(next);
      expect(rig.caching(next)).toEqual(Array.from({ length: 19 }, () => 1));
    }
  });

  test("a vector of pages, handles and holes is emptied entry by entry", () => {
    using rig = new Rig();
    const tt = rig.holed(8, 5);
    expect(rig.shape(tt)).toBe("HHHHH...");
    rig.swap.failAt(false, 5);
    expect(codeOf(() => populateTtSync(new Pool(rig.global, { orders: [1, 0] }), tt))).toBe("EIO");
    expect(rig.shape(tt)).toBe("PPPPH...");
    expect(finiTt(rig.pool, tt)).toBe(4);
    expect(rig.facts()).toMatchObject(NOTHING);
  });

  test("a chunk in progress is given back whole, with the slots of its read pages too", () => {
    using rig = new Rig();
    const tt = stopped(rig, 5);
    expect(rig.shape(tt)).toBe(`${"h".repeat(16)}HHH`);
    expect(rig.facts()).toMatchObject({ held: 16, slots: 19 });
    expect(finiTt(rig.pool, tt)).toBe(16);
    expect(rig.facts()).toMatchObject(NOTHING);
  });

  test("cached pages go to the system, the others to the pool of their caching and order", () => {
    using rig = new Rig();
    for (const [caching, name] of [
      ["wc", "wc"],
      ["uc", "uc"],
    ] as const) {
      const tt = rig.filled(19, { caching, dma: true });
      expect(unpopulateTt(rig.pool, tt)).toBe(19);
      expect(rig.pooled(name)).toEqual({ 0: 1, 1: 1, 4: 1 });
      expect(rig.facts().mappings).toBe(0);
    }
    const pooled = rig.facts().pooled;
    finiTt(rig.pool, rig.filled(19));
    expect(rig.facts().pooled).toBe(pooled);
  });

  test("pages whose caching was never applied go to the system, as what they are", () => {
    using rig = new Rig();
    const tt = uncached(rig, { caching: "uc" });
    expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 0));
    finiTt(rig.pool, tt);
    expect(rig.facts().pooled).toBe(0);
  });

  test("pools are drained to their limit as soon as something is freed", () => {
    using rig = new Rig({ limits: { pagePoolSize: 6 } });
    const pool = new Pool(rig.global, { orders: [0] });
    const tt = rig.filled(19, { caching: "wc" }, pool);
    unpopulateTt(pool, tt);
    expect(rig.facts().pooled).toBe(6);
    rig.global.limits.pagePoolSize = 2;
    finiTt(rig.pool, rig.filled(1));
    expect(rig.facts().pooled).toBe(2);
    expect(rig.facts().held).toBe(0);
  });

  test("unpopulate frees a populated tt, and does nothing to one that is not", () => {
    for (const [state, make] of STATES) {
      using rig = new Rig();
      const tt = make(rig);
      const { populated } = tt;
      const before = rig.snapshot(tt);
      expect(unpopulateTt(rig.pool, tt), state).toBe(populated ? 19 : 0);
      if (populated) expect(tt).toMatchObject({ populated: false, resident: 0, vector: -1 });
      else expect(rig.snapshot(tt)).toEqual(before);
    }
  });

  test("a tt of foreign pages is populated and unpopulated without a page of ours", () => {
    using rig = new Rig();
    const tt = rig.tt(3, { sg: [4096, 12288, 8192] });
    const before = rig.snapshot(tt);
    populateTtSync(rig.pool, tt);
    expect(tt).toMatchObject({ populated: true, resident: 0 });
    expect(rig.addresses(tt)).toEqual([4096, 12288, 8192]);
    expect(rig.facts()).toMatchObject(NOTHING);
    expect(unpopulateTt(rig.pool, tt)).toBe(0);
    expect(rig.snapshot(tt)).toEqual(before);
  });

  test("a fresh tt that never was anything has nothing to free", () => {
    using rig = new Rig();
    const tt = new Tt(4);
    expect(tt).toMatchObject({ vector: -1, resident: 0, restore: undefined, flags: 0 });
    expect(finiTt(rig.pool, tt)).toBe(0);
    expect(rig.swap.writes.length + rig.swap.reads.length).toBe(0);
  });

  test("what was freed is another's at once, and shows nothing of it", () => {
    using rig = new Rig({ memory: 16 });
    for (const caching of ["wc", "wc", "cached", "wc"] as const) {
      const tt = rig.tt(16, { caching });
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt, 0);
      rig.mark(tt);
      finiTt(rig.pool, tt);
    }
  });

  test("an operation on a tt in use is refused, and the lock is let go of after every end", () => {
    using rig = new Rig();
    const tt = rig.filled(4);
    tt.lock.tryLock();
    for (const run of [populateTtSync, shrinkTtSync]) {
      expect(codeOf(() => run(rig.pool, tt))).toBe("EBUSY");
    }
    tt.lock.unlock();
    rig.swap.failAt(true, 1);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("EIO");
    expect(tt.lock.held).toBe(false);
    shrinkTtSync(rig.pool, tt);
    expect(codeOf(() => populateTtSync(rig.pool, tt, { signal: stopAt(1) }))).toBe("EINTR");
    expect(tt.lock.held).toBe(false);
  });

  test("one that is being worked on is not freed under the worker's hands", async () => {
    await using rig = new Rig({ async: true, memory: 16 });
    const tt = rig.filled(8);
    await shrinkTt(rig.pool, tt);
    let other: Tt | undefined;
    rig.swap.before = () => {
      // A read is in flight.
      rig.swap.before = undefined;
      codeOf(() => finiTt(rig.pool, tt));
      other = rig.filled(8);
    };
    await codeOfAsync(populateTt(rig.pool, tt));
    rig.expectMarked(other as Tt);
    expect(rig.facts().broken).toBe(undefined);
  });

  test("whichever pool is named, pages go back to the one they are from, and are counted there", () => {
    using rig = new Rig({ memory: 1024, dma32: "2 MiB" });
    const low = new Pool(rig.global, { dma32: true });
    const coherent = new Pool(rig.global, { coherent: true });
    const tt = rig.tt(16, { caching: "wc" });
    populateTtSync(low, tt);
    expect(rig.global.allocated).toEqual({ pages: 16, dma32Pages: 16 });
    finiTt(rig.pool, tt);
    expect(rig.global.allocated).toEqual({ pages: 0, dma32Pages: 0 });
    expect([rig.pooled("wc"), rig.pooled("wc 32")]).toEqual([{}, { 4: 1 }]);
    // A restore that is resumed, too, goes on in the pool of what it has.
    const other = rig.filled(16, { dma: true });
    shrinkTtSync(rig.pool, other);
    expect(codeOf(() => populateTtSync(rig.pool, other, { signal: stopAt(5) }))).toBe("EINTR");
    populateTtSync(coherent, other);
    rig.expectMarked(other);
    expect(shrinkTtSync(coherent, other)).toBe(16); // its pages are not coherent
    rig.swap.forget();
    populateTtSync(rig.pool, other);
    finiTt(coherent, other);
    coherent.close();
    low.close();
    rig.global.poolShrinker.drain(0);
    expect(rig.facts()).toMatchObject({ ...NOTHING, pooled: 0 });
  });

  test("a pool of another memory is a TypeError, whatever is asked, and nothing changes", async () => {
    using rig = new Rig();
    using foreign = createDeviceSync({ memory: "64 KiB" });
    const pool = new Pool(foreign.global);
    const tt = rig.filled(5);
    const before = rig.snapshot(tt);
    for (const ask of [
      () => populateTtSync(pool, tt),
      () => shrinkTtSync(pool, tt),
      () => finiTt(pool, tt),
      () => unpopulateTt(pool, tt),
      () => kmapTt(pool, tt),
      () => populateTtSync({} as Pool, tt),
      () => populateTtSync(rig.pool, {} as Tt),
    ]) {
      expect(ask).toThrow(TypeError);
    }
    await expect(populateTt(pool, tt)).rejects.toThrow(/memory of another device/);
    await expect(shrinkTt(pool, tt)).rejects.toThrow(TypeError);
    expect(rig.snapshot(tt)).toEqual(before);
    shrinkTtSync(rig.pool, tt);
    expect(() => populateTtSync(pool, tt)).toThrow(TypeError); // its slots are here, too
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });
});
