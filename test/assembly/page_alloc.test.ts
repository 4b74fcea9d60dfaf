/*
 * The buddy allocator against the plainest model of it: an array that says for each frame which chunk
 * it belongs to. The model finds room by looking at every aligned place; a buddy allocator that merges
 * whenever it can finds a chunk if, and only if, there is such a place. With two zones, there is one in
 * the NORMAL zone first; chunks of the DMA32 zone alone are taken through page vectors.
 */
import { describe, expect, test } from "vitest";
import { ALLOCATED, EINVAL, ENOMEM, MAX_ORDER, NR_ORDERS, PAGE_SIZE } from "../../assembly/abi.ts";
import type { Random } from "../support/random.ts";
import {
  EngineUnderTest,
  equal,
  equalLists,
  forAll,
  how,
  must,
  program,
  runProgram,
  U32_MAX,
} from "./engine_under_test.ts";
import { fillAll, newVector, stampVector } from "./page_content.ts";

interface Chunk {
  /** First frame, counted from the first one of the memory. */
  readonly at: number;
  readonly order: number;
  /** The vector that has it; none when allocPages returned it. */
  readonly vector?: number | undefined;
}

class FrameModel {
  /** Number of the chunk that owns a frame; 0: free. */
  readonly owner: Int32Array;
  /** First frame behind the DMA32 zone. */
  readonly border: number;
  readonly live: Chunk[] = [];
  free: number;
  #chunks = 0;

  constructor(frames: number, border: number) {
    this.owner = new Int32Array(frames);
    this.border = border;
    this.free = frames;
  }

  isFree(at: number, pages: number): boolean {
    if (at < 0 || at + pages > this.owner.length) return false;
    for (let i = at; i < at + pages; i++) if (this.owner[i] !== 0) return false;
    return true;
  }

  /** Whether there is a chunk of that order in a zone: 0 DMA32, 1 NORMAL. */
  hasRoom(order: number, zone: number): boolean {
    const pages = 1 << order;
    const end = zone === 0 ? this.border : this.owner.length;
    for (let at = zone === 0 ? 0 : this.border; at + pages <= end; at += pages) {
      if (this.isFree(at, pages)) return true;
    }
    return false;
  }

  add(at: number, order: number, vector?: number): void {
    this.owner.fill(++this.#chunks, at, at + (1 << order));
    this.live.push({ at, order, vector });
  }

  take(at: number, order: number, vector?: number): void {
    this.free -= 1 << order;
    this.add(at, order, vector);
  }

  /** Takes a chunk off the list of live ones; its frames still have an owner. */
  remove(index: number): Chunk {
    const chunk = this.live[index]!;
    this.live[index] = this.live[this.live.length - 1]!;
    this.live.pop();
    return chunk;
  }

  release(index: number): Chunk {
    const chunk = this.remove(index);
    this.owner.fill(0, chunk.at, chunk.at + (1 << chunk.order));
    this.free += 1 << chunk.order;
    return chunk;
  }

  /** How many free chunks of each order a zone has when all buddies are merged. */
  freeChunks(zone: number): number[] {
    const counts = new Array<number>(NR_ORDERS).fill(0);
    const end = zone === 0 ? this.border : this.owner.length;
    for (let at = zone === 0 ? 0 : this.border; at < end; ) {
      let order = 0;
      if (this.owner[at] === 0) {
        while (order < MAX_ORDER && at % (2 << order) === 0 && this.isFree(at, 2 << order)) order++;
        counts[order]!++;
      }
      at += 1 << order;
    }
    return counts;
  }
}

class BuddyRun {
  readonly e: EngineUnderTest;
  readonly model: FrameModel;

  constructor(frames: number, dma32: number) {
    this.e = new EngineUnderTest({ frames, slots: 1, entries: frames, dma32 });
    this.model = new FrameModel(frames, dma32);
  }

  /** One operation. Rounds of 500 in which memory tends to fill up and to empty take turns. */
  step(dice: Random, index: number): string {
    const growing = Math.floor(index / 500) % 2 === 0;
    const kind = dice.below(100);
    const allocs = growing ? 60 : 25;
    let done: string;
    if (kind < allocs) done = kind % 3 === 0 ? this.allocDma32(dice) : this.alloc(dice);
    else if (kind < 90) done = this.free(dice);
    else done = this.wrong(dice);
    equal(this.e.freePages, this.model.free, `free pages after ${done}`);
    for (const zone of [0, 1]) this.#mustHaveChunks(zone, done);
    this.e.mustHold(done);
    return done;
  }

