import { describe, expect, test } from "vitest";
import { type BufferObject, PAGE_SIZE, type Signal } from "../../src/index.ts";
import { TRANSFER_PAGES_MAX } from "../../src/ttm/transfer.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { turn } from "../support/delays.ts";
import { blockDevice, expectAllFree, filled, scatterFrames } from "../support/devices.ts";
import { MapSwap } from "../support/map_swap.ts";

describe("the calls of a swap device", () => {
  test("are few and large, but never larger than the most that pays", () => {
    const swap = new MapSwap({ slots: 4096 });
    using device = blockDevice(4096, swap);
    const bo = filled(device, 3000, 1);
    bo.shrinkSync();
    bo.populateSync();
    const most = Math.max(...swap.calls.map(({ pages }) => pages));
    expect(most).toBe(TRANSFER_PAGES_MAX);
    for (const out of [true, false]) {
      expect(swap.pages(out)).toBe(3000);
      expect(swap.count(out)).toBeLessThanOrEqual(Math.ceil(3000 / TRANSFER_PAGES_MAX) + 6);
    }
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("name each page in the order of its slots, from scattered page frames too", () => {
    const swap = new MapSwap({ slots: 512 });
    using device = blockDevice(512, swap);
    scatterFrames(device);
    const bo = filled(device, 200, 1);
    bo.shrinkSync();
    expect(swap.count(true)).toBe(1);
    const model = pattern(1, bo.size);
    const [call] = swap.calls;
    for (let i = 0; i < 200; i++) {
      const stored = swap.stored.get((call?.slot as number) + i) as Uint8Array;
      expectSame(stored, model.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), `page ${i}`);
    }
    expectSame(contentSync(bo), model, "content");
  });

  test("never use slot 0, and all others down to the last", () => {
    const swap = new MapSwap({ slots: 64 });
    using device = blockDevice(64, swap);
    filled(device, 64, 1).shrinkSync();
    const slots = [...swap.stored.keys()].sort((a, b) => a - b);
    expect(slots).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
  });
});

describe("a swap device may use its device in the middle of a call", () => {
  test("to look at it, and to read and write other buffers", () => {
    const swap = new MapSwap({ slots: 4096 });
    using device = blockDevice(2048, swap);
    const bo = filled(device, 508, 1);
    const others = Array.from({ length: 4 }, (_, i) => filled(device, 30, 10 + i));
    let inside = false;
    swap.before = () => {
      if (inside) return;
      inside = true;
      device.check();
      expect(device.stats().buffers).toBe(5);
      others.forEach((other, i) => {
        expectSame(contentSync(other), pattern(10 + i, other.size), `other ${i}`);
        other.shrinkSync();
      });
      expect(() => bo.readSync(0, new Uint8Array(1))).toThrow(/EBUSY/);
      inside = false;
    };
    for (let round = 0; round < 3; round++) {
      expect(bo.shrinkSync()).toBe(508);
      expectSame(contentSync(bo), pattern(1, bo.size), `round ${round}`);
      device.check();
    }
    swap.before = undefined;
    for (const one of [bo, ...others]) one.destroy();
    expectAllFree(device);
  });
});

describe("a signal that throws when it is looked at stops the operation like an abort", () => {
  function throwing(at: number): Signal {
    let looks = 0;
    return {
      get aborted(): boolean {
        if (++looks >= at) throw new RangeError("the signal is broken");
        return false;
      },
    };
  }

  const operations: [string, (bo: BufferObject, signal: Signal) => unknown][] = [
    ["shrink", (bo, signal) => bo.shrinkSync({ signal })],
    ["restore", (bo, signal) => bo.populateSync({ signal })],
    ["shrink, asynchronously", (bo, signal) => bo.shrink({ signal })],
    ["restore, asynchronously", (bo, signal) => bo.populate({ signal })],
  ];

  test.each(operations)("%s: nothing is lost or leaked", async (name, operation) => {
    const swap = new MapSwap({ slots: 4096, ...(name.includes("async") ? { delay: turn } : {}) });
    const device = blockDevice(2048, swap);
    const bo = device.createBuffer(508 * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    for (let at = 1; at <= 8; at++) {
      if (name.startsWith("restore")) await bo.shrink();
      else await bo.populate();
      try {
        await operation(bo, throwing(at));
      } catch (error) {
        expect(String((error as Error).cause ?? error)).toMatch(/the signal is broken/);
      }
      device.check();
    }
    expectSame(await content(bo), pattern(1, bo.size), "content");
    bo.destroy();
    expectAllFree(device);
    await device.close();
  });
});
