/*
 * What a host can get wrong although its arguments are in order. A debug build stops there and says what
 * it was; a release build refuses, or leaves alone what it must not touch, and no content is lost.
 */
import { beforeEach, describe, expect, test } from "vitest";
import {
  ALLOCATED,
  EBUSY,
  EINVAL,
  EXTENTS,
  FREE,
  H_CLEAN,
  H_FREE_HEAD,
  H_FREE_PAGES,
  H_MOVING,
  H_SWAP_MAP,
  MAX_ORDER,
  P_CACHING,
  P_ORDER,
  P_OWNER,
  P_PREV,
  P_STATE,
  PAGE_SIZE,
  SLOT_SHIFT,
  UNCACHED,
  X_INDEX,
} from "../../assembly/abi.ts";
import { abortOf, DEBUGGING, EngineUnderTest, equal, how } from "./engine_under_test.ts";
import {
  fillAll,
  mustDropClean,
  mustHaveStamps,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

const ENTRIES = 11;

let e: EngineUnderTest;
/** A vector of 8 + 2 + 1 pages, and one that comes behind it. */
let v: Vector;
let other: Vector;
let stamps: number[];

beforeEach(() => {
  e = new EngineUnderTest({ frames: 32, slots: 32, entries: 32, ram: true });
  v = newVector(e, ENTRIES);
  other = newVector(e, 2);
  fillAll(e, v);
  fillAll(e, other);
  stamps = stampVector(e, v, 7);
  stampVector(e, other, 8);
});

const items = (vectors: readonly Vector[], next?: number) =>
  e.putItems(
    vectors.map((each) => ({ ...each, start: 0, ...(next === undefined ? {} : { next }) })),
  );

function prepareShrink(...vectors: Vector[]): number {
  items(vectors);
  return e.wasm.shrinkPrepare(vectors.length, 64);
}

const commitFill = (read: number, done = 0) =>
  e.wasm.fillCommit(v.vector, ENTRIES, 0, done, ENTRIES, read, 0);

function mustBeWhole(): void {
  e.mustHold("what a host did");
  mustHaveStamps(e, v, stamps);
  mustDropClean(e, [v, other]);
}

describe("a shrinkCommit", () => {
  const refused = (moved = ENTRIES) =>
    e.mustNot(EINVAL, "shrinkCommit of what was not prepared", () => e.wasm.shrinkCommit(1, moved));

  test("without a prepare", () => {
    items([v], ENTRIES);
    refused();
    mustBeWhole();
  });

  test("of pages that keep a slot for what it is no longer worth", () => {
    shrinkAll(e, [v]);
    fillAll(e, v, { keep: true });
    equal(e.wasm.vectorDirty(v.vector, ENTRIES, 0, ENTRIES, 1), 0, "vectorDirty");
    stamps = stampVector(e, v, 8);
    items([v], ENTRIES);
    // Each has a shadow as a prepared page has it; as a handle it would be what it was before.
    refused();
    mustBeWhole();
  });

  test("a second time", () => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    equal(e.wasm.ramTransfer(1), ENTRIES, "ramTransfer");
    equal(e.wasm.shrinkCommit(1, 3), 3, "shrinkCommit");
    refused(5);
    refused(0);
    mustBeWhole();
  });

  test("for one vector of two that was prepared", () => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    items([other, v], 2);
    e.mustNot(EINVAL, "shrinkCommit of what was not prepared", () => e.wasm.shrinkCommit(2, 2));
    items([v], ENTRIES);
    equal(e.wasm.shrinkCommit(1, 0), 0, "shrinkCommit");
    equal(e.header(H_MOVING), 0, "pages being moved");
    mustBeWhole();
  });
});

