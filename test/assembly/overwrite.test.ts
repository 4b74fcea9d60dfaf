/*
 * Entries that are overwritten whole are held without a read, over every range of them: what is beside them is read into
 * chunks of its own, so that it can be kept alone. And entries that are emptied, over every range, whatever they are.
 */
import { describe, expect, test } from "vitest";
import { EBUSY, EINVAL, H_CLEAN, H_SWAPPED, PAGE_SIZE, WALK_KEEP } from "../../assembly/abi.ts";
import { EngineUnderTest, equal, equalLists, isHandle, isPage } from "./engine_under_test.ts";
import {
  chunksOf,
  dirtyFrames,
  fillAll,
  fillSingly,
  mustDropClean,
  mustHaveStamp,
  mustHaveStamps,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampPage,
  stampVector,
  type Vector,
} from "./page_content.ts";

const ENTRIES = 14;
const FRAMES = 32;

interface Scene {
  readonly e: EngineUnderTest;
  readonly v: Vector;
  readonly stamps: number[];
}

/** A vector in swap, with entries that are empty, and such that are pages again. */
function scene(holes: readonly number[], pages: readonly number[], keep = false): Scene {
  const e = new EngineUnderTest({ frames: FRAMES, slots: 32, entries: 32, ram: true });
  newVector(e, 3); // so that offsets in the vector are not entry numbers
  const v = newVector(e, ENTRIES);
  const filled = Array.from({ length: ENTRIES }, (_, i) => i).filter((i) => !holes.includes(i));
  fillSingly(e, v, filled);
  const stamps = stampVector(e, v, 3);
  shrinkAll(e, [v]);
  dirtyFrames(e);
  for (const start of pages) {
    equal(prepareFill(e, v, start, { orderMax: 0, budget: 1 }), 1, "fillPrepare");
    readIn(e, e.extents(), 0, 1);
    const flags = keep ? WALK_KEEP : 0;
    equal(e.wasm.fillCommit(v.vector, ENTRIES, start, 0, 1, 1, flags), 1, "fillCommit");
  }
  return { e, v, stamps };
}

const SCENES: [string, () => Scene][] = [
  ["all of it in swap", () => scene([], [])],
  ["with holes", () => scene([0, 3, 4, 8, 13], [])],
  ["with pages in memory", () => scene([], [2, 5, 6])],
  ["with both", () => scene([4, 7, 9], [3, 10], true)],
];

const RANGES = Array.from({ length: ENTRIES }, (_, from) =>
  Array.from({ length: ENTRIES - from }, (_, i) => ({ from, to: from + i + 1 })),
).flat();

