/*
 * The two zones of page frames: what must lie in DMA32 does, and what need not spares it. That random
 * allocations keep to them is in page_alloc.test.ts.
 */
import { describe, expect, test } from "vitest";
import { ENOMEM, NR_ORDERS, PAGE_SIZE, WRITE_COMBINED } from "../../assembly/abi.ts";
import { EngineUnderTest, equal, how, must } from "./engine_under_test.ts";
import {
  chunksOf,
  dropAll,
  fillAll,
  mustHaveStamps,
  newVector,
  prepareFill,
  shrinkAll,
  stampVector,
  type Vector,
} from "./page_content.ts";

const FRAMES = 1100;
const DMA32 = 512;
/** The NORMAL zone: a chunk of 512, of 64, of 8 and of 4. */
const NORMAL = FRAMES - DMA32;

function engine(dma32 = DMA32): EngineUnderTest {
  return new EngineUnderTest({ frames: FRAMES, slots: 600, entries: 2048, ram: true, dma32 });
}

/** Indexes of the frames of a vector's entries. */
function framesOf(e: EngineUnderTest, { vector, entries }: Vector): number[] {
  return Array.from({ length: entries }, (_, i) => e.entry(vector + i) / PAGE_SIZE - e.firstPfn);
}

function mustBeIn(e: EngineUnderTest, v: Vector, from: number, to: number): void {
  for (const frame of framesOf(e, v)) must(frame >= from && frame < to, `frame ${frame}`);
}

function freeIn(e: EngineUnderTest, zone: number): number {
  return e.freeChunks(zone).reduce((sum, count, order) => sum + (count << order), 0);
}

describe("pages that must lie in the DMA32 zone", () => {
  test("do, until it is full, however much of the other is free", () => {
    const e = engine();
    const v = newVector(e, 600);
    expect(prepareFill(e, v, 0, { dma32: true })).toBe(512);
    expect(e.wasm.fillCommit(v.vector, 600, 0, 0, 512, 512, 0)).toBe(512);
    mustBeIn(e, { ...v, entries: 512 }, 0, DMA32);
    expect([freeIn(e, 0), freeIn(e, 1)]).toEqual([0, NORMAL]);
    e.mustRefuse(ENOMEM, "fillPrepare", () => prepareFill(e, v, 512, { dma32: true }));
    e.mustHold("populate");
    dropAll(e, [v]);
    expect([freeIn(e, 0), freeIn(e, 1)]).toEqual([DMA32, NORMAL]);
  });

  test("come back to it, in the pieces that are left of it", () => {
    const e = engine();
    const v = newVector(e, 100);
    fillAll(e, v, { dma32: true });
    const stamps = stampVector(e, v, 1);
    shrinkAll(e, [v]);
    const w = newVector(e, 400);
    fillAll(e, w, { dma32: true });
    fillAll(e, v, { dma32: true });
    mustBeIn(e, v, 0, DMA32);
    mustHaveStamps(e, v, stamps);
    e.mustHold("restore");
  });

  test("do not exist without such a zone", () => {
    const e = engine(0);
    const v = newVector(e, 4);
    e.mustRefuse(ENOMEM, "fillPrepare", () => prepareFill(e, v, 0, { dma32: true }));
    fillAll(e, v);
  });

  test("may be anywhere when all is one", () => {
    const e = engine(FRAMES);
    const v = newVector(e, FRAMES);
    fillAll(e, v, { dma32: true });
    expect(e.freePages).toBe(0);
  });
});

describe("other pages", () => {
  test("leave the DMA32 zone alone as long as there are others", () => {
    const e = engine();
    const v = newVector(e, NORMAL);
    fillAll(e, v);
    mustBeIn(e, v, DMA32, FRAMES);
    expect([freeIn(e, 0), freeIn(e, 1)]).toEqual([DMA32, 0]);
    const w = newVector(e, 10);
    fillAll(e, w);
    mustBeIn(e, w, 0, DMA32);
    expect(e.wasm.allocPages(0) - e.firstPfn).toBeLessThan(DMA32);
    dropAll(e, [v]);
    expect(e.wasm.allocPages(0) - e.firstPfn).toBeGreaterThanOrEqual(DMA32);
    e.mustHold("populate");
  });

  test("take a chunk of it that the others have no more", () => {
    const e = engine();
    const large = e.wasm.allocPages(9) - e.firstPfn;
    expect(large).toBe(DMA32);
    expect(e.wasm.allocPages(9)).toBe(e.firstPfn);
    expect(e.wasm.allocPages(6) - e.firstPfn).toBe(1024);
    expect(e.wasm.allocPages(9)).toBe(-ENOMEM);
  });

  test("go back to where they came from, and never merge across the border", () => {
    const e = engine(1024);
    const all = Array.from({ length: FRAMES }, () => e.wasm.allocPages(0));
    expect(new Set(all).size).toBe(FRAMES);
    // Frames next to the border first, then the others from both ends.
    all.sort((a, b) => Math.abs(a - e.firstPfn - 1024) - Math.abs(b - e.firstPfn - 1024));
    for (const pfn of all) {
      equal(e.wasm.givePages(pfn, 0), 0, "givePages");
      e.mustHold("givePages");
    }
    const counts = (...orders: number[]) =>
      Array.from({ length: NR_ORDERS }, (_, i) => orders.filter((order) => order === i).length);
    expect(e.freeChunks(0)).toEqual(counts(9, 9));
    expect(e.freeChunks(1)).toEqual(counts(6, 3, 2));
  });

  // The page before them in the vector lies in the DMA32 zone: they are put beside it.
  test("do not follow a page of their vector there", () => {
    const e = engine();
    const v = newVector(e, 64);
    expect(prepareFill(e, v, 0, { dma32: true, orders: [5], budget: 1 })).toBe(32);
    expect(e.wasm.fillCommit(v.vector, 64, 0, 0, 32, 32, 0)).toBe(32);
    fillAll(e, v);
    mustBeIn(e, { vector: v.vector + 32, entries: 32 }, DMA32, FRAMES);
  });
});

test("pools keep chunks of both zones apart when their types are", () => {
  const e = engine();
  const normal = { type: 0, caching: WRITE_COMBINED };
  const dma32 = { type: 2, caching: WRITE_COMBINED, dma32: true };
  for (let round = 0; round < 3; round++) {
    const vectors = [normal, dma32].map((options) => {
      const v = newVector(e, 35);
      fillAll(e, v, options);
      equal(e.wasm.vectorCaching(v.vector, 35, 0, WRITE_COMBINED), round ? 0 : 35, "changed");
      return { v, options };
    });
    const [a, b] = vectors as [(typeof vectors)[0], (typeof vectors)[0]];
    expect(chunksOf(e, a.v)).toEqual([32, 2, 1]);
    mustBeIn(e, a.v, DMA32, FRAMES);
    mustBeIn(e, b.v, 0, DMA32);
    e.mustHold("populate");
    for (const { v, options } of vectors) {
      equal(e.wasm.vectorDrop(v.vector, 35, how(options)), 35, "vectorDrop");
      equal(e.wasm.vectorFree(v.vector, 35), 0, "vectorFree");
    }
    e.mustHold("vectorDrop");
  }
  expect([freeIn(e, 0), freeIn(e, 1)]).toEqual([DMA32 - 35, NORMAL - 35]);
});
