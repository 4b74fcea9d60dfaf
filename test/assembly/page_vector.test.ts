/* Page vectors: runs of entries, what may be done with them, and where their pages lie. */
import { describe, expect, test } from "vitest";
import {
  EBUSY,
  EFAULT,
  EINVAL,
  ENOMEM,
  EXTENTS_MAX,
  H_RUN,
  PAGE_SIZE,
} from "../../assembly/abi.ts";
import type { Random } from "../support/random.ts";
import {
  EngineUnderTest,
  equal,
  forAll,
  must,
  program,
  runProgram,
  U32_MAX,
} from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  fillSingly,
  newVector,
  prepareFill,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

/** Entries in use, and the vectors that use them. */
class EntryRun {
  readonly e: EngineUnderTest;
  readonly used: Uint8Array;
  readonly live: Vector[] = [];

  constructor(entries: number) {
    this.e = new EngineUnderTest({ frames: 1, slots: 1, entries });
    this.used = new Uint8Array(entries);
  }

  get space(): number {
    return this.used.reduce((free, used) => free + 1 - used, 0);
  }

  hasRun(count: number): boolean {
    let length = 0;
    for (const used of this.used) {
      length = used ? 0 : length + 1;
      if (length === count) return true;
    }
    return false;
  }

  step(dice: Random): string {
    const kind = dice.below(100);
    const done = kind < 50 ? this.alloc(dice) : kind < 90 ? this.free(dice) : this.wrong(dice);
    equal(this.e.freeEntries, this.space, `space after ${done}`);
    this.e.mustHold(done);
    return done;
  }

  alloc(dice: Random): string {
    const { e, used } = this;
    const count = 1 + dice.below(dice.pick([1, 8, 64, 70, 300, used.length + 1]));
    const what = `vectorAlloc(${count})`;
    if (!this.hasRun(count)) {
      const errno = count > this.space ? ENOMEM : EBUSY;
      e.mustRefuse(errno, what, () => e.wasm.vectorAlloc(count));
      if (errno === ENOMEM) return what;
      this.pack();
    }
    const vector = e.wasm.vectorAlloc(count);
    must(vector >= 0, `${what} gave ${vector}, but there is a run`);
    must(vector + count <= used.length, `${what} gave ${vector}, which ends outside`);
    equal(e.header(H_RUN), count, "length of the run");
    equal(used.indexOf(1, vector) - vector < count && used.indexOf(1, vector) >= 0, false, what);
    used.fill(1, vector, vector + count);
    this.live.push({ vector, entries: count });
    return what;
  }

  pack(): void {
    const used = this.used.length - this.space;
    equal(this.e.wasm.vectorsPack(used), 0, "vectorsPack");
    this.used.fill(0).fill(1, 0, used);
    this.live.sort((a, b) => a.vector - b.vector);
    let vector = 0;
    for (const [i, { entries }] of this.live.entries()) {
      this.live[i] = { vector, entries };
      vector += entries;
    }
  }

  free(dice: Random): string {
    if (this.live.length === 0) return "nothing to free";
    const [{ vector, entries }] = this.live.splice(dice.below(this.live.length), 1) as [Vector];
    const what = `vectorFree(${vector}, ${entries})`;
    equal(this.e.wasm.vectorFree(vector, entries), 0, what);
    this.used.fill(0, vector, vector + entries);
    return what;
  }

  /** Ranges with an unused entry in them, or past the end. */
  wrong(dice: Random): string {
    const { e, used } = this;
    const unused = used.indexOf(0, dice.below(used.length));
    const end = used.length;
    const [vector, count] = dice.pick<[number, number]>([
      [unused < 0 ? end : unused, 1],
      [Math.max(0, unused - dice.below(66)), unused < 0 ? end + 1 : 67],
      [dice.below(end), 0],
      [end, 1],
      [end - 1, 2],
      [0, end + 1],
      [U32_MAX, 2],
      [1, U32_MAX],
    ]);
    const what = `vectorFree and vectorDrop(${vector}, ${count})`;
    e.mustRefuse(EINVAL, what, () => e.wasm.vectorFree(vector, count));
    e.mustRefuse(EINVAL, what, () => e.wasm.vectorDrop(vector, count, 0));
    e.mustRefuse(EINVAL, what, () => e.wasm.vectorExtents(vector, count, 0, 1));
    return what;
  }
}

