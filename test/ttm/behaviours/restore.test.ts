/*
 * Restoring a shrunken tt: where it can stop, what holds then, and that it goes on there. With pages
 * of order 4, 1 and 0, one page a transfer.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  finiTt,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTt,
  shrinkTtSync,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "../../../src/ttm.ts";
import { abortAt, codeOf, codeOfAsync, Rig, type RigOptions, stopAt } from "./rig.ts";

const ONCE = { probability: 100, times: 1 } as const;
const H = (n: number) => "H".repeat(n);
const P = (n: number) => "P".repeat(n);

/** A tt that is all in swap. */
function shrunken(rig: Rig, pages: number, options = {}, pool: Pool = rig.pool): Tt {
  const tt = rig.filled(pages, options, pool);
  expect(shrinkTtSync(pool, tt)).toBe(pages);
  rig.swap.forget();
  return tt;
}

function setup(pages: number, options?: RigOptions): { rig: Rig; tt: Tt; pool: Pool } {
  const rig = new Rig(options);
  return { rig, tt: shrunken(rig, pages), pool: rig.pool };
}

/** Stops a restore before its transfer `k`. */
function stop(rig: Rig, tt: Tt, k: number, pool: Pool = rig.pool): void {
  expect(codeOf(() => populateTtSync(pool, tt, { signal: stopAt(k) }))).toBe("EINTR");
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("restore", () => {
  test("pages are read in ascending order, each once, and slots are freed with their chunk", () => {
    const { rig, tt, pool } = setup(19);
    using _ = rig;
    stop(rig, tt, 18);
    expect(rig.facts().slots).toBe(3);
    populateTtSync(pool, tt);
    expect(rig.swap.reads).toEqual(Array.from({ length: 19 }, (_, i) => i + 1));
    expect(rig.facts().slots).toBe(0);
    rig.expectMarked(tt);
  });

  test("when it ends all is in memory: flags, state and slots are gone", () => {
    const { rig, tt, pool } = setup(19);
    using _ = rig;
    expect(tt.flags & (TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED)).toBe(
      TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED,
    );
    populateTtSync(pool, tt);
    expect(tt).toMatchObject({ populated: true, shrunken: false, swapped: false, resident: 19 });
    expect(tt.restore).toBe(undefined);
    expect(rig.shape(tt)).toBe(P(19));
    rig.expectMarked(tt);
    populateTtSync(pool, tt);
    expect(rig.swap.reads.length).toBe(19);
  });

  test("a chunk is in progress when part of it is read, and only then", () => {
    const { rig, tt, pool } = setup(19);
    using _ = rig;
    for (const [k, cursor, read] of [
      [1, 0, 0],
      [2, 0, 1],
      [16, 0, 15],
      [17, 16, 0],
      [18, 16, 1],
    ] as const) {
      stop(rig, tt, k);
      expect(tt.restore, `stopped before page ${k}`).toMatchObject({ cursor, read });
      expect(rig.shape(tt).includes("h")).toBe(read > 0);
      shrinkTtSync(pool, tt);
      expect(rig.shape(tt)).toBe(H(19));
    }
  });

  test("a page is not to be seen before all of its chunk is read", () => {
    const { rig, tt, pool } = setup(19);
    using _ = rig;
    const handles = rig.entries(tt);
    for (let k = 2; k <= 16; k++) {
      stop(rig, tt, 2); // one more page each time
      expect(rig.shape(tt)).toBe("h".repeat(16) + H(3));
      expect(rig.entries(tt)).toEqual(handles);
      expect(tt.restore).toMatchObject({ cursor: 0, read: k - 1 });
      expect(tt).toMatchObject({ populated: false, resident: 16 });
    }
    stop(rig, tt, 3);
    expect(rig.shape(tt)).toBe(`${P(16)}hh${H(1)}`);
    populateTtSync(pool, tt);
    rig.expectMarked(tt);
    expect(rig.swap.reads.length).toBe(19);
  });

  test("stopped at every page it goes on there, with no page read twice", () => {
    for (let k = 2; k <= 19; k++) {
      using rig = new Rig();
      const tt = shrunken(rig, 19);
      stop(rig, tt, k);
      expect(rig.swap.reads.length).toBe(k - 1);
      populateTtSync(rig.pool, tt);
      expect(rig.swap.reads).toEqual(Array.from({ length: 19 }, (_, i) => i + 1));
      rig.expectMarked(tt);
      expect(rig.facts().slots).toBe(0);
    }
  });

  test("stopped, it keeps its flags, its state and its slots", () => {
    const { rig, tt } = setup(19);
    using _ = rig;
    for (const more of [1, 16]) {
      stop(rig, tt, more + 1);
      expect(tt).toMatchObject({ populated: false, shrunken: true, swapped: true });
      expect(tt.restore).toBeDefined();
    }
    expect(rig.shape(tt)).toBe(`${P(16)}hhH`);
    expect(rig.facts().slots).toBe(3);
  });

  test("a page that cannot be read stops it with that page's error, and keeps its slot", () => {
    for (const code of ["EIO", "ENOMEM", "ENOSPC", "EINTR"] as const) {
      const { rig, tt, pool } = setup(4);
      using _ = rig;
      const entries = rig.entries(tt);
      rig.swap.failAt(false, 3, code);
      expect(codeOf(() => populateTtSync(pool, tt))).toBe(code);
      expect(rig.swap.reads).toEqual([1, 2]);
      expect(rig.entries(tt)).toEqual(entries);
      expect(rig.facts().slots).toBe(4);
      expect(tt.restore).toMatchObject({ cursor: 0, read: 2 });
      populateTtSync(pool, tt);
      expect(rig.swap.reads).toEqual([1, 2, 3, 4]);
      rig.expectMarked(tt);
    }
  });

  test("every attempt reports what stopped that attempt", () => {
    const { rig, tt, pool } = setup(4);
    using _ = rig;
    stop(rig, tt, 2);
    for (const code of ["EIO", "ENOSPC", "ENOMEM"] as const) {
      rig.swap.failAt(false, 1, code);
      expect(codeOf(() => populateTtSync(pool, tt))).toBe(code);
    }
    expect(codeOf(() => populateTtSync(pool, tt, { signal: abortAt(1) }))).toBe("EINTR");
    stop(rig, tt, 2);
    populateTtSync(pool, tt);
    rig.expectMarked(tt);
  });

  test("a chunk of which nothing was read is given back, one read in part is kept", () => {
    const { rig, tt, pool } = setup(16);
    using _ = rig;
    rig.swap.failAt(false, 1);
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("EIO");
    expect(rig.shape(tt)).toBe(H(16));
    expect(tt.resident).toBe(0);
    expect(rig.facts().held).toBe(0);
    rig.swap.failAt(false, 2);
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("EIO");
    expect(rig.shape(tt)).toBe("h".repeat(16));
    expect(rig.facts().held).toBe(16);
  });

  test("a chunk given back takes its mapping with it", () => {
    using rig = new Rig();
    const tt = shrunken(rig, 16, { dma: true });
    rig.swap.failAt(false, 1);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
    expect(rig.facts().mappings).toBe(0);
    rig.swap.failAt(false, 2);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
    expect(rig.global.iommu.pages).toBe(16);
    expect(rig.addresses(tt)[0]).toBe(undefined); // held, not yet the tt's
  });

  test("ENOMEM at a border frees nothing that is there, and a retry goes on there", () => {
    using rig = new Rig();
    const pool = new Pool(rig.global, { orders: [1, 0] });
    const tt = shrunken(rig, 6, {}, pool);
    rig.device.injectFault("alloc", { probability: 100, times: 2, space: 1 });
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("ENOMEM");
    expect(rig.shape(tt)).toBe(`PP${H(4)}`);
    expect(tt.restore).toMatchObject({ cursor: 2, read: 0 });
    const [first, second] = rig.entries(tt);
    populateTtSync(pool, tt);
    expect(rig.entries(tt).slice(0, 2)).toEqual([first, second]);
    expect(rig.swap.reads).toEqual([1, 2, 3, 4, 5, 6]);
    rig.expectMarked(tt);
  });

  test("a restore that could not begin tries the largest order again", () => {
    const { rig, tt, pool } = setup(16);
    using _ = rig;
    rig.device.injectFault("alloc", { probability: 100, times: 5 });
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("ENOMEM");
    expect(tt.restore).toMatchObject({ cursor: 0, read: 0 });
    populateTtSync(pool, tt);
    expect(rig.orders(tt)).toEqual([4]);
  });

  test("after a stop in a small chunk the next one may be larger", () => {
    const { rig, tt, pool } = setup(16);
    using _ = rig;
    rig.device.injectFault("alloc", { probability: 100, times: 3 });
    stop(rig, tt, 2);
    expect(rig.heldOrder(tt, 0)).toBe(1);
    populateTtSync(pool, tt);
    expect(rig.orders(tt)).toEqual([1, 3, 2, 1]);
  });

  test("it takes no memory but its pages: as many free frames are enough, for any order", () => {
    using rig = new Rig({ memory: 512, slots: 512 });
    const tt = shrunken(rig, 512);
    expect(rig.global.engine.freePages).toBe(512);
    stop(rig, tt, 511);
    expect(rig.heldOrder(tt, 0)).toBe(9);
    expect(rig.global.engine.freePages).toBe(0);
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("without memory for all it brings back what it can, and ENOMEM says the rest is missing", () => {
    const { rig, tt, pool } = setup(8, { memory: 16 });
    using _ = rig;
    const other = rig.exhaust(7);
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("ENOMEM");
    // All frames there are, and the slots of what was read are free for others.
    expect(rig.shape(tt)).toBe(P(7) + H(1));
    expect(rig.facts()).toMatchObject({ held: 16, slots: 1 });
    expect(codeOf(() => populateTtSync(pool, tt))).toBe("ENOMEM");
    expect(rig.swap.reads.length).toBe(7);
    finiTt(pool, other);
    populateTtSync(pool, tt);
    rig.expectMarked(tt);
    expect(rig.swap.reads.length).toBe(8);
  });

  test("holes count, whether a stop comes before or after them, and read as zeros", () => {
    for (const [pages, filled] of [
      [4, 3],
      [4, 1],
      [8, 6],
    ] as const) {
      for (let k = 1; k <= filled; k++) {
        using rig = new Rig({ memory: 16 });
        finiTt(rig.pool, rig.filled(16)); // no frame is zero
        const tt = rig.holed(pages, filled);
        expect(rig.shape(tt)).toBe(H(filled) + ".".repeat(pages - filled));
        stop(rig, tt, k);
        populateTtSync(rig.pool, tt);
        rig.expectMarked(tt, filled);
      }
    }
  });

  test("pages that never left stay where they are; nothing is copied for them", () => {
    const { rig, tt, pool } = setup(16);
    using _ = rig;
    populateTtSync(pool, tt);
    rig.swap.failAt(true, 6);
    expect(shrinkTtSync(pool, tt)).toBe(5);
    const before = rig.entries(tt).slice(5);
    rig.swap.forget();
    populateTtSync(pool, tt);
    expect(rig.entries(tt).slice(5)).toEqual(before);
    expect(rig.swap.reads.length).toBe(5);
    rig.expectMarked(tt);
  });

  test("caching that cannot be changed stops it at the very end, and only that is done again", () => {
    using rig = new Rig();
    const tt = shrunken(rig, 4, { caching: "wc" });
    rig.device.injectFault("caching", ONCE);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("ENOMEM");
    expect(tt.restore).toMatchObject({ cursor: 4, read: 0 });
    expect(tt).toMatchObject({ populated: false, shrunken: true });
    expect(rig.shape(tt)).toBe(P(4));
    populateTtSync(rig.pool, tt);
    expect(rig.swap.reads.length).toBe(4);
    expect(tt.restore).toBe(undefined);
    expect(rig.caching(tt)).toEqual([1, 1, 1, 1]);
    rig.expectMarked(tt);
  });

  test("a mapping that fails stops it between two chunks", () => {
    using rig = new Rig();
    const tt = shrunken(rig, 19, { dma: true });
    rig.device.injectFault("map", { ...ONCE, space: 1 });
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EFAULT");
    expect(rig.shape(tt)).toBe(P(16) + H(3));
    expect(rig.global.iommu.pages).toBe(16);
    populateTtSync(rig.pool, tt);
    expect(rig.global.iommu.pages).toBe(19);
    expect(new Set(rig.addresses(tt)).size).toBe(19);
    rig.expectMarked(tt);
  });

  test("what may not be interrupted is not", () => {
    const { rig, tt, pool } = setup(4);
    using _ = rig;
    populateTtSync(pool, tt, { interruptible: false, signal: abortAt(1) });
    rig.expectMarked(tt);
  });

  test("the async form stops and goes on like the sync one", async () => {
    await using rig = new Rig({ async: true });
    const tt = rig.filled(19);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("EWOULDBLOCK");
    expect(await shrinkTt(rig.pool, tt)).toBe(19);
    expect(await codeOfAsync(populateTt(rig.pool, tt, { signal: abortAt(4) }))).toBe("EINTR");
    const read = rig.swap.reads.length;
    expect(read).toBeGreaterThan(0);
    expect(tt.restore).toMatchObject({ cursor: 0, read });
    await populateTt(rig.pool, tt);
    expect(rig.swap.reads).toEqual(Array.from({ length: 19 }, (_, i) => i + 1));
    rig.expectMarked(tt);
  });

  test("the async form lets others run while it works, however fast the device is", async () => {
    const { rig, tt, pool } = setup(19);
    using _ = rig;
    const read = rig.swap.read.bind(rig.swap);
    vi.spyOn(rig.swap, "read").mockImplementation((slot, views) => {
      const end = performance.now() + 10;
      while (performance.now() < end);
      return read(slot, views);
    });
    let readWhenItRan = -1;
    setImmediate(() => {
      readWhenItRan = rig.swap.reads.length;
    });
    await populateTt(pool, tt);
    expect(readWhenItRan).toBeGreaterThanOrEqual(0);
    expect(readWhenItRan).toBeLessThan(19);
  });
});
