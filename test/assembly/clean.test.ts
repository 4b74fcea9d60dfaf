/*
 * Clean pages: pages in memory whose copy in swap is still valid. Every step between the states of an
 * entry, and that a clean page is never written, never lost, and never takes a second slot.
 *
 *   empty | handle   without a page; or with one held for it
 *   dirty            a page without a copy
 *   reserved         a page with a slot that is being written
 *   clean            a page with a copy
 *   stale            a page that keeps the slot of a copy, written since; looks as one reserved
 */
import { describe, expect, test } from "vitest";
import {
  BATCH_PAGES_MAX,
  EINVAL,
  ENOSPC,
  H_CLEAN,
  WALK_KEEP,
  WRITE_COMBINED,
} from "../../assembly/abi.ts";
import {
  DEBUGGING,
  EngineUnderTest,
  equal,
  equalLists,
  how,
  isHandle,
  isPage,
  must,
  U32_MAX,
} from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  fillSingly,
  mustDropClean,
  mustHaveStamps,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampPage,
  stampVector,
  type Vector,
  writeOut,
} from "./page_content.ts";

const SLOTS = 48;

interface Clean {
  readonly e: EngineUnderTest;
  readonly v: Vector;
  readonly stamps: number[];
  /** Slot of each entry, 0 for a hole. */
  readonly slots: readonly number[];
}

type State = "empty" | "handle" | "dirty" | "reserved" | "clean";

function stateOf(e: EngineUnderTest, index: number): State {
  const [entry, shadow] = [e.entry(index), e.shadow(index)];
  if (!isPage(entry)) return isHandle(entry) ? "handle" : "empty";
  if (shadow === 0) return "dirty";
  return isHandle(shadow) ? "clean" : "reserved";
}

function statesOf(e: EngineUnderTest, { vector, entries }: Vector): State[] {
  return Array.from({ length: entries }, (_, i) => stateOf(e, vector + i));
}

/** A vector that went to swap and came back with its slots kept; holes come back dirty. */
function clean(entries: number, holes: readonly number[] = [], slots = SLOTS): Clean {
  const e = new EngineUnderTest({ frames: 32, slots, entries: 32, ram: true });
  newVector(e, 3); // so that offsets in the vector are not entry numbers
  const v = newVector(e, entries);
  const filled = Array.from({ length: entries }, (_, i) => i).filter((i) => !holes.includes(i));
  fillSingly(e, v, filled);
  const stamps = stampVector(e, v, 21);
  shrinkAll(e, [v]);
  const copies = Array.from({ length: entries }, (_, i) => e.entry(v.vector + i) >>> 1);
  fillAll(e, v, { keep: true });
  mustHaveStamps(e, v, stamps);
  e.mustHold("restore");
  return { e, v, stamps, slots: copies };
}

/** Writes to pages, which makes them dirty. */
function write({ e, v, stamps }: Clean, offsets: readonly number[]): void {
  for (const i of offsets) {
    stamps[i] = (stamps[i]! + 2) | 1;
    stampPage(e.page(e.entry(v.vector + i)), stamps[i]!);
    must(e.wasm.vectorDirty(v.vector, v.entries, i, 1, 0) >= 0, "vectorDirty");
  }
}

/** Remembers the engine and the content; the result goes back to both. */
function remember({ e, stamps }: Clean): () => void {
  const back = e.snapshot();
  const content = [...stamps];
  return () => {
    back();
    stamps.splice(0, stamps.length, ...content);
  };
}

function prepare(e: EngineUnderTest, vectors: readonly Vector[], budget = BATCH_PAGES_MAX): number {
  e.putItems(vectors.map((v) => ({ ...v, start: 0 })));
  return e.wasm.shrinkPrepare(vectors.length, budget);
}

/** Pages of a batch that the extents name, by their place in it. */
function placesNamed(e: EngineUnderTest): number[] {
  return e.extents().flatMap(({ pages, at }) => Array.from({ length: pages }, (_, i) => at + i));
}

const named = (mask: number): number[] => [0, 1, 2, 3, 4, 5, 6, 7].filter((i) => mask & (1 << i));

