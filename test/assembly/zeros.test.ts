/*
 * Pages of zeros leave as empty entries: over every pattern of zeros in a chunk and every number of pages that
 * moved, no slot, no extent, and what stays stays as it was. And what can leave without a slot, at once.
 */
import { describe, expect, test } from "vitest";
import {
  BATCH_PAGES_MAX,
  CHECK_MOVING,
  EINVAL,
  ENOSPC,
  H_CLEAN,
  H_SWAPPED,
  H_ZEROS,
  PAGE_SIZE,
} from "../../assembly/abi.ts";
import { EngineUnderTest, equal, equalLists, isHandle, isPage, must } from "./engine_under_test.ts";
import {
  chunksOf,
  fillAll,
  mustDropClean,
  mustHaveStamps,
  newVector,
  prepareFill,
  shrinkAll,
  stampPage,
  stampVector,
  type Vector,
  writeOut,
} from "./page_content.ts";

const PAGES = 8;
const SLOTS = 32;

interface Scene {
  readonly e: EngineUnderTest;
  readonly v: Vector;
  readonly stamps: number[];
}

/** A chunk of 8 pages with content, in slots or not. */
function scene(clean = false, slots = SLOTS): Scene {
  const e = new EngineUnderTest({ frames: 32, slots, entries: 32, ram: true });
  newVector(e, 3); // so that offsets in the vector are not entry numbers
  const v = newVector(e, PAGES);
  fillAll(e, v);
  const stamps = stampVector(e, v, 21);
  if (clean) {
    shrinkAll(e, [v]);
    fillAll(e, v, { keep: true });
  }
  return { e, v, stamps };
}

/** Makes pages zeros: those whose bit is set. */
function zero({ e, v, stamps }: Scene, mask: number): number[] {
  const zeros = Array.from({ length: PAGES }, (_, i) => i).filter((i) => (mask >> i) & 1);
  for (const i of zeros) {
    stamps[i] = 0;
    e.page(e.entry(v.vector + i)).fill(0);
  }
  return zeros;
}

function prepare(e: EngineUnderTest, v: Vector, budget = BATCH_PAGES_MAX): number {
  e.putItems([{ ...v, start: 0 }]);
  return e.wasm.shrinkPrepare(1, budget);
}

/** Pages of the batch that the extents name, by their place in it. */
function placesNamed(e: EngineUnderTest): number[] {
  return e.extents().flatMap(({ at, pages }) => Array.from({ length: pages }, (_, i) => at + i));
}

const others = (list: readonly number[]) =>
  Array.from({ length: PAGES }, (_, i) => i).filter((i) => !list.includes(i));