  #mustHaveChunks(zone: number, done: string): void {
    const expected = this.model.freeChunks(zone);
    equalLists(this.e.freeChunks(zone), expected, `free chunks of zone ${zone} after ${done}`);
  }

  alloc(dice: Random): string {
    const order = dice.percent(2) ? dice.pick([10, 11, 32, 2 ** 31, U32_MAX]) : smallOrder(dice);
    const what = `allocPages(${order})`;
    const { e, model } = this;
    const zone = order > MAX_ORDER ? -1 : [1, 0].find((zone) => model.hasRoom(order, zone));
    if (zone === undefined || zone < 0) {
      e.mustRefuse(zone === undefined ? ENOMEM : EINVAL, what, () => e.wasm.allocPages(order));
      return what;
    }
    const at = e.wasm.allocPages(order) - e.firstPfn;
    must(at >= 0, `${what} failed, but there is room`);
    equal(at < model.border ? 0 : 1, zone, `zone of ${at} given by ${what}`);
    this.#take(at, order, what);
    return what;
  }

  /** A chunk of the DMA32 zone, as the only one of a vector. */
  allocDma32(dice: Random): string {
    const { e, model } = this;
    const order = smallOrder(dice);
    const what = `DMA32 chunk of order ${order}`;
    const vector = e.wasm.vectorAlloc(1 << order);
    if (vector < 0) return "no vector";
    const entries = 1 << order;
    const flags = how({ orders: [order], dma32: true });
    const prepare = () => e.wasm.fillPrepare(vector, entries, 0, 0, 1, flags, 0, 0);
    if (model.hasRoom(order, 0)) {
      equal(prepare(), entries, what);
      equal(e.wasm.fillCommit(vector, entries, 0, 0, entries, entries, flags), entries, what);
      const at = e.entry(vector) / PAGE_SIZE - e.firstPfn;
      must(at + entries <= model.border, `the ${what} lies at ${at}, outside the zone`);
      this.#take(at, order, what, vector);
    } else {
      e.mustRefuse(ENOMEM, what, prepare);
      equal(e.wasm.vectorFree(vector, entries), 0, "vectorFree");
    }
    return what;
  }

  #take(at: number, order: number, what: string, vector?: number): void {
    equal(at % (1 << order), 0, `alignment of ${what}`);
    must(this.model.isFree(at, 1 << order), `${what} gave ${at}, which is in use or out of range`);
    this.model.take(at, order, vector);
  }

  free(dice: Random): string {
    const { model } = this;
    if (model.live.length === 0) return "nothing to free";
    return this.#free(model.release(dice.below(model.live.length)));
  }

  #free({ at, order, vector }: Chunk): string {
    const { wasm, firstPfn } = this.e;
    const what = `free of chunk ${at} of order ${order}`;
    if (vector === undefined) equal(wasm.givePages(firstPfn + at, order), 0, what);
    else {
      equal(wasm.vectorDrop(vector, 1 << order, 0), 1 << order, what);
      equal(wasm.vectorFree(vector, 1 << order), 0, what);
    }
    return what;
  }

  wrong(dice: Random): string {
    const { e, model } = this;
    const pfn = dice.percent(80)
      ? e.firstPfn + dice.below(model.owner.length + 2) - 1
      : dice.pick([0, 1, 2 ** 31, U32_MAX, U32_MAX - e.firstPfn, e.firstPfn + 2 ** 28]);
    const order = dice.pick([smallOrder(dice), 0, 32, U32_MAX]);
    const at = pfn - e.firstPfn;
    const chunk = model.live.find((live) => live.at === at && live.vector === undefined);
    const what = `givePages(${at}, ${order})`;
    if (chunk?.order !== order) {
      e.mustRefuse(EINVAL, what, () => e.wasm.givePages(pfn, order));
    }
    return what;
  }

  /** Frees everything: the lists must be as at the start. */
  end(): void {
    const { e, model } = this;
    while (model.live.length > 0) this.#free(model.release(0));
    e.mustHold("freeing everything");
    for (const zone of [0, 1]) this.#mustHaveChunks(zone, "freeing everything");
    equal(e.freePages, model.owner.length, "free pages at the end");
  }
}

/** 0 .. 9, low ones more often. */
function smallOrder(dice: Random): number {
  return Math.min(dice.below(NR_ORDERS), dice.below(NR_ORDERS));
}

