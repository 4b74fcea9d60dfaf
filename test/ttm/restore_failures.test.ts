import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/index.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import {
  blockDevice,
  expectAllFree,
  expectScattered,
  filled,
  KINDS,
  scatterSlots,
} from "../support/devices.ts";
import { fails, failsSync, systemError } from "../support/errors.ts";
import { failAll, failAt, MapSwap } from "../support/map_swap.ts";

function expectEachReadOnce(swap: MapSwap, pages: number): void {
  expect(swap.reads.size).toBe(pages);
  expect(Math.max(...swap.reads.values())).toBe(1);
}

describe("a read that fails stops the restore, and a retry goes on", () => {
  test.each([1, 19, 275, 508])("at every device call, %i pages", (pages) => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, pages, 1);
    const broken = new Error("the disk is broken");
    for (let k = 1, failed = true; failed; k++) {
      bo.shrinkSync();
      swap.forget();
      swap.before = failAt(false, k, broken);
      const { interrupted, resumed } = device.stats();
      try {
        contentSync(bo);
        failed = false;
        expect(k).toBeGreaterThan(pages / 256);
      } catch (error) {
        expect(error).toMatchObject({ code: "EIO", errno: -5, op: "restore", cause: broken });
        expect((error as Error).message).toMatch(
          /swap device map failed to read: the disk is broken/,
        );
        device.check();
        expect(device.stats().interrupted).toBe(interrupted + 1);
      }
      swap.before = undefined;
      expectSame(contentSync(bo), pattern(1, bo.size), `call ${k} failed`);
      expectEachReadOnce(swap, pages);
      if (failed) expect(device.stats().resumed).toBe(resumed + (k > 1 ? 1 : 0));
      device.check();
    }
  });

  test("at every page, when each needs a call of its own", () => {
    const swap = new MapSwap({ slots: 40 });
    using device = blockDevice(40, swap);
    const kept = scatterSlots(device);
    const bo = filled(device, 19, 1);
    for (let k = 1; k <= 19; k++) {
      bo.shrinkSync();
      swap.forget();
      swap.before = failAt(false, k, systemError("EIO"));
      failsSync("EIO", () => contentSync(bo));
      expect(swap.reads.size).toBe(k - 1);
      device.check();
      swap.before = undefined;
      expectSame(contentSync(bo), pattern(1, bo.size), `page ${k} failed`);
      expectEachReadOnce(swap, 19);
    }
    expectScattered(device, kept, 1e6);
  });

  test("when an asynchronous device rejects", async () => {
    const swap = new MapSwap({ slots: 2048, delay: () => Promise.resolve() });
    await using device = blockDevice(2048, swap);
    const bo = device.createBuffer(1100 * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    for (let k = 1; k <= 5; k++) {
      await bo.shrink();
      swap.forget();
      const broken = new Error("the network is down");
      swap.before = failAt(false, k, broken);
      const error = await fails("EIO", content(bo));
      expect(error).toMatchObject({ op: "restore", cause: broken });
      device.check();
      expectSame(await content(bo), pattern(1, bo.size), `call ${k} failed`);
      expectEachReadOnce(swap, 1100);
    }
  });

  test.each(["ENOSPC", "ENOMEM", "EINTR", "EACCES", "EROFS", "EBUSY", "EIO"] as const)(
    "with the code %s of what was thrown",
    async (code) => {
      const swap = new MapSwap({ slots: 64 });
      using device = blockDevice(64, swap);
      const bo = filled(device, 10, 1);
      bo.shrinkSync();
      const thrown = systemError(code);
      swap.before = failAll(false, thrown);
      expect(failsSync(code, () => contentSync(bo)).cause).toBe(thrown);
      expect((await fails(code, content(bo))).cause).toBe(thrown);
      swap.before = undefined;
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
    },
  );

  test.each([
    systemError("ERR_SOCKET_CLOSED"),
    systemError("toString"),
    Object.assign(new Error("a number"), { code: 28 }),
    "a string",
    undefined,
    null,
  ])("as EIO when what was thrown has no code of ours: %s", (thrown) => {
    const swap = new MapSwap({ slots: 64 });
    using device = blockDevice(64, swap);
    const bo = filled(device, 10, 1);
    bo.shrinkSync();
    swap.before = failAll(false, thrown);
    const error = failsSync("EIO", () => contentSync(bo));
    expect(error.cause).toBe(thrown);
    expect(error.errno).toBe(-5);
    swap.before = undefined;
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("time and again: each attempt reports its own error", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 1100, 1);
    bo.shrinkSync();
    swap.forget();
    for (const code of ["EIO", "ENOSPC", "EACCES", "ENOMEM"] as const) {
      swap.before = failAt(false, 2, systemError(code));
      failsSync(code, () => contentSync(bo));
      device.check();
    }
    expect(swap.reads.size).toBe(1024);
    swap.before = failAll(false, systemError("EROFS"));
    failsSync("EROFS", () => contentSync(bo));
    swap.before = undefined;
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    expectEachReadOnce(swap, 1100);
  });
});

