/*
 * Restore without a host: what fillPrepare and every fillCommit(read) leave behind, over all the
 * places where a read may have stopped; that a resume ends it; and what checksums do. All of it with
 * and without keeping the slots of pages that come.
 */
import { describe, expect, test } from "vitest";
import { EINVAL, ENOMEM, H_CLEAN, PAGE_SIZE, WALK_KEEP } from "../../assembly/abi.ts";
import { EngineUnderTest, equal, isHandle, isPage, must } from "./engine_under_test.ts";
import {
  chunksOf,
  dirtyFrames,
  dropAll,
  fillAll,
  fillSingly,
  leaveFree,
  mustDropClean,
  mustHaveStamp,
  mustHaveStamps,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  type Vector,
  verifyExtents,
} from "./page_content.ts";

const FRAMES = 64;
const SLOTS = 80;

interface Shrunken {
  readonly e: EngineUnderTest;
  readonly v: Vector;
  readonly stamps: readonly number[];
  readonly orderMax: number;
  readonly keep: boolean;
}

/** A vector whose pages are all in swap, but for its holes; and frames full of other bytes. */
function shrunken(
  entries: number,
  holes: readonly number[],
  orderMax: number,
  keep = false,
): Shrunken {
  const e = new EngineUnderTest({ frames: FRAMES, slots: SLOTS, entries: 64, ram: true });
  newVector(e, 3); // so that offsets in the vector are not entry numbers
  const v = newVector(e, entries);
  const filled = Array.from({ length: entries }, (_, i) => i).filter((i) => !holes.includes(i));
  fillSingly(e, v, filled);
  const stamps = stampVector(e, v, 11 + orderMax);
  shrinkAll(e, [v]);
  dirtyFrames(e);
  e.mustHold("shrink");
  return { e, v, stamps, orderMax, keep };
}

const handlesIn = (stamps: readonly number[], from: number, to: number): number =>
  stamps.slice(from, to).filter((stamp) => stamp !== 0).length;

function commit(
  { e, v, keep }: Omit<Shrunken, "stamps">,
  [start, done, covered, read]: [number, number, number, number],
): number {
  const flags = keep ? WALK_KEEP : 0;
  return e.wasm.fillCommit(v.vector, v.entries, start, done, covered, read, flags);
}

/** The largest chunk border that is not past `read`. */
function borderBefore(chunks: readonly number[], read: number): number {
  let border = 0;
  for (const pages of chunks) {
    if (border + pages > read) break;
    border += pages;
  }
  return border;
}

/** After a commit of `read` entries: whole chunks are visible, the one begun is held, no other. */
function mustStand(s: Shrunken, chunks: readonly number[], read: number, before: number[]): void {
  const { e, v, stamps } = s;
  const visible = borderBefore(chunks, read);
  const begun = chunks.find((_, i) => {
    return chunks.slice(0, i).reduce((sum, pages) => sum + pages, 0) === visible;
  });
  const held = read > visible ? begun! : 0;
  for (let i = 0; i < v.entries; i++) {
    const entry = e.entry(v.vector + i);
    const shadow = e.shadow(v.vector + i);
    if (i < visible) {
      must(isPage(entry), `entry ${i} is no page`);
      mustHaveStamp(e.page(entry), stamps[i]!, `page ${i}`);
      equal(shadow, s.keep ? before[i] : 0, `shadow ${i}`);
    } else {
      equal(entry, before[i], `entry ${i}`);
      equal(shadow !== 0, i < visible + held, `entry ${i} is held`);
      if (shadow !== 0 && i < read) mustHaveStamp(e.page(shadow), stamps[i]!, `held page ${i}`);
    }
  }
  equal(e.freePages, FRAMES - visible - held, `free pages after ${read}`);
  const clean = s.keep ? handlesIn(stamps, 0, visible) : 0;
  equal(e.header(H_CLEAN), clean, `clean pages after ${read}`);
  const inSwap = handlesIn(stamps, visible, v.entries);
  equal(e.freeSlots, SLOTS - inSwap - clean, `free slots after ${read}`);
  e.mustHold(`fillCommit of ${read}`);
}

/** Counts how often each slot was read. */
class Reads {
  readonly counts: Map<number, number> = new Map();

  add(slots: readonly number[]): void {
    for (const slot of slots) this.counts.set(slot, (this.counts.get(slot) ?? 0) + 1);
  }

  mustBeOnce(pages: number): void {
    equal(this.counts.size, pages, "slots read");
    for (const [slot, count] of this.counts) equal(count, 1, `reads of slot ${slot}`);
  }
}

