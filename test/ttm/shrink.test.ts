import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE, TtmError } from "../../src/index.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";
import {
  blockDevice,
  expectAllFree,
  expectScattered,
  filled,
  KINDS,
  ramDevice,
  scatterFrames,
} from "../support/devices.ts";
import { fails, failsSync, systemError } from "../support/errors.ts";
import { failAll, failAt, MapSwap } from "../support/map_swap.ts";
import { seeded } from "../support/random.ts";
import { CountingSignal } from "../support/signals.ts";

function resident(bos: readonly BufferObject[]): number[] {
  return bos.map((bo) => bo.residentPages);
}

function withMap(memory: number, slots: number): { swap: MapSwap; device: Device } {
  const swap = new MapSwap({ slots });
  return { swap, device: blockDevice(memory, swap) };
}

describe.each(KINDS)("on $kind swap, shrink", ({ create }) => {
  test("moves all of a buffer out and returns its pages", async () => {
    using device = create({ memory: 2048, swap: 2048 });
    for (const pages of [1, 2, 19, 275, 508]) {
      const bo = filled(device, pages, pages);
      expect(bo.shrinkSync()).toBe(pages);
      expect(bo.residentPages).toBe(0);
      expect(device.stats().pages.free).toBe(2048);
      expect(device.stats().slots.free).toBe(2048 - pages);
      expect(bo.shrinkSync()).toBe(0);
      expectSame(contentSync(bo), pattern(pages, bo.size), `${pages} pages`);
      expect(await bo.shrink()).toBe(pages);
      expectSame(contentSync(bo), pattern(pages, bo.size), `${pages} pages again`);
      bo.destroy();
      expectAllFree(device);
    }
  });

  test("of an empty buffer, and of a device without any, releases nothing", async () => {
    using device = create({ memory: 16, swap: 16 });
    expect(device.shrinkSync()).toBe(0);
    expect(await device.shrink()).toBe(0);
    const bo = device.createBuffer(PAGE_SIZE);
    expect(bo.shrinkSync()).toBe(0);
    expect(await bo.shrink()).toBe(0);
    expect(device.shrinkSync()).toBe(0);
    expectAllFree(device);
  });

  test("of the device returns the pages it released: at least the target, while there are any", () =>
    seeded((random) => {
      using device = create({ memory: 1024, swap: 1024 });
      const bos = Array.from({ length: 40 }, (_, i) => filled(device, random.below(24) + 1, i));
      let left = 1024 - device.stats().pages.free;
      while (left > 0) {
        const pages = random.below(80) + 1;
        const free = device.stats().pages.free;
        const released = device.shrinkSync({ pages });
        expect(device.stats().pages.free - free).toBe(released);
        expect(released).toBeGreaterThanOrEqual(Math.min(pages, left));
        left -= released;
        device.check();
      }
      expect(device.shrinkSync({ pages: 5 })).toBe(0);
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      });
    }));

  test("stops at its target", () => {
    using device = create({ memory: 2048, swap: 2048 });
    for (let i = 0; i < 30; i++) filled(device, 64, i);
    expect(device.shrinkSync({ pages: 100 })).toBeLessThan(100 + 64);
    expect(device.shrinkSync({ pages: 1 })).toBeLessThanOrEqual(64);
  });

  test.each([0, -1, Number.NaN, "5", null])("refuses a target of %j", async (pages) => {
    using device = create({ memory: 16, swap: 16 });
    const options = { pages: pages as number };
    expect(() => device.shrinkSync(options)).toThrow(/pages must be a number of pages above 0/);
    await expect(device.shrink(options)).rejects.toThrow(RangeError);
  });

  test("takes a target that is no whole number as the next one", () => {
    using device = create({ memory: 64, swap: 64 });
    for (let i = 0; i < 60; i++) filled(device, 1, i);
    expect(device.shrinkSync({ pages: 40.5 })).toBe(41);
  });

  test("of a full swap space moves what fits; then ENOSPC names its size", async () => {
    using device = create({ memory: 64, swap: 40 });
    const bo = filled(device, 50, 1);
    expect(bo.shrinkSync()).toBe(40);
    expect(bo.residentPages).toBe(10);
    device.check();
    const errors = [
      failsSync("ENOSPC", () => bo.shrinkSync()),
      failsSync("ENOSPC", () => device.shrinkSync()),
      await fails("ENOSPC", bo.shrink()),
      await fails("ENOSPC", device.shrink()),
    ];
    for (const error of errors) {
      expect(error.op).toBe("shrink");
      expect(error.message).toMatch(/all 40 slots \(160 KiB\) of swap device \w+ are in use/);
      expect(error.message).toMatch(/larger size|destroy buffers/);
    }
    expect(bo.residentPages).toBe(10);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.destroy();
    expectAllFree(device);
  });
});