describe("out of memory", () => {
  test.each(KINDS)("on $kind swap: ENOMEM while others are pinned, then success", ({ create }) => {
    using device = create({ memory: 64, swap: 128 });
    const bo = filled(device, 40, 1);
    bo.shrinkSync();
    const other = filled(device, 30, 2);
    other.pinSync();
    for (const run of [() => contentSync(bo), () => bo.pinSync(), () => bo.mapSync()]) {
      const error = failsSync("ENOMEM", run);
      expect(error.op).toBe("restore");
      expect(error.message).toMatch(/40 pages are needed, 34 of 64 are free/);
      device.check();
    }
    other.unpin();
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    expectSame(contentSync(other), pattern(2, other.size), "the other");
    bo.destroy();
    other.destroy();
    expectAllFree(device);
  });

  test("in the middle of a restore: it keeps what it read, and goes on from there", async () => {
    const swap = new MapSwap({ slots: 4096, delay: () => Promise.resolve() });
    await using device = blockDevice(900, swap);
    const bo = device.createBuffer(508 * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    swap.forget();
    const other = filled(device, 600, 2);
    other.pinSync();
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await fails("ENOMEM", bo.populate());
      expect(error.op).toBe("restore");
      expect(bo.residentPages).toBe(300);
      device.check();
    }
    other.unpin();
    expectSame(await content(bo), pattern(1, bo.size), "content");
    expectEachReadOnce(swap, 508);
    expectSame(await content(other), pattern(2, 600 * PAGE_SIZE), "the other");
    device.check();
  });
});

describe("a partly shrunken buffer", () => {
  test("comes back without its retained pages being read, and leaves and comes back again", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 508, 1);
    for (let k = 2; k <= 5; k++) {
      swap.forget();
      swap.before = failAt(true, k, systemError("EIO"));
      const released = bo.shrinkSync();
      swap.before = undefined;
      expect(released).toBe(bo.size / PAGE_SIZE - bo.residentPages);
      expect(device.stats().slots.free).toBe(2048 - released);
      expectSame(contentSync(bo), pattern(1, bo.size), `write ${k} failed`);
      expectEachReadOnce(swap, released);
      expect(device.stats().slots.free).toBe(2048);
      device.check();
    }
    expect(bo.shrinkSync()).toBe(508);
    expectSame(contentSync(bo), pattern(1, bo.size), "content at last");
  });

  test("goes on being shrunken where it stopped: no page is written twice", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 508, 1);
    let released = 0;
    while (bo.residentPages > 0) {
      swap.before = failAt(true, 2, systemError("EIO"));
      released += bo.shrinkSync();
      device.check();
      expect(bo.residentPages).toBe(508 - released);
    }
    expect(released).toBe(508);
    expect(device.stats().pagesOut).toBe(508);
    swap.before = undefined;
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("whose restore was interrupted is shrunken again, and its chunk is given back", () => {
    const swap = new MapSwap({ slots: 40 });
    using device = blockDevice(40, swap);
    const kept = scatterSlots(device);
    const bo = filled(device, 19, 1);
    for (let k = 2; k <= 19; k++) {
      bo.shrinkSync();
      swap.before = failAt(false, k, systemError("EIO"));
      failsSync("EIO", () => contentSync(bo));
      swap.before = undefined;
      const resident = bo.residentPages;
      expect(resident).toBeGreaterThan(0);
      expect(bo.shrinkSync()).toBe(resident);
      expect(bo.residentPages).toBe(0);
      device.check();
      expectSame(contentSync(bo), pattern(1, bo.size), `stopped at page ${k}`);
    }
    bo.destroy();
    expectScattered(device, kept, 1e6);
  });

  test("is brought in by a write, whose bytes are not overwritten by what is read", () => {
    const swap = new MapSwap({ slots: 2048 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 600, 1);
    const model = pattern(1, bo.size);
    swap.before = failAt(true, 2, systemError("EIO"));
    bo.shrinkSync();
    swap.before = failAt(false, 1, systemError("EIO"));
    const at = 100 * PAGE_SIZE + 1;
    const bytes = pattern(2, 400 * PAGE_SIZE);
    failsSync("EIO", () => bo.writeSync(at, bytes));
    expectSame(contentSync(bo), model, "after the write that failed");
    bo.writeSync(at, bytes);
    model.set(bytes, at);
    bo.shrinkSync();
    expectSame(contentSync(bo), model, "after the write");
  });
});
