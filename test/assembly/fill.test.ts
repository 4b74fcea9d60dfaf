/* Populate: every entry of a vector gets a page, cleared, in chunks as large as memory allows. */
import { describe, expect, test } from "vitest";
import {
  BATCH_PAGES_MAX,
  EINVAL,
  ENOMEM,
  EXTENTS_MAX,
  PAGE_SIZE,
  POOL_TYPES_MAX,
} from "../../assembly/abi.ts";
import { EngineUnderTest, equal, how, isPage, must, U32_MAX } from "./engine_under_test.ts";
import {
  chunksOf,
  dirtyFrames,
  dropAll,
  fillAll,
  fillSingly,
  leaveFree,
  newVector,
  prepareFill,
  shrinkAll,
  type Vector,
} from "./page_content.ts";

function mustBeAll(
  e: EngineUnderTest,
  { vector }: Vector,
  from: number,
  to: number,
  byte: number,
): void {
  for (let i = from; i < to; i++) {
    const entry = e.entry(vector + i);
    must(isPage(entry), `entry ${i} is no page`);
    must(
      e.page(entry).every((at) => at === byte),
      `the page of entry ${i} is not all ${byte}`,
    );
  }
}

describe("the content of a new page", () => {
  test.each([0, 1, 9])("is zeros on frames that were used before, orders up to %i", (orderMax) => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    dirtyFrames(e);
    const v = newVector(e, 51);
    fillAll(e, v, { orderMax });
    mustBeAll(e, v, 0, 51, 0);
    dropAll(e, [v]);
  });

  test("is zeros on fresh frames, on used ones, and on both in one chunk", () => {
    for (let used = 0; used <= 16; used++) {
      const e = new EngineUnderTest({ frames: 16, slots: 1, entries: 16 });
      const pfns = Array.from({ length: used }, () => e.wasm.allocPages(0));
      for (const pfn of pfns) e.page(pfn * PAGE_SIZE).fill(0xa5);
      for (const pfn of pfns) expect(e.wasm.givePages(pfn, 0)).toBe(0);
      const v = newVector(e, 16);
      fillAll(e, v);
      expect(chunksOf(e, v)).toEqual([16]);
      mustBeAll(e, v, 0, 16, 0);
    }
  });

  test.each([0, 2, 9])("is not touched on fresh frames, orders up to %i", (orderMax) => {
    const e = new EngineUnderTest({ frames: 16, slots: 1, entries: 16 });
    const used = Array.from({ length: 6 }, () => e.wasm.allocPages(0));
    for (const pfn of used) expect(e.wasm.givePages(pfn, 0)).toBe(0);
    e.page(e.firstPfn * PAGE_SIZE, 16).fill(0xa5);
    const v = newVector(e, 16);
    fillAll(e, v, { orderMax });
    mustBeAll(e, v, 0, 6, 0);
    mustBeAll(e, v, 6, 16, 0xa5);
  });

  test("stays what it was where the caller keeps it, and only there", () => {
    for (const [overwriteFrom, overwriteTo] of [
      [0, 21],
      [0, 1],
      [3, 17],
      [16, 21],
      [20, 21],
      [7, 7],
      [9, 4],
      [21, 40],
      [5, U32_MAX],
    ] as const) {
      const e = new EngineUnderTest({ frames: 32, slots: 1, entries: 32 });
      dirtyFrames(e);
      newVector(e, 3); // so that offsets in the vector are not entry numbers
      const v = newVector(e, 21);
      fillAll(e, v, { overwriteFrom, overwriteTo });
      for (let i = 0; i < 21; i++) {
        mustBeAll(e, v, i, i + 1, i >= overwriteFrom && i < overwriteTo ? 0xa5 : 0);
      }
    }
  });

  test("is cleared again when a held chunk was given back in between", () => {
    const e = new EngineUnderTest({ frames: 8, slots: 1, entries: 8 });
    const v = newVector(e, 8);
    expect(prepareFill(e, v, 0)).toBe(8);
    e.page(e.shadow(v.vector), 8).fill(0xa5);
    expect(e.wasm.fillCommit(v.vector, 8, 0, 0, 8, 0, 0)).toBe(0);
    expect(e.freePages).toBe(8);
    fillAll(e, v);
    mustBeAll(e, v, 0, 8, 0);
  });
});

