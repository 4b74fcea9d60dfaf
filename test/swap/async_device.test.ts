import { describe, expect, test } from "vitest";
import {
  type BlockSwapDevice,
  type BufferObject,
  type Device,
  PAGE_SIZE,
} from "../../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "../support/bytes.ts";
import { Gate, turn, until } from "../support/delays.ts";
import { blockDevice, expectAllFree } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";

/** A device whose swap calls wait at a gate, and a buffer that fills half of the memory. */
async function gated(pages: number): Promise<{
  gate: Gate;
  swap: MapSwap;
  device: Device;
  bo: BufferObject;
}> {
  const gate = new Gate();
  gate.open();
  const swap = new MapSwap({ slots: 8 * pages, delay: gate.pass });
  const device = blockDevice(2 * pages, swap);
  const bo = device.createBuffer(pages * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  return { gate, swap, device, bo };
}

const ONE = Uint8Array.of(1);

describe("the Sync form, with an asynchronous swap device", () => {
  test("works as long as nothing has to be moved", async () => {
    const { device, bo } = await gated(20);
    const second = device.createBuffer(20 * PAGE_SIZE);
    second.writeSync(0, pattern(2, second.size));
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    second.mapSync().unmap();
    second.pinSync();
    second.unpin();
    second.advise("dontneed");
    expect(second.shrinkSync()).toBe(20);
    second.destroy();
    expectZeros(contentSync(device.createBuffer(5)), "a new one");
    await device.close({ force: true });
  });

  test("throws EWOULDBLOCK where something must be; the async form then does it", async () => {
    const { device, bo, swap } = await gated(20);
    const second = device.createBuffer(25 * PAGE_SIZE);
    const calls: [string, () => unknown][] = [
      ["shrink", () => bo.shrinkSync()],
      ["shrink", () => device.shrinkSync()],
      ["shrink", () => second.writeSync(0, pattern(2, second.size))],
      ["shrink", () => second.mapSync()],
    ];
    for (const [op, run] of calls) {
      const error = failsSync("EWOULDBLOCK", run);
      expect(error).toMatchObject({ op, errno: -11 });
      expect(error.message).toMatch(/swap device map is asynchronous; use the async form/);
      device.check();
    }
    expect(swap.calls).toEqual([]);
    expect([bo.residentPages, second.residentPages]).toEqual([20, 0]);
    await second.write(0, pattern(2, second.size));
    await device.shrink();
    for (const run of [() => contentSync(bo), () => bo.mapSync(), () => bo.populateSync()]) {
      expect(failsSync("EWOULDBLOCK", run).op).toBe("restore");
      device.check();
    }
    expectSame(await content(bo), pattern(1, bo.size), "first");
    expectSame(await content(second), pattern(2, second.size), "second");
    await device.close({ force: true });
  });
});

describe("the Sync form, while an async operation has the buffer", () => {
  test("is EBUSY, and works again afterwards", async () => {
    const { gate, device, bo } = await gated(20);
    await bo.shrink();
    gate.close();
    const reading = content(bo);
    await until(() => gate.waiting === 1);
    for (const run of [
      () => bo.readSync(0, ONE),
      () => bo.writeSync(0, ONE),
      () => bo.mapSync(),
      () => bo.pinSync(),
      () => bo.populateSync(),
      () => bo.shrinkSync(),
    ]) {
      const error = failsSync("EBUSY", run);
      expect(error.errno).toBe(-16);
      expect(error.message).toMatch(/asynchronous operation .* in flight; await it/);
    }
    gate.open();
    expectSame(await reading, pattern(1, bo.size), "the async read");
    expectSame(contentSync(bo), pattern(1, bo.size), "a sync read");
    await device.close({ force: true });
  });

  test("is EBUSY for a new buffer too, whose first write is in flight", async () => {
    const { gate, device } = await gated(20);
    const next = device.createBuffer(40 * PAGE_SIZE);
    gate.close();
    const writing = next.write(0, pattern(2, next.size));
    failsSync("EBUSY", () => next.readSync(0, ONE));
    const reading = content(next);
    gate.open();
    await writing;
    expectSame(await reading, pattern(2, next.size), "the read after the write");
    await device.close({ force: true });
  });
});

describe("destroy while an operation is in flight", () => {
  type Start = (bo: BufferObject, device: Device) => Promise<unknown>;
  const onShrunken: [string, Start][] = [
    ["read", (bo) => content(bo)],
    ["write", (bo) => bo.write(5, ONE)],
    ["map", (bo) => bo.map()],
    ["pin", (bo) => bo.pin()],
    ["populate", (bo) => bo.populate()],
  ];

  test.each(onShrunken)("a %s that restores rejects, and nothing leaks", async (_, start) => {
    for (const pages of [20, 1100]) {
      const { gate, device, swap, bo } = await gated(pages);
      await bo.shrink();
      gate.close();
      const running = start(bo, device);
      await until(() => gate.waiting === 1);
      bo.destroy();
      expect(() => bo.readSync(0, ONE)).toThrow("this buffer is destroyed");
      gate.open();
      await expect(running).rejects.toThrow(TypeError);
      await expect(running).rejects.toThrow("this buffer is destroyed");
      expect(swap.count(false)).toBe(1); // it stops at its next step
      expectAllFree(device);
      await device.close();
    }
  });

  test("a shrink rejects, and nothing leaks", async () => {
    for (const pages of [20, 1100]) {
      const { gate, device, bo } = await gated(pages);
      gate.close();
      const running = bo.shrink();
      await until(() => gate.waiting === 1);
      bo.destroy();
      gate.open();
      await expect(running).rejects.toThrow("this buffer is destroyed");
      expectAllFree(device);
      await device.close();
    }
  });

  test("a first write that pushes others out rejects, and nothing leaks", async () => {
    const { gate, device, bo } = await gated(20);
    const next = device.createBuffer(40 * PAGE_SIZE);
    gate.close();
    const writing = next.write(0, pattern(2, next.size));
    await until(() => gate.waiting === 1);
    next.destroy();
    gate.open();
    await expect(writing).rejects.toThrow("this buffer is destroyed");
    expectSame(await content(bo), pattern(1, bo.size), "the other");
    bo.destroy();
    expectAllFree(device);
    await device.close();
  });

  test("rejects all that queue behind it", async () => {
    const { gate, device, bo } = await gated(20);
    await bo.shrink();
    gate.close();
    const running = [content(bo), bo.write(0, ONE), bo.shrink(), bo.map(), content(bo)];
    await until(() => gate.waiting === 1);
    bo.destroy();
    gate.open();
    for (const one of await Promise.allSettled(running)) {
      expect(one).toMatchObject({ status: "rejected", reason: { name: "TypeError" } });
    }
    expectAllFree(device);
    await device.close();
  });

  test("of a victim does not disturb the shrink of the device", async () => {
    const { gate, device, bo } = await gated(20);
    const other = device.createBuffer(10 * PAGE_SIZE);
    await other.write(0, pattern(2, other.size));
    gate.close();
    const shrinking = device.shrink();
    await until(() => gate.waiting === 1);
    bo.destroy();
    gate.open();
    expect(await shrinking).toBeGreaterThanOrEqual(10);
    expectSame(await content(other), pattern(2, other.size), "the other");
    other.destroy();
    expectAllFree(device);
    await device.close();
  });
});

describe("advice while an operation is in flight", () => {
  test("does not disturb it, and can be taken back", async () => {
    const { gate, device, bo } = await gated(20);
    gate.close();
    const shrinking = bo.shrink();
    await until(() => gate.waiting === 1);
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.advise("willneed")).toBe(true);
    gate.open();
    expect(await shrinking).toBe(20);
    device.check();
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });

  test("takes effect after it: a buffer not needed that is all in swap frees its slots", async () => {
    const { gate, device, bo } = await gated(20);
    gate.close();
    const shrinking = bo.shrink();
    await until(() => gate.waiting === 1);
    expect(bo.advise("dontneed")).toBe(true);
    gate.open();
    await shrinking;
    expectAllFree(device);
    await device.close({ force: true });
  });
});