/** Goes on from `read` entries to the end. */
function resume(s: Shrunken, visible: number, read: number, reads: Reads): void {
  const { e, v, orderMax } = s;
  let start = visible;
  let done = read - visible;
  while (start < v.entries) {
    const covered = prepareFill(e, v, start, { done, orderMax });
    must(covered > done, `fillPrepare at ${start}: ${covered}`);
    const extents = e.extents();
    for (const { at } of extents) must(at >= done, "an extent names a page that was read before");
    reads.add(readIn(e, extents, 0, covered));
    equal(commit(s, [start, done, covered, covered]), covered, "fillCommit");
    start += covered;
    done = 0;
  }
}

/** From a prepared state, every place to stop at: what stands, a drop, and a resume to the end. */
function stopEverywhere(s: Shrunken, done: number, reads: Reads): void {
  const { e, v, stamps, orderMax } = s;
  const before = Array.from({ length: v.entries }, (_, i) => e.entry(v.vector + i));
  const covered = prepareFill(e, v, 0, { done, orderMax });
  equal(covered, v.entries, "fillPrepare");
  e.mustHold("fillPrepare");
  mustDropClean(e, [v]);
  const chunks = chunksOf(e, v);
  const extents = e.extents();
  const back = e.snapshot();
  for (let read = done; read <= covered; read++) {
    const mine = new Reads();
    for (const [slot, count] of reads.counts) mine.counts.set(slot, count);
    mine.add(readIn(e, extents, 0, read));
    const visible = borderBefore(chunks, read);
    equal(commit(s, [0, done, covered, read]), visible, `committed of ${read}`);
    mustStand(s, chunks, read, before);
    mustDropClean(e, [v]);
    resume(s, visible, read, mine);
    mustHaveStamps(e, v, stamps);
    mine.mustBeOnce(handlesIn(stamps, 0, v.entries));
    const kept = s.keep ? handlesIn(stamps, 0, v.entries) : 0;
    equal(e.freeSlots, SLOTS - kept, "free slots at the end");
    e.mustHold("resume");
    mustDropClean(e, [v]);
    back();
  }
}

const CASES: [string, number[], number][] = [
  ["one large chunk first", [], 9],
  ["chunks of four", [], 2],
  ["single pages", [], 0],
  ["holes and a large chunk", [0, 3, 17, 18, 31, 32, 39], 9],
  ["holes and chunks of four", [3, 4, 5, 6, 7, 17, 18, 30], 2],
  ["holes and single pages", [0, 1, 20, 39], 0],
];

describe.each([
  ["freed", false],
  ["kept", true],
])("a restore that stops after any number of entries, slots %s", (_, keep) => {
  test.each(CASES)("%s: whole chunks are visible, and a resume ends it", (_, holes, orderMax) => {
    stopEverywhere(shrunken(40, holes, orderMax, keep), 0, new Reads());
  });

  test.each(CASES)("%s: the same after a first stop in the first chunk", (_, holes, orderMax) => {
    const s = shrunken(40, holes, orderMax, keep);
    const { e, v } = s;
    const covered = prepareFill(e, v, 0, { orderMax });
    const first = chunksOf(e, v)[0]!;
    const back = e.snapshot();
    for (let done = 1; done < first; done += keep ? 5 : 1) {
      const reads = new Reads();
      reads.add(readIn(e, e.extents(), 0, done));
      equal(commit(s, [0, 0, covered, done]), 0, "fillCommit");
      stopEverywhere(s, done, reads);
      back();
    }
  });

  test("and stops again and again, an entry at a time", () => {
    const s = shrunken(40, [5, 9, 10, 38], 3, keep);
    const { e, v, stamps, orderMax } = s;
    const reads = new Reads();
    let start = 0;
    let read = 0;
    while (start < 40) {
      const done = read - start;
      const covered = prepareFill(e, v, start, { done, orderMax });
      read++;
      reads.add(readIn(e, e.extents(), 0, read - start));
      start += commit(s, [start, done, covered, read - start]);
      e.mustHold("fillCommit");
      mustDropClean(e, [v]);
    }
    mustHaveStamps(e, v, stamps);
    reads.mustBeOnce(36);
  });

  test("and is given up: the held chunk goes back, its slots are still valid", () => {
    const s = shrunken(40, [2], 9, keep);
    const { e, v, stamps } = s;
    const covered = prepareFill(e, v, 0);
    readIn(e, e.extents(), 0, 7);
    expect(commit(s, [0, 0, covered, 7])).toBe(0);
    expect(e.freePages).toBe(FRAMES - 32);
    expect(commit(s, [0, 0, 1, 0])).toBe(0);
    expect(e.freePages).toBe(FRAMES);
    e.mustHold("giving up");
    fillAll(e, v);
    mustHaveStamps(e, v, stamps);
  });
});

