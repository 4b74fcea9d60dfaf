/*
 * Pools: chunks that are given keep their caching and are cleared, and come back before the allocator
 * is asked. And the caching of a vector's pages: which are changed, in how many runs.
 */
import { describe, expect, test } from "vitest";
import {
  ALLOCATED,
  BATCH_PAGES_MAX,
  CACHED,
  EINVAL,
  ENOMEM,
  H_POOLED,
  MAX_ORDER,
  PAGE_SIZE,
  POOL_TYPES_MAX,
  POOLED,
  UNCACHED,
  WRITE_COMBINED,
} from "../../assembly/abi.ts";
import { Random } from "../support/random.ts";
import {
  EngineUnderTest,
  equal,
  forAll,
  type How,
  how,
  isPage,
  must,
  program,
  U32_MAX,
} from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  fillSingly,
  leaveFree,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

const WC: How = { type: 0, caching: WRITE_COMBINED };
const UC: How = { type: 1, caching: UNCACHED };
const NO_CHUNKS = new Array<number>(MAX_ORDER + 1).fill(0);

function engine(frames = 64): EngineUnderTest {
  return new EngineUnderTest({ frames, slots: 64, entries: 128, ram: true });
}

/** A new vector of which every page has a caching and content. */
function filled(e: EngineUnderTest, entries: number, options: How): Vector {
  const v = newVector(e, entries);
  fillAll(e, v, options);
  const changed = e.wasm.vectorCaching(v.vector, entries, 0, options.caching ?? CACHED);
  must(changed >= 0, "vectorCaching");
  stampVector(e, v, entries);
  return v;
}

/** Drops and frees a vector; its chunks go where these options say. Returns the pages freed. */
function drop(e: EngineUnderTest, { vector, entries }: Vector, options: How): number {
  const freed = e.wasm.vectorDrop(vector, entries, how(options));
  equal(e.wasm.vectorFree(vector, entries), 0, "vectorFree");
  e.mustHold("vectorDrop");
  return freed;
}

/** A list of chunk counts: `counts[i]` of order i. */
function chunks(...counts: number[]): number[] {
  return NO_CHUNKS.map((none, order) => counts[order] ?? none);
}

function pfnsOf(e: EngineUnderTest, { vector, entries }: Vector): number[] {
  return Array.from({ length: entries }, (_, i) => e.entry(vector + i) / PAGE_SIZE);
}

