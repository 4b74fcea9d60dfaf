import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import {
  blockDevice,
  expectAllFree,
  expectScattered,
  filled,
  KINDS,
  scatterSlots,
} from "./support/devices.ts";
import { failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";

/** Restores until `pages` pages were read, then stops. */
function restoreInPart(bo: BufferObject, swap: MapSwap, pages: number): void {
  swap.forget();
  const signal = {
    get aborted() {
      return swap.pages(false) >= pages;
    },
  };
  failsSync("EINTR", () => bo.populateSync({ signal }));
  expect(swap.pages(false)).toBe(pages);
}

/** One call a page, so that a transfer can be stopped after any number of pages. */
function withScatteredSlots(pages: number): {
  device: Device;
  swap: MapSwap;
  kept: BufferObject[];
} {
  const swap = new MapSwap({ slots: 2 * pages + 2 });
  const device = blockDevice(2 * pages + 2, swap);
  return { device, swap, kept: scatterSlots(device) };
}

type Step = (bo: BufferObject) => unknown;
const populate: Step = (bo) => bo.populateSync();
const shrink: Step = (bo) => bo.shrinkSync();
const dontneed: Step = (bo) => bo.advise("dontneed");
const pin: Step = (bo) => bo.pinSync();
const unpin: Step = (bo) => bo.unpin();
const mapAndUnmap: Step = (bo) => bo.mapSync().unmap();

describe.each(KINDS)("on $kind swap, destroy frees all pages and slots of", ({ create }) => {
  const states: [string, Step[]][] = [
    ["an empty buffer", []],
    ["a populated buffer", [populate]],
    ["a shrunken buffer", [populate, shrink]],
    ["a restored buffer", [populate, shrink, populate]],
    ["a purgeable buffer", [populate, dontneed]],
    ["a purged buffer", [populate, dontneed, shrink]],
    ["a purged buffer that was in swap", [populate, shrink, dontneed]],
    ["a buffer that was pinned", [pin, mapAndUnmap, unpin]],
  ];

  test.each(states)("%s", (_, steps) => {
    using device = create({ memory: 1024, swap: 1024 });
    for (const pages of [1, 2, 19, 531]) {
      const bo = device.createBuffer(pages * PAGE_SIZE);
      for (const step of steps) step(bo);
      device.check();
      bo.destroy();
      expectAllFree(device);
    }
    expect(device.stats().buffers).toBe(0);
  });
});

describe("destroy frees all pages and slots of", () => {
  test.each([1, 2, 3])("a buffer partly shrunken by %i device calls", (calls) => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 1100, 1);
    swap.before = failAt(true, calls + 1, systemError("EIO"));
    const released = bo.shrinkSync();
    expect(released).toBeGreaterThan(0);
    expect(bo.residentPages).toBe(1100 - released);
    device.check();
    bo.destroy();
    expectAllFree(device);
  });

  test("a buffer partly shrunken because swap was full", () => {
    const swap = new MapSwap({ slots: 30 });
    using device = blockDevice(64, swap);
    const bo = filled(device, 50, 1);
    expect(bo.shrinkSync()).toBe(30);
    device.check();
    bo.destroy();
    expectAllFree(device);
  });

  // 19 pages come back as chunks of 16, 2 and 1: stops inside each of them, and between two.
  test.each(Array.from({ length: 18 }, (_, i) => i + 1))(
    "a buffer of 19 pages whose restore stopped after %i",
    (pages) => {
      const { device, swap, kept } = withScatteredSlots(19);
      const bo = filled(device, 19, 1);
      bo.shrinkSync();
      const before = device.stats();
      restoreInPart(bo, swap, pages);
      device.check();
      expect(bo.residentPages).toBeGreaterThanOrEqual(pages);
      bo.destroy();
      device.check();
      expect(device.stats().pages.free).toBe(before.pages.free);
      expect(device.stats().slots.free).toBe(before.slots.free + 19);
      expectScattered(device, kept, 1e6);
      for (const other of kept) other.destroy();
      expectAllFree(device);
      device.closeSync();
    },
  );

  test.each([256, 512, 768, 1024])("a buffer of 1100 pages whose restore stopped after %i", (n) => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 1100, 1);
    bo.shrinkSync();
    restoreInPart(bo, swap, n);
    bo.destroy();
    expectAllFree(device);
  });

  test("a buffer that was shrunken again after an interrupted restore", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 1100, 1);
    bo.shrinkSync();
    restoreInPart(bo, swap, 256);
    bo.shrinkSync();
    expect(bo.residentPages).toBe(0);
    expect(device.stats().pages.free).toBe(2048);
    restoreInPart(bo, swap, 768);
    swap.before = failAt(true, 3, systemError("EIO"));
    expect(bo.shrinkSync()).toBeGreaterThan(0);
    device.check();
    bo.destroy();
    expectAllFree(device);
  });

  test("a buffer whose restore failed at each device call", () => {
    const { device, swap, kept } = withScatteredSlots(19);
    for (let k = 1; k <= 19; k++) {
      const bo = filled(device, 19, k);
      bo.shrinkSync();
      swap.before = failAt(false, k, systemError("EIO"));
      failsSync("EIO", () => contentSync(bo));
      swap.before = undefined;
      bo.destroy();
      device.check();
    }
    expectScattered(device, kept, 1e6);
    for (const other of kept) other.destroy();
    expectAllFree(device);
    device.closeSync();
  });
});

test("what one buffer frees is enough for the next, for ever", () => {
  const swap = new MapSwap({ slots: 1100 });
  using device = blockDevice(1100, swap);
  for (let round = 0; round < 20; round++) {
    const bo = filled(device, 1100, round);
    expect(bo.shrinkSync()).toBe(1100);
    if (round % 3 === 0) restoreInPart(bo, swap, 512);
    if (round % 3 === 1) expectSame(contentSync(bo), pattern(round, bo.size), `round ${round}`);
    bo.destroy();
    expectAllFree(device);
  }
});