describe.each(SCENES)("a range of a vector, %s,", (_, make) => {
  test("is held without a read, and given back, or written and committed", () => {
    const { e, v, stamps } = make();
    const back = e.snapshot();
    const at = (i: number) => v.vector + i;
    for (const { from, to } of RANGES) {
      const [first, end] = [Math.max(from - 1, 0), Math.min(to + 1, ENTRIES)];
      let start = first;
      while (start < end && isPage(e.entry(at(start)))) start++;
      if (start === end) continue;
      const what = `${from} to ${to}`;
      // The border has to be one of chunks: single pages are.
      const window = { vector: v.vector, entries: end };
      const options = { overwriteFrom: from, overwriteTo: to };
      equal(prepareFill(e, window, start, options), end - start, what);
      e.mustHold("fillPrepare");
      const named = e
        .extents()
        .flatMap(({ at, pages }) => Array.from({ length: pages }, (_, i) => start + at + i));
      const beside = [first, end - 1].filter((i, n, all) => all.indexOf(i) === n);
      const read = beside.filter((i) => (i < from || i >= to) && isHandle(e.entry(at(i))));
      equalLists(named, read, `entries to read for ${what}`);
      const held = e.snapshot();
      for (const i of read) equal(e.order(e.shadow(at(i)) / PAGE_SIZE), 0, `order of ${i}`);
      equal(e.wasm.fillCommit(v.vector, end, start, 0, end - start, 0, 0), 0, "commit of nothing");
      e.mustHold("fillCommit");
      mustHaveStamps(e, v, stamps);
      held();
      // Only the first page, which was read.
      if (named[0] === start && start < from) {
        readIn(e, e.extents(), 0, 1);
        equal(e.wasm.fillCommit(v.vector, end, start, 0, end - start, 1, 0), 1, "commit of one");
        e.mustHold("fillCommit");
        mustHaveStamps(e, v, stamps);
        held();
      }
      const after = [...stamps];
      readIn(e, e.extents(), 0, end - start);
      for (let i = from; i < to; i++) {
        after[i] = 1000 + i;
        stampPage(e.page(isPage(e.entry(at(i))) ? e.entry(at(i)) : e.shadow(at(i))), 1000 + i);
      }
      equal(
        e.wasm.fillCommit(v.vector, end, start, 0, end - start, end - start, 0),
        end - start,
        what,
      );
      e.mustHold("fillCommit");
      for (let i = first; i < end; i++) {
        mustHaveStamp(e.page(e.entry(at(i))), after[i] as number, `page ${i} of ${what}`);
      }
      mustHaveStamps(e, v, after);
      mustDropClean(e, [v]);
      back();
    }
  });

  test("is emptied, and chunks that reach beyond it are split", () => {
    for (const together of [false, true]) {
      const { e, v, stamps } = make();
      if (together) {
        fillAll(e, v);
        shrinkAll(e, [v]);
        fillAll(e, v, { keep: true }); // all are clean pages now, in large chunks
      }
      const back = e.snapshot();
      for (const { from, to } of RANGES) {
        const pages = (a: number, b: number) =>
          Array.from({ length: b - a }, (_, i) => v.vector + a + i).filter((i) =>
            isPage(e.entry(i)),
          );
        const slots = Array.from({ length: to - from }, (_, i) => v.vector + from + i).filter(
          (i) => isHandle(e.entry(i)) || e.shadow(i) !== 0,
        );
        const expected = pages(from, to).length;
        const [frames, free] = [e.freePages, e.freeSlots];
        const what = `entries ${from} to ${to}`;
        equal(e.wasm.vectorPunch(v.vector, ENTRIES, from, to - from, 0), expected, what);
        e.mustHold(what);
        equal(e.freePages, frames + expected, "free frames");
        equal(e.freeSlots, free + slots.length, "free slots");
        const after = stamps.map((stamp, i) => (i >= from && i < to ? 0 : stamp));
        for (let i = from; i < to; i++) equal(e.entry(v.vector + i), 0, `entry ${i}`);
        mustHaveStamps(e, v, after);
        fillAll(e, v);
        mustHaveStamps(e, v, after);
        mustDropClean(e, [v]);
        back();
      }
    }
  });
});

describe("what is emptied", () => {
  test("is refused while it moves, or is a part of a held chunk", () => {
    const e = new EngineUnderTest({ frames: 32, slots: 32, entries: 32, ram: true });
    const v = newVector(e, 8);
    fillAll(e, v);
    const stamps = stampVector(e, v, 1);
    shrinkAll(e, [v]);
    expect(prepareFill(e, v, 0)).toBe(8);
    readIn(e, e.extents(), 0, 3);
    expect(e.wasm.fillCommit(v.vector, 8, 0, 0, 8, 3, 0)).toBe(0);
    expect(chunksOf(e, v)).toEqual([8]);
    for (const [start, count] of [
      [0, 4],
      [4, 4],
      [2, 1],
    ] as const) {
      e.mustRefuse(EINVAL, "vectorPunch of a part of a held chunk", () =>
        e.wasm.vectorPunch(v.vector, 8, start, count, 0),
      );
    }
    mustHaveStamps(e, v, stamps);
    expect(e.wasm.vectorPunch(v.vector, 8, 0, 8, 0)).toBe(8);
    expect(e.header(H_SWAPPED)).toBe(0);
    e.mustHold("vectorPunch");
  });

  test("is refused while it is on its way out", () => {
    const e = new EngineUnderTest({ frames: 32, slots: 32, entries: 32, ram: true });
    const v = newVector(e, 8);
    fillAll(e, v);
    stampVector(e, v, 1);
    e.putItems([{ ...v, start: 0 }]);
    expect(e.wasm.shrinkPrepare(1, 8)).toBe(8);
    e.mustNot(EBUSY, "vectorPunch of pages that are being moved", () =>
      e.wasm.vectorPunch(v.vector, 8, 3, 2, 0),
    );
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    expect(e.header(H_CLEAN)).toBe(0);
    e.mustHold("shrinkCommit");
  });
});