describe("the chunks", () => {
  test.each([
    [1, [1]],
    [19, [16, 2, 1]],
    [64, [64]],
    [531, [512, 16, 2, 1]],
    [600, [512, 64, 16, 8]],
    [1535, [512, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]],
  ])("of %i entries in unfragmented memory: %j, side by side", (entries, chunks) => {
    const e = new EngineUnderTest({ frames: 2048, slots: 1, entries: 2048 });
    const v = newVector(e, entries);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual(chunks);
    expect(e.wasm.vectorExtents(v.vector, entries, 0, entries)).toBe(entries);
    expect(e.extents().length).toBe(1);
    expect(e.freePages).toBe(2048 - entries);
    e.mustHold("populate");
    dropAll(e, [v]);
    expect(e.freePages).toBe(2048);
  });

  test.each([
    ["one whole chunk", [8, 9, 10, 11, 12, 13, 14, 15], [8]],
    ["a chunk, a pair and a page", [0, 1, 2, 3, 8, 9, 13], [4, 2, 1]],
    ["pairs", [2, 3, 8, 9, 30, 31], [2, 2, 2]],
    ["no two that are buddies", [1, 2, 5, 6, 9, 10], [1, 1, 1, 1, 1, 1]],
    ["every other page", [0, 2, 4, 6, 8, 10, 12], [1, 1, 1, 1, 1, 1, 1]],
  ])("fall in order with what is free: %s", (_, free, chunks) => {
    const e = new EngineUnderTest({ frames: 32, slots: 1, entries: 32 });
    leaveFree(e, free);
    const v = newVector(e, free.length);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual(chunks);
    expect(e.freePages).toBe(0);
    e.mustHold("populate");
  });

  test("lie behind the one before them when that place is free, not where the list begins", () => {
    const e = new EngineUnderTest({ frames: 32, slots: 1, entries: 32 });
    leaveFree(e, [4, 5, 6, 7, 8, 9, 12, 13]);
    const v = newVector(e, 6);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([4, 2]);
    const pfns = Array.from({ length: 6 }, (_, i) => e.entry(v.vector + i) / PAGE_SIZE);
    expect(pfns.map((pfn) => pfn - e.firstPfn)).toEqual([4, 5, 6, 7, 8, 9]);
  });

  test("are no larger than the caller allows", () => {
    for (let orderMax = 0; orderMax <= 9; orderMax++) {
      const e = new EngineUnderTest({ frames: 1024, slots: 1, entries: 1024 });
      const v = newVector(e, 600);
      fillAll(e, v, { orderMax });
      equal(Math.max(...chunksOf(e, v)), 1 << orderMax, `largest chunk of ${orderMax}`);
    }
  });

  test.each([
    ["[9, 4, 0]", [9, 4, 0], 600, [512, 16, 16, 16, 16, 16, 1, 1, 1, 1, 1, 1, 1, 1]],
    ["[0]", [0], 5, [1, 1, 1, 1, 1]],
    ["[1, 0]", [1, 0], 5, [2, 2, 1]],
    ["[3]", [3], 16, [8, 8]],
  ])("have only the orders that the caller allows: %s", (_, orders, entries, chunks) => {
    const e = new EngineUnderTest({ frames: 1024, slots: 1, entries: 1024 });
    const v = newVector(e, entries);
    fillAll(e, v, { orders });
    expect(chunksOf(e, v)).toEqual(chunks);
    e.mustHold("populate");
  });

  test("skip orders that are not allowed when memory is in pieces", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const block = (at: number, pages: number) => Array.from({ length: pages }, (_, i) => at + i);
    // One chunk each of 16, 8, 4 and 2 pages.
    leaveFree(e, [...block(16, 16), ...block(40, 8), ...block(52, 4), ...block(62, 2)]);
    const v = newVector(e, 30);
    fillAll(e, v, { orders: [9, 4, 0] });
    expect(chunksOf(e, v)).toEqual([16, ...new Array(14).fill(1)]);
    expect(e.freePages).toBe(0);
    e.mustHold("populate");
  });

  test("cannot be had without an order that fits", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const v = newVector(e, 13);
    for (const orders of [[], [4], [9, 5]]) {
      e.mustRefuse(ENOMEM, `fillPrepare with ${orders}`, () => prepareFill(e, v, 0, { orders }));
    }
    expect(prepareFill(e, v, 0, { orders: [4, 2] })).toBe(12);
    expect(e.wasm.fillCommit(v.vector, 13, 0, 0, 12, 12, 0)).toBe(12);
    e.mustRefuse(ENOMEM, "fillPrepare of the rest", () => prepareFill(e, v, 12, { orders: [1] }));
  });

  test("go round the pages that are there already", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const v = newVector(e, 16);
    fillSingly(e, v, [3, 9]);
    const kept = [e.entry(v.vector + 3), e.entry(v.vector + 9)];
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([2, 1, 1, 4, 1, 1, 4, 2]);
    expect([e.entry(v.vector + 3), e.entry(v.vector + 9)]).toEqual(kept);
    e.mustHold("populate");
  });
});