describe("5,000 random vectors agree with the model", () => {
  test.each([1, 63, 64, 65, 700, 4097])("%i entries", (entries) => {
    forAll(program(5_000), 2, (words) => {
      const run = new EntryRun(entries);
      runProgram(words, (dice) => run.step(dice));
    });
  });
});

test("a vector has at least one entry, and no more than there are", () => {
  const e = new EngineUnderTest({ frames: 1, slots: 1, entries: 100 });
  e.mustRefuse(EINVAL, "vectorAlloc(0)", () => e.wasm.vectorAlloc(0));
  for (const count of [101, 2 ** 31, U32_MAX]) {
    e.mustRefuse(ENOMEM, `vectorAlloc(${count})`, () => e.wasm.vectorAlloc(count));
  }
  expect(e.wasm.vectorAlloc(100)).toBe(0);
  expect(e.freeEntries).toBe(0);
});

test("the largest gap is found, however the free entries are scattered", () => {
  const e = new EngineUnderTest({ frames: 1, slots: 1, entries: 4096 });
  expect(e.wasm.vectorAlloc(4096)).toBe(0);
  for (let i = 0; i < 4096; i += 2) expect(e.wasm.vectorFree(i, 1)).toBe(0);
  expect(e.wasm.vectorFree(2001, 1)).toBe(0);
  expect(e.wasm.vectorAlloc(4)).toBe(-EBUSY);
  expect(e.wasm.vectorAlloc(3)).toBe(2000);
  expect(e.wasm.check()).toBe(0);
});

describe("a vector with something in it", () => {
  const engine = () => {
    const e = new EngineUnderTest({ frames: 32, slots: 32, entries: 32, ram: true });
    return { e, v: newVector(e, 6) };
  };
  const mustBeBusy = (e: EngineUnderTest, { vector, entries }: Vector) =>
    e.mustRefuse(EBUSY, "vectorFree", () => e.wasm.vectorFree(vector, entries));

  test("is busy with a page, a handle, a held chunk and a reserved slot", () => {
    const { e, v } = engine();
    expect(prepareFill(e, v, 0)).toBe(6);
    mustBeBusy(e, v);
    expect(e.wasm.fillCommit(v.vector, 6, 0, 0, 6, 6, 0)).toBe(6);
    mustBeBusy(e, v);
    stampVector(e, v, 1);
    e.putItems([{ ...v, start: 0 }]);
    expect(e.wasm.shrinkPrepare(1, 6)).toBe(6);
    mustBeBusy(e, v);
    expect(e.wasm.shrinkCommit(1, 6)).toBe(6);
    mustBeBusy(e, v);
    dropAll(e, [v]);
  });

  test("is empty after a drop, which says how many frames it freed", () => {
    const { e, v } = engine();
    fillAll(e, v);
    expect(e.wasm.vectorDrop(v.vector, 6, 0)).toBe(6);
    expect(e.wasm.vectorDrop(v.vector, 6, 0)).toBe(0);
    expect(prepareFill(e, v, 0)).toBe(6);
    expect(e.wasm.vectorDrop(v.vector, 6, 0)).toBe(6);
    fillAll(e, v);
    stampVector(e, v, 1);
    shrinkAll(e, [v]);
    expect(e.wasm.vectorDrop(v.vector, 6, 0)).toBe(0);
    fillSingly(e, v, [1, 4]);
    expect(e.wasm.vectorDrop(v.vector, 6, 0)).toBe(2);
    expect(e.freePages).toBe(32);
    expect(e.freeSlots).toBe(32);
    dropAll(e, [v]);
  });

  test("is not dropped from inside a chunk", () => {
    const { e, v } = engine();
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([4, 2]);
    for (const at of [1, 2, 3, 5]) {
      e.mustRefuse(EINVAL, `drop from ${at}`, () => e.wasm.vectorDrop(v.vector + at, 6 - at, 0));
    }
    expect(e.wasm.check()).toBe(0);
    dropAll(e, [v]);
  });

  test("is not dropped from inside a chunk that is held", () => {
    const { e, v } = engine();
    expect(prepareFill(e, v, 0)).toBe(6);
    for (const at of [1, 2, 3, 5]) {
      e.mustRefuse(EINVAL, `drop from ${at}`, () => e.wasm.vectorDrop(v.vector + at, 6 - at, 0));
    }
    expect(e.wasm.check()).toBe(0);
    dropAll(e, [v]);
  });

  test("is not dropped up to the inside of a chunk", () => {
    const { e, v } = engine();
    fillAll(e, v);
    for (const count of [1, 2, 3, 5]) {
      e.mustRefuse(EINVAL, `drop of ${count}`, () => e.wasm.vectorDrop(v.vector, count, 0));
    }
    dropAll(e, [v]);
    expect(prepareFill(e, newVector(e, 6), 0)).toBe(6);
    for (const count of [1, 2, 3, 5]) {
      e.mustRefuse(EINVAL, `drop of ${count} held`, () => e.wasm.vectorDrop(v.vector, count, 0));
    }
    expect(e.wasm.check()).toBe(0);
  });
});

