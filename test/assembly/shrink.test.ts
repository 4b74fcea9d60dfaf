/*
 * Shrink without a host: RAM swap is the store. What every prepare and every commit(n) must leave
 * behind, over all n.
 */
import { describe, expect, test } from "vitest";
import {
  BATCH_PAGES_MAX,
  EINVAL,
  ENOSPC,
  EXTENTS_MAX,
  H_MOVING,
  H_RUN,
  ITEMS_MAX,
  PAGE_SIZE,
} from "../../assembly/abi.ts";
import { DEBUGGING, EngineUnderTest, equal, isPage, must, U32_MAX } from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  fillSingly,
  mustDropClean,
  mustHaveStamp,
  mustHaveStamps,
  newVector,
  shrinkAll,
  stampVector,
  type Vector,
  writeOut,
} from "./page_content.ts";

interface Moving {
  /** Entry that holds the page. */
  readonly entry: number;
  readonly address: number;
  readonly stamp: number;
}

interface Batch {
  readonly e: EngineUnderTest;
  readonly vectors: readonly Vector[];
  readonly stamps: readonly (readonly number[])[];
  /** All pages of the vectors, in the order in which a shrink visits them. */
  readonly pages: readonly Moving[];
}

/** Vectors of whole chunks, of single pages, with holes, and one that is empty. */
function makeBatch(): Batch {
  const e = new EngineUnderTest({ frames: 64, slots: 80, entries: 96, ram: true });
  const vectors = [19, 7, 5, 3, 8].map((entries) => newVector(e, entries));
  const [a, b, holes, , singles] = vectors as [Vector, Vector, Vector, Vector, Vector];
  fillAll(e, a);
  fillAll(e, b);
  fillSingly(e, holes, [1, 3]);
  fillAll(e, singles, { orderMax: 0 });
  const stamps = vectors.map((v, i) => stampVector(e, v, 77 + i));
  const pages = vectors.flatMap(({ vector, entries }, v) =>
    Array.from({ length: entries }, (_, i) => {
      return { entry: vector + i, address: e.entry(vector + i), stamp: stamps[v]![i]! };
    }).filter(({ address }) => isPage(address)),
  );
  e.mustHold("populate");
  return { e, vectors, stamps, pages };
}

function prepare(e: EngineUnderTest, vectors: readonly Vector[], budget: number): number {
  e.putItems(vectors.map((v) => ({ ...v, start: 0 })));
  return e.wasm.shrinkPrepare(vectors.length, budget);
}

/** The extents name exactly these pages, in order, each with the slot reserved for it. */
function mustNameExactly(e: EngineUnderTest, pages: readonly Moving[]): number[] {
  const extents = e.extents();
  let at = 0;
  const slots: number[] = [];
  for (const extent of extents) {
    equal(extent.at, at, "pages before the extent");
    for (let i = 0; i < extent.pages; i++, at++) {
      const page = pages[at];
      must(page !== undefined, "an extent names more pages than were prepared");
      equal(extent.address + i * PAGE_SIZE, page.address, `address of page ${at}`);
      equal(extent.index + i, page.entry, `entry of page ${at}`);
      equal(e.shadow(page.entry), (extent.slot + i) << 1, `slot of page ${at}`);
      slots.push(extent.slot + i);
    }
  }
  equal(at, pages.length, "pages named");
  for (let i = 1; i < extents.length; i++) {
    const [left, right] = [extents[i - 1]!, extents[i]!];
    const joined =
      left.address + left.pages * PAGE_SIZE === right.address &&
      left.slot + left.pages === right.slot &&
      left.index + left.pages === right.index;
    must(!joined, `extents ${i - 1} and ${i} should be one`);
  }
  return slots;
}

/** The first `moved` pages are handles, the others are where they were with the same bytes. */
function mustHaveMoved(batch: Batch, slots: readonly number[], moved: number): void {
  const { e, pages } = batch;
  pages.forEach(({ entry, address, stamp }, i) => {
    equal(e.shadow(entry), 0, `shadow of page ${i}`);
    if (i < moved) {
      equal(e.entry(entry), (slots[i]! << 1) | 1, `handle of page ${i}`);
      mustHaveStamp(e.slot(slots[i]!), stamp, `slot of page ${i}`);
    } else {
      equal(e.entry(entry), address, `page ${i}`);
      mustHaveStamp(e.page(address), stamp, `page ${i}`);
    }
  });
  e.mustHold(`shrinkCommit of ${moved}`);
}

