/*
 * Frames that hold nothing are named once, and are zeros when they are handed out again; those that hold something are
 * never named. What a copy of the memory needs is all that is not zeros, and nothing of what is free.
 */
import { describe, expect, test } from "vitest";
import {
  CHECK_REPORTED,
  EINVAL,
  H_FRESH_PFN,
  H_REPORTED,
  P_FLAGS,
  PAGE_SIZE,
  REPORTED,
} from "../../assembly/abi.ts";
import type { Random } from "../support/random.ts";
import { EngineUnderTest, equal, forAll, must, program, runProgram } from "./engine_under_test.ts";
import { fillAll, newVector, shrinkAll, stampVector, type Vector } from "./page_content.ts";

const FRAMES = 96;
const SECRET = 0x5a;

/** Frames that were named by a walk over all of them, which are zeros then. */
function trimAll(e: EngineUnderTest, least = 1, most = FRAMES): Set<number> {
  const named = new Set<number>();
  for (let at = e.firstPfn; at > 0; ) {
    at = e.wasm.trimRun(at, least, most);
    must(at >= 0, `trimRun = ${at}`);
    for (const { slot: pfn, pages } of e.extents()) {
      for (let i = pfn; i < pfn + pages; i++) named.add(i);
    }
    e.releaseExtents();
  }
  return named;
}

/** Fills all free frames with secrets, and frees them. */
function soil(e: EngineUnderTest): void {
  const taken: number[] = [];
  for (let pfn = e.wasm.allocPages(0); pfn > 0; pfn = e.wasm.allocPages(0)) taken.push(pfn);
  for (const pfn of taken) e.page(pfn * PAGE_SIZE).fill(SECRET);
  for (const pfn of taken) equal(e.wasm.givePages(pfn, 0), 0, "givePages");
}

const engine = () => new EngineUnderTest({ frames: FRAMES, slots: 64, entries: 256, ram: true });

describe("frames that hold nothing", () => {
  test("are none while none was ever handed out", () => {
    expect(trimAll(engine()).size).toBe(0);
  });

  test("are named once, until they are handed out again", () => {
    const e = engine();
    soil(e);
    expect(trimAll(e).size).toBe(FRAMES);
    expect(e.header(H_REPORTED)).toBe(FRAMES);
    e.mustHold("a trim");
    expect(trimAll(e).size).toBe(0);
    const pfn = e.wasm.allocPages(3);
    expect(e.header(H_REPORTED)).toBe(FRAMES - 8);
    e.page(pfn * PAGE_SIZE).fill(SECRET);
    equal(e.wasm.givePages(pfn, 3), 0, "givePages");
    expect([...trimAll(e)].sort((a, b) => a - b)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => pfn + i),
    );
    e.mustHold("another trim");
  });

  test("are no shorter a run than asked for, and end where asked for", () => {
    const e = engine();
    soil(e);
    trimAll(e);
    const first = e.wasm.allocPages(0);
    const kept = Array.from({ length: 30 }, () => e.wasm.allocPages(0));
    for (let i = 0; i < 30; i++) if (i % 10 !== 9) e.wasm.givePages(kept[i]!, 0);
    expect(trimAll(e, 10).size).toBe(0);
    expect(trimAll(e, 9, 9).size).toBe(27);
    e.wasm.givePages(first, 0);
    e.mustHold("trims of runs");
  });

  test("are not named by the number of a tail, or of no frame", () => {
    const e = engine();
    equal(e.wasm.trimRun(e.firstPfn + 1, 1, 1), -EINVAL, "of a tail");
    equal(e.wasm.trimRun(e.firstPfn + FRAMES, 1, 1), -EINVAL, "behind all");
    equal(e.wasm.trimRefused(e.firstPfn + FRAMES, 1), -EINVAL, "refused behind all");
    equal(e.wasm.trimRefused(e.firstPfn + 1, FRAMES), -EINVAL, "refused beyond all");
    equal(e.wasm.trimRefused(e.firstPfn, 0), -EINVAL, "none refused");
  });

  test("are known to be broken when one is in use, or is no zeros", () => {
    const e = engine();
    soil(e);
    trimAll(e);
    e.page((e.firstPfn + 5) * PAGE_SIZE)[4095] = 1;
    equal(e.wasm.check(), CHECK_REPORTED, "a reported frame that is not zeros");
    e.page((e.firstPfn + 5) * PAGE_SIZE)[4095] = 0;
    const pfn = e.wasm.allocPages(0);
    e.bytes[e.pageStruct(pfn) + P_FLAGS] = REPORTED;
    equal(e.wasm.check(), CHECK_REPORTED, "a reported frame in use");
  });
});