describe("close", () => {
  test("is refused while buffers are alive, and then nothing has changed", async () => {
    const { gate, device, bo } = await gated(20);
    await bo.shrink();
    gate.close();
    const reading = content(bo);
    await until(() => gate.waiting === 1);
    const error = await fails("EBUSY", device.close());
    expect(error.op).toBe("close");
    expect(error.message).toMatch(/1 buffers are alive/);
    failsSync("EBUSY", () => device.closeSync());
    expect(device.closed).toBe(false);
    gate.open();
    expectSame(await reading, pattern(1, bo.size), "the read in flight");
    await device.close({ force: true });
    expect(device.closed).toBe(true);
  });

  test("waits for the swap device, which is closed once", async () => {
    const { gate, device, swap, bo } = await gated(20);
    bo.destroy();
    gate.close();
    let closed = false;
    const closing = device.close().then(() => {
      closed = true;
    });
    await turn();
    expect(closed).toBe(false);
    gate.open();
    await closing;
    expect([swap.opened, swap.closed]).toEqual([1, 1]);
  });

  test("closeSync of an asynchronous swap device is EWOULDBLOCK; close() then closes", async () => {
    const { device, swap, bo } = await gated(20);
    expect(failsSync("EWOULDBLOCK", () => device.closeSync({ force: true })).op).toBe("close");
    expect(device.closed).toBe(false);
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
    expect(swap.closed).toBe(1);
  });
});

test("a device that returns promises must say so", async () => {
  const swap: BlockSwapDevice = {
    name: "sloppy",
    slots: 64,
    write: async () => {},
    read: async () => {},
  };
  const device = blockDevice(64, swap);
  const bo = device.createBuffer(PAGE_SIZE);
  bo.writeSync(0, ONE);
  const error = failsSync("EIO", () => bo.shrinkSync());
  expect(error.message).toMatch(/swap device sloppy .*promise without `async: true`/);
  expect(bo.residentPages).toBe(1);
  device.check();
  await device.close({ force: true });
});