function mustRestore({ e, vectors, stamps }: Batch): void {
  const { slots } = e.sizes;
  vectors.forEach((v, i) => {
    fillAll(e, v);
    mustHaveStamps(e, v, stamps[i]!);
  });
  equal(e.freeSlots, slots, "free slots when all is restored");
  e.mustHold("restore");
  dropAll(e, vectors);
  equal(e.freePages, e.sizes.frames, "free pages at the end");
}

describe("a batch of several vectors", () => {
  test("gets slots side by side, and extents as few as memory allows", () => {
    const batch = makeBatch();
    const { e, vectors, pages } = batch;
    expect(prepare(e, vectors, BATCH_PAGES_MAX)).toBe(pages.length);
    expect(pages.length).toBe(19 + 7 + 2 + 8);
    expect(mustNameExactly(e, pages)).toEqual(pages.map((_, i) => i + 1));
    expect(vectors.map((_, i) => e.item(i).next)).toEqual([19, 7, 5, 3, 8]);
    expect(e.freeSlots).toBe(80 - pages.length);
    e.mustHold("shrinkPrepare");
    mustDropClean(e, vectors);
  });

  test("commits any number of its pages", () => {
    const batch = makeBatch();
    const { e, vectors, pages } = batch;
    const free = e.freePages;
    expect(prepare(e, vectors, BATCH_PAGES_MAX)).toBe(pages.length);
    const slots = mustNameExactly(e, pages);
    writeOut(e, e.extents(), pages.length);
    const back = e.snapshot();
    for (let n = 0; n <= pages.length; n++) {
      equal(e.wasm.shrinkCommit(vectors.length, n), n, "shrinkCommit");
      mustHaveMoved(batch, slots, n);
      equal(e.freePages, free + n, `free pages after ${n}`);
      equal(e.freeSlots, 80 - n, `free slots after ${n}`);
      const released = vectors.map((_, i) => e.item(i).released);
      const expected = vectors.map(({ vector, entries }) => {
        const mine = ({ entry }: Moving) => entry >= vector && entry < vector + entries;
        return pages.slice(0, n).filter(mine).length;
      });
      expect(released).toEqual(expected);
      mustDropClean(e, vectors);
      mustRestore(batch);
      back();
    }
    for (const n of [pages.length + 1, 2 ** 31, U32_MAX]) {
      expect(e.wasm.shrinkCommit(vectors.length, n)).toBe(pages.length);
      mustHaveMoved(batch, slots, pages.length);
      back();
    }
  });

  test("writes only the pages that the commit counts", () => {
    const batch = makeBatch();
    const { e, vectors, pages } = batch;
    prepare(e, vectors, BATCH_PAGES_MAX);
    const slots = mustNameExactly(e, pages);
    writeOut(e, e.extents(), 11);
    expect(e.wasm.shrinkCommit(vectors.length, 11)).toBe(11);
    mustHaveMoved(batch, slots, 11);
    mustRestore(batch);
  });

  test("stops at the first chunk border past its budget", () => {
    const batch = makeBatch();
    const { e, vectors, pages } = batch;
    const borders = [16, 18, 19, 23, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36];
    const back = e.snapshot();
    for (let budget = 1; budget <= 40; budget++) {
      const expected = borders.find((border) => border >= Math.min(budget, 36))!;
      equal(prepare(e, vectors, budget), expected, `prepared of ${budget}`);
      mustNameExactly(e, pages.slice(0, expected));
      e.mustHold("shrinkPrepare");
      equal(e.freeSlots, 80 - expected, "free slots");
      equal(e.wasm.ramTransfer(1), expected, "ramTransfer");
      equal(e.wasm.shrinkCommit(vectors.length, expected), expected, "shrinkCommit");
      mustRestore(batch);
      back();
    }
  });

  test("goes on where the one before ended", () => {
    const batch = makeBatch();
    const { e, vectors, pages } = batch;
    const [a] = vectors as [Vector];
    let moved = 0;
    for (let start = 0; start < 19; ) {
      e.putItems([{ ...a, start }]);
      const prepared = e.wasm.shrinkPrepare(1, 1);
      expect(e.wasm.ramTransfer(1)).toBe(prepared);
      expect(e.wasm.shrinkCommit(1, prepared)).toBe(prepared);
      start = e.item(0).next;
      moved += prepared;
      expect(start).toBe(moved);
    }
    expect(moved).toBe(19);
    pages.slice(19).forEach(({ entry, address }) => {
      equal(e.entry(entry), address, "page of another vector");
    });
    mustRestore(batch);
  });

  test("fits the exchange area even when no two pages and no two slots lie side by side", () => {
    const count = BATCH_PAGES_MAX - 1 + 512;
    const frames = 2 * BATCH_PAGES_MAX + 512;
    const e = new EngineUnderTest({ frames, slots: 2 * count, entries: frames });
    const singles = BATCH_PAGES_MAX - 1;
    const vectors = [singles, 512, singles].map((entries) => newVector(e, entries));
    const [a, chunk, b] = vectors as [Vector, Vector, Vector];
    fillAll(e, chunk);
    for (let i = 0; i < singles; i++) {
      fillSingly(e, a, [i]);
      fillSingly(e, b, [i]);
    }
    for (const v of vectors) stampVector(e, v, 1);
    while (e.freeSlots > 0) must(e.wasm.slotAlloc(2 * count) > 0, "slotAlloc");
    for (let slot = 1; slot < 2 * count; slot += 2) equal(e.wasm.slotFree(slot, 1), 0, "slotFree");
    expect(prepare(e, [a, chunk], BATCH_PAGES_MAX)).toBe(count);
    expect(e.extents().length).toBe(count);
    expect(count).toBeLessThan(EXTENTS_MAX);
    e.mustHold("shrinkPrepare");
    expect(e.wasm.shrinkCommit(2, count)).toBe(count);
    e.mustHold("shrinkCommit");
    dropAll(e, vectors);
  });
});