describe("pages of zeros", () => {
  test("leave as empty entries, whatever leaves beside them and however far that comes", () => {
    const made = scene();
    const { e, v, stamps } = made;
    const content = [...stamps];
    const back = e.snapshot();
    for (let mask = 1; mask < 256; mask++) {
      for (let moved = 0; moved <= PAGES; moved++) {
        const zeros = zero(made, mask);
        equal(prepare(e, v), PAGES, "prepared");
        equalLists(placesNamed(e), others(zeros), "pages to write");
        equal(e.freeSlots, SLOTS - PAGES + zeros.length, "free slots");
        e.mustHold("shrinkPrepare");
        writeOut(e, e.extents(), moved);
        equal(e.wasm.shrinkCommit(1, moved), moved, "shrinkCommit");
        const gone = zeros.filter((i) => i < moved);
        equal(e.header(H_ZEROS), gone.length, "zeros");
        equal(e.header(H_SWAPPED), moved - gone.length, "pages in swap");
        equal(e.freeSlots, SLOTS - moved + gone.length, "free slots");
        equal(e.freePages, 32 - PAGES + moved, "free frames");
        for (let i = 0; i < PAGES; i++) {
          const entry = e.entry(v.vector + i);
          const is = i >= moved ? isPage(entry) : gone.includes(i) ? entry === 0 : isHandle(entry);
          must(is, `entry ${i} of mask ${mask} after ${moved}`);
          equal(e.shadow(v.vector + i), 0, `shadow ${i}`);
        }
        if (moved === 0) equalLists(chunksOf(e, v), [PAGES], "the chunk");
        e.mustHold("shrinkCommit");
        mustHaveStamps(e, v, stamps);
        fillAll(e, v);
        mustHaveStamps(e, v, stamps);
        mustDropClean(e, [v]);
        back();
        stamps.splice(0, PAGES, ...content);
      }
    }
  });

  test("give up the slots that they keep, also when nothing leaves in the end", () => {
    for (const moved of [0, 3, PAGES]) {
      const made = scene(true);
      const { e, v, stamps } = made;
      const [stale, zeros] = [
        [0, 2, 3, 6],
        [2, 6],
      ];
      for (const i of stale) {
        equal(e.wasm.vectorDirty(v.vector, PAGES, i, 1, 1), 0, "vectorDirty");
        stamps[i] = zeros.includes(i) ? 0 : stamps[i]! + 2;
        stampPage(e.page(e.entry(v.vector + i)), stamps[i]!);
      }
      expect(prepare(e, v)).toBe(PAGES);
      expect(placesNamed(e)).toEqual([0, 3]);
      expect(e.freeSlots).toBe(SLOTS - PAGES + 2);
      e.mustHold("shrinkPrepare");
      writeOut(e, e.extents(), moved);
      expect(e.wasm.shrinkCommit(1, moved)).toBe(moved);
      e.mustHold("shrinkCommit");
      mustHaveStamps(e, v, stamps);
      mustDropClean(e, [v]);
    }
  });

  test("are not looked for among clean pages", () => {
    const { e, v, stamps } = scene(true);
    // What nobody may do without saying so: it shows that the copy in swap is what counts.
    for (let i = 0; i < PAGES; i++) e.page(e.entry(v.vector + i)).fill(0);
    expect(prepare(e, v)).toBe(PAGES);
    expect(e.extents()).toEqual([]);
    expect(e.wasm.shrinkCommit(1, PAGES)).toBe(PAGES);
    expect(e.header(H_ZEROS)).toBe(0);
    mustHaveStamps(e, v, stamps);
  });

  test("are such to the last byte", () => {
    for (let at = 0; at < PAGE_SIZE; at += at % 64 === 63 ? 1 : 31) {
      const made = scene();
      const { e, v } = made;
      zero(made, 255);
      e.page(e.entry(v.vector + 5))[at] = 1;
      equal(prepare(e, v), PAGES, "prepared");
      equalLists(placesNamed(e), [5], `pages to write, with byte ${at}`);
    }
  });

  test("need no slot, but do not pass a page that needs one and finds none", () => {
    const made = scene(false, 1);
    const { e, v } = made;
    zero(made, 0b11101101);
    expect(prepare(e, v)).toBe(4);
    expect(placesNamed(e)).toEqual([1]);
    writeOut(e, e.extents(), 4);
    expect(e.wasm.shrinkCommit(1, 4)).toBe(4);
    e.mustHold("shrinkCommit");
    e.mustRefuse(ENOSPC, "shrinkPrepare", () => prepare(e, v));
  });

  test("are dropped with their vector, prepared or not", () => {
    const made = scene();
    const { e, v } = made;
    zero(made, 0b1010);
    prepare(e, v);
    mustDropClean(e, [v]);
    expect(e.wasm.shrinkCommit(1, PAGES)).toBe(PAGES);
    mustDropClean(e, [v]);
  });

  test("are found out by check() when they do not leave", () => {
    const { e, v } = scene();
    e.words[e.shadowIndex(v.vector + 2)] = 1;
    expect(e.wasm.check()).toBe(CHECK_MOVING);
  });
});