describe("a write that fails", () => {
  test.each([19, 275, 508])("at every device call: %i pages, all but the moved stay", (pages) => {
    const { swap, device } = withMap(2048, 2048);
    const bo = filled(device, pages, 1);
    for (let k = 1, failed = true; failed; k++) {
      const thrown = systemError("ENOSPC");
      swap.forget();
      swap.before = failAt(true, k, thrown);
      let released = 0;
      try {
        released = bo.shrinkSync();
      } catch (error) {
        expect(k).toBe(1);
        expect(error).toMatchObject({ code: "ENOSPC", op: "shrink", cause: thrown });
      }
      const moved = swap.calls.slice(0, k - 1).reduce((sum, call) => sum + call.pages, 0);
      failed = swap.count(true) === k;
      expect(released).toBe(failed ? moved : pages);
      expect(bo.residentPages).toBe(pages - released);
      const { pages: frames, slots } = device.stats();
      expect(frames.free).toBe(2048 - bo.residentPages);
      expect(slots.free).toBe(2048 - released);
      device.check();
      swap.before = undefined;
      expect(bo.shrinkSync()).toBe(pages - released);
      device.check();
      expectSame(contentSync(bo), pattern(1, bo.size), `call ${k} failed`);
    }
    device.closeSync({ force: true });
  });

  test("at every device call: two buffers that leave side by side", () => {
    for (let k = 1; k <= 4; k++) {
      const { swap, device } = withMap(2048, 2048);
      const bos = [filled(device, 300, 0), filled(device, 600, 1)];
      swap.before = failAt(true, k, systemError("EIO"));
      const released = k > 1 ? device.shrinkSync() : 0;
      if (k === 1) failsSync("EIO", () => device.shrinkSync());
      expect(swap.count(true)).toBe(k);
      const moved = swap.calls.slice(0, k - 1).reduce((sum, call) => sum + call.pages, 0);
      expect(released).toBe(moved);
      expect(resident(bos)).toEqual([Math.max(300 - released, 0), Math.min(900 - released, 600)]);
      device.check();
      swap.before = undefined;
      expect(device.shrinkSync()).toBe(900 - released);
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}, call ${k} failed`);
      });
      device.closeSync({ force: true });
    }
  });

  test("at every page, when the pages lie scattered in swap", () => {
    const { swap, device } = withMap(64, 40);
    const ones = Array.from({ length: 40 }, (_, i) => filled(device, 1, i));
    device.shrinkSync();
    const kept = ones.filter((bo, i) => {
      if (i % 2 === 0) bo.destroy();
      return i % 2 === 1;
    });
    const bo = filled(device, 19, 1000);
    for (let k = 1; k <= 19; k++) {
      swap.before = failAt(true, k, systemError("EIO"));
      if (k === 1) failsSync("EIO", () => bo.shrinkSync());
      else expect(bo.shrinkSync()).toBe(k - 1);
      swap.before = undefined;
      device.check();
      expect(bo.residentPages).toBe(19 - (k - 1));
      expectSame(contentSync(bo), pattern(1000, bo.size), `page ${k} failed`);
    }
    kept.forEach((other, i) => {
      expectSame(contentSync(other), pattern(2 * i + 1, other.size), `other ${i}`);
    });
    device.closeSync({ force: true });
  });

  test("in the middle of many small buffers leaves the others where they are", () => {
    const { swap, device } = withMap(1024, 1024);
    const bos = Array.from({ length: 300 }, (_, i) => filled(device, (i % 3) + 1, i));
    swap.before = failAt(true, 2, systemError("EIO"));
    const released = device.shrinkSync();
    expect(released).toBe(swap.calls[0]?.pages);
    expect(resident(bos).reduce((sum, pages) => sum + pages, 0)).toBe(600 - released);
    device.check();
    swap.before = undefined;
    expect(device.shrinkSync()).toBe(600 - released);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.closeSync({ force: true });
  });

  test.each(["ENOSPC", "EIO", "EROFS", "EINTR", "ENOMEM"] as const)(
    "with %s: the code arrives, from every operation that pushes pages out",
    async (code) => {
      const { swap, device } = withMap(64, 64);
      const first = filled(device, 40, 1);
      swap.before = failAll(true, systemError(code));
      const next = device.createBuffer(40 * PAGE_SIZE);
      for (const run of [
        () => first.shrinkSync(),
        () => device.shrinkSync(),
        () => next.writeSync(0, new Uint8Array(next.size)),
        () => next.mapSync(),
        () => next.pinSync(),
      ]) {
        failsSync(code, run);
        device.check();
      }
      await fails(code, first.shrink());
      await fails(code, device.shrink());
      await fails(code, next.write(0, new Uint8Array(next.size)));
      expect(resident([first, next])).toEqual([40, 0]);
      swap.before = undefined;
      next.writeSync(0, pattern(2, next.size));
      expectSame(contentSync(first), pattern(1, first.size), "first");
      expectSame(contentSync(next), pattern(2, next.size), "next");
      device.closeSync({ force: true });
    },
  );

  test("every time ends the walk over all buffers, and costs none its place", () => {
    const { swap, device } = withMap(2048, 2048);
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 40, i));
    swap.before = failAll(true, systemError("EIO"));
    for (let i = 0; i < 5; i++) {
      swap.forget();
      failsSync("EIO", () => device.shrinkSync());
      expect(swap.count(true)).toBeLessThanOrEqual(1);
    }
    expect(resident(bos)).toEqual(bos.map(() => 40));
    device.check();
    swap.before = undefined;
    expect(device.shrinkSync({ pages: 80 })).toBe(80);
    expect(resident(bos.slice(0, 3))).toEqual([0, 0, 40]);
    device.closeSync({ force: true });
  });
});

describe("an interrupted shrink", () => {
  test.each([275, 508])("of %i pages at every look: what was moved counts", (pages) => {
    const { device } = withMap(2048, 2048);
    const bo = filled(device, pages, 1);
    for (let abortAt = 1, done = false; !done; abortAt++) {
      let released = 0;
      try {
        released = bo.shrinkSync({ signal: new CountingSignal(abortAt) });
        done = released === pages;
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR", op: "shrink" });
      }
      expect(bo.residentPages).toBe(pages - released);
      device.check();
      if (!done) expect(bo.shrinkSync()).toBe(pages - released);
      expectSame(contentSync(bo), pattern(1, bo.size), `stopped at look ${abortAt}`);
    }
    device.closeSync({ force: true });
  });

  test("of the device returns what it came to, and EINTR when that is nothing", async () => {
    const { device } = withMap(2048, 2048);
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 40, i));
    let released = 0;
    for (let abortAt = 1; released < 1200; abortAt++) {
      const signal = new CountingSignal(abortAt);
      try {
        released += abortAt % 2 ? device.shrinkSync({ signal }) : await device.shrink({ signal });
      } catch (error) {
        expect(error).toBeInstanceOf(TtmError);
        expect(error).toMatchObject({ code: "EINTR" });
      }
      expect(device.stats().pages.free).toBe(2048 - 1200 + released);
      device.check();
    }
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.closeSync({ force: true });
  });
});

describe("small buffers", () => {
  test("leave together, in slots side by side and in few device calls", () => {
    const { swap, device } = withMap(1024, 1024);
    const bos = Array.from({ length: 100 }, (_, i) => filled(device, (i % 4) + 1, i));
    expect(device.shrinkSync()).toBe(250);
    expect(swap.count(true)).toBeLessThanOrEqual(3);
    const slots = [...swap.stored.keys()].sort((a, b) => a - b);
    expect((slots.at(-1) as number) - (slots[0] as number)).toBe(249);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.closeSync({ force: true });
  });

  test("leave together under pressure too", () => {
    const { swap, device } = withMap(256, 4096);
    for (let i = 0; i < 1000; i++) filled(device, (i % 4) + 1, i);
    expect(device.stats().pagesOut).toBeGreaterThanOrEqual(2500 - 256);
    expect(swap.count(true)).toBeLessThanOrEqual(device.stats().pagesOut / 16);
    device.closeSync({ force: true });
  });

  test("more of them than fit one batch leave too", () => {
    const { swap, device } = withMap(2048, 2048);
    const bos = Array.from({ length: 1500 }, (_, i) => filled(device, 1, i));
    expect(device.shrinkSync()).toBe(1500);
    expect(swap.count(true)).toBeLessThanOrEqual(10);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.closeSync({ force: true });
  });

  test("leave together from scattered page frames", () => {
    const { swap, device } = withMap(512, 512);
    const kept = scatterFrames(device);
    const bos = Array.from({ length: 100 }, (_, i) => filled(device, (i % 3) + 1, i));
    swap.forget();
    expect(device.shrinkSync()).toBe(199);
    expect(swap.count(true)).toBeLessThanOrEqual(3);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    expectScattered(device, kept, 2e6);
    device.closeSync({ force: true });
  });
});

test("stats count the pages that went out and in", () => {
  using device = ramDevice({ memory: 64, swap: 64 });
  const bo = filled(device, 30, 1);
  bo.shrinkSync();
  bo.populateSync();
  bo.shrinkSync();
  expect(device.stats()).toMatchObject({ pagesOut: 60, pagesIn: 30, interrupted: 0, resumed: 0 });
});
