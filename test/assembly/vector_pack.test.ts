/* Vectors that move to the front; differential.test.ts has them do so at any time. */
import { describe, expect, test } from "vitest";
import { EBUSY, EINVAL, ENOMEM, H_EXTENTS, PAGE_SIZE } from "../../assembly/abi.ts";
import { EngineUnderTest, equal, U32_MAX } from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  mustHaveStamps,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  sumExtents,
  type Vector,
  verifyExtents,
  writeOut,
} from "./page_content.ts";

const ENTRIES = 200;

function engine(): EngineUnderTest {
  return new EngineUnderTest({ frames: 128, slots: 128, entries: ENTRIES, ram: true });
}

/** Three vectors with a gap before each, and what was written to them; where they will be. */
function scattered(sizes: readonly number[] = [19, 40, 7]) {
  const e = engine();
  const made = sizes.map((size) => {
    const gap = newVector(e, 13);
    return { gap, v: newVector(e, size) };
  });
  const vectors = made.map(({ v }) => v);
  for (const v of vectors) fillAll(e, v);
  const stamps = vectors.map((v, i) => stampVector(e, v, i + 1));
  dropAll(
    e,
    made.map(({ gap }) => gap),
  );
  let at = 0;
  const packed = vectors.map(({ entries }) => {
    const vector = at;
    at += entries;
    return { vector, entries };
  });
  return { e, vectors, packed, stamps, used: at };
}

/** Expects each vector where it is to be, with all that it had, and nothing behind. */
function mustBeThere(e: EngineUnderTest, packed: readonly Vector[], stamps: number[][]): void {
  e.mustHold("vectorsPack");
  for (const [i, v] of packed.entries()) mustHaveStamps(e, v, stamps[i]!);
  const used = packed.reduce((sum, { entries }) => sum + entries, 0);
  equal(e.freeEntries, ENTRIES - used, "free entries");
  for (let i = used; i < ENTRIES; i++) {
    equal(e.entry(i) | e.shadow(i), 0, `entry ${i}, which is nobody's`);
  }
}

describe("packing", () => {
  test("makes one gap of all, and keeps order, content and chunks", () => {
    const { e, vectors, packed, stamps, used } = scattered();
    const chunks = vectors.map((v) => chunksOf(e, v));
    expect(e.wasm.vectorAlloc(ENTRIES - used)).toBe(-EBUSY);
    expect(e.wasm.vectorAlloc(ENTRIES - used + 1)).toBe(-ENOMEM);
    expect(e.wasm.vectorsPack(used)).toBe(0);
    mustBeThere(e, packed, stamps);
    expect(packed.map((v) => chunksOf(e, v))).toEqual(chunks);
    for (const v of packed) equal(e.owner(e.entry(v.vector) / PAGE_SIZE), v.vector, "the owner");
    expect(e.wasm.vectorAlloc(ENTRIES - used)).toBe(used);
    expect(e.wasm.vectorFree(used, ENTRIES - used)).toBe(0);
    dropAll(e, packed);
    expect(e.freePages).toBe(128);
  });

  test("takes along what lies in swap, with its checksums, and copies that are still valid", () => {
    for (const keep of [false, true]) {
      const { e, vectors, packed, stamps, used } = scattered();
      shrinkAll(e, vectors);
      if (keep) fillAll(e, vectors[1]!, { keep });
      expect(e.wasm.vectorsPack(used)).toBe(0);
      mustBeThere(e, packed, stamps);
      for (const v of packed) {
        const covered = prepareFill(e, v, 0);
        equal(covered, v.entries, "fillPrepare");
        const extents = e.extents();
        readIn(e, extents, 0, covered);
        equal(verifyExtents(e, extents, covered), covered, "pages that are what they were");
        equal(e.wasm.fillCommit(v.vector, covered, 0, 0, covered, covered, 0), covered, "commit");
      }
      mustBeThere(e, packed, stamps);
      dropAll(e, packed);
      expect(e.freeSlots).toBe(128);
    }
  });

  test("leaves a batch in flight to go on: what was prepared before is committed after", () => {
    for (const moved of [0, 11, 25, 66]) {
      const { e, vectors, packed, stamps, used } = scattered();
      e.putItems(vectors.map((v) => ({ ...v, start: 0 })));
      expect(e.wasm.shrinkPrepare(3, 66)).toBe(66);
      const extents = e.extents();
      expect(e.wasm.vectorsPack(used)).toBe(0);
      equal(e.header(H_EXTENTS), 0, "extents, which name entries");
      mustBeThere(e, packed, stamps);
      sumExtents(e, extents);
      writeOut(e, extents, moved);
      e.putItems(packed.map((v) => ({ ...v, start: 0, next: v.entries })));
      expect(e.wasm.shrinkCommit(3, moved)).toBe(moved);
      mustBeThere(e, packed, stamps);
      dropAll(e, packed);
      expect(e.freeSlots).toBe(128);
    }
  });

  test("leaves a fill in flight to go on, and a chunk that is held", () => {
    const { e, vectors, packed, stamps, used } = scattered([19, 40, 7]);
    shrinkAll(e, vectors);
    const v = vectors[1]!;
    const to = packed[1]!;
    expect(prepareFill(e, v, 0)).toBe(40);
    const extents = e.extents();
    readIn(e, extents, 0, 35);
    expect(e.wasm.vectorsPack(used)).toBe(0);
    e.mustHold("vectorsPack");
    expect(verifyExtents(e, extents, 35)).toBe(35);
    expect(e.wasm.fillCommit(to.vector, 40, 0, 0, 40, 35, 0)).toBe(32);
    mustBeThere(e, packed, stamps);
    // Another gap, and the held chunk moves as well.
    dropAll(e, [packed[0]!]);
    const rest = [
      { vector: 0, entries: 40 },
      { vector: 40, entries: 7 },
    ];
    expect(e.wasm.vectorsPack(47)).toBe(0);
    mustBeThere(e, rest, stamps.slice(1));
    fillAll(e, rest[0]!, { start: 32, done: 3 });
    mustBeThere(e, rest, stamps.slice(1));
    dropAll(e, rest);
    expect(e.freePages).toBe(128);
    expect(e.freeSlots).toBe(128);
  });

  test("changes nothing when there is no gap, whatever is free behind", () => {
    for (const sizes of [[], [19], [64, 64, 72]]) {
      const e = engine();
      const vectors = sizes.map((size) => newVector(e, size));
      const used = sizes.reduce((sum, size) => sum + size, 0);
      const state = e.stateHash();
      expect(e.wasm.vectorsPack(used)).toBe(0);
      expect(e.stateHash()).toBe(state);
      dropAll(e, vectors);
    }
  });

  test("is refused when there are vectors that the caller does not know of", () => {
    const { e, used } = scattered();
    for (const other of [0, 1, used - 1, used + 1, ENTRIES, 2 ** 31, U32_MAX, -1]) {
      e.mustRefuse(EINVAL, `vectorsPack(${other})`, () => e.wasm.vectorsPack(other));
    }
  });
});
