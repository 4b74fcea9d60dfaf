/* Walks that only look at entries: against the same, entry by entry, of vectors in any state. */
import { expect, test } from "vitest";
import {
  EINVAL,
  KIND_EMPTY,
  KIND_HELD,
  KIND_PAGE,
  KIND_SWAPPED,
  KINDS,
  PAGE_SIZE,
} from "../../assembly/abi.ts";
import { EngineUnderTest, equal, isPage, U32_MAX } from "./engine_under_test.ts";
import {
  dropAll,
  fillAll,
  fillSingly,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

const ENTRIES = 24;

/** A vector behind another one, with entries of all kinds. */
function mixed(): { e: EngineUnderTest; v: Vector } {
  const e = new EngineUnderTest({ frames: 64, slots: 64, entries: 40, ram: true });
  newVector(e, 3);
  const v = newVector(e, ENTRIES);
  // The first twelve get content, the last twelve none.
  const covered = prepareFill(e, v, 0, { budget: 12, orders: [2, 0] });
  equal(e.wasm.fillCommit(v.vector, ENTRIES, 0, 0, covered, covered, 0), 12, "fillCommit");
  stampVector(e, v, 1);
  shrinkAll(e, [v]);
  fillSingly(e, v, [0, 1, 6, 20]);
  // A chunk of four is held, of which one page is read: for handles, and for entries without content.
  for (const start of [7, 12]) {
    const held = prepareFill(e, v, start, { budget: 4, orders: [2, 0] });
    equal(held, 4, "entries that a chunk is held for");
    readIn(e, e.extents(), 0, 1);
    equal(e.wasm.fillCommit(v.vector, ENTRIES, start, 0, held, 1, 0), 0, "fillCommit");
  }
  e.mustHold("the making");
  return { e, v };
}

function kindOf(e: EngineUnderTest, index: number): number {
  const entry = e.entry(index);
  if (isPage(entry)) return KIND_PAGE;
  if (e.shadow(index) !== 0) return KIND_HELD;
  return entry === 0 ? KIND_EMPTY : KIND_SWAPPED;
}

test("they find and count what entries are, in any part of a vector and of any kinds", () => {
  const { e, v } = mixed();
  const kinds = Array.from({ length: ENTRIES }, (_, i) => kindOf(e, v.vector + i));
  expect(new Set(kinds)).toEqual(new Set([KIND_PAGE, KIND_HELD, KIND_SWAPPED, KIND_EMPTY]));
  const state = e.stateHash();
  for (let wanted = 0; wanted <= KINDS; wanted++) {
    for (let from = 0; from < ENTRIES; from++) {
      for (let count = 1; from + count <= ENTRIES; count++) {
        const part = kinds.slice(from, from + count);
        const first = part.findIndex((kind) => kind & wanted);
        const what = `of ${wanted} in ${from}, ${count}`;
        const before = e.wasm.entriesBefore(v.vector + from, count, wanted);
        equal(before, first < 0 ? count : first, `entries before the first ${what}`);
        const some = part.filter((kind) => kind & wanted).length;
        equal(e.wasm.entriesCount(v.vector + from, count, wanted), some, `entries ${what}`);
      }
    }
  }
  equal(e.stateHash(), state, "state after walks");
});

test("a page is one whatever it has in swap", () => {
  const { e, v } = mixed();
  e.wasm.vectorDrop(v.vector, ENTRIES, 0);
  fillAll(e, v);
  stampVector(e, v, 2);
  shrinkAll(e, [v]);
  fillAll(e, v, { keep: true });
  const pages = () => e.wasm.entriesCount(v.vector, ENTRIES, KIND_PAGE);
  expect(pages()).toBe(ENTRIES);
  expect(e.wasm.vectorDirty(v.vector, ENTRIES, 0, 9, 1)).toBe(0);
  expect(pages()).toBe(ENTRIES);
  e.page(e.entry(v.vector + 3)).fill(0, 0, PAGE_SIZE);
  e.putItems([{ ...v, start: 0 }]);
  expect(e.wasm.shrinkPrepare(1, ENTRIES)).toBe(ENTRIES);
  expect(pages()).toBe(ENTRIES);
  expect(e.wasm.entriesBefore(v.vector, ENTRIES, KINDS - KIND_PAGE)).toBe(ENTRIES);
});

test("they refuse entries of no vector, and kinds that there are not", () => {
  const { e, v } = mixed();
  for (const walk of ["entriesBefore", "entriesCount"] as const) {
    for (const [index, count, kinds] of [
      [v.vector, 0, KINDS],
      [v.vector, ENTRIES + 1, KINDS],
      [v.vector + ENTRIES, 1, KINDS],
      [40, 1, KINDS],
      [39, 2, KINDS],
      [-1, 1, KINDS],
      [0, U32_MAX, KINDS],
      [U32_MAX, 2, KINDS],
      [2 ** 31, 2 ** 31, KINDS],
      [v.vector, 1, KINDS + 1],
      [v.vector, 1, -1],
    ] as const) {
      const what = `${walk}(${index}, ${count}, ${kinds})`;
      e.mustRefuse(EINVAL, what, () => e.wasm[walk](index, count, kinds));
    }
  }
  dropAll(e, [v]);
});