describe("10,000 random operations agree with the model", () => {
  test.each([
    [1, 1],
    [2, 2],
    [7, 7],
    [63, 0],
    [512, 512],
    [513, 512],
    [1000, 0],
    [1023, 1023],
    [1536, 512],
    [1600, 1024],
    [4099, 1024],
  ])("%i frames, %i of them DMA32", (frames, dma32) => {
    forAll(program(10_000), 2, (words) => {
      const run = new BuddyRun(frames, dma32);
      runProgram(words, (dice, index) => run.step(dice, index));
      run.end();
    });
  });
});

describe("what freePages refuses", () => {
  const engine = () => new EngineUnderTest({ frames: 64, slots: 1, entries: 4 });

  test("a page that was never handed out", () => {
    const e = engine();
    const { wasm, firstPfn } = e;
    for (const pfn of [firstPfn, firstPfn + 63]) {
      e.mustRefuse(EINVAL, "free of a free page", () => wasm.givePages(pfn, 0));
    }
  });

  test("a page outside the memory", () => {
    const e = engine();
    const { wasm, firstPfn } = e;
    for (const pfn of [0, 1, firstPfn - 1, firstPfn + 64, 2 ** 31, U32_MAX]) {
      e.mustRefuse(EINVAL, `free of page ${pfn}`, () => wasm.givePages(pfn, 0));
    }
  });

  test("another order, a tail page, and a second free", () => {
    const e = engine();
    const { wasm } = e;
    const pfn = wasm.allocPages(3);
    for (const order of [0, 2, 4, 9, 10, 32, U32_MAX]) {
      e.mustRefuse(EINVAL, `free with order ${order}`, () => wasm.givePages(pfn, order));
    }
    for (let i = 1; i < 8; i++) {
      e.mustRefuse(EINVAL, "free of a tail page", () => wasm.givePages(pfn + i, 0));
    }
    expect(wasm.givePages(pfn, 3)).toBe(0);
    e.mustRefuse(EINVAL, "second free", () => wasm.givePages(pfn, 3));
    expect(wasm.check()).toBe(0);
  });

  test("a chunk that belongs to a page vector", () => {
    const e = engine();
    const { wasm } = e;
    const vector = wasm.vectorAlloc(4);
    expect(wasm.fillPrepare(vector, 4, 0, 0, 4, how(), 0, 0)).toBe(4);
    const held = e.shadow(vector) / PAGE_SIZE;
    e.mustRefuse(EINVAL, "free of a held chunk", () => wasm.givePages(held, 2));
    expect(wasm.fillCommit(vector, 4, 0, 0, 4, 4, 0)).toBe(4);
    e.mustRefuse(EINVAL, "free of a vector's chunk", () => wasm.givePages(held, 2));
    expect(wasm.check()).toBe(0);
  });
});

test("a chunk that left in part is freed page by page, and merges again", () => {
  const e = new EngineUnderTest({ frames: 512, slots: 512, entries: 512, ram: true });
  const { wasm } = e;
  const v = newVector(e, 512);
  fillAll(e, v);
  stampVector(e, v, 1);
  e.putItems([{ ...v, start: 0 }]);
  equal(wasm.shrinkPrepare(1, 512), 512, "shrinkPrepare");
  equal(wasm.ramTransfer(1), 512, "ramTransfer");
  equal(wasm.shrinkCommit(1, 1), 1, "shrinkCommit");
  for (let i = 1; i < 512; i++) {
    const pfn = e.entry(v.vector + i) / PAGE_SIZE;
    equal(e.state(pfn), ALLOCATED, `state of page ${i}`);
    equal(e.order(pfn), 0, `order of page ${i}`);
  }
  for (let i = 0; i < 512; i++) {
    const at = (i * 7) % 512;
    equal(wasm.vectorDrop(v.vector + at, 1, 0), at === 0 ? 0 : 1, `vectorDrop of page ${at}`);
  }
  expect(e.freeChunks()).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  expect(wasm.check()).toBe(0);
});

test("consecutive allocations from fresh memory lie side by side", () => {
  for (const order of [0, 3, 9]) {
    const e = new EngineUnderTest({ frames: 2048, slots: 1, entries: 1 });
    for (let at = 0; at < 2048; at += 1 << order) {
      expect(e.wasm.allocPages(order)).toBe(e.firstPfn + at);
    }
  }
});
