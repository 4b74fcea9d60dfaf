import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { blockDevice, expectAllFree, filled, KINDS, ramDevice } from "./support/devices.ts";
import { failsSync, systemError } from "./support/errors.ts";
import { failAll, MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

function slotsUsed(device: Device): number {
  const { total, free } = device.stats().slots;
  return total - free;
}

/** A buffer of which the first pages are in swap and the others are not. */
function partlyShrunken(device: Device, swap: MapSwap, pages: number): BufferObject {
  const bo = filled(device, pages, 1);
  let writes = 0;
  swap.before = ({ out }) => {
    if (out && ++writes > 1) throw systemError("EIO");
  };
  bo.shrinkSync();
  swap.before = undefined;
  if (bo.residentPages === 0 || bo.residentPages === pages) throw new Error("not shrunken in part");
  return bo;
}

describe.each(KINDS)("on $kind swap, advice", ({ create }) => {
  test("dontneed lets pressure throw the content away: nothing of it goes to swap", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 40, 1);
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.residentPages).toBe(40);
    const other = filled(device, 40, 2);
    expect(device.stats()).toMatchObject({ pagesOut: 0, pagesPurged: 40 });
    expect(bo.residentPages).toBe(0);
    expect(slotsUsed(device)).toBe(0);
    expect(bo.advise("dontneed")).toBe(false);
    expect(bo.advise("willneed")).toBe(false);
    expectZeros(contentSync(bo), "purged content");
    expectSame(contentSync(other), pattern(2, other.size), "the other");
    device.check();
  });

  test("willneed takes it back while the content is there", async () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 40, 1);
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.advise("willneed")).toBe(true);
    filled(device, 40, 2);
    expect(device.stats().pagesPurged).toBe(0);
    expect(bo.residentPages).toBeLessThan(40);
    expectSame(await content(bo), pattern(1, bo.size), "content");
    expect(bo.advise("willneed")).toBe(true);
  });

  test("dontneed of a buffer that is all in swap frees its slots at once", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 40, 1);
    const other = filled(device, 3, 2);
    device.shrinkSync();
    expect(slotsUsed(device)).toBe(43);
    expect(bo.advise("dontneed")).toBe(false);
    expect(slotsUsed(device)).toBe(3);
    expectZeros(contentSync(bo), "content");
    expect(bo.residentPages).toBe(0);
    expectSame(contentSync(other), pattern(2, other.size), "the other");
    device.check();
  });

  test("dontneed ends when the buffer gets its pages again", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 10, 1);
    bo.advise("dontneed");
    expect(bo.shrinkSync()).toBe(10);
    expect(bo.advise("willneed")).toBe(false);
    bo.advise("dontneed");
    bo.writeSync(0, pattern(3, bo.size));
    expect(bo.shrinkSync()).toBe(10);
    expect(device.stats()).toMatchObject({ pagesOut: 10, pagesPurged: 10 });
    expect(bo.advise("willneed")).toBe(true);
    expectSame(contentSync(bo), pattern(3, bo.size), "content");
  });

  test("dontneed of an empty buffer changes nothing, and does not outlive its first write", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = device.createBuffer(10 * PAGE_SIZE);
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.shrinkSync()).toBe(0);
    expectAllFree(device);
    bo.writeSync(0, pattern(1, bo.size));
    expect(device.shrinkSync()).toBe(10);
    expect(device.stats()).toMatchObject({ pagesOut: 10, pagesPurged: 0 });
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("dontneed of a pinned buffer waits until it is unpinned", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 40, 1);
    bo.pinSync();
    expect(bo.advise("dontneed")).toBe(true);
    expect(device.shrinkSync()).toBe(0);
    failsSync("EBUSY", () => bo.shrinkSync());
    failsSync("ENOMEM", () => filled(device, 40, 2));
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.unpin();
    expect(device.shrinkSync()).toBe(40);
    expect(device.stats()).toMatchObject({ pagesOut: 0, pagesPurged: 40 });
    expectZeros(contentSync(bo), "content");
    expect(bo.advise("willneed")).toBe(false);
  });

  test("shrink of a purgeable buffer needs no swap space", () => {
    using device = create({ memory: 64, swap: 10 });
    const full = filled(device, 10, 1);
    full.shrinkSync();
    const bo = filled(device, 40, 2);
    failsSync("ENOSPC", () => bo.shrinkSync());
    bo.advise("dontneed");
    expect(bo.shrinkSync()).toBe(40);
    expectZeros(contentSync(bo), "content");
    expectSame(contentSync(full), pattern(1, full.size), "the other");
    device.check();
  });
});