describe("the window of one prepare", () => {
  test("ends at the first chunk border past its budget", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const v = newVector(e, 27);
    const back = e.snapshot();
    const borders = [16, 24, 26, 27];
    for (let budget = 1; budget <= 40; budget++) {
      const covered = prepareFill(e, v, 0, { budget });
      expect(covered).toBe(borders.find((border) => border >= Math.min(budget, 27)));
      e.mustHold("fillPrepare");
      back();
    }
  });

  test("ends there too where chunks of one order are taken as a run", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const v = newVector(e, 28);
    const back = e.snapshot();
    for (const order of [0, 1, 2]) {
      const pages = 1 << order;
      for (let budget = 1; budget <= 40; budget++) {
        const covered = prepareFill(e, v, 0, { budget, orders: [order] });
        equal(covered, Math.min(Math.ceil(budget / pages) * pages, 28), `covered of ${budget}`);
        const held = chunksOf(e, v).filter((chunk) => chunk > 0);
        expect(held).toEqual(new Array(covered / pages).fill(pages));
        equal(e.freePages, 64 - covered, "free pages");
        e.mustHold("fillPrepare");
        back();
      }
    }
  });

  test("ends where memory does, and begins again when some is freed", () => {
    const e = new EngineUnderTest({ frames: 16, slots: 1, entries: 32 });
    const v = newVector(e, 20);
    const taken = e.wasm.allocPages(3);
    expect(prepareFill(e, v, 0)).toBe(8);
    expect(e.wasm.fillCommit(v.vector, 20, 0, 0, 8, 8, 0)).toBe(8);
    e.mustRefuse(ENOMEM, "fillPrepare without memory", () => prepareFill(e, v, 8));
    expect(e.wasm.givePages(taken, 3)).toBe(0);
    expect(prepareFill(e, v, 8)).toBe(8);
    expect(e.wasm.fillCommit(v.vector, 20, 8, 0, 8, 8, 0)).toBe(8);
    expect(prepareFill(e, v, 0)).toBe(16);
    e.mustRefuse(ENOMEM, "fillPrepare without memory", () => prepareFill(e, v, 16));
    dropAll(e, [v]);
    expect(e.freePages).toBe(16);
  });

  test("covers the largest batch and a chunk more, within the exchange area", () => {
    const e = new EngineUnderTest({ frames: 4096, slots: 4096, entries: 4096, ram: true });
    const v = newVector(e, 4096);
    fillAll(e, v);
    shrinkAll(e, [v]);
    fillSingly(e, v, [0]);
    const covered = prepareFill(e, v, 0);
    expect(covered).toBe(1 + BATCH_PAGES_MAX);
    expect(e.extents().length).toBeLessThanOrEqual(EXTENTS_MAX);
    e.mustHold("fillPrepare");
  });
});

