/*
 * check() is what all other tests lean on. Here each kind of metadata is broken by hand: check() must
 * name the right invariant, and must not change a single word, whether it finds something or not.
 */
import { beforeEach, describe, expect, test } from "vitest";
import {
  ALLOCATED,
  CHECK_BITMAP,
  CHECK_CLEAN,
  CHECK_FREE_LIST,
  CHECK_HELD,
  CHECK_MOVING,
  CHECK_OWNER,
  CHECK_PAGE_COUNT,
  CHECK_PAGE_TABLE,
  CHECK_POOL,
  CHECK_SLOT,
  CHECK_SLOT_COUNT,
  CHECK_VECTOR,
  FREE,
  H_CLEAN,
  H_DMA32_END,
  H_FREE_COUNT,
  H_FREE_HEAD,
  H_FREE_PAGES,
  H_HELD,
  H_MOVING,
  H_POOL,
  H_POOLED,
  H_RAW_MAP,
  H_RAW_PAGES,
  H_RAW_SLOTS,
  H_SWAP_MAP,
  H_VECTOR_MAP,
  NR_ORDERS,
  P_CACHING,
  P_FLAGS,
  P_NEXT,
  P_ORDER,
  P_OWNER,
  P_PREV,
  P_STATE,
  PAGE_SIZE,
  POOLED,
  TAIL,
  WRITE_COMBINED,
} from "../../assembly/abi.ts";
import { EngineUnderTest, equal, how, U32_MAX } from "./engine_under_test.ts";
import {
  fillAll,
  fillSingly,
  newVector,
  prepareFill,
  readIn,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

const FRAMES = 128;
const SLOTS = 130;
const ENTRIES = 200;
/** A pool type, and what goes to it. */
const TYPE = 5;
const WC = { type: TYPE, caching: WRITE_COMBINED };

/** An engine with something in every state there is. */
class Scene {
  readonly e: EngineUnderTest = new EngineUnderTest({
    frames: FRAMES,
    slots: SLOTS,
    entries: ENTRIES,
    ram: true,
  });
  /** 4 + 2 + 1 pages. */
  readonly pages: Vector = newVector(this.e, 7);
  /** Handles, and an empty entry at the end. */
  readonly handles: Vector = newVector(this.e, 6);
  /** A chunk of 4 handles that is held, and another handle. */
  readonly held: Vector = newVector(this.e, 5);
  /** A chunk of 2 pages with slots reserved. */
  readonly prepared: Vector = newVector(this.e, 2);
  /** A chunk of 2 clean pages. */
  readonly clean: Vector = newVector(this.e, 2);
  /** First pages of the pooled chunks, in the order of their list: of 4, 4 and 1 pages. */
  readonly pooled: number[] = [];
  readonly rawPage: number;
  readonly rawSlot: number;

  constructor() {
    const { e, handles, held, prepared } = this;
    fillAll(e, this.pages);
    fillSingly(e, handles, [0, 1, 2, 3, 4]);
    fillAll(e, held);
    for (const v of [handles, held]) stampVector(e, v, 1);
    shrinkAll(e, [handles, held]);
    const covered = prepareFill(e, held, 0);
    readIn(e, e.extents(), 0, 2);
    equal(e.wasm.fillCommit(held.vector, 5, 0, 0, covered, 2, 0), 0, "fillCommit");
    fillAll(e, prepared);
    stampVector(e, prepared, 1);
    e.putItems([{ ...prepared, start: 0 }]);
    equal(e.wasm.shrinkPrepare(1, 2), 2, "shrinkPrepare");
    fillAll(e, this.clean);
    stampVector(e, this.clean, 1);
    shrinkAll(e, [this.clean]);
    fillAll(e, this.clean, { keep: true });
    const vectors = [4, 4, 1].map((entries) => newVector(e, entries));
    for (const v of vectors) {
      fillAll(e, v);
      this.pooled.unshift(this.pfn(v, 0));
      e.wasm.vectorCaching(v.vector, v.entries, 0, WRITE_COMBINED);
    }
    for (const { vector, entries } of vectors) {
      equal(e.wasm.vectorDrop(vector, entries, how(WC)), entries, "vectorDrop");
      equal(e.wasm.vectorFree(vector, entries), 0, "vectorFree");
    }
    this.pooled.push(this.pooled.shift()!);
    this.rawPage = e.wasm.allocPages(1);
    this.rawSlot = e.wasm.slotAlloc(3);
  }

  pfn({ vector }: Vector, i: number): number {
    return this.e.entry(vector + i) / PAGE_SIZE;
  }

  setHeader(field: number, change: (word: number) => number): void {
    const at = this.e.headerIndex(field);
    this.e.words[at] = change(this.e.words[at]!);
  }

  setEntry({ vector }: Vector, i: number, change: (word: number) => number): void {
    const at = this.e.entryIndex(vector + i);
    this.e.words[at] = change(this.e.words[at]!);
  }

  setShadow({ vector }: Vector, i: number, change: (word: number) => number): void {
    const at = this.e.shadowIndex(vector + i);
    this.e.words[at] = change(this.e.words[at]!);
  }

  setState(pfn: number, state: number): void {
    this.e.bytes[this.e.pageStruct(pfn) + P_STATE] = state;
  }

  setOrder(pfn: number, order: number): void {
    this.e.bytes[this.e.pageStruct(pfn) + P_ORDER] = order;
  }

  setCaching(pfn: number, caching: number): void {
    this.e.bytes[this.e.pageStruct(pfn) + P_CACHING] = caching;
  }

  /** A word of a page struct: `P_NEXT`, `P_PREV`, `P_OWNER`. */
  setLink(pfn: number, field: number, value: number): void {
    this.e.words[(this.e.pageStruct(pfn) + field) / 4] = value;
  }

  /** Head of the scene's pool list of an order; its count is the next word. */
  poolList(order: number): number {
    return H_POOL + 2 * (TYPE * NR_ORDERS + order);
  }

  /** The first free chunk of the largest order that has one. */
  get freeChunk(): { pfn: number; order: number } {
    for (let order = 9; order >= 0; order--) {
      const pfn = this.e.header(H_FREE_HEAD + order);
      if (pfn !== 0) return { pfn, order };
    }
    throw new Error("no frame is free");
  }

  /** Turns a bit of a map over. Level addresses follow 16 bytes behind the map's start. */
  turnBit(field: number, level: number, bit: number): void {
    const map = this.e.header(field);
    const at = this.e.words[(map + 16 + level * 4) / 4]!;
    this.e.bytes[at + (bit >> 3)]! ^= 1 << (bit & 7);
  }
}

let scene: Scene;

beforeEach(() => {
  scene = new Scene();
});

/** check() must return this, twice, and leave everything as it was. */
function mustFind(code: number): void {
  const { e } = scene;
  const before = e.bytes.slice();
  expect(e.wasm.check()).toBe(code);
  expect(e.bytes.every((byte, i) => byte === before[i])).toBe(true);
  expect(e.wasm.check()).toBe(code);
}

type Damage = [what: string, code: number, damage: (s: Scene) => void];

function breaks(cases: Damage[]): void {
  test.each(cases)("%s: %i", (_, code, damage) => {
    expect(scene.e.wasm.check()).toBe(0);
    damage(scene);
    mustFind(code);
  });
}

test("a state in order is found to be in order, and stays as it is", () => {
  mustFind(0);
});

describe("free lists", () => {
  const largest = (s: Scene) => s.freeChunk;
  breaks([
    [
      "a link to a page in use",
      CHECK_FREE_LIST,
      (s) => s.setLink(largest(s).pfn, P_NEXT, s.rawPage),
    ],
    ["a link out of the memory", CHECK_FREE_LIST, (s) => s.setLink(largest(s).pfn, P_NEXT, 5)],
    [
      "a link far out of the memory",
      CHECK_FREE_LIST,
      (s) => s.setLink(largest(s).pfn, P_NEXT, U32_MAX),
    ],
    ["a circle", CHECK_FREE_LIST, (s) => s.setLink(largest(s).pfn, P_NEXT, largest(s).pfn)],
    ["a wrong link back", CHECK_FREE_LIST, (s) => s.setLink(largest(s).pfn, P_PREV, s.rawPage)],
    ["a page inside a chunk", CHECK_FREE_LIST, (s) => s.setHeader(headOf(s), (pfn) => pfn + 1)],
    ["a list that is cut", CHECK_FREE_LIST, (s) => s.setHeader(headOf(s), () => 0)],
    ["another order", CHECK_FREE_LIST, (s) => s.setOrder(largest(s).pfn, largest(s).order - 1)],
    ["a state", CHECK_FREE_LIST, (s) => s.setState(largest(s).pfn, ALLOCATED)],
    ["a count of chunks", CHECK_FREE_LIST, (s) => s.setHeader(countOf(s), (n) => n + 1)],
    ["the count of pages", CHECK_FREE_LIST, (s) => s.setHeader(H_FREE_PAGES, (n) => n - 1)],
    ["another caching", CHECK_FREE_LIST, (s) => s.setCaching(largest(s).pfn + 1, WRITE_COMBINED)],
    ["a list of the other zone", CHECK_FREE_LIST, changeZone],
    ["the end of the zone", CHECK_FREE_LIST, (s) => s.setHeader(H_DMA32_END, () => s.e.firstPfn)],
    ["a chunk that is on no list", CHECK_PAGE_COUNT, loseChunk],
    ["two free buddies", CHECK_PAGE_TABLE, parBuddies],
  ]);

  function headOf(s: Scene): number {
    return H_FREE_HEAD + s.freeChunk.order;
  }

  function countOf(s: Scene): number {
    return H_FREE_COUNT + s.freeChunk.order;
  }

  /** Moves the list of the largest free chunk to the NORMAL zone, which has no frames. */
  function changeZone(s: Scene): void {
    for (const list of [headOf(s), countOf(s)]) {
      const word = s.e.header(list);
      s.setHeader(list, () => 0);
      s.setHeader(list + NR_ORDERS, () => word);
    }
  }

  /** Takes the largest free chunk off its list, in all numbers that the lists have. */
  function loseChunk(s: Scene): void {
    const { order } = s.freeChunk;
    s.setHeader(headOf(s), () => 0);
    s.setHeader(H_FREE_COUNT + order, () => 0);
    s.setHeader(H_FREE_PAGES, (pages) => pages - (1 << order));
  }

  /** Makes two chunks of the largest free one, in front of the list of their order. */
  function parBuddies(s: Scene): void {
    const { pfn, order } = s.freeChunk;
    const half = order - 1;
    const buddy = pfn + (1 << half);
    const rest = s.e.header(H_FREE_HEAD + half);
    s.setHeader(H_FREE_HEAD + order, () => 0);
    s.setHeader(H_FREE_COUNT + order, () => 0);
    s.setHeader(H_FREE_HEAD + half, () => pfn);
    s.setHeader(H_FREE_COUNT + half, (n) => n + 2);
    for (const page of [pfn, buddy]) {
      s.setOrder(page, half);
      s.setState(page, FREE);
    }
    s.setLink(pfn, P_NEXT, buddy);
    s.setLink(buddy, P_PREV, pfn);
    s.setLink(buddy, P_NEXT, rest);
    if (rest !== 0) s.setLink(rest, P_PREV, buddy);
  }
});

describe("pools", () => {
  const first = (s: Scene) => s.pooled[0]!;
  const byte = (s: Scene, pfn: number) => s.e.page(pfn * PAGE_SIZE);
  breaks([
    ["a page that is not zero", CHECK_POOL, (s) => byte(s, first(s) + 3).fill(1, 4095)],
    ["a link to a page in use", CHECK_POOL, (s) => s.setLink(first(s), P_NEXT, s.rawPage)],
    ["a link out of the memory", CHECK_POOL, (s) => s.setLink(first(s), P_NEXT, 5)],
    ["a circle", CHECK_POOL, (s) => s.setLink(s.pooled[1]!, P_NEXT, first(s))],
    ["a list that is cut", CHECK_POOL, (s) => s.setLink(first(s), P_NEXT, 0)],
    ["a list that is gone", CHECK_POOL, (s) => s.setHeader(s.poolList(2), () => 0)],
    ["a list of another order", CHECK_POOL, (s) => s.setHeader(s.poolList(1), () => first(s))],
    ["an order", CHECK_POOL, (s) => s.setOrder(first(s), 1)],
    ["a state", CHECK_POOL, (s) => s.setState(first(s), ALLOCATED)],
    ["the caching of a page", CHECK_POOL, (s) => s.setCaching(first(s) + 2, 0)],
    ["the caching of a chunk", CHECK_POOL, (s) => s.setCaching(s.pooled[2]!, 2)],
    ["a count of chunks", CHECK_POOL, (s) => s.setHeader(s.poolList(2) + 1, (n) => n - 1)],
    ["a count where there are none", CHECK_POOL, (s) => s.setHeader(s.poolList(9) + 1, () => 1)],
    ["the count of pages", CHECK_POOL, (s) => s.setHeader(H_POOLED, (n) => n + 1)],
    ["a page in use as pooled", CHECK_PAGE_COUNT, (s) => s.setState(s.rawPage, POOLED)],
    ["a chunk that is on no list", CHECK_PAGE_COUNT, loseChunk],
    ["a vector's page", CHECK_VECTOR, (s) => s.setEntry(nobody, 0, () => first(s) * PAGE_SIZE)],
  ]);

  const nobody: Vector = { vector: ENTRIES - 1, entries: 1 };

  function loseChunk(s: Scene): void {
    s.setHeader(s.poolList(2), () => s.pooled[1]!);
    s.setHeader(s.poolList(2) + 1, (n) => n - 1);
    s.setHeader(H_POOLED, (n) => n - 4);
  }
});

describe("clean pages", () => {
  breaks([
    ["their count", CHECK_CLEAN, (s) => s.setHeader(H_CLEAN, (n) => n + 1)],
    ["one that is only reserved", CHECK_CLEAN, (s) => s.setShadow(s.clean, 1, (slot) => slot - 1)],
    ["a reserved one that is clean", CHECK_CLEAN, (s) => s.setShadow(s.prepared, 0, (w) => w | 1)],
    ["one without a slot", CHECK_CLEAN, (s) => s.setShadow(s.clean, 0, () => 0)],
    ["one in slot 0", CHECK_MOVING, (s) => s.setShadow(s.clean, 0, () => 1)],
    ["a slot outside", CHECK_VECTOR, (s) => s.setShadow(s.clean, 0, () => (SLOTS << 1) | 3)],
    ["a free slot", CHECK_SLOT, (s) => s.setShadow(s.clean, 1, () => ((SLOTS - 1) << 1) | 1)],
    ["a slot named twice", CHECK_SLOT, (s) => s.setShadow(s.clean, 1, () => other(s))],
  ]);

  function other(s: Scene): number {
    return s.e.entry(s.handles.vector);
  }
});

describe("what is being moved", () => {
  const move = (s: Scene, pfn: number, moving: number) => {
    s.e.bytes[s.e.pageStruct(pfn) + P_FLAGS] = moving;
  };
  breaks([
    ["its count", CHECK_MOVING, (s) => s.setHeader(H_MOVING, (n) => n - 1)],
    ["a chunk that was forgotten", CHECK_MOVING, (s) => s.setHeader(H_MOVING, (n) => n - 2)],
    ["a chunk that lost its mark", CHECK_MOVING, (s) => move(s, s.pfn(s.prepared, 0), 0)],
    ["a chunk that nobody prepared", CHECK_MOVING, (s) => move(s, s.pfn(s.pages, 0), 1)],
    ["a page inside a chunk", CHECK_MOVING, (s) => move(s, s.pfn(s.pages, 1), 1)],
    ["a free chunk", CHECK_MOVING, (s) => move(s, s.freeChunk.pfn, 1)],
    ["a pooled chunk", CHECK_MOVING, (s) => move(s, s.pooled[0]!, 1)],
    ["a chunk of nobody", CHECK_MOVING, (s) => move(s, s.rawPage, 1)],
    ["the count of held frames", CHECK_HELD, (s) => s.setHeader(H_HELD, (n) => n + 1)],
  ]);

  test("is counted until it ends", () => {
    const { e, prepared, held } = scene;
    const counts = () => [e.header(H_MOVING), e.header(H_HELD)];
    expect(counts()).toEqual([2, 4]);
    expect(prepareFill(e, held, 0, { done: 2 })).toBe(5);
    expect(counts()).toEqual([2 + 5, 5]);
    expect(e.wasm.fillCommit(held.vector, 5, 0, 2, 5, 2, 0)).toBe(0);
    expect(counts()).toEqual([2, 4]);
    e.putItems([{ ...prepared, start: 0, next: 2 }]);
    expect(e.wasm.shrinkCommit(1, 0)).toBe(0);
    expect(counts()).toEqual([0, 4]);
    expect(e.wasm.vectorDrop(held.vector, 5, 0)).toBe(4);
    expect(counts()).toEqual([0, 0]);
    mustFind(0);
  });

  test("and what is dropped meanwhile, is not any more", () => {
    const { e, prepared, held } = scene;
    expect(prepareFill(e, held, 0, { done: 2 })).toBe(5);
    expect(e.wasm.vectorDrop(held.vector, 5, 0)).toBe(5);
    expect(e.wasm.vectorDrop(prepared.vector, 2, how(WC))).toBe(2);
    expect([e.header(H_MOVING), e.header(H_HELD)]).toEqual([0, 0]);
    mustFind(0);
  });
});

describe("the page table", () => {
  breaks([
    ["an order too small", CHECK_PAGE_TABLE, (s) => s.setOrder(s.pfn(s.pages, 0), 1)],
    ["an order too large", CHECK_PAGE_TABLE, (s) => s.setOrder(s.pfn(s.pages, 0), 3)],
    ["an order above the largest", CHECK_PAGE_TABLE, (s) => s.setOrder(s.rawPage, 10)],
    ["no order at all", CHECK_PAGE_TABLE, (s) => s.setOrder(s.rawPage, 255)],
    ["a tail that is a chunk", CHECK_PAGE_TABLE, (s) => s.setState(s.rawPage + 1, ALLOCATED)],
    ["a chunk that is a tail", CHECK_PAGE_TABLE, (s) => s.setState(s.rawPage, TAIL)],
    ["the count of raw pages", CHECK_PAGE_COUNT, (s) => s.setHeader(H_RAW_PAGES, (n) => n + 1)],
  ]);
});

describe("owners", () => {
  const owner = (s: Scene, pfn: number, value: number) => s.setLink(pfn, P_OWNER, value);
  breaks([
    ["the next entry", CHECK_OWNER, (s) => owner(s, s.pfn(s.pages, 0), s.pages.vector + 1)],
    ["an entry outside", CHECK_OWNER, (s) => owner(s, s.pfn(s.pages, 0), ENTRIES)],
    ["the last entry", CHECK_OWNER, (s) => owner(s, s.pfn(s.pages, 0), ENTRIES - 1)],
    ["nobody", CHECK_PAGE_COUNT, (s) => owner(s, s.pfn(s.pages, 0), U32_MAX)],
    ["an entry for a raw page", CHECK_OWNER, (s) => owner(s, s.rawPage, s.pages.vector)],
    ["the wrong held chunk", CHECK_OWNER, (s) => owner(s, heldPfn(s), s.held.vector + 1)],
  ]);

  function heldPfn(s: Scene): number {
    return s.e.shadow(s.held.vector) / PAGE_SIZE;
  }
});

describe("entries", () => {
  breaks([
    ["a page that is gone", CHECK_OWNER, (s) => s.setEntry(s.pages, 1, () => 0)],
    ["two pages of a chunk that changed places", CHECK_OWNER, swapPages],
    ["a page that became a handle", CHECK_OWNER, (s) => s.setEntry(s.pages, 6, () => 261)],
    ["a held page that is gone", CHECK_OWNER, (s) => s.setShadow(s.held, 1, () => 0)],
    ["a held page of another chunk", CHECK_OWNER, (s) => s.setShadow(s.held, 0, rawAddress)],
    ["a page and a held page", CHECK_OWNER, (s) => s.setEntry(s.held, 1, rawAddress)],
    ["a page named twice", CHECK_PAGE_COUNT, (s) => s.setEntry(s.handles, 5, rawAddress)],
    ["a held page named twice", CHECK_PAGE_COUNT, (s) => s.setShadow(s.handles, 5, rawAddress)],
    ["a page out of the memory", CHECK_VECTOR, (s) => s.setEntry(s.handles, 5, () => PAGE_SIZE)],
    ["a held page outside", CHECK_VECTOR, (s) => s.setShadow(s.handles, 5, () => PAGE_SIZE)],
    ["a shadow that is a handle", CHECK_VECTOR, (s) => s.setShadow(s.handles, 0, () => 3)],
    ["a slot outside", CHECK_VECTOR, (s) => s.setShadow(s.prepared, 0, () => (SLOTS + 1) << 1)],
    ["an entry that no vector has", CHECK_VECTOR, (s) => s.setEntry(nobody, 0, () => 3)],
    ["a shadow that no vector has", CHECK_VECTOR, (s) => s.setShadow(nobody, 0, () => 2)],
  ]);

  const nobody: Vector = { vector: ENTRIES - 1, entries: 1 };

  function rawAddress(): number {
    return scene.rawPage * PAGE_SIZE;
  }

  function swapPages(s: Scene): void {
    const [a, b] = [s.e.entry(s.pages.vector), s.e.entry(s.pages.vector + 1)];
    s.setEntry(s.pages, 0, () => b);
    s.setEntry(s.pages, 1, () => a);
  }
});

describe("slots", () => {
  const free = SLOTS - 1;
  breaks([
    ["a handle of a free slot", CHECK_SLOT, (s) => s.setEntry(s.handles, 4, () => (free << 1) | 1)],
    [
      "a reserved slot that is free",
      CHECK_SLOT,
      (s) => s.setShadow(s.prepared, 1, () => free << 1),
    ],
    ["a handle of slot 0", CHECK_SLOT_COUNT, (s) => s.setEntry(s.handles, 4, () => 1)],
    ["a handle past the end", CHECK_SLOT, (s) => s.setEntry(s.handles, 4, () => (SLOTS << 1) | 3)],
    ["the largest handle", CHECK_SLOT, (s) => s.setEntry(s.handles, 4, () => U32_MAX)],
    ["a slot named twice", CHECK_SLOT, (s) => s.setEntry(s.handles, 4, () => handle(s))],
    ["a slot reserved twice", CHECK_SLOT, (s) => s.setShadow(s.prepared, 1, () => handle(s) - 1)],
    ["a slot that nobody names", CHECK_SLOT_COUNT, (s) => s.setEntry(s.handles, 4, () => 0)],
    ["a reserved slot that is lost", CHECK_SLOT_COUNT, (s) => s.setShadow(s.prepared, 1, () => 0)],
    ["the count of raw slots", CHECK_SLOT_COUNT, (s) => s.setHeader(H_RAW_SLOTS, (n) => n - 1)],
  ]);

  function handle(s: Scene): number {
    return s.e.entry(s.handles.vector);
  }
});

describe("bitmaps", () => {
  const free = (s: Scene, field: number) => s.e.words.subarray(s.e.header(field) / 4 + 1);
  breaks([
    ["a used slot marked free", CHECK_BITMAP, (s) => s.turnBit(H_SWAP_MAP, 0, s.rawSlot - 1)],
    ["a free slot marked used", CHECK_BITMAP, (s) => s.turnBit(H_SWAP_MAP, 0, SLOTS - 1)],
    ["a bit past the last slot", CHECK_BITMAP, (s) => s.turnBit(H_SWAP_MAP, 0, SLOTS)],
    ["a summary bit", CHECK_BITMAP, (s) => s.turnBit(H_SWAP_MAP, 1, 1)],
    ["the count of free slots", CHECK_BITMAP, (s) => free(s, H_SWAP_MAP)[0]!++],
    ["a used entry marked free", CHECK_BITMAP, (s) => s.turnBit(H_VECTOR_MAP, 0, 0)],
    ["a free entry marked used", CHECK_BITMAP, (s) => s.turnBit(H_VECTOR_MAP, 0, ENTRIES - 1)],
    ["the summary of entries", CHECK_BITMAP, (s) => s.turnBit(H_VECTOR_MAP, 1, 2)],
    ["the count of free entries", CHECK_BITMAP, (s) => free(s, H_VECTOR_MAP)[0]!--],
    ["another slot in use", CHECK_SLOT, (s) => move(s, H_SWAP_MAP, firstHandle(s) - 1, SLOTS - 1)],
    ["a page's entry out of use", CHECK_OWNER, (s) => move(s, H_VECTOR_MAP, 2, ENTRIES - 1)],
    ["a handle's entry out of use", CHECK_VECTOR, (s) => moveHandle(s)],
  ]);

  /** A used unit and a free one change places, so that all counts stay right. */
  function move(s: Scene, field: number, from: number, to: number): void {
    s.turnBit(field, 0, from);
    s.turnBit(field, 0, to);
  }

  function firstHandle(s: Scene): number {
    return s.e.entry(s.handles.vector) >>> 1;
  }

  function moveHandle(s: Scene): void {
    move(s, H_VECTOR_MAP, s.handles.vector + 1, ENTRIES - 1);
  }
});

// The bits of slots that were handed out directly are not looked at.
test.each([
  ["forgotten", (s: Scene) => s.rawSlot],
  ["added", (s: Scene) => s.e.entry(s.handles.vector) >>> 1],
])("the mark of a raw slot that is %s is found", (_, slot) => {
  const { e } = scene;
  const bit = slot(scene) - 1;
  e.bytes[e.header(H_RAW_MAP) + (bit >> 3)]! ^= 1 << (bit & 7);
  mustFind(CHECK_SLOT_COUNT);
});

test("a summary that misses a full word is found", () => {
  const e = new EngineUnderTest({ frames: 1, slots: 4097, entries: 1 });
  equal(e.wasm.slotAlloc(4096), 1, "slotAlloc");
  e.mustHold("filling 4096 slots");
  const map = e.header(H_SWAP_MAP);
  for (const level of [1, 2]) {
    const at = e.words[(map + 16 + level * 4) / 4]!;
    e.bytes[at]! ^= 1;
    expect(e.wasm.check()).toBe(CHECK_BITMAP);
    e.bytes[at]! ^= 1;
    expect(e.wasm.check()).toBe(0);
  }
});
