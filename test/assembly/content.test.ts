/* What is done to the bytes of pages: one by one, and as the entries that a transfer moves. */
import { describe, expect, test } from "vitest";
import { CHECK_POOL, EFAULT, EINVAL, PAGE_SIZE } from "../../assembly/abi.ts";
import { Random } from "../support/random.ts";
import { EngineUnderTest, equal, how, must, U32_MAX } from "./engine_under_test.ts";
import {
  dirtyFrames,
  fillAll,
  newVector,
  prepareFill,
  randomBytes,
  readIn,
  shrinkAll,
  stampVector,
} from "./page_content.ts";

/** Eight frames, of which the first four are one chunk in use. */
function fourPages() {
  const e = new EngineUnderTest({ frames: 8, slots: 1, entries: 1 });
  const pfn = e.wasm.allocPages(2);
  const page = (i: number) => e.page((pfn + i) * PAGE_SIZE);
  return { e, wasm: e.wasm, pfn, page };
}

describe("a copy", () => {
  test("touches that page and no other", () => {
    const { e, wasm, pfn, page } = fourPages();
    const frames = e.page(e.firstPfn * PAGE_SIZE, 8);
    for (let from = 0; from < 4; from++) {
      for (let to = 0; to < 4; to++) {
        for (let i = 0; i < 8; i++) e.page((e.firstPfn + i) * PAGE_SIZE).fill(i + 1);
        const expected = frames.slice();
        expected.copyWithin(to * PAGE_SIZE, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
        expect(wasm.pageCopy(pfn + to, pfn + from)).toBe(0);
        must(
          frames.every((byte, i) => byte === expected[i]),
          `copy of ${from} to ${to}`,
        );
      }
    }
    randomBytes(page(1), new Random(1));
    expect(wasm.pageCopy(pfn + 2, pfn + 1)).toBe(0);
    expect(page(2)).toEqual(page(1));
  });

  test("takes only pages that were handed out", () => {
    const { e, wasm, pfn } = fourPages();
    const { firstPfn } = e;
    const content = e.contentHash();
    const others = [0, 1, firstPfn - 1, pfn + 4, firstPfn + 7, firstPfn + 8, 2 ** 31, U32_MAX];
    for (const other of others) {
      e.mustRefuse(EINVAL, `copy to ${other}`, () => wasm.pageCopy(other, pfn));
      e.mustRefuse(EINVAL, `copy from ${other}`, () => wasm.pageCopy(pfn, other));
      expect(wasm.pageChecksum(other)).toBe(0);
    }
    expect(e.contentHash()).toBe(content);
    expect(wasm.givePages(pfn, 2)).toBe(0);
    for (let i = 0; i < 4; i++) {
      e.mustRefuse(EINVAL, "copy of a freed page", () => wasm.pageCopy(pfn + i, pfn + i));
    }
  });
});

describe("the zero test", () => {
  test("sees a single bit at each of the 4096 places", () => {
    // Pooled pages are zeros, which check() looks at.
    const e = new EngineUnderTest({ frames: 3, slots: 1, entries: 3 });
    const v = newVector(e, 3);
    fillAll(e, v, { orders: [0] });
    const bytes = e.page(e.entry(v.vector + 1));
    e.page(e.firstPfn * PAGE_SIZE, 3).fill(0xff);
    equal(e.wasm.vectorDrop(v.vector + 1, 1, how({ type: 0 })), 1, "vectorDrop");
    e.mustHold("a drop to a pool");
    for (let at = 0; at < PAGE_SIZE; at++) {
      bytes[at] = 1 << (at % 8);
      equal(e.wasm.check(), CHECK_POOL, `a bit at ${at}`);
      bytes[at] = 0;
    }
    e.mustHold("all bits again");
  });
});

describe("the checksums of entries", () => {
  /** A vector of 4 + 2 + 1 pages with content, side by side, behind another one. */
  const sevenPages = () => {
    const e = new EngineUnderTest({ frames: 16, slots: 16, entries: 16, ram: true });
    newVector(e, 3);
    const v = newVector(e, 7);
    fillAll(e, v);
    stampVector(e, v, 4);
    const pfn = e.entry(v.vector) / PAGE_SIZE;
    for (let i = 0; i < 7; i++) equal(e.entry(v.vector + i) / PAGE_SIZE, pfn + i, `page ${i}`);
    return { e, wasm: e.wasm, v, at: v.vector, pfn };
  };

  /** The same, about to leave. */
  const leaving = () => {
    const made = sevenPages();
    made.e.putItems([{ ...made.v, start: 0 }]);
    equal(made.wasm.shrinkPrepare(1, 7), 7, "shrinkPrepare");
    return made;
  };

  test("are those of their pages, each for itself", () => {
    const { e, wasm, at, pfn } = leaving();
    const sums = () => Array.from(e.words.subarray(e.sumIndex(0), e.sumIndex(16)));
    for (let start = 0; start < 7; start++) {
      for (let count = 1; start + count <= 7; count++) {
        e.words.fill(5, e.sumIndex(0), e.sumIndex(16));
        equal(wasm.sumPages(pfn + start, count), count, "sumPages");
        sums().forEach((sum, i) => {
          const mine = i >= at + start && i < at + start + count;
          const expected = mine ? wasm.pageChecksum(e.entry(i) / PAGE_SIZE) >>> 0 : 5;
          equal(sum, expected, `checksum of entry ${i}`);
        });
      }
    }
    e.mustHold("sumPages");
  });

  test("find the first page that differs, and count those before it", () => {
    const { e, wasm, at, pfn } = leaving();
    equal(wasm.sumPages(pfn, 7), 7, "sumPages");
    const back = e.snapshot();
    for (let bad = 0; bad < 7; bad++) {
      for (const other of [bad, 6]) {
        e.page(e.entry(at + bad))[bad * 600]! ^= 1;
        if (other !== bad) e.page(e.entry(at + other))[9]! ^= 1;
        for (let start = 0; start < 7; start++) {
          const expected = start > bad ? (other > bad && start <= other ? other : 7) : bad;
          equal(wasm.verifyPages(pfn + start, 7 - start), expected - start, `from ${start}`);
          if (start < bad) equal(wasm.verifyPages(pfn + start, bad - start), bad - start, "before");
        }
        back();
      }
    }
    equal(wasm.verifyPages(pfn, 7), 7, "verifyPages");
  });

  test("go with the entries: to swap, and to the pages that are held for them", () => {
    const { e, wasm, v, at } = sevenPages();
    shrinkAll(e, [v]);
    dirtyFrames(e);
    expect(prepareFill(e, v, 0)).toBe(7);
    const pfn = e.shadow(at) / PAGE_SIZE;
    for (let i = 0; i < 7; i++) equal(e.shadow(at + i) / PAGE_SIZE, pfn + i, `held page ${i}`);
    e.mustRefuse(EFAULT, "sum of held pages", () => wasm.sumPages(pfn, 7));
    readIn(e, e.extents(), 0, 3);
    expect(wasm.verifyPages(pfn, 7)).toBe(3);
    readIn(e, e.extents(), 3, 7);
    expect(wasm.verifyPages(pfn, 7)).toBe(7);
    expect(wasm.fillCommit(v.vector, 7, 0, 0, 7, 7, 0)).toBe(7);
    expect(wasm.verifyPages(pfn, 7)).toBe(7);
    e.mustHold("restore");
  });

  test("are of pages of vectors, and of no others", () => {
    const { e, wasm, v, pfn } = sevenPages();
    const raw = wasm.allocPages(0);
    for (const [from, count] of [
      [pfn, 0],
      [pfn, 16],
      [pfn, U32_MAX],
      [raw, 1],
      [pfn + 8, 1],
      [e.firstPfn + 15, 2],
      [e.firstPfn - 1, 1],
      [e.firstPfn + 16, 1],
      [0, 1],
      [U32_MAX, 2],
      [1, U32_MAX],
      [2 ** 31, 1],
    ] as const) {
      const name = `of ${from}, ${count}`;
      // What comes first cannot leave, which is said before what there is not.
      const errno = from === pfn && count > 0 ? EFAULT : EINVAL;
      e.mustRefuse(errno, `sum ${name}`, () => wasm.sumPages(from, count));
      if (from !== pfn) e.mustRefuse(EINVAL, `verify ${name}`, () => wasm.verifyPages(from, count));
    }
    for (let i = 0; i < 7; i++) {
      e.words[e.sumIndex(v.vector + i)] = wasm.pageChecksum(pfn + i);
    }
    for (const count of [8, U32_MAX]) {
      e.mustRefuse(EINVAL, "verify past the end", () => wasm.verifyPages(pfn, count));
    }
    expect(wasm.vectorDrop(v.vector, 7, 0)).toBe(7);
    e.mustRefuse(EINVAL, "sum after a drop", () => wasm.sumPages(pfn, 7));
  });

  test("are not noted in part", () => {
    const { e, wasm, v, at, pfn } = sevenPages();
    e.putItems([{ ...v, start: 0 }]);
    equal(wasm.shrinkPrepare(1, 4), 4, "shrinkPrepare");
    e.page(e.entry(at)).fill(9);
    e.mustRefuse(EFAULT, "sum of pages that leave and that stay", () => wasm.sumPages(pfn, 5));
  });

  test("are not of pages that have no slot to leave to", () => {
    const { e, wasm, v, at, pfn } = sevenPages();
    e.mustRefuse(EFAULT, "sum of pages that stay", () => wasm.sumPages(pfn, 7));
    e.putItems([{ ...v, start: 0 }]);
    equal(wasm.shrinkPrepare(1, 7), 7, "shrinkPrepare");
    equal(wasm.sumPages(pfn, 7), 7, "sumPages");
    equal(wasm.shrinkCommit(1, 0), 0, "shrinkCommit");
    e.mustRefuse(EFAULT, "sum of pages that stay after all", () => wasm.sumPages(pfn, 7));
    shrinkAll(e, [v]);
    fillAll(e, v, { keep: true });
    const clean = e.entry(at) / PAGE_SIZE;
    e.mustRefuse(EFAULT, "sum of clean pages", () => wasm.sumPages(clean, 7));
  });
});