describe("what is refused", () => {
  const engine = () => {
    const e = new EngineUnderTest({ frames: 64, slots: 64, entries: 64, ram: true });
    return { e, v: newVector(e, 21) };
  };
  const mustRefuseStart = (e: EngineUnderTest, { vector, entries }: Vector, start: number) => {
    e.mustRefuse(EINVAL, `fillPrepare at ${start}`, () =>
      e.wasm.fillPrepare(vector, entries, start, 0, 9, how(), 0, 0),
    );
    e.mustRefuse(EINVAL, `fillCommit at ${start}`, () =>
      e.wasm.fillCommit(vector, entries, start, 0, 1, 1, 0),
    );
  };

  test("arguments out of range", () => {
    const { e, v } = engine();
    const { wasm } = e;
    const all = how();
    const noType = how({ type: POOL_TYPES_MAX });
    for (const [vector, entries, start, done, budget, flags] of [
      [v.vector, 21, 21, 0, 1, all],
      [v.vector, 21, U32_MAX, 0, 1, all],
      [v.vector, 21, 0, 0, 0, all],
      [v.vector, 21, 0, 0, BATCH_PAGES_MAX + 1, all],
      [v.vector, 21, 0, 0, U32_MAX, all],
      [v.vector, 21, 0, 0, 1, noType],
      [v.vector, 21, 0, 0, 1, U32_MAX],
      [v.vector, 21, 0, 1, 1, all],
      [v.vector, 22, 0, 0, 1, all],
      [v.vector, 0, 0, 0, 1, all],
      [21, 1, 0, 0, 1, all],
      [U32_MAX, 2, 0, 0, 1, all],
      [1, U32_MAX, 0, 0, 1, all],
    ] as const) {
      e.mustRefuse(EINVAL, "fillPrepare", () =>
        wasm.fillPrepare(vector, entries, start, done, budget, flags, 0, 0),
      );
    }
    for (const [start, done, covered, read, flags] of [
      [0, 0, 0, 0, all],
      [0, 0, 22, 0, all],
      [20, 0, 2, 0, all],
      [0, 0, 5, 6, all],
      [0, 1, 5, 5, all],
      [0, 0, 5, 5, noType],
      [0, 0, 5, 5, U32_MAX],
      [U32_MAX, 0, 1, 1, all],
    ] as const) {
      e.mustRefuse(EINVAL, "fillCommit", () =>
        wasm.fillCommit(v.vector, 21, start, done, covered, read, flags),
      );
    }
  });

  test("a start inside a chunk", () => {
    const { e, v } = engine();
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([16, 4, 1]);
    for (let start = 0; start < 21; start++) {
      if (start === 0 || start === 16 || start === 20) continue;
      mustRefuseStart(e, v, start);
    }
  });

  test("a start inside a chunk that is held", () => {
    const { e, v } = engine();
    expect(prepareFill(e, v, 0)).toBe(21);
    for (let start = 0; start < 21; start++) {
      if (start === 0 || start === 16 || start === 20) continue;
      mustRefuseStart(e, v, start);
    }
    expect(e.wasm.check()).toBe(0);
  });

  // Only the start is looked at: a prepare covers more entries than a commit then takes.
  test("an end inside a chunk, visible or held", () => {
    const { e, v } = engine();
    expect(prepareFill(e, v, 0)).toBe(21);
    for (const entries of [1, 8, 15, 17, 19]) {
      const part = { vector: v.vector, entries };
      e.mustRefuse(EINVAL, `fillPrepare of ${entries}`, () => prepareFill(e, part, 0));
      const commit = () => e.wasm.fillCommit(v.vector, entries, 0, 0, 1, 1, 0);
      e.mustRefuse(EINVAL, `fillCommit of ${entries}`, commit);
    }
    expect(e.wasm.fillCommit(v.vector, 21, 0, 0, 21, 21, 0)).toBe(21);
    e.mustRefuse(EINVAL, "fillPrepare of 4", () => prepareFill(e, { ...v, entries: 4 }, 0));
  });

  test("a start inside a chunk whose page was once a chunk of the same entry", () => {
    const { e, v } = engine();
    fillAll(e, v, { orderMax: 0 });
    expect(e.wasm.vectorDrop(v.vector, 21, 0)).toBe(21);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([16, 4, 1]);
    for (const start of [1, 2, 8, 15, 17, 19]) mustRefuseStart(e, v, start);
  });

  test("more entries done than the held chunk has", () => {
    const { e, v } = engine();
    expect(prepareFill(e, v, 0)).toBe(21);
    const prepare = (done: number) => e.wasm.fillPrepare(v.vector, 21, 0, done, 21, how(), 0, 0);
    const commit = (done: number) => e.wasm.fillCommit(v.vector, 21, 0, done, 21, 21, 0);
    for (const done of [16, 17, 21, 2 ** 31, U32_MAX]) {
      e.mustRefuse(EINVAL, `fillPrepare with ${done} done`, () => prepare(done));
      e.mustRefuse(EINVAL, `fillCommit with ${done} done`, () => commit(done));
    }
    expect(e.wasm.fillCommit(v.vector, 21, 0, 0, 21, 15, 0)).toBe(0);
    for (const done of [16, 17, 21, 2 ** 31, U32_MAX]) {
      e.mustRefuse(EINVAL, `fillPrepare with ${done} done`, () => prepare(done));
    }
    expect(prepare(15)).toBe(21);
    expect(commit(15)).toBe(21);
  });
});
