/*
 * Which buffers leave first. Method: buffers of 64 pages, more than one cluster of reclaim, and
 * a shrink of as many pages, so that exactly one of them leaves.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { blockDevice, filled, ramDevice } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

const PAGES = 64;
const ONE = new Uint8Array(1);

function create(device: Device, count: number): BufferObject[] {
  return Array.from({ length: count }, (_, i) => filled(device, PAGES, i));
}

/** Indices of the buffers in the order in which they leave. */
function order(device: Device, bos: readonly BufferObject[]): number[] {
  const left: number[] = [];
  for (;;) {
    const released = device.shrinkSync({ pages: PAGES });
    if (released === 0) return left;
    expect(released).toBe(PAGES);
    const gone = bos.flatMap((bo, i) => (bo.residentPages === 0 && !left.includes(i) ? [i] : []));
    expect(gone.length).toBe(1);
    left.push(...gone);
  }
}

function device8(): Device {
  return ramDevice({ memory: 8 * PAGES, swap: 8 * PAGES });
}

describe("the least recently used buffer leaves first", () => {
  test("in the order of their first writes when none was used again", () => {
    using device = device8();
    expect(order(device, create(device, 6))).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test.each<[string, (bo: BufferObject) => unknown]>([
    ["read", (bo) => bo.readSync(0, ONE)],
    ["read asynchronously", (bo) => bo.read(0, new Uint8Array(1))],
    ["written", (bo) => bo.writeSync(0, ONE)],
    ["written asynchronously", (bo) => bo.write(0, ONE)],
    ["populated", (bo) => bo.populateSync()],
    ["mapped", (bo) => bo.mapSync().unmap()],
    ["shrunken and restored", (bo) => bo.shrinkSync() && bo.populateSync()],
  ])("one that was %s counts as used", async (_, use) => {
    using device = device8();
    const bos = create(device, 4);
    await use(bos[1] as BufferObject);
    await use(bos[0] as BufferObject);
    expect(order(device, bos)).toEqual([2, 3, 1, 0]);
  });

  test("one that was unpinned, or unmapped, counts as used then", () => {
    using device = device8();
    const bos = create(device, 4);
    const mapping = bos[0]?.mapSync();
    bos[1]?.pinSync();
    bos[2]?.readSync(0, ONE);
    bos[1]?.unpin();
    mapping?.unmap();
    expect(order(device, bos)).toEqual([3, 2, 1, 0]);
  });

  test("advice taken back counts as use", () => {
    using device = device8();
    const bos = create(device, 3);
    bos[0]?.advise("dontneed");
    bos[0]?.advise("willneed");
    expect(order(device, bos)).toEqual([1, 2, 0]);
  });

  test("under pressure as well as when asked to shrink", () => {
    using device = ramDevice({ memory: 4 * PAGES, swap: 16 * PAGES });
    const [a, b, c, d] = create(device, 4) as [BufferObject, ...BufferObject[]];
    a.readSync(0, ONE);
    filled(device, PAGES, 9);
    expect([a, b, c, d].map((bo) => bo?.residentPages)).toEqual([PAGES, 0, PAGES, PAGES]);
  });
});

describe("a buffer keeps its place", () => {
  test("when an operation on it fails", async () => {
    const swap = new MapSwap({ slots: 1024 });
    using device = blockDevice(8 * PAGES, swap);
    const bos = create(device, 4);
    const [first] = bos as [BufferObject];
    const signal = new CountingSignal(1);
    failsSync("EINTR", () => first.readSync(0, ONE, { signal }));
    await fails("EINTR", first.write(0, ONE, { signal }));
    await expect(first.read(5 * PAGES * PAGE_SIZE, ONE)).rejects.toThrow(RangeError);
    swap.before = failAt(true, 1, systemError("EIO"));
    failsSync("EIO", () => device.shrinkSync());
    expect(order(device, bos)).toEqual([0, 1, 2, 3]);
  });

  test("when it could not be shrunken, and when it could in part", async () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const big = filled(device, 600, 1);
    const small = filled(device, PAGES, 2);
    swap.before = failAt(true, 1, systemError("EIO"));
    failsSync("EIO", () => big.shrinkSync());
    swap.before = failAt(true, 1, systemError("EIO"));
    await fails("EIO", big.shrink());
    swap.before = failAt(true, 2, systemError("EIO"));
    expect(big.shrinkSync()).toBeLessThan(600);
    swap.before = undefined;
    device.shrinkSync({ pages: PAGES });
    expect(small.residentPages).toBe(PAGES);
    expect(big.residentPages).toBeLessThan(600);
  });

  test("when only a part of it left, and that part is not asked for", () => {
    const swap = new MapSwap({ slots: 4096 });
    using device = blockDevice(2048, swap);
    const big = filled(device, 1000, 1);
    const small = filled(device, PAGES, 2);
    swap.before = failAt(true, 2, systemError("EIO"));
    const released = device.shrinkSync({ pages: 1000 });
    swap.before = undefined;
    expect(released).toBeLessThan(1000);
    expect(device.shrinkSync({ pages: 1000 - released })).toBe(1000 - released);
    expect([big, small].map((bo) => bo.residentPages)).toEqual([0, PAGES]);
    expectSame(contentSync(big), pattern(1, big.size), "big");
  });
});

describe("a priority", () => {
  test("of a buffer decides before its use does", () => {
    using device = device8();
    const priorities = [2, 0, 3, 1, 0, 2];
    const bos = priorities.map((priority, i) => {
      const bo = device.createBuffer(PAGES * PAGE_SIZE, { priority });
      bo.writeSync(0, pattern(i, bo.size));
      expect(bo.priority).toBe(priority);
      return bo;
    });
    bos[1]?.readSync(0, ONE);
    expect(order(device, bos)).toEqual([4, 1, 3, 0, 5, 2]);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
  });

  test("is 0 when none is given", () => {
    using device = device8();
    expect(device.createBuffer(1).priority).toBe(0);
  });

  test("does not save a buffer when nothing else is left", () => {
    using device = ramDevice({ memory: 64, swap: 128 });
    const high = device.createBuffer(60 * PAGE_SIZE, { priority: 3 });
    high.writeSync(0, pattern(1, high.size));
    const low = filled(device, 60, 2);
    expect(high.residentPages).toBeLessThan(60);
    expectSame(contentSync(high), pattern(1, high.size), "high");
    expectSame(contentSync(low), pattern(2, low.size), "low");
  });
});