describe("a fillCommit", () => {
  const refused = (read: number, done = 0) =>
    e.mustNot(EINVAL, "fillCommit of what was not prepared", () => commitFill(read, done));

  beforeEach(() => shrinkAll(e, [v]));

  test("without a prepare", () => {
    refused(ENTRIES);
    refused(1);
    mustBeWhole();
  });

  test("of a chunk that is held since an interruption, as if the rest had been read", () => {
    equal(prepareFill(e, v, 0), ENTRIES, "fillPrepare");
    readIn(e, e.extents(), 0, 3);
    equal(commitFill(3), 0, "fillCommit");
    refused(ENTRIES, 3);
    refused(8, 3);
    mustBeWhole();
    // Nothing was read: it is given back, which needs no prepare.
    equal(commitFill(0), 0, "fillCommit of nothing");
    mustBeWhole();
  });

  test("a second time, after some of it was read", () => {
    equal(prepareFill(e, v, 0), ENTRIES, "fillPrepare");
    readIn(e, e.extents(), 0, 8);
    equal(commitFill(8), 8, "fillCommit");
    equal(e.wasm.fillCommit(v.vector, ENTRIES, 8, 0, 3, 0, 0), 0, "fillCommit of nothing");
    e.mustNot(EINVAL, "fillCommit of what was not prepared", () =>
      e.wasm.fillCommit(v.vector, ENTRIES, 8, 0, 3, 3, 0),
    );
    // What has become pages has nothing left to commit.
    equal(commitFill(8), 8, "fillCommit of pages");
    mustBeWhole();
  });
});

describe("two walks over one vector", () => {
  test("out: the second ends where it comes to what is being moved", () => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    if (DEBUGGING) {
      e.mustAbort("host: shrinkPrepare of pages that are being moved", () => prepareShrink(v));
      e.mustAbort("host: shrinkPrepare of pages that are being moved", () =>
        prepareShrink(other, v),
      );
    } else {
      equal(prepareShrink(v, other), 2, "shrinkPrepare of the rest");
      // Its commit takes nothing of the first one's, nor gives it back.
      equal(e.wasm.ramTransfer(1), 2, "ramTransfer");
      equal(e.wasm.shrinkCommit(2, 2), 2, "shrinkCommit");
      equal(e.header(H_MOVING), ENTRIES, "pages being moved");
    }
    items([v], ENTRIES);
    equal(e.wasm.shrinkCommit(1, 0), 0, "shrinkCommit of the first");
    equal(e.header(H_MOVING), 0, "pages being moved");
    mustBeWhole();
  });

  test("in, while it is being filled", () => {
    shrinkAll(e, [v]);
    equal(prepareFill(e, v, 0, { budget: 8 }), 8, "fillPrepare");
    const refused = () =>
      e.mustNot(EBUSY, "fillPrepare of entries that are being moved", () => prepareFill(e, v, 0));
    refused();
    readIn(e, e.extents(), 0, 3);
    refused();
    equal(e.wasm.fillCommit(v.vector, ENTRIES, 0, 0, 8, 3, 0), 0, "fillCommit");
    fillAll(e, v, { done: 3 });
    mustBeWhole();
  });

  test("in, while pages of it are on their way out", () => {
    items([v]);
    equal(e.wasm.shrinkPrepare(1, 1), 8, "shrinkPrepare");
    const message = "fillPrepare of entries that are being moved";
    e.mustNot(EBUSY, message, () => prepareFill(e, v, 0));
    items([v], 8);
    equal(e.wasm.shrinkCommit(1, 0), 0, "shrinkCommit");
    // Some that are, behind some that are not: it covers those.
    e.putItems([{ ...v, start: 8 }]);
    equal(e.wasm.shrinkPrepare(1, 8), 3, "shrinkPrepare");
    if (DEBUGGING) e.mustAbort(`host: ${message}`, () => prepareFill(e, v, 0));
    else equal(prepareFill(e, v, 0), 8, "entries covered");
    e.putItems([{ ...v, start: 8, next: ENTRIES }]);
    equal(e.wasm.shrinkCommit(1, 0), 0, "shrinkCommit");
    mustBeWhole();
  });
});