/** Vectors of pages with content, free frames full of secrets, and trims in between. */
class World {
  readonly e: EngineUnderTest = engine();
  readonly vectors: { v: Vector; stamps: number[] }[] = [];

  step(dice: Random): string {
    const { e, vectors } = this;
    const what = dice.pick(["new", "new", "drop", "shrink", "fill", "trim", "trim", "copy"]);
    if (what === "new" && e.freePages > 20) {
      const v = newVector(e, 1 + dice.below(20));
      fillAll(e, v);
      for (let i = 0; i < v.entries; i++) {
        must(
          e.page(e.entry(v.vector + i)).every((byte) => byte === 0),
          "a new page is not zeros",
        );
      }
      vectors.push({ v, stamps: stampVector(e, v, dice.next()) });
    } else if (vectors.length > 0 && what === "drop") {
      const [gone] = vectors.splice(dice.below(vectors.length), 1);
      const { v } = gone!;
      must(e.wasm.vectorDrop(v.vector, v.entries, 0) >= 0, "vectorDrop");
      equal(e.wasm.vectorFree(v.vector, v.entries), 0, "vectorFree");
    } else if (vectors.length > 0 && what === "shrink" && e.freeSlots > 20) {
      shrinkAll(e, [dice.pick(vectors).v]);
    } else if (vectors.length > 0 && what === "fill" && e.freePages > 20) {
      fillAll(e, dice.pick(vectors).v);
    } else if (what === "trim") trimAll(e, 1 + dice.below(8), 1 + dice.below(FRAMES));
    else if (what === "copy") this.#copied();
    e.mustHold(what);
    return what;
  }

  /** A copy of what is named has all that is not free. */
  #copied(): void {
    const { e } = this;
    const live = new Set<number>();
    let at = 0;
    do {
      at = e.wasm.livePages(at);
      for (const { slot: page, pages } of e.extents()) {
        for (let i = page; i < page + pages; i++) live.add(i);
      }
    } while (at > 0);
    const inUse = e.sizes.frames - e.freePages;
    const frames = [...live].filter((page) => page >= e.firstPfn && page < e.firstPfn + FRAMES);
    must(frames.length <= inUse, "free frames are named");
    for (const { v } of this.vectors) {
      for (let i = 0; i < v.entries; i++) {
        const entry = e.entry(v.vector + i);
        if (entry === 0 || entry % 2 === 1) continue;
        const zeros = e.page(entry).every((byte) => byte === 0);
        equal(live.has(entry / PAGE_SIZE), !zeros, "a page in use is named unless it is zeros");
      }
    }
    for (let page = 0; page < e.firstPfn; page++) {
      const some = e.page(page * PAGE_SIZE).some((byte) => byte !== 0);
      if (some) must(live.has(page), `page ${page} of the metadata is not named`);
    }
  }
}

describe("trims between any two steps", () => {
  test("new pages are zeros, and all invariants hold", () => {
    forAll(program(400), 10, (words) => {
      const world = new World();
      soil(world.e);
      runProgram(words, (dice) => world.step(dice));
      expect(world.e.header(H_FRESH_PFN)).toBeGreaterThan(0);
    });
  });
});