describe("a restore that keeps slots", () => {
  test("makes pages clean that had one, and the others dirty", () => {
    const { e, v, slots } = clean(11, [2, 8]);
    const states = statesOf(e, v);
    expect(states.flatMap((state, i) => (state === "dirty" ? [i] : []))).toEqual([2, 8]);
    expect(states.filter((state) => state === "clean").length).toBe(9);
    slots.forEach((slot, i) => {
      equal(e.shadow(v.vector + i), slot && (slot << 1) | 1, `shadow ${i}`);
    });
    expect(e.header(H_CLEAN)).toBe(9);
    expect(e.freeSlots).toBe(SLOTS - 9);
    mustDropClean(e, [v]);
  });

  test("leaves to a later one what it has not read, and that may keep nothing", () => {
    const { e, v, stamps } = clean(11);
    shrinkAll(e, [v]);
    expect(prepareFill(e, v, 0)).toBe(11);
    readIn(e, e.extents(), 0, 9);
    expect(e.wasm.fillCommit(v.vector, 11, 0, 0, 11, 9, WALK_KEEP)).toBe(8);
    expect(statesOf(e, v).slice(7)).toEqual(["clean", "handle", "handle", "handle"]);
    // The entries whose page is held have their content in their slots only.
    expect(e.wasm.vectorDirty(v.vector, 11, 8, 3, 0)).toBe(0);
    e.mustHold("vectorDirty");
    fillAll(e, v, { start: 8, done: 1 });
    expect(statesOf(e, v).slice(7)).toEqual(["clean", "dirty", "dirty", "dirty"]);
    expect(e.freeSlots).toBe(SLOTS - 8);
    mustHaveStamps(e, v, stamps);
    // Nor does one that goes over clean pages change them.
    fillAll(e, v);
    expect(e.header(H_CLEAN)).toBe(8);
    e.mustHold("restore");
    mustDropClean(e, [v]);
  });
});

describe("a shrink of clean pages", () => {
  test("needs no slot and no transfer, and commits any number of them", () => {
    const c = clean(11, [], 11);
    const { e, v, slots, stamps } = c;
    expect(e.freeSlots).toBe(0);
    const pages = Array.from({ length: 11 }, (_, i) => e.entry(v.vector + i));
    const back = e.snapshot();
    for (let n = 0; n <= 11; n++) {
      equal(prepare(e, [v]), 11, "prepared");
      equal(e.extents().length, 0, "extents");
      equal(e.item(0).next, 11, "next");
      e.mustHold("shrinkPrepare");
      equal(e.wasm.shrinkCommit(1, n), n, "shrinkCommit");
      e.mustHold("shrinkCommit");
      for (let i = 0; i < 11; i++) {
        const handle = (slots[i]! << 1) | 1;
        equal(e.entry(v.vector + i), i < n ? handle : pages[i], `entry ${i}`);
        equal(e.shadow(v.vector + i), i < n ? 0 : handle, `shadow ${i}`);
      }
      equal(e.header(H_CLEAN), 11 - n, "clean pages");
      equal(e.freePages, 32 - 11 + n, "free pages");
      equal(e.item(0).released, n, "released");
      mustDropClean(e, [v]);
      fillAll(e, v, { keep: true });
      mustHaveStamps(e, v, stamps);
      equal(e.header(H_CLEAN), 11, "clean pages after a restore");
      back();
    }
  });

  test("counts them for the budget, and stops at a chunk border", () => {
    const { e, v } = clean(11);
    expect(chunksOf(e, v)).toEqual([8, 2, 1]);
    const back = e.snapshot();
    for (let budget = 1; budget <= 12; budget++) {
      const expected = [8, 10, 11].find((border) => border >= Math.min(budget, 11))!;
      equal(prepare(e, [v], budget), expected, "prepared");
      equal(e.item(0).next, expected, "next");
      equal(e.wasm.shrinkCommit(1, U32_MAX), expected, "shrinkCommit");
      e.mustHold("shrinkCommit");
      back();
    }
  });

  test("counts them before the extents of other vectors", () => {
    const { e, v } = clean(8);
    const dirty = newVector(e, 4);
    fillAll(e, dirty);
    const stamps = stampVector(e, dirty, 5);
    expect(prepare(e, [v, dirty])).toBe(12);
    expect(e.extents()).toMatchObject([{ pages: 4, at: 8, index: dirty.vector }]);
    writeOut(e, e.extents(), 10);
    expect(e.wasm.shrinkCommit(2, 10)).toBe(10);
    expect(statesOf(e, dirty)).toEqual(["handle", "handle", "dirty", "dirty"]);
    mustHaveStamps(e, dirty, stamps);
    e.mustHold("shrinkCommit");
    mustDropClean(e, [v, dirty]);
  });

  test("needs no slot, but does not pass a page that needs one and finds none", () => {
    const { e, v } = clean(8, [], 8);
    const dirty = newVector(e, 4);
    fillAll(e, dirty);
    stampVector(e, dirty, 1);
    e.mustRefuse(ENOSPC, "shrinkPrepare", () => prepare(e, [dirty, v]));
    expect(prepare(e, [v, dirty])).toBe(8);
    expect([e.item(0).next, e.item(1).next]).toEqual([8, 0]);
    expect(e.wasm.shrinkCommit(2, 8)).toBe(8);
    expect(statesOf(e, dirty)).toEqual(new Array(4).fill("dirty"));
    e.mustHold("shrinkCommit");
  });

  // A debug build stops there.
  test.skipIf(DEBUGGING)("leaves one alone that was not ended, and what is named twice", () => {
    const { e, v, stamps } = clean(8);
    expect(prepare(e, [v])).toBe(8);
    expect(prepare(e, [v])).toBe(0);
    expect(e.wasm.shrinkCommit(1, 8)).toBe(0);
    expect(e.header(H_CLEAN)).toBe(8);
    e.putItems([{ ...v, start: 0, next: 8 }]);
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    const prepared = prepare(e, [v, v]);
    expect(e.wasm.shrinkCommit(2, prepared)).toBe(8);
    e.mustHold("shrinkCommit");
    mustHaveStamps(e, v, stamps);
    expect(statesOf(e, v)).toEqual(new Array(8).fill("handle"));
    mustDropClean(e, [v]);
  });

  test("again and again moves nothing, until something is written", () => {
    const c = clean(11);
    const { e, v, stamps } = c;
    const written: number[] = [];
    for (let round = 0; round < 12; round++) {
      if (round % 3 === 2) write(c, [round - 2]);
      const prepared = prepare(e, [v]);
      const places = placesNamed(e);
      written.push(...places);
      writeOut(e, e.extents(), prepared);
      equal(e.wasm.shrinkCommit(1, prepared), 11, "shrinkCommit");
      fillAll(e, v, { keep: true });
      mustHaveStamps(e, v, stamps);
      equal(e.freeSlots, SLOTS - 11, "free slots");
      e.mustHold("a round");
    }
    expect(written).toEqual([0, 3, 6, 9]);
  });
});

