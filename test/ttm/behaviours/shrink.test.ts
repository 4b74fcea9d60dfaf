/* Shrinking a tt: what leaves, in which order, and what holds when it stops. */
import { describe, expect, test } from "vitest";
import {
  finiTt,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTtSync,
  swapoutTt,
  swapoutTtSync,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
} from "../../../src/ttm.ts";
import { codeOf, codeOfAsync, Rig, stopAt } from "./rig.ts";
import { STATES, shrunkenBy, stopped } from "./states.ts";

const ONCE = { probability: 100, times: 1 } as const;
const H = (n: number) => "H".repeat(n);
const P = (n: number) => "P".repeat(n);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe("shrink", () => {
  test("all pages leave in index order, into slots side by side", () => {
    using rig = new Rig();
    const tt = rig.filled(19);
    expect(shrinkTtSync(rig.pool, tt)).toBe(19);
    expect(rig.swap.writes).toEqual(upTo(19));
    expect(rig.entries(tt)).toEqual(upTo(19).map((slot) => slot * 2 + 1));
    expect(rig.facts()).toMatchObject({ held: 0, slots: 19 });
    expect(tt).toMatchObject({ populated: false, shrunken: true, swapped: true, resident: 0 });
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("pages for coherent DMA are EBUSY, and untouched", () => {
    using rig = new Rig();
    const pool = new Pool(rig.global, { coherent: true });
    const tt = rig.filled(5, { caching: "wc" }, pool);
    const before = rig.snapshot(tt);
    expect(codeOf(() => shrinkTtSync(pool, tt))).toBe("EBUSY");
    expect(rig.snapshot(tt)).toEqual(before);
    expect(rig.swap.writes).toEqual([]);
  });

  test("pages that are not ours are EBUSY, to purge as well, unless they are mappable", () => {
    using rig = new Rig();
    const flags = TT_FLAG_EXTERNAL;
    for (const tt of [rig.filled(2, { flags }), rig.tt(2, { sg: [4096, 8192] })]) {
      populateTtSync(rig.pool, tt);
      const before = rig.snapshot(tt);
      for (const purge of [false, true]) {
        expect(codeOf(() => shrinkTtSync(rig.pool, tt, { purge }))).toBe("EBUSY");
      }
      expect(codeOf(() => swapoutTtSync(rig.pool, tt))).toBe("EBUSY");
      expect(rig.snapshot(tt)).toEqual(before);
    }
    const tt = rig.filled(2, { flags: flags | TT_FLAG_EXTERNAL_MAPPABLE });
    expect(shrinkTtSync(rig.pool, tt)).toBe(2);
  });

  test("with nothing to release it is 0, and nothing changes", () => {
    using rig = new Rig();
    for (const tt of [rig.tt(3), rig.filled(3)]) {
      if (tt.populated) shrinkTtSync(rig.pool, tt);
      const before = rig.snapshot(tt);
      expect(shrinkTtSync(rig.pool, tt)).toBe(0);
      expect(rig.snapshot(tt)).toEqual(before);
    }
  });

  test("when not one page leaves, the tt is as it was: caching, mappings, orders, flags", () => {
    for (const fail of ["slots", "write", "slot fault", "signal"] as const) {
      using rig = new Rig({ slots: fail === "slots" ? 1 : 64 });
      if (fail === "slots") shrinkTtSync(rig.pool, rig.filled(1));
      const tt = rig.filled(19, { caching: "wc", dma: true });
      const before = rig.snapshot(tt);
      const caching = rig.device.stats().caching;
      if (fail === "write") rig.swap.failAt(true, 1);
      if (fail === "slot fault") rig.device.injectFault("slot", ONCE);
      const signal = stopAt(fail === "signal" ? 1 : 1e9);
      const code = { slots: "ENOSPC", write: "EIO", "slot fault": "ENOSPC", signal: "EINTR" }[fail];
      expect(
        codeOf(() => shrinkTtSync(rig.pool, tt, { signal })),
        fail,
      ).toBe(code);
      expect(rig.snapshot(tt)).toEqual(before);
      expect(rig.device.stats().caching).toEqual(caching);
      expect(rig.orders(tt)).toEqual([4, 1, 0]);
      rig.expectMarked(tt);
    }
  });

  test("between two chunks of a restore, too, nothing changes when not one page leaves", () => {
    for (const [state, make] of STATES) {
      for (const keepClean of [false, true]) {
        using rig = new Rig({ keepClean });
        const tt = make(rig, { dma: true });
        if (!tt.restore || tt.restore.read > 0) continue;
        rig.mark(tt, 0, tt.restore.cursor); // or they would leave for free
        const before = rig.snapshot(tt);
        rig.swap.failAt(true, 1);
        expect(
          codeOf(() => shrinkTtSync(rig.pool, tt)),
          state,
        ).toBe("EIO");
        expect(rig.snapshot(tt)).toEqual(before);
        rig.swap.forget();
        populateTtSync(rig.pool, tt);
        expect(rig.global.iommu.pages).toBe(19);
        rig.expectMarked(tt);
      }
    }
  });

  test("a failure stops it: what has left stays away, what follows keeps its chunks", () => {
    for (const code of ["EIO", "ENOSPC", "ENOMEM"] as const) {
      using rig = new Rig();
      const tt = rig.filled(19);
      rig.swap.failAt(true, 6, code);
      expect(shrinkTtSync(rig.pool, tt)).toBe(5);
      expect(rig.shape(tt)).toBe(H(5) + P(14));
      expect(rig.orders(tt)).toEqual([...Array.from({ length: 11 }, () => 0), 1, 0]);
      expect(rig.facts()).toMatchObject({ held: 14, slots: 5 });
      expect(tt).toMatchObject({ populated: false, shrunken: true, swapped: true, resident: 14 });
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt);
    }
  });

  test("the code of a failure is told when nothing was released, whichever it is", () => {
    for (const code of ["EIO", "ENOSPC", "ENOMEM", "EINTR"] as const) {
      using rig = new Rig();
      const tt = rig.filled(2);
      rig.swap.failAt(true, 1, code);
      expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe(code);
    }
  });

  test("a chunk leaves whole, and is split only when a part of it could not", () => {
    using rig = new Rig({ memory: 32 });
    const tt = rig.filled(16);
    rig.swap.failAt(true, 1);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("EIO");
    expect(rig.orders(tt)).toEqual([4]);
    rig.swap.failAt(true, 16);
    expect(shrinkTtSync(rig.pool, tt)).toBe(15);
    expect(rig.orders(tt)).toEqual([0]);
    rig.swap.forget();
    expect(shrinkTtSync(rig.pool, tt)).toBe(1);
    expect(rig.global.engine.freeChunks()[5]).toBe(1);
    // All at once: write-back is restored in one run, not page by page.
    const wc = rig.filled(16, { caching: "wc" });
    const { runs } = rig.device.stats().caching;
    expect(shrinkTtSync(rig.pool, wc)).toBe(16);
    expect(rig.device.stats().caching.runs).toBe(runs + 1);
  });

  test("with a part of the slots it needs a chunk leaves in part", () => {
    using rig = new Rig({ slots: 11 });
    const tt = rig.filled(19);
    expect(shrinkTtSync(rig.pool, tt)).toBe(11);
    expect(rig.shape(tt)).toBe(H(11) + P(8));
    expect(rig.orders(tt)).toEqual([0, 0, 0, 0, 0, 1, 0]);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("ENOSPC");
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("asked for some pages, it stops at the next chunk border", () => {
    using rig = new Rig();
    const tt = rig.filled(19);
    expect(shrinkTtSync(rig.pool, tt, { pages: 1 })).toBe(16);
    expect(rig.shape(tt)).toBe(H(16) + P(3));
    expect(shrinkTtSync(rig.pool, tt, { pages: 1 })).toBe(2);
    expect(shrinkTtSync(rig.pool, tt, { pages: 1 })).toBe(1);
  });

  test("one that is partly in swap can be shrunk further, and again", () => {
    using rig = new Rig();
    const tt = shrunkenBy(rig, 5);
    rig.swap.failAt(true, 4);
    expect(shrinkTtSync(rig.pool, tt)).toBe(3);
    expect(rig.shape(tt)).toBe(H(8) + P(11));
    rig.swap.forget();
    expect(shrinkTtSync(rig.pool, tt)).toBe(11);
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("in the middle of a restore it takes back what that had taken, and nothing is lost", () => {
    for (const [state, make] of STATES) {
      if (!state.startsWith("stopped")) continue;
      using rig = new Rig();
      const tt = make(rig, { caching: "wc", dma: true });
      const { resident } = tt;
      expect(resident).toBeGreaterThan(0);
      expect(shrinkTtSync(rig.pool, tt), state).toBe(resident);
      expect(rig.shape(tt)).toBe(H(19));
      expect(tt.restore).toBe(undefined);
      expect(rig.facts()).toMatchObject({ held: 0, slots: 19, mappings: 0 });
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt);
    }
  });

  test("the chunk in progress counts, even when nothing else can leave", () => {
    using rig = new Rig({ slots: 19 });
    const tt = stopped(rig, 4);
    rig.swap.failAt(true, 1);
    expect(shrinkTtSync(rig.pool, tt)).toBe(16);
    expect(rig.facts()).toMatchObject({ held: 0, slots: 19 });
    rig.swap.forget();
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("pages that leave are write-back, those that stay keep their caching", () => {
    using rig = new Rig({ memory: 32 });
    const tt = shrunkenBy(rig, 5, { caching: "uc" });
    expect(rig.caching(tt)).toEqual(Array.from({ length: 14 }, () => 2));
    expect(rig.facts()).toMatchObject({ pooled: 0, broken: undefined }); // free pages are write-back
    const before = rig.device.stats().caching.pages;
    populateTtSync(rig.pool, tt);
    expect(rig.device.stats().caching.pages).toBe(before + 5);
    expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 2));
  });

  test("once a page has left no page is mapped for DMA; a restore maps all of them anew", () => {
    using rig = new Rig();
    const tt = shrunkenBy(rig, 5, { dma: true });
    expect(rig.facts().mappings).toBe(0);
    expect(new Set(rig.addresses(tt))).toEqual(new Set([undefined]));
    populateTtSync(rig.pool, tt);
    expect(rig.global.iommu.pages).toBe(19);
    expect(new Set(rig.addresses(tt)).size).toBe(19);
  });

  test("it takes no frame, whoever asks for it", () => {
    for (const kswapd of [false, true]) {
      using rig = new Rig({ memory: 16 });
      const bo = rig.device.createBuffer("64 KiB");
      bo.writeSync(0, new Uint8Array(bo.size).fill(7));
      expect(rig.global.engine.freePages).toBe(0);
      const free: number[] = [];
      rig.swap.before = () => free.push(rig.global.engine.freePages);
      expect(rig.global.shrinkers.shrinkSync(rig.global, 16, kswapd).released).toBe(16);
      expect(free).toEqual(Array.from({ length: 16 }, () => 0));
      expect(rig.global.engine.freePages).toBe(16);
      bo.destroy();
    }
  });

  test("a page of zeros takes neither slot nor transfer, and comes back as a hole does", () => {
    using rig = new Rig();
    const tt = rig.tt(8);
    populateTtSync(rig.pool, tt);
    rig.mark(tt, 3, 5);
    expect(shrinkTtSync(rig.pool, tt)).toBe(8);
    expect(rig.shape(tt)).toBe("...HH...");
    expect(rig.swap.writes.length).toBe(2);
    expect(rig.global.stats).toMatchObject({ pagesOut: 2, pagesZero: 6 });
    expect(tt).toMatchObject({ shrunken: true, swapped: true, resident: 0 });
    populateTtSync(rig.pool, tt);
    expect(rig.swap.reads.length).toBe(2);
    expect(rig.words(tt, 3).some((word) => word !== 0)).toBe(true);
    for (const page of [0, 1, 2, 5, 6, 7])
      expect(rig.words(tt, page).every((w) => w === 0)).toBe(true);
  });

  test("with swap full, pages of zeros leave wherever they stand", () => {
    using rig = new Rig({ slots: 8 });
    shrinkTtSync(rig.pool, rig.filled(8));
    const tt = rig.tt(8);
    populateTtSync(rig.pool, tt);
    rig.mark(tt, 0, 1);
    rig.mark(tt, 6, 7);
    expect(shrinkTtSync(rig.pool, tt)).toBe(6);
    expect(rig.shape(tt)).toBe("P.....P.");
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("ENOSPC");
    populateTtSync(rig.pool, tt);
    expect(tt).toMatchObject({ populated: true, resident: 8 });
  });

  test("swapout moves all of it or nothing", () => {
    using rig = new Rig();
    const tt = rig.filled(19, { caching: "wc", dma: true });
    for (const k of [1, 4, 19]) {
      rig.swap.failAt(true, k, "ENOSPC");
      expect(codeOf(() => swapoutTtSync(rig.pool, tt))).toBe("ENOSPC");
      expect(tt).toMatchObject({ populated: true, resident: 19 });
      expect(rig.global.iommu.pages).toBe(19);
      rig.expectMarked(tt);
    }
    rig.swap.forget();
    expect(swapoutTtSync(rig.pool, tt)).toBe(19);
    expect(rig.shape(tt)).toBe(H(19));
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("swapout is not interrupted by a signal that comes when all of it is out", () => {
    using rig = new Rig();
    const tt = rig.filled(19);
    shrinkTtSync(rig.pool, tt);
    expect(codeOf(() => populateTtSync(rig.pool, tt, { signal: stopAt(17) }))).toBe("EINTR");
    expect(tt.resident).toBe(16);
    expect(swapoutTtSync(rig.pool, tt, { signal: stopAt(17) })).toBe(16);
    expect(rig.shape(tt)).toBe(H(19));
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("an interrupted swapout, too, moves all of it or nothing", () => {
    for (let k = 1; k <= 20; k++) {
      using rig = new Rig();
      const tt = rig.filled(19);
      const code = codeOf(() => swapoutTtSync(rig.pool, tt, { signal: stopAt(k) }));
      expect(rig.shape(tt), `stopped before page ${k}`).toBe(code === "EINTR" ? P(19) : H(19));
      expect(tt.populated).toBe(code === "EINTR");
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt);
    }
  });

  test("a swapout that fails is taken back before anybody gets its frames or its tt", async () => {
    for (const k of [1, 9, 16]) {
      await using rig = new Rig({ memory: 32, async: true });
      const [tt, rest] = [rig.filled(16), rig.filled(16)];
      const eager = rig.tt(8);
      rig.swap.failAt(true, k, "ENOSPC");
      const swapout = codeOfAsync(swapoutTt(rig.pool, tt));
      const waiting = codeOfAsync(populateTt(rig.pool, tt));
      const codes = new Set<string | undefined>();
      let ended = false;
      const others = (async () => {
        while (!ended) {
          codes.add(await codeOfAsync(populateTt(rig.pool, eager)));
          await Promise.resolve();
        }
      })();
      expect(await swapout).toBe("ENOSPC");
      ended = true;
      await Promise.all([waiting, others]);
      expect(codes).toEqual(new Set(["ENOMEM"]));
      expect(tt).toMatchObject({ populated: true, resident: 16 });
      rig.expectMarked(tt);
      rig.expectMarked(rest);
      finiTt(rig.pool, rest);
    }
  });

  test("a page that cannot be read back leaves the tt shrunken, with both errors told", () => {
    using rig = new Rig();
    const tt = rig.filled(8);
    let writes = 0;
    rig.swap.before = (out) => {
      if (!out) throw Object.assign(new Error("cannot be read"), { code: "EIO" });
      if (++writes === 4) throw Object.assign(new Error("full"), { code: "ENOSPC" });
    };
    expect(() => swapoutTtSync(rig.pool, tt)).toThrow(
      expect.objectContaining({ code: "ENOSPC", cause: expect.objectContaining({ code: "EIO" }) }),
    );
    expect(tt).toMatchObject({ populated: false, shrunken: true, resident: 5 });
    rig.swap.forget();
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });
});