describe("a shortage of slots", () => {
  /** A chunk of 32 pages and another vector behind it, and these slots. */
  const make = (slots: number) => {
    const e = new EngineUnderTest({ frames: 64, slots, entries: 64, ram: true });
    const vectors = [newVector(e, 32), newVector(e, 4)];
    for (const v of vectors) fillAll(e, v);
    const stamps = vectors.map((v, i) => stampVector(e, v, 5 + i));
    const [v] = vectors as [Vector, Vector];
    const pages = stamps[0]!.map((stamp, i) => {
      return { entry: v.vector + i, address: e.entry(v.vector + i), stamp };
    });
    return { e, vectors, stamps, pages };
  };

  test("in the middle of a chunk: the prefix goes, and the chunk is split", () => {
    const batch = make(20);
    const { e, vectors, pages } = batch;
    expect(prepare(e, vectors, BATCH_PAGES_MAX)).toBe(20);
    expect(e.item(0).next).toBe(20);
    expect(e.item(1).next).toBe(0);
    e.mustHold("shrinkPrepare");
    const slots = mustNameExactly(e, pages.slice(0, 20));
    writeOut(e, e.extents(), 20);
    const back = e.snapshot();
    for (let n = 0; n <= 20; n++) {
      equal(e.wasm.shrinkCommit(2, n), n, "shrinkCommit");
      mustHaveMoved(batch, slots, n);
      const rest = chunksOf(e, vectors[0]!).slice(n);
      expect(rest).toEqual(n === 0 ? [32] : new Array(32 - n).fill(1));
      equal(e.freePages, 28 + n, "free pages");
      equal(e.freeSlots, 20 - n, "free slots");
      mustDropClean(e, vectors);
      mustRestore(batch);
      back();
    }
  });

  test("of all of them: nothing happens, and the pages stay", () => {
    const batch = make(20);
    const { e, vectors } = batch;
    expect(prepare(e, vectors, BATCH_PAGES_MAX)).toBe(20);
    expect(e.wasm.ramTransfer(1)).toBe(20);
    expect(e.wasm.shrinkCommit(2, 20)).toBe(20);
    e.putItems([{ ...vectors[0]!, start: 20 }]);
    e.mustRefuse(ENOSPC, "shrinkPrepare", () => e.wasm.shrinkPrepare(1, 8));
    e.mustHold("shrinkPrepare");
    mustRestore(batch);
  });

  test("is none where there is nothing to move", () => {
    const e = new EngineUnderTest({ frames: 8, slots: 4, entries: 16, ram: true });
    const v = newVector(e, 4);
    const empty = newVector(e, 4);
    fillAll(e, v);
    stampVector(e, v, 1);
    shrinkAll(e, [v]);
    expect(e.freeSlots).toBe(0);
    expect(prepare(e, [v, empty], 8)).toBe(0);
    expect(e.extents()).toEqual([]);
    expect(e.wasm.shrinkCommit(2, 0)).toBe(0);
    e.mustHold("shrinkCommit");
  });

  test("side by side: a chunk goes to several runs of them", () => {
    for (const runs of [[3, 1, 5, 2], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [31, 1], [40]]) {
      const batch = make(80);
      const { e, vectors, pages } = batch;
      expect(e.wasm.slotAlloc(80)).toBe(1);
      let slot = 2;
      for (const run of runs) {
        expect(e.wasm.slotFree(slot, run)).toBe(0);
        slot += run + 1;
      }
      const total = Math.min(
        36,
        runs.reduce((sum, run) => sum + run, 0),
      );
      expect(prepare(e, vectors, BATCH_PAGES_MAX)).toBe(total);
      const moving = [...pages, ...pagesOf(batch, 1)].slice(0, total);
      const slots = mustNameExactly(e, moving);
      expect(new Set(slots).size).toBe(total);
      expect(e.wasm.ramTransfer(1)).toBe(total);
      expect(e.wasm.shrinkCommit(2, total)).toBe(total);
      mustHaveMoved({ ...batch, pages: moving }, slots, total);
    }
  });
});