describe("a page that is written", () => {
  test("loses its copy, in any range", () => {
    const { e, v, slots } = clean(11, [4]);
    const back = e.snapshot();
    for (let start = 0; start <= 11; start++) {
      for (let count = 0; start + count <= 11; count++) {
        const lost = slots.filter((slot, i) => slot && i >= start && i < start + count).length;
        equal(e.wasm.vectorDirty(v.vector, 11, start, count, 0), lost, "vectorDirty");
        statesOf(e, v).forEach((state, i) => {
          const dirty = i === 4 || (i >= start && i < start + count);
          equal(state, dirty ? "dirty" : "clean", `entry ${i}`);
        });
        equal(e.header(H_CLEAN), 10 - lost, "clean pages");
        equal(e.freeSlots, SLOTS - 10 + lost, "free slots");
        e.mustHold("vectorDirty");
        equal(e.wasm.vectorDirty(v.vector, 11, start, count, 0), 0, "vectorDirty again");
        back();
      }
    }
  });

  /** Writes to pages in place: they keep their slots. */
  function writeInPlace({ e, v, stamps }: Clean, offsets: readonly number[]): void {
    for (const i of offsets) {
      stamps[i] = (stamps[i]! + 2) | 1;
      stampPage(e.page(e.entry(v.vector + i)), stamps[i]!);
      equal(e.wasm.vectorDirty(v.vector, v.entries, i, 1, 1), 0, "slots that this frees");
    }
    e.mustHold("a write in place");
  }

  test("in place keeps its slot, and goes back to it", () => {
    const c = clean(11, [4]);
    const { e, v, stamps, slots } = c;
    const back = remember(c);
    for (let mask = 1; mask < 256; mask++) {
      writeInPlace(c, named(mask));
      const stale = named(mask).filter((i) => i !== 4);
      equal(e.header(H_CLEAN), 10 - stale.length, "clean pages");
      equal(e.freeSlots, SLOTS - 10, "free slots");
      equal(prepare(e, [v]), 11, "pages that leave");
      // The hole that was filled is zeros, unless it is written.
      equalLists(placesNamed(e), named(mask), "written");
      writeOut(e, e.extents(), 11);
      equal(e.wasm.shrinkCommit(1, 11), 11, "shrinkCommit");
      slots.forEach((slot, i) => {
        if (i !== 4) equal(e.entry(v.vector + i), (slot << 1) | 1, `entry ${i}`);
      });
      mustHaveStamps(e, v, stamps);
      e.mustHold("shrinkCommit");
      back();
    }
  });

  test("in place loses its slot when it is written to for good, dropped, or does not get there", () => {
    const c = clean(8);
    const { e, v, stamps } = c;
    const back = remember(c);
    writeInPlace(c, [1, 2, 6]);
    expect(e.wasm.vectorDirty(v.vector, 8, 2, 3, 0)).toBe(3);
    expect(e.header(H_CLEAN)).toBe(8 - 5);
    expect(e.freeSlots).toBe(SLOTS - 5);
    mustDropClean(e, [v]);
    back();
    writeInPlace(c, [1, 2, 6]);
    expect(prepare(e, [v])).toBe(8);
    writeOut(e, e.extents(), 2);
    expect(e.wasm.shrinkCommit(1, 2)).toBe(2);
    expect(statesOf(e, v).slice(0, 4)).toEqual(["handle", "handle", "dirty", "clean"]);
    expect(statesOf(e, v)[6]).toBe("dirty");
    expect(e.freeSlots).toBe(SLOTS - 6);
    mustHaveStamps(e, v, stamps);
    e.mustHold("shrinkCommit");
  });

  test("in place can leave although no slot is free", () => {
    const c = clean(8, [], 8);
    const { e, v, stamps } = c;
    writeInPlace(c, [0, 3]);
    expect(e.freeSlots).toBe(0);
    expect(prepare(e, [v])).toBe(8);
    writeOut(e, e.extents(), 8);
    expect(e.wasm.shrinkCommit(1, 8)).toBe(8);
    mustHaveStamps(e, v, stamps);
    e.mustHold("shrinkCommit");
  });

  test("is nowhere else: handles and empty entries stay what they are", () => {
    const { e, v, stamps } = clean(8, [6]);
    shrinkAll(e, [v]);
    expect(e.wasm.vectorDrop(v.vector + 7, 1, 0)).toBe(0);
    stamps[7] = 0;
    const state = e.stateHash();
    expect(e.wasm.vectorDirty(v.vector, 8, 0, 8, 0)).toBe(0);
    expect(e.wasm.vectorDirty(v.vector, 8, 0, 8, 1)).toBe(0);
    expect(e.stateHash()).toBe(state);
    mustHaveStamps(e, v, stamps);
  });

  test("is in a vector that there is", () => {
    const { e, v } = clean(8);
    for (const [vector, entries, start, count] of [
      [v.vector, 8, 0, 9],
      [v.vector, 8, 8, 1],
      [v.vector, 8, 1, U32_MAX],
      [v.vector, 8, U32_MAX, 1],
      [v.vector, 9, 0, 8],
      [v.vector, 0, 0, 0],
      [v.vector + 8, 1, 0, 1],
      [U32_MAX, 2, 0, 1],
    ] as const) {
      e.mustRefuse(EINVAL, `vectorDirty of ${vector}, ${entries}, ${start}, ${count}`, () =>
        e.wasm.vectorDirty(vector, entries, start, count, 0),
      );
      e.mustRefuse(EINVAL, `vectorDirty of ${vector}, ${entries}, ${start}, ${count}`, () =>
        e.wasm.vectorDirty(vector, entries, start, count, 1),
      );
    }
  });
});