describe("a transfer of extents that no longer hold", () => {
  const refused = (out: number) =>
    e.mustNot(EINVAL, "ramTransfer of extents that no longer hold", () => {
      const content = e.contentHash();
      const rc = e.wasm.ramTransfer(out, 1);
      equal(e.contentHash(), content, "content");
      return rc;
    });

  test("in the other direction", () => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    refused(0);
    equal(e.wasm.ramTransfer(1), ENTRIES, "ramTransfer");
    equal(e.wasm.shrinkCommit(1, ENTRIES), ENTRIES, "shrinkCommit");
    equal(prepareFill(e, v, 0), ENTRIES, "fillPrepare");
    refused(1);
    equal(e.wasm.ramTransfer(0), ENTRIES, "ramTransfer");
    equal(commitFill(ENTRIES), ENTRIES, "fillCommit");
    mustBeWhole();
  });

  test("whose slot is another's by now", () => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    const at = e.shadowIndex(v.vector + 5);
    const slot = e.words[at]!;
    e.words[at] = slot + 2;
    refused(1);
    e.words[at] = slot;
    equal(e.wasm.ramTransfer(1), ENTRIES, "ramTransfer");
  });

  test.each([0x3fffffff, 0xffffffff])("whose first entry is %i, where there are none", (index) => {
    equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
    const at = (EXTENTS >>> 2) + X_INDEX;
    const entry = e.words[at]!;
    e.words[at] = index;
    refused(1);
    e.words[at] = entry;
    equal(e.wasm.ramTransfer(1), ENTRIES, "ramTransfer");
  });

  test("after the commit, a drop, or when the slots were given back: nothing is moved", () => {
    const ends: (() => number)[] = [
      () => e.wasm.shrinkCommit(1, 0),
      () => e.wasm.vectorDrop(v.vector, ENTRIES, 0),
    ];
    for (const end of ends) {
      const back = e.snapshot();
      equal(prepareShrink(v), ENTRIES, "shrinkPrepare");
      end();
      const content = e.contentHash();
      equal(e.wasm.ramTransfer(1), 0, "ramTransfer");
      equal(e.contentHash(), content, "content");
      back();
    }
    shrinkAll(e, [other]);
    fillAll(e, other, { keep: true });
    equal(e.wasm.vectorDirty(other.vector, 2, 0, 1, 1), 0, "vectorDirty");
    equal(prepareShrink(other), 2, "shrinkPrepare");
    equal(e.wasm.shrinkCommit(1, 0), 0, "shrinkCommit");
    mustBeWhole();
  });
});

describe("a vectorDirty of pages that are on their way out", () => {
  test.each([0, 1])("keep %i", (keep) => {
    shrinkAll(e, [v]);
    fillAll(e, v, { keep: true });
    e.putItems([{ ...v, start: 8 }]);
    equal(e.wasm.shrinkPrepare(1, 8), 3, "shrinkPrepare");
    const dirty = (start: number, count: number) =>
      e.wasm.vectorDirty(v.vector, ENTRIES, start, count, keep);
    for (const [start, count] of [
      [0, ENTRIES],
      [8, 1],
      [9, 1],
      [10, 1],
      [3, 6],
    ] as const) {
      e.mustNot(EBUSY, "vectorDirty of pages that are being moved", () => dirty(start, count));
    }
    equal(e.header(H_CLEAN), ENTRIES, "clean pages");
    // Those beside them are none of its business.
    equal(dirty(1, 7), keep ? 0 : 7, "vectorDirty of others");
    equal(e.header(H_CLEAN), ENTRIES - 7, "clean pages");
    equal(e.wasm.shrinkCommit(1, 3), 3, "shrinkCommit");
    mustBeWhole();
  });
});

