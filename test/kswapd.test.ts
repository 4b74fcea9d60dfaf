import { describe, expect, test } from "vitest";
import { createDeviceSync, type Device, PAGE_SIZE, type TtmError } from "../src/index.ts";
import { content, contentSync, expectSame, pattern } from "./support/bytes.ts";
import { Gate, turn, until } from "./support/delays.ts";
import { filled } from "./support/devices.ts";
import { systemError } from "./support/errors.ts";
import { failAll, MapSwap } from "./support/map_swap.ts";

const WATERMARKS = { min: 16, low: 256, high: 512 };

function create(swap: MapSwap): Device {
  const memory = 1024 * PAGE_SIZE;
  return createDeviceSync({ memory, swap, watermarks: WATERMARKS, transferPages: 16 });
}

describe("the background loop", () => {
  test("frees pages up to the high watermark once fewer than the low one are free", async () => {
    const device = create(new MapSwap({ slots: 4096 }));
    const bos = Array.from({ length: 25 }, (_, i) => filled(device, 30, i)); // 750 pages
    await turn();
    await turn();
    expect(device.stats()).toMatchObject({ pagesOut: 0, pages: { free: 274 } });
    bos.push(filled(device, 30, 25));
    await until(() => device.stats().pages.free >= WATERMARKS.high);
    device.check();
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    await device.close({ force: true });
  });

  test("never makes a Sync call fail, when the swap device is synchronous", async () => {
    const swap = new MapSwap({ slots: 4096 });
    swap.before = () => {
      const end = performance.now() + 12; // longer than async work may hold the event loop
      while (performance.now() < end);
    };
    const device = create(swap);
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 30, i));
    const failures: string[] = [];
    for (let round = 0; round < 10; round++) {
      await turn();
      for (const [i, bo] of bos.entries()) {
        try {
          expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
        } catch (error) {
          failures.push((error as TtmError).message);
        }
      }
    }
    expect(failures).toEqual([]);
    await device.close({ force: true });
  });

  test("lets async calls wait for it", async () => {
    const gate = new Gate();
    const device = create(new MapSwap({ slots: 4096, delay: gate.pass }));
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 30, i));
    await until(() => gate.waiting > 0);
    const read = Promise.all(bos.map((bo) => content(bo)));
    await turn();
    gate.open();
    (await read).forEach((bytes, i) => {
      expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
    });
    await device.close({ force: true });
  });

  test("comes to rest before close ends", async () => {
    const gate = new Gate();
    const swap = new MapSwap({ slots: 4096, delay: gate.pass });
    const device = create(swap);
    for (let i = 0; i < 30; i++) filled(device, 30, i);
    await until(() => gate.waiting > 0);
    const closing = device.close({ force: true });
    await turn();
    expect(swap.closed).toBe(0);
    gate.open();
    await closing;
    expect(swap.closed).toBe(1);
    const calls = swap.calls.length;
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(swap.calls.length).toBe(calls);
  });

  test("keeps its troubles to itself: whoever needs memory next is told", async () => {
    const swap = new MapSwap({ slots: 4096 });
    const device = create(swap);
    swap.before = failAll(true, systemError("EIO"));
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 30, i));
    for (let turns = 0; turns < 10; turns++) await turn();
    expect(swap.count(true)).toBeGreaterThan(0);
    expect(swap.count(true)).toBeLessThanOrEqual(10);
    expect(() => filled(device, 300, 100)).toThrow(/EIO/);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    device.check();
    await device.close({ force: true });
  });
});