describe("a restore", () => {
  test("reads holes as zeros", () => {
    const holes = [0, 1, 2, 9, 16, 31, 33];
    for (let orderMax = 0; orderMax <= 6; orderMax++) {
      const { e, v } = shrunken(40, holes, orderMax);
      fillAll(e, v, { orderMax });
      for (const i of holes) mustHaveStamp(e.page(e.entry(v.vector + i)), 0, `hole ${i}`);
    }
  });

  test("leaves pages that never left where they are, and reads only the others", () => {
    const e = new EngineUnderTest({ frames: FRAMES, slots: SLOTS, entries: 64, ram: true });
    const v = newVector(e, 40);
    fillAll(e, v, { orderMax: 2 });
    const stamps = stampVector(e, v, 9);
    e.putItems([{ ...v, start: 12 }]);
    expect(e.wasm.shrinkPrepare(1, 9)).toBe(12);
    expect(e.wasm.ramTransfer(1)).toBe(12);
    expect(e.wasm.shrinkCommit(1, 12)).toBe(12);
    const before = Array.from({ length: 40 }, (_, i) => e.entry(v.vector + i));
    const covered = prepareFill(e, v, 0);
    expect(covered).toBe(40);
    const read = readIn(e, e.extents(), 0, 40);
    expect(read.sort((a, b) => a - b)).toEqual(
      before.filter(isHandle).map((handle) => handle >>> 1),
    );
    expect(e.extents()[0]?.at).toBe(12);
    expect(e.wasm.fillCommit(v.vector, 40, 0, 0, 40, 40, 0)).toBe(40);
    before.forEach((entry, i) => {
      if (isPage(entry)) equal(e.entry(v.vector + i), entry, `page ${i}`);
    });
    mustHaveStamps(e, v, stamps);
    dropAll(e, [v]);
  });

  test("takes smaller chunks when memory is in pieces", () => {
    const { e, v, stamps } = shrunken(11, [4], 9);
    leaveFree(e, [0, 1, 2, 3, 8, 9, 13, 17, 30, 31, 40]);
    fillAll(e, v);
    expect(chunksOf(e, v)).toEqual([4, 2, 2, 1, 1, 1]);
    expect(e.freePages).toBe(0);
    mustHaveStamps(e, v, stamps);
    e.mustHold("restore");
  });

  test("ends where memory does, and goes on when some is freed", () => {
    const s = shrunken(20, [6], 9);
    const { e, v, stamps } = s;
    const taken = [e.wasm.allocPages(5), e.wasm.allocPages(4), e.wasm.allocPages(3)];
    expect(prepareFill(e, v, 0)).toBe(8);
    readIn(e, e.extents(), 0, 8);
    expect(commit(s, [0, 0, 8, 8])).toBe(8);
    e.mustRefuse(ENOMEM, "fillPrepare", () => prepareFill(e, v, 8));
    mustHaveStamps(e, v, stamps);
    expect(e.wasm.givePages(taken[2]!, 3)).toBe(0);
    expect(prepareFill(e, v, 8)).toBe(8);
    readIn(e, e.extents(), 0, 3);
    expect(commit(s, [8, 0, 8, 3])).toBe(0);
    expect(prepareFill(e, v, 8, { done: 3 })).toBe(8);
    readIn(e, e.extents(), 3, 8);
    expect(commit(s, [8, 3, 8, 8])).toBe(8);
    e.mustRefuse(ENOMEM, "fillPrepare", () => prepareFill(e, v, 16));
    expect(e.wasm.givePages(taken[1]!, 4)).toBe(0);
    fillAll(e, v, { start: 16 });
    mustHaveStamps(e, v, stamps);
    e.mustHold("restore");
  });

  test("through ramTransfer is the same as page by page", () => {
    const s = shrunken(40, [], 2);
    const { e, v, stamps } = s;
    const covered = prepareFill(e, v, 0, { orderMax: 2 });
    expect(e.wasm.ramTransfer(0)).toBe(40);
    expect(commit(s, [0, 0, covered, covered])).toBe(40);
    mustHaveStamps(e, v, stamps);
  });
});