function pagesOf({ e, vectors, stamps }: Omit<Batch, "pages">, index: number): Moving[] {
  const { vector } = vectors[index]!;
  return stamps[index]!.map((stamp, i) => {
    return { entry: vector + i, address: e.entry(vector + i), stamp };
  });
}

describe("what is refused", () => {
  test("budgets, numbers of items and items out of range", () => {
    const { e, vectors } = makeBatch();
    const { wasm } = e;
    const [a] = vectors as [Vector];
    const refuse = (items: number, budget: number, what: string) => {
      e.mustRefuse(EINVAL, `shrinkPrepare: ${what}`, () => wasm.shrinkPrepare(items, budget));
    };
    e.putItems(vectors.map((v) => ({ ...v, start: 0 })));
    for (const budget of [0, BATCH_PAGES_MAX + 1, 2 ** 31, U32_MAX]) refuse(1, budget, "budget");
    for (const items of [0, ITEMS_MAX + 1, 2 ** 31, U32_MAX]) {
      refuse(items, 1, "items");
      e.mustRefuse(EINVAL, "shrinkCommit: items", () => wasm.shrinkCommit(items, 1));
    }
    for (const [vector, entries, start] of [
      [a.vector, 19, 19],
      [a.vector, 19, U32_MAX],
      [a.vector, 0, 0],
      [a.vector, 97, 0],
      [60, 1, 0],
      [96, 1, 0],
      [U32_MAX, 2, 1],
      [1, U32_MAX, 5],
      [a.vector, 19, 1],
      [a.vector, 19, 15],
      [a.vector, 19, 17],
    ] as const) {
      // As the second item: the first one must not be touched either.
      e.putItems([
        { ...vectors[1]!, start: 0 },
        { vector, entries, start },
      ]);
      refuse(2, 9, `item ${vector}, ${entries}, ${start}`);
      e.mustRefuse(EINVAL, "shrinkCommit: item", () => wasm.shrinkCommit(2, 9));
    }
    expect(wasm.check()).toBe(0);
  });

  test("a start inside a chunk whose page was once a chunk of the same entry", () => {
    const e = new EngineUnderTest({ frames: 16, slots: 16, entries: 16, ram: true });
    const v = newVector(e, 8);
    fillAll(e, v, { orderMax: 0 });
    shrinkAll(e, [v]);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([8]);
    for (let start = 1; start < 8; start++) {
      e.putItems([{ ...v, start }]);
      e.mustRefuse(EINVAL, `shrinkPrepare at ${start}`, () => e.wasm.shrinkPrepare(1, 8));
      e.mustRefuse(EINVAL, `shrinkCommit at ${start}`, () => e.wasm.shrinkCommit(1, 8));
    }
    expect(e.wasm.check()).toBe(0);
  });
});