describe("a chunk of clean and dirty pages", () => {
  /** What a commit of `n` pages leaves; the clean ones have the slots that they had. */
  function mustBeLeft({ e, v, slots }: Clean, dirty: readonly number[], n: number): void {
    const expected = slots.map((_, i): State => {
      return i < n ? "handle" : dirty.includes(i) ? "dirty" : "clean";
    });
    equalLists<State>(statesOf(e, v), expected, `states after ${n}`);
    slots.forEach((slot, i) => {
      if (dirty.includes(i)) return;
      const word = i < n ? e.entry(v.vector + i) : e.shadow(v.vector + i);
      equal(word >>> 1, slot, `slot of entry ${i}`);
    });
    const copies = expected.filter((state) => state !== "dirty").length;
    equal(e.freeSlots, e.sizes.slots - copies, "free slots");
    equal(e.header(H_CLEAN), expected.filter((state) => state === "clean").length, "clean pages");
    e.mustHold(`shrinkCommit of ${n}`);
  }

  test("leaves whole or in part, whichever of its pages are dirty", () => {
    const c = clean(8);
    const { e, v, stamps } = c;
    expect(chunksOf(e, v)).toEqual([8]);
    const restart = remember(c);
    for (let mask = 0; mask < 256; mask++) {
      const dirty = named(mask);
      write(c, dirty);
      equal(prepare(e, [v]), 8, "prepared");
      equalLists(placesNamed(e), dirty, "pages to write");
      equal(e.freeSlots, SLOTS - 8, "free slots");
      e.mustHold("shrinkPrepare");
      writeOut(e, e.extents(), 8);
      const back = e.snapshot();
      for (let n = 0; n <= 8; n++) {
        equal(e.wasm.shrinkCommit(1, n), n, "shrinkCommit");
        mustBeLeft(c, dirty, n);
        mustHaveStamps(e, v, stamps);
        if (mask % 16 === n) mustDropClean(e, [v]);
        back();
      }
      restart();
    }
  });

  test("leaves up to the first page that finds no slot", () => {
    const c = clean(8, [], 8);
    const { e, v, stamps } = c;
    const restart = remember(c);
    for (let mask = 1; mask < 256; mask++) {
      const dirty = named(mask);
      for (let free = 0; free < dirty.length; free += 1 + (mask % 3)) {
        write(c, dirty);
        while (e.freeSlots > free) must(e.wasm.slotAlloc(e.freeSlots - free) > 0, "slotAlloc");
        const expected = dirty[free]!;
        if (expected === 0) e.mustRefuse(ENOSPC, "shrinkPrepare", () => prepare(e, [v]));
        else {
          equal(prepare(e, [v]), expected, `prepared of ${dirty} with ${free} slots`);
          equalLists(placesNamed(e), dirty.slice(0, free), "pages to write");
          e.mustHold("shrinkPrepare");
          writeOut(e, e.extents(), expected);
          equal(e.wasm.shrinkCommit(1, expected), expected, "shrinkCommit");
          e.mustHold("shrinkCommit");
          const states = statesOf(e, v);
          equal(states.lastIndexOf("handle"), expected - 1, "pages that left");
          equal(states.filter((state) => state === "reserved").length, 0, "reserved");
        }
        mustHaveStamps(e, v, stamps);
        restart();
      }
    }
  });
});