describe("ramTransfer", () => {
  test("with checksums notes on the way out, and stops on the way back where one does not match", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 64, entries: 64, ram: true });
    const v = newVector(e, 40);
    fillAll(e, v);
    const stamps = stampVector(e, v, 3);
    e.putItems([{ ...v, start: 0 }]);
    const prepared = e.wasm.shrinkPrepare(1, 40);
    expect(e.wasm.ramTransfer(1, 1)).toBe(40);
    expect(e.wasm.shrinkCommit(1, prepared)).toBe(40);
    const slots = Array.from({ length: 40 }, (_, i) => e.entry(v.vector + i) >>> 1);
    const covered = prepareFill(e, v, 0);
    expect(e.wasm.ramTransfer(0, 1)).toBe(40);
    for (let bad = 0; bad < 40; bad++) {
      e.slot(slots[bad]!)[bad * 100]! ^= 1;
      equal(e.wasm.ramTransfer(0, 1), bad, `page ${bad} is bad`);
      equal(e.wasm.ramTransfer(0, 0), 40, "nothing is verified");
      e.slot(slots[bad]!)[bad * 100]! ^= 1;
    }
    expect(e.wasm.ramTransfer(0, 1)).toBe(40);
    expect(e.wasm.fillCommit(v.vector, 40, 0, 0, covered, 40, 0)).toBe(40);
    mustHaveStamps(e, v, stamps);
    expect(covered).toBe(40);
  });

  test("is refused where the slots are not in memory, and for extents without slots", () => {
    const e = new EngineUnderTest({ frames: 8, slots: 8, entries: 8 });
    const v = newVector(e, 4);
    fillAll(e, v);
    e.putItems([{ ...v, start: 0 }]);
    expect(e.wasm.shrinkPrepare(1, 4)).toBe(4);
    e.mustRefuse(EINVAL, "ramTransfer", () => e.wasm.ramTransfer(1));
    const ram = new EngineUnderTest({ frames: 8, slots: 8, entries: 8, ram: true });
    const w = newVector(ram, 4);
    fillAll(ram, w);
    expect(ram.wasm.vectorExtents(w.vector, 4, 0, 4)).toBe(4);
    for (const out of [0, 1]) {
      ram.mustNot(EINVAL, "ramTransfer of extents that no longer hold", () =>
        ram.wasm.ramTransfer(out),
      );
    }
  });
});

describe("a checksum that does not match", () => {
  test.each([
    [0, []],
    [2, []],
    [9, []],
    [9, [0, 5, 6, 20]],
    [2, [3, 12]],
  ] as [number, number[]][])("orders up to %i, holes %j", (orderMax, holes) => {
    const s = shrunken(24, holes, orderMax, orderMax === 2);
    const { e, v, stamps } = s;
    const before = Array.from({ length: 24 }, (_, i) => e.entry(v.vector + i));
    const back = e.snapshot();
    for (let bad = 0; bad < 24; bad++) {
      if (holes.includes(bad)) continue;
      const slot = before[bad]! >>> 1;
      const at = (bad * 181) % PAGE_SIZE;
      e.slot(slot)[at]! ^= 1 << (bad % 8);
      const covered = prepareFill(e, v, 0, { orderMax });
      equal(covered, 24, "fillPrepare");
      const chunks = chunksOf(e, v);
      const extents = e.extents();
      readIn(e, extents, 0, covered);
      equal(verifyExtents(e, extents, covered), bad, "pages before the bad one");
      const visible = borderBefore(chunks, bad);
      equal(commit(s, [0, 0, covered, bad]), visible, "committed");
      mustStand(s, chunks, bad, before);
      mustDropClean(e, [v]);
      const again = readAgain(s, visible, bad, bad);
      equal(commit(s, [visible, bad - visible, again, bad - visible]), 0, "fillCommit of nothing");
      e.slot(slot)[at]! ^= 1 << (bad % 8);
      const good = readAgain(s, visible, bad, 24);
      equal(commit(s, [visible, bad - visible, good, good]), good, "fillCommit");
      mustHaveStamps(e, v, stamps);
      e.mustHold("restore");
      back();
    }
  });

  /** Reads and verifies from entry `bad` on: all is good up to `end`. Returns the pages covered. */
  function readAgain(
    { e, v, orderMax }: Shrunken,
    start: number,
    bad: number,
    end: number,
  ): number {
    const covered = prepareFill(e, v, start, { done: bad - start, orderMax });
    equal(covered, 24 - start, "covered again");
    const extents = e.extents();
    readIn(e, extents, 0, covered);
    equal(verifyExtents(e, extents, covered), end - start, "good pages again");
    return covered;
  }
});