// The end of a walk is not looked at: it goes on to the end of the chunk, past its entries.
test("an end inside a chunk is refused", () => {
  const e = new EngineUnderTest({ frames: 16, slots: 16, entries: 16, ram: true });
  const v = newVector(e, 8);
  fillAll(e, v);
  for (const entries of [1, 4, 7]) {
    e.putItems([{ vector: v.vector, entries, start: 0 }]);
    e.mustRefuse(EINVAL, `shrinkPrepare of ${entries}`, () => e.wasm.shrinkPrepare(1, 8));
    e.mustRefuse(EINVAL, `shrinkCommit of ${entries}`, () => e.wasm.shrinkCommit(1, 8));
  }
});

describe("no slot is lost", () => {
  const make = () => {
    const e = new EngineUnderTest({ frames: 32, slots: 64, entries: 32, ram: true });
    const v = newVector(e, 11);
    fillAll(e, v);
    return { e, v, stamps: stampVector(e, v, 3) };
  };

  // A debug build stops at these two.
  test.skipIf(DEBUGGING)("when a batch names a vector twice", () => {
    const { e, v, stamps } = make();
    const prepared = prepare(e, [v, v], BATCH_PAGES_MAX);
    e.mustHold("shrinkPrepare of [v, v]");
    if (prepared > 0) {
      expect(prepared).toBe(11);
      expect(e.wasm.ramTransfer(1)).toBe(11);
      expect(e.wasm.shrinkCommit(2, 11)).toBe(11);
    }
    e.mustHold("shrinkCommit of [v, v]");
    mustHaveStamps(e, v, stamps);
    dropAll(e, [v]);
    expect(e.freeSlots).toBe(64);
  });

  test.skipIf(DEBUGGING)("when a prepare follows one that was not ended", () => {
    const { e, v, stamps } = make();
    expect(prepare(e, [v], 1)).toBe(8);
    const first = e.item(0).next;
    // The walk ends where it comes to a chunk of the other; what is behind that can be had by itself.
    expect([prepare(e, [v], BATCH_PAGES_MAX), e.item(0).next]).toEqual([0, 0]);
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    expect(e.header(H_MOVING)).toBe(8);
    e.putItems([{ ...v, start: 8 }]);
    expect(e.wasm.shrinkPrepare(1, BATCH_PAGES_MAX)).toBe(3);
    expect(e.freeSlots).toBe(64 - 11);
    expect(e.wasm.ramTransfer(1)).toBe(3);
    expect(e.wasm.shrinkCommit(1, 3)).toBe(3);
    e.putItems([{ ...v, start: 0, next: first }]);
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    expect([e.freeSlots, e.header(H_MOVING)]).toEqual([64 - 3, 0]);
    e.mustHold("shrinkCommit");
    mustHaveStamps(e, v, stamps);
    dropAll(e, [v]);
    expect(e.freeSlots).toBe(64);
  });

  test("when a prepared vector is dropped", () => {
    for (const slots of [4, 64]) {
      const e = new EngineUnderTest({ frames: 32, slots, entries: 32, ram: true });
      const v = newVector(e, 11);
      fillAll(e, v);
      must(prepare(e, [v], BATCH_PAGES_MAX) > 0, "prepared");
      dropAll(e, [v]);
      expect(e.freeSlots).toBe(slots);
      expect(e.freePages).toBe(32);
    }
  });

  test("when a run is longer than the batch needs", () => {
    const { e, v } = make();
    expect(prepare(e, [v], BATCH_PAGES_MAX)).toBe(11);
    expect(e.header(H_RUN)).toBeGreaterThan(11);
    expect(e.freeSlots).toBe(64 - 11);
    e.mustHold("shrinkPrepare");
  });
});