describe("vectorExtents", () => {
  test("names the pages of any part, joined where they lie side by side", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 1, entries: 64 });
    const v = newVector(e, 20);
    fillAll(e, v, { orderMax: 1 });
    const pages = Array.from({ length: 20 }, (_, i) => e.entry(v.vector + i));
    for (let start = 0; start < 20; start++) {
      for (let count = 1; start + count <= 20; count++) {
        expect(e.wasm.vectorExtents(v.vector, 20, start, count)).toBe(count);
        const named = e.extents().flatMap(({ address, pages }) => {
          return Array.from({ length: pages }, (_, i) => address + i * PAGE_SIZE);
        });
        expect(named).toEqual(pages.slice(start, start + count));
      }
    }
    expect(e.wasm.vectorExtents(v.vector, 20, 0, 20)).toBe(20);
    expect(e.extents()).toEqual([
      { address: pages[0], slot: 0, pages: 20, at: 0, index: v.vector },
    ]);
  });

  test("refuses entries that are not in memory, and ranges outside", () => {
    const e = new EngineUnderTest({ frames: 8, slots: 8, entries: 8, ram: true });
    const v = newVector(e, 4);
    const { wasm } = e;
    const extents = (start: number, count: number) => () =>
      wasm.vectorExtents(v.vector, 4, start, count);
    e.mustRefuse(EFAULT, "an empty entry", extents(0, 4));
    fillAll(e, v);
    shrinkAll(e, [v]);
    e.mustRefuse(EFAULT, "a handle", extents(0, 4));
    expect(prepareFill(e, v, 0)).toBe(4);
    e.mustRefuse(EFAULT, "a held page", extents(3, 1));
    expect(e.wasm.fillCommit(v.vector, 4, 0, 0, 4, 4, 0)).toBe(4);
    for (const [start, count] of [
      [0, 0],
      [0, 5],
      [4, 1],
      [3, 2],
      [1, U32_MAX],
      [U32_MAX, 2],
    ] as const) {
      e.mustRefuse(EINVAL, `range ${start}, ${count}`, extents(start, count));
    }
    e.mustRefuse(EINVAL, "no such vector", () => wasm.vectorExtents(4, 4, 0, 1));
  });

  test("stops when the exchange area is full, and goes on from there", () => {
    const count = EXTENTS_MAX + 40;
    const e = new EngineUnderTest({ frames: 2 * count, slots: 1, entries: 2 * count });
    const a = newVector(e, count);
    const b = newVector(e, count);
    // Page by page in turn, so that no two pages of a vector lie side by side.
    for (let i = 0; i < count; i++) {
      fillSingly(e, a, [i]);
      fillSingly(e, b, [i]);
    }
    expect(e.wasm.vectorExtents(a.vector, count, 0, count)).toBe(EXTENTS_MAX);
    expect(e.extents().length).toBe(EXTENTS_MAX);
    e.extents().forEach(({ address, pages, at }, i) => {
      equal(address, e.entry(a.vector + i), `address ${i}`);
      equal(pages, 1, `pages ${i}`);
      equal(at, i, `at ${i}`);
    });
    expect(e.wasm.vectorExtents(a.vector, count, EXTENTS_MAX, 40)).toBe(40);
    expect(e.extents()[39]?.address).toBe(e.entry(a.vector + count - 1));
    // The words behind the area belong to the swap map.
    expect(e.wasm.check()).toBe(0);
  });
});