describe("the slots of clean pages", () => {
  test("are freed when the vector is dropped, or a part of it", () => {
    const { e, v } = clean(11);
    e.mustRefuse(EINVAL, "slotFree", () => e.wasm.slotFree(e.shadow(v.vector) >>> 1, 1));
    expect(e.wasm.vectorDrop(v.vector + 8, 3, 0)).toBe(3);
    expect(e.header(H_CLEAN)).toBe(8);
    expect(e.freeSlots).toBe(SLOTS - 8);
    e.mustHold("vectorDrop of a part");
    dropAll(e, [v]);
    expect(e.header(H_CLEAN)).toBe(0);
    expect(e.freeSlots).toBe(SLOTS);
  });

  test("are freed when their chunks go to a pool, and when a shrink of them is not ended", () => {
    const { e, v } = clean(8);
    const options = { type: 3, caching: WRITE_COMBINED, keep: true };
    expect(e.wasm.vectorCaching(v.vector, 8, 0, WRITE_COMBINED)).toBe(8);
    expect(e.header(H_CLEAN)).toBe(8);
    expect(prepare(e, [v])).toBe(8);
    expect(e.wasm.vectorDrop(v.vector, 8, how(options))).toBe(8);
    expect(e.wasm.poolCount(3, 3)).toBe(1);
    expect(e.header(H_CLEAN)).toBe(0);
    expect(e.freeSlots).toBe(SLOTS);
    e.mustHold("vectorDrop");
  });

  test("are those of a chunk's single pages when it was split", () => {
    const { e, v, stamps } = clean(8);
    expect(prepare(e, [v])).toBe(8);
    expect(e.wasm.shrinkCommit(1, 3)).toBe(3);
    expect(chunksOf(e, v)).toEqual([0, 0, 0, 1, 1, 1, 1, 1]);
    expect(e.wasm.vectorDirty(v.vector, 8, 4, 2, 0)).toBe(2);
    expect(prepare(e, [v])).toBe(5);
    expect(placesNamed(e)).toEqual([1, 2]);
    writeOut(e, e.extents(), 5);
    expect(e.wasm.shrinkCommit(1, 5)).toBe(5);
    expect(statesOf(e, v)).toEqual(new Array(8).fill("handle"));
    mustHaveStamps(e, v, stamps);
    e.mustHold("shrinkCommit");
    mustDropClean(e, [v]);
  });
});