describe("a chunk that is given to a pool", () => {
  test("is kept there, cleared and with its caching", () => {
    const e = engine();
    const v = filled(e, 23, WC);
    const pfns = pfnsOf(e, v);
    const { changes } = e;
    expect(drop(e, v, WC)).toBe(23);
    expect(e.pooled(0)).toEqual(chunks(1, 1, 1, 0, 1));
    expect(e.header(H_POOLED)).toBe(23);
    expect(e.freePages).toBe(64 - 23);
    expect(e.changes).toEqual(changes);
    for (const pfn of pfns) {
      expect(e.caching(pfn)).toBe(WRITE_COMBINED);
      expect(e.page(pfn * PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
    }
    for (const type of [1, 2, POOL_TYPES_MAX - 1]) expect(e.pooled(type)).toEqual(NO_CHUNKS);
  });

  test("is the first to come back for its type and order, and needs no other caching", () => {
    const e = engine();
    const vectors = [4, 4, 2].map((entries) => filled(e, entries, WC));
    const first = vectors.map((v) => e.entry(v.vector));
    for (const v of vectors) drop(e, v, WC);
    const { changes } = e;
    // The one given last is taken first.
    const again = [4, 2, 4].map((entries) => filled(e, entries, WC));
    expect(again.map((v) => e.entry(v.vector))).toEqual([first[1], first[2], first[0]]);
    expect(e.pooled(0)).toEqual(NO_CHUNKS);
    expect(e.header(H_POOLED)).toBe(0);
    expect(e.changes).toEqual(changes);
    e.mustHold("taking from a pool");
    // Then it is the allocator's turn.
    const more = filled(e, 4, WC);
    expect(first).not.toContain(e.entry(more.vector));
    expect(e.changes.pages).toBe(changes.pages + 4);
  });

  test("reads as zeros, also where the caller keeps what was there", () => {
    const e = engine();
    drop(e, filled(e, 8, WC), WC);
    const v = newVector(e, 8);
    fillAll(e, v, { ...WC, overwriteFrom: 0, overwriteTo: 8 });
    expect(e.page(e.entry(v.vector), 8).every((byte) => byte === 0)).toBe(true);
  });

  test("is for its type alone: others, and those without one, do not get it", () => {
    const e = engine(16);
    const v = filled(e, 16, WC);
    const w = newVector(e, 16);
    drop(e, v, WC);
    for (const options of [{}, UC, { ...WC, type: 2 }, { ...WC, type: POOL_TYPES_MAX - 1 }]) {
      e.mustRefuse(ENOMEM, "fillPrepare", () => prepareFill(e, w, 0, options));
    }
    e.mustRefuse(ENOMEM, "allocPages", () => e.wasm.allocPages(0));
    fillAll(e, w, WC);
    expect(chunksOf(e, w)).toEqual([16]);
  });

  test("is taken whole, at its order: the allocator has larger ones first", () => {
    const e = engine();
    drop(e, filled(e, 4, WC), WC);
    const v = newVector(e, 15);
    fillAll(e, v, WC);
    expect(chunksOf(e, v)).toEqual([8, 4, 2, 1]);
    expect(e.caching(e.entry(v.vector) / PAGE_SIZE)).toBe(CACHED);
    expect(e.caching(e.entry(v.vector + 8) / PAGE_SIZE)).toBe(WRITE_COMBINED);
    expect(e.pooled(0)).toEqual(NO_CHUNKS);
    const all = newVector(e, 8);
    drop(e, filled(e, 4, WC), WC);
    fillAll(e, all, { ...WC, orders: [3, 0] });
    expect(e.pooled(0)).toEqual(chunks(0, 0, 1));
    e.mustHold("populate");
  });

  test("is no chunk of the allocator's meanwhile", () => {
    const e = engine(8);
    const { wasm } = e;
    const v = filled(e, 4, WC);
    const w = filled(e, 4, {});
    const [pfn] = pfnsOf(e, v) as [number];
    const [other] = pfnsOf(e, w) as [number];
    drop(e, v, WC);
    expect(e.state(pfn)).toBe(POOLED);
    e.mustRefuse(EINVAL, "givePages", () => wasm.givePages(pfn, 2));
    for (let i = 0; i < 4; i++) {
      e.mustRefuse(EINVAL, "pageCopy from it", () => wasm.pageCopy(other, pfn + i));
      e.mustRefuse(EINVAL, "pageCopy to it", () => wasm.pageCopy(pfn + i, other));
      expect(wasm.pageChecksum(pfn + i)).toBe(0);
    }
    // Its buddy does not merge with it.
    drop(e, w, {});
    expect(e.freeChunks()).toEqual(chunks(0, 0, 1));
    expect(wasm.allocPages(3)).toBe(-ENOMEM);
    expect(wasm.poolShrink(0, 2)).toBe(pfn);
    expect(e.freeChunks()).toEqual(chunks(0, 0, 0, 1));
    e.mustHold("poolShrink");
  });

  test("is one of the 36 types that there are", () => {
    const e = engine();
    for (let type = 0; type < POOL_TYPES_MAX; type++) drop(e, filled(e, 1, { type }), { type });
    for (let type = 0; type < POOL_TYPES_MAX; type++) expect(e.pooled(type)).toEqual(chunks(1));
    expect(e.header(H_POOLED)).toBe(POOL_TYPES_MAX);
    const v = filled(e, 2, {});
    for (const type of [POOL_TYPES_MAX, 254]) {
      const refuse = () => e.wasm.vectorDrop(v.vector, 2, how({ type }));
      e.mustRefuse(EINVAL, `vectorDrop to type ${type}`, refuse);
    }
  });
});

describe("what does not go to a pool", () => {
  test.each([
    ["pages of another caching", WC, { type: 0, caching: UNCACHED }],
    ["pages that are to be cached", UC, { type: 1, caching: CACHED }],
    ["pages without a type", UC, { caching: UNCACHED }],
    ["pages of a caching that there is not", WC, { type: 0, caching: 3 }],
  ])("%s go to the system as cached, which counts", (_, made, options) => {
    const e = engine();
    const v = filled(e, 7, made);
    const pfns = pfnsOf(e, v);
    expect(e.changes).toEqual({ pages: 7, runs: 1 });
    expect(drop(e, v, options)).toBe(7);
    expect(e.changes).toEqual({ pages: 14, runs: 4 });
    expect(e.header(H_POOLED)).toBe(0);
    expect(e.freePages).toBe(64);
    for (const pfn of pfns) expect(e.caching(pfn)).toBe(CACHED);
  });

  test("cached pages go there without a change", () => {
    const e = engine();
    drop(e, filled(e, 7, {}), WC);
    expect(e.changes).toEqual({ pages: 0, runs: 0 });
    expect(e.freePages).toBe(64);
  });

  test("the pages that a shrink moves are cached again, those that stay are not", () => {
    const e = engine();
    const v = filled(e, 8, WC);
    const pfns = pfnsOf(e, v);
    e.putItems([{ ...v, start: 0 }]);
    expect(e.wasm.shrinkPrepare(1, BATCH_PAGES_MAX)).toBe(8);
    expect(e.wasm.ramTransfer(1)).toBe(8);
    expect(e.wasm.shrinkCommit(1, 3)).toBe(3);
    e.mustHold("shrinkCommit");
    pfns.forEach((pfn, i) => {
      equal(e.caching(pfn), i < 3 ? CACHED : WRITE_COMBINED, `caching of page ${i}`);
    });
    expect(e.changes.pages).toBe(8 + 3);
    expect(drop(e, v, WC)).toBe(5);
    expect(e.pooled(0)).toEqual(chunks(5));
  });
});

describe("a fill that is given up", () => {
  test("gives a pooled chunk back to its pool, cleared, and the others to the system", () => {
    const e = engine();
    const v = newVector(e, 12);
    fillAll(e, v);
    stampVector(e, v, 1);
    shrinkAll(e, [v]);
    drop(e, filled(e, 8, WC), WC);
    expect(prepareFill(e, v, 0, WC)).toBe(12);
    expect(e.pooled(0)).toEqual(NO_CHUNKS);
    e.mustHold("fillPrepare");
    const held = e.shadow(v.vector);
    readIn(e, e.extents(), 0, 5);
    expect(e.wasm.fillCommit(v.vector, 12, 0, 0, 12, 0, how(WC))).toBe(0);
    e.mustHold("fillCommit");
    expect(e.pooled(0)).toEqual(chunks(0, 0, 0, 1));
    expect(e.freePages).toBe(64 - 8);
    expect(e.page(held, 8).every((byte) => byte === 0)).toBe(true);
  });

  test("by a drop, too", () => {
    const e = engine();
    drop(e, filled(e, 8, WC), WC);
    const v = newVector(e, 12);
    expect(prepareFill(e, v, 0, WC)).toBe(12);
    expect(drop(e, v, WC)).toBe(12);
    expect(e.pooled(0)).toEqual(chunks(0, 0, 0, 1));
    expect(e.freePages).toBe(64 - 8);
  });

  // The extents of the last prepare still name the chunk: a late transfer writes to a pooled page.
  test("leaves nothing that a late transfer could write to", () => {
    const e = engine();
    const v = newVector(e, 8);
    fillAll(e, v);
    stampVector(e, v, 1);
    shrinkAll(e, [v]);
    drop(e, filled(e, 8, WC), WC);
    expect(prepareFill(e, v, 0, WC)).toBe(8);
    expect(e.wasm.fillCommit(v.vector, 8, 0, 0, 8, 0, how(WC))).toBe(0);
    e.wasm.ramTransfer(0);
    e.mustHold("ramTransfer");
  });
});

describe("poolShrink and poolCount", () => {
  test("free one chunk of an order to the system, the one given last", () => {
    const e = engine();
    const vectors = [4, 1, 4, 4].map((entries) => filled(e, entries, UC));
    const given = vectors.map((v) => e.entry(v.vector) / PAGE_SIZE);
    for (const v of vectors) drop(e, v, UC);
    expect(e.wasm.poolCount(1, 2)).toBe(3);
    const { changes } = e;
    const left = [given[3]!, given[2]!, given[0]!];
    left.forEach((pfn, i) => {
      equal(e.wasm.poolShrink(1, 2), pfn, "poolShrink");
      equal(e.wasm.poolCount(1, 2), 2 - i, "poolCount");
      equal(e.freePages, 64 - 13 + 4 * (i + 1), "free pages");
      for (let page = 0; page < 4; page++) equal(e.caching(pfn + page), CACHED, "caching");
      e.mustHold("poolShrink");
    });
    expect(e.changes).toEqual({ pages: changes.pages + 12, runs: changes.runs + 3 });
    e.mustRefuse(ENOMEM, "poolShrink", () => e.wasm.poolShrink(1, 2));
    expect(e.pooled(1)).toEqual(chunks(1));
    expect(e.header(H_POOLED)).toBe(1);
    expect(e.wasm.poolShrink(1, 0)).toBe(given[1]);
    expect(e.freeChunks()).toEqual(chunks(0, 0, 0, 0, 0, 0, 1));
  });

  test("refuse types and orders that there are not", () => {
    const e = engine();
    for (const [type, order] of [
      [POOL_TYPES_MAX, 0],
      [0, MAX_ORDER + 1],
      [U32_MAX, 0],
      [0, U32_MAX],
      [2 ** 31, 2 ** 31],
    ] as const) {
      e.mustRefuse(EINVAL, "poolShrink", () => e.wasm.poolShrink(type, order));
      e.mustRefuse(EINVAL, "poolCount", () => e.wasm.poolCount(type, order));
    }
    e.mustRefuse(ENOMEM, "poolShrink", () => e.wasm.poolShrink(POOL_TYPES_MAX - 1, MAX_ORDER));
  });
});

describe("vectorCaching", () => {
  test("changes the pages that lie side by side as one run, and those that have it not at all", () => {
    const e = engine();
    const v = newVector(e, 23);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([16, 4, 2, 1]);
    const caching = (start: number, to: number) => e.wasm.vectorCaching(v.vector, 23, start, to);
    expect(caching(0, WRITE_COMBINED)).toBe(23);
    expect(e.changes).toEqual({ pages: 23, runs: 1 });
    expect(caching(0, WRITE_COMBINED)).toBe(0);
    expect(caching(16, UNCACHED)).toBe(7);
    expect(e.changes).toEqual({ pages: 30, runs: 2 });
    expect(caching(0, UNCACHED)).toBe(16);
    expect(caching(23, CACHED)).toBe(0);
    expect(e.changes).toEqual({ pages: 46, runs: 3 });
    for (const pfn of pfnsOf(e, v)) expect(e.caching(pfn)).toBe(UNCACHED);
    e.mustHold("vectorCaching");
  });

  test("changes no page that is elsewhere, held or another's", () => {
    const e = engine();
    const w = newVector(e, 4);
    fillAll(e, w);
    const v = newVector(e, 12);
    fillSingly(e, v, [0, 1, 2, 3, 4, 5]);
    shrinkAll(e, [v]);
    fillSingly(e, v, [1, 2, 4]);
    // Entry 0 is held, 3 and 5 are handles, the others are empty.
    expect(prepareFill(e, v, 0, { orders: [0], budget: 1 })).toBe(1);
    const held = e.shadow(v.vector) / PAGE_SIZE;
    expect(e.wasm.vectorCaching(v.vector, 12, 0, WRITE_COMBINED)).toBe(3);
    const changed = Array.from({ length: 64 }, (_, i) => e.firstPfn + i).filter((pfn) => {
      return e.caching(pfn) !== CACHED;
    });
    const mine = [1, 2, 4].map((i) => e.entry(v.vector + i) / PAGE_SIZE);
    expect(changed).toEqual(mine.sort((a, b) => a - b));
    expect(e.state(held)).toBe(ALLOCATED);
    e.mustHold("vectorCaching");
    dropAll(e, [v, w]);
  });

  test("takes as many runs as there are stretches of memory to change", () => {
    forAll(program(1), 200, ([word]) => {
      const dice = new Random(word!);
      const e = engine();
      const some = (percent: number, end: number) =>
        Array.from({ length: end }, (_, i) => i).filter(() => dice.percent(percent));
      leaveFree(e, some(80, 64));
      const v = newVector(e, Math.min(e.freePages, 40));
      fillSingly(e, v, some(90, v.entries));
      for (const i of some(40, v.entries)) {
        if (!isPage(e.entry(v.vector + i))) continue;
        equal(e.wasm.vectorCaching(v.vector + i, 1, 0, UNCACHED), 1, "vectorCaching of one");
      }
      const { pages, runs } = e.changes;
      let [changed, expected] = [0, 0];
      let last = 0;
      for (const pfn of pfnsOf(e, v)) {
        const wants = pfn >= e.firstPfn && e.caching(pfn) !== UNCACHED;
        if (wants) changed++;
        if (wants && pfn !== last + 1) expected++;
        last = wants ? pfn : 0;
      }
      equal(e.wasm.vectorCaching(v.vector, v.entries, 0, UNCACHED), changed, "pages changed");
      equal(e.changes.pages - pages, changed, "pages counted");
      equal(e.changes.runs - runs, expected, "runs counted");
      e.mustHold("vectorCaching");
    });
  });

  test("refuses vectors, starts and cachings that there are not", () => {
    const e = engine();
    const { vector } = filled(e, 7, {});
    for (const [entries, start, caching] of [
      [7, 0, 3],
      [7, 0, U32_MAX],
      [7, 8, WRITE_COMBINED],
      [7, U32_MAX, WRITE_COMBINED],
      [0, 0, WRITE_COMBINED],
      [8, 0, WRITE_COMBINED],
      [U32_MAX, 0, WRITE_COMBINED],
    ] as const) {
      e.mustRefuse(EINVAL, `vectorCaching of ${entries} from ${start}`, () =>
        e.wasm.vectorCaching(vector, entries, start, caching),
      );
    }
  });

  // A chunk of two cachings breaks its pool: only the first page is looked at.
  test("refuses to change a part of a chunk", () => {
    const e = engine();
    const v = filled(e, 8, WC);
    for (const [entries, start] of [
      [8, 4],
      [4, 0],
    ] as const) {
      e.mustRefuse(EINVAL, `vectorCaching of ${entries} from ${start}`, () =>
        e.wasm.vectorCaching(v.vector, entries, start, UNCACHED),
      );
    }
    expect(drop(e, v, WC)).toBe(8);
  });
});