describe("a purge", () => {
  test("of a partly shrunken buffer frees its pages and its slots, without a device call", () => {
    const swap = new MapSwap({ slots: 1024 });
    using device = blockDevice(1024, swap);
    const bo = partlyShrunken(device, swap, 500);
    const resident = bo.residentPages;
    swap.forget();
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.residentPages).toBe(resident);
    expect(device.shrinkSync()).toBe(resident);
    expect(swap.calls).toEqual([]);
    expectAllFree(device);
    expect(bo.advise("willneed")).toBe(false);
    expectZeros(contentSync(bo), "content");
  });

  test("of a buffer whose restore was interrupted frees all of it", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 1100, 1);
    bo.shrinkSync();
    for (let looks = 1; bo.residentPages === 0; looks++) {
      failsSync("EINTR", () => bo.populateSync({ signal: new CountingSignal(looks) }));
    }
    bo.advise("dontneed");
    device.shrinkSync();
    expectAllFree(device);
    expectZeros(contentSync(bo), "content");
    bo.writeSync(0, pattern(2, bo.size));
    device.check();
    bo.shrinkSync();
    expectSame(contentSync(bo), pattern(2, bo.size), "new content");
  });

  test("goes on although the swap device fails", () => {
    const swap = new MapSwap({ slots: 64 });
    using device = blockDevice(64, swap);
    swap.before = failAll(true, systemError("EIO"));
    const bo = filled(device, 30, 1);
    const kept = filled(device, 30, 2);
    bo.advise("dontneed");
    expect(device.shrinkSync()).toBe(30);
    failsSync("EIO", () => device.shrinkSync());
    expectSame(contentSync(kept), pattern(2, kept.size), "the other");
    device.check();
  });

  test("takes purgeable buffers first, whatever their priority and use", () => {
    using device = ramDevice({ memory: 256, swap: 256 });
    const old = filled(device, 64, 1);
    const important = device.createBuffer(64 * PAGE_SIZE, { priority: 3 });
    important.writeSync(0, pattern(2, important.size));
    important.advise("dontneed");
    contentSync(important);
    expect(device.shrinkSync({ pages: 64 })).toBe(64);
    expect(old.residentPages).toBe(64);
    expect(important.advise("willneed")).toBe(false);
  });

  test("takes the purgeable buffer first that was not used for longest", () => {
    using device = ramDevice({ memory: 256, swap: 256 });
    const [a, b, c] = [filled(device, 40, 1), filled(device, 40, 2), filled(device, 40, 3)];
    for (const bo of [a, b, c]) bo.advise("dontneed");
    contentSync(a);
    expect(device.shrinkSync({ pages: 40 })).toBe(40);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([40, 0, 40]);
  });
});

test.each(["", "DONTNEED", "need", undefined, null, 1])("advice of %j is a TypeError", (advice) => {
  using device = ramDevice({ memory: 16, swap: 16 });
  const bo = filled(device, 1, 1);
  expect(() => bo.advise(advice as never)).toThrow(TypeError);
  expect(() => bo.advise(advice as never)).toThrow(
    /advice must be one of "dontneed", "willneed", /,
  );
  bo.shrinkSync();
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
});