/** State that no call leaves behind: a debug build says so where it comes to it. */
describe.runIf(DEBUGGING)("in a debug build, state that cannot be:", () => {
  const setByte = (pfn: number, at: number, value: number) => {
    e.bytes[e.pageStruct(pfn) + at] = value;
  };
  const setOwner = (pfn: number, owner: number) => {
    e.words[(e.pageStruct(pfn) + P_OWNER) / 4] = owner;
  };
  const pfn = (i: number) => e.entry(v.vector + i) / PAGE_SIZE;
  /** First frame of the first free list that has one. */
  const freeHead = () => {
    const heads = Array.from({ length: 10 }, (_, order) => e.header(H_FREE_HEAD + order));
    return heads.find((head) => head !== 0)!;
  };
  /** The word of a map's head (assembly/bitmap.ts) with the address of its bits. */
  const MAP_LEVEL_0 = 4;
  const drop = () => e.wasm.vectorDrop(v.vector, ENTRIES, 0);

  test.each<[string, string, () => void, () => number]>([
    ["an owner", "a chunk belongs to another entry", () => setOwner(pfn(8), 3), () => drop()],
    [
      "the owner of a held chunk",
      "a chunk belongs to another entry",
      () => {
        shrinkAll(e, [v]);
        prepareFill(e, v, 0);
        readIn(e, e.extents(), 0, 9);
        commitFill(9);
        setOwner(e.shadow(v.vector + 8) / PAGE_SIZE, v.vector);
      },
      () => prepareFill(e, v, 0),
    ],
    [
      "a chunk in use that is free",
      "a vector has a chunk that is not in use",
      () => setByte(pfn(8), P_STATE, FREE),
      () => drop(),
    ],
    [
      "an entry that is no page",
      "an entry is neither page nor handle",
      () => {
        e.words[e.entryIndex(v.vector + 8)]! += 2;
      },
      () => drop(),
    ],
    [
      "a shadow that is neither page nor slot",
      "the shadow of a handle is no page",
      () => {
        shrinkAll(e, [v]);
        e.words[e.shadowIndex(v.vector + 3)] = 3;
      },
      () => drop(),
    ],
    [
      "a page held outside of the memory",
      "the shadow of a handle is no frame",
      () => {
        shrinkAll(e, [v]);
        e.words[e.shadowIndex(v.vector + 3)] = PAGE_SIZE;
      },
      () => drop(),
    ],
    [
      "a slot that is free",
      "the shadow of a page names no slot in use",
      () => {
        e.words[e.shadowIndex(v.vector + 8)] = 40;
      },
      () => drop(),
    ],
    [
      "a handle of a free slot",
      "a handle names no slot in use",
      () => {
        shrinkAll(e, [v]);
        e.words[e.entryIndex(v.vector + 3)] = 63;
      },
      () => drop(),
    ],
    [
      "a counter",
      "a counter falls below zero",
      () => {
        e.words[e.headerIndex(H_FREE_PAGES)] = 0;
      },
      () => e.wasm.allocPages(0),
    ],
    [
      "an order",
      "a chunk has an order that there is not",
      () => setByte(pfn(8), P_ORDER, MAX_ORDER + 1),
      () => drop(),
    ],
    [
      "a free chunk of another order",
      "a free list has a chunk of another",
      () => setByte(freeHead(), P_ORDER, 7),
      () => e.wasm.allocPages(0),
    ],
    [
      "a free list whose first chunk has one before it",
      "a free list is broken",
      () => {
        e.words[(e.pageStruct(freeHead()) + P_PREV) / 4] = pfn(0);
      },
      () => e.wasm.allocPages(0),
    ],
    [
      "a page in use within a chunk",
      "a frame in use is freed",
      () => setByte(pfn(3), P_STATE, ALLOCATED),
      () => drop(),
    ],
    [
      "a caching within a chunk",
      "a frame is freed with a caching",
      () => setByte(pfn(3), P_CACHING, UNCACHED),
      () => drop(),
    ],
    [
      "a pooled chunk in use",
      "a pool has a chunk of another",
      () => {
        const chunk = pfn(8);
        e.wasm.vectorDrop(v.vector, ENTRIES, how({ type: 0 }));
        setByte(chunk, P_STATE, ALLOCATED);
      },
      () => e.wasm.poolShrink(0, 1),
    ],
    [
      "a held chunk that is another's",
      "a held chunk is not that of its entries",
      () => {
        shrinkAll(e, [v]);
        prepareFill(e, v, 0);
        readIn(e, e.extents(), 0, 9);
        commitFill(9);
        e.words[e.shadowIndex(v.vector + 9)] = e.shadow(v.vector + 8);
      },
      () => e.wasm.fillCommit(v.vector, ENTRIES, 8, 0, 2, 0, 0),
    ],
    [
      "a slot that is free among those of a run",
      "an extent names a free slot",
      () => {
        shrinkAll(e, [v]);
        const map = e.header(H_SWAP_MAP) / 4;
        const slot = e.entry(v.vector + 3) >> SLOT_SHIFT;
        e.words[e.words[map + MAP_LEVEL_0]! / 4]! &= ~(1 << (slot - 1));
      },
      () => prepareFill(e, v, 0),
    ],
    [
      "a caching",
      "a chunk has a caching that there is not",
      () => setByte(pfn(8), P_CACHING, 3),
      () => drop(),
    ],
  ])("%s", (_, message, breakIt, call) => {
    breakIt();
    e.mustAbort(message, call);
  });

  test("a slot of two pages", () => {
    shrinkAll(e, [v]);
    e.words[e.entryIndex(v.vector + 3)] = e.entry(v.vector + 4);
    e.mustAbort("a free slot is freed", drop);
  });

  test("a message says where it is", () => {
    items([v], ENTRIES);
    expect(abortOf(() => e.wasm.shrinkCommit(1, 1))).toMatch(
      /^abort: host: shrinkCommit of what was not prepared at assembly\/shrink\.ts:\d+:\d+$/,
    );
  });
});