describe("what needs no slot", () => {
  test("leaves at once, from any part of a vector: clean pages and zeros", () => {
    const made = scene(true);
    const { e, v, stamps } = made;
    const content = [...stamps];
    const back = e.snapshot();
    for (let mask = 0; mask < 256; mask++) {
      for (const [start, end] of [
        [0, PAGES],
        [0, 3],
        [2, 7],
        [5, PAGES],
      ] as const) {
        // Every other one of those that are written is zeros then.
        const dirty = Array.from({ length: PAGES }, (_, i) => i).filter((i) => (mask >> i) & 1);
        dirty.forEach((i, n) => {
          e.wasm.vectorDirty(v.vector, PAGES, i, 1, n & 1);
          stamps[i] = n % 2 === 0 ? 0 : stamps[i]! + 2;
          stampPage(e.page(e.entry(v.vector + i)), stamps[i]!);
        });
        const inside = Array.from({ length: end - start }, (_, i) => start + i);
        const zeros = inside.filter((i) => stamps[i] === 0);
        const clean = inside.filter((i) => !dirty.includes(i));
        const before = e.header(H_CLEAN);
        const released = e.wasm.shrinkSaved(v.vector, PAGES, start, end - start);
        equal(released, zeros.length + clean.length, `released with ${mask}`);
        equal(e.header(H_ZEROS), zeros.length, "zeros");
        equal(e.header(H_CLEAN), before - clean.length, "clean pages");
        equal(e.freePages, 32 - PAGES + released, "free frames");
        for (let i = 0; i < PAGES; i++) {
          const entry = e.entry(v.vector + i);
          const is = zeros.includes(i) ? entry === 0 : isHandle(entry) === clean.includes(i);
          must(is, `entry ${i} of ${start}..${end} with ${mask}`);
        }
        if (released === 0) equalLists(chunksOf(e, v), [PAGES], "the chunk");
        e.mustHold("shrinkSaved");
        mustHaveStamps(e, v, stamps);
        back();
        stamps.splice(0, PAGES, ...content);
      }
    }
  });

  test("stays while it is being moved", () => {
    const { e, v } = scene(true);
    expect(prepare(e, v)).toBe(PAGES);
    expect(e.wasm.shrinkSaved(v.vector, PAGES, 0, PAGES)).toBe(0);
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    expect(e.wasm.shrinkSaved(v.vector, PAGES, 0, PAGES)).toBe(PAGES);
    expect(prepareFill(e, v, 0)).toBe(PAGES);
    expect(e.wasm.shrinkSaved(v.vector, PAGES, 0, PAGES)).toBe(0);
    e.mustHold("shrinkSaved");
  });

  test("is refused for what is no part of a vector", () => {
    const { e, v } = scene();
    for (const [start, count] of [
      [0, PAGES + 1],
      [PAGES, 1],
      [0xffffffff, 2],
    ] as const) {
      e.mustRefuse(EINVAL, "shrinkSaved", () => e.wasm.shrinkSaved(v.vector, PAGES, start, count));
    }
    e.mustRefuse(EINVAL, "shrinkSaved", () => e.wasm.shrinkSaved(20, PAGES, 0, 1));
  });
});

test("slots that a prepare will take are counted beforehand", () => {
  for (const budget of [1, 5, 8, 9, 16]) {
    for (let mask = 0; mask < 256; mask += 5) {
      const made = scene(true);
      const { e, v } = made;
      const other = newVector(e, 6); // chunks of 4 and 2 pages
      fillAll(e, other);
      stampVector(e, other, 3);
      zero(made, mask);
      for (const i of [1, 2, 5]) e.wasm.vectorDirty(v.vector, PAGES, i, 1, i & 1);
      e.putItems([v, other].map((each) => ({ ...each, start: 0 })));
      const need = e.wasm.shrinkNeeds(2, budget);
      e.putItems([v, other].map((each) => ({ ...each, start: 0 })));
      must(e.wasm.shrinkPrepare(2, budget) >= budget || budget > 14, "shrinkPrepare");
      const used = placesNamed(e).filter((at) => at >= PAGES || at === 2).length;
      equal(need, used, `slots for ${budget} with ${mask}`);
    }
  }
});
