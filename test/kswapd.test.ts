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

describe("when it finds nothing, the background loop", () => {
  /** Scans that it asked for, and how it is woken: by each read that takes memory. */
  async function watched(gives: () => number) {
    const swap = new MapSwap({ slots: 4096 });
    const device = createDeviceSync({
      memory: 64 * PAGE_SIZE,
      swap,
      watermarks: { min: 0, low: 32, high: 48 },
    });
    const pinned = filled(device, 56, 1);
    pinned.pinSync();
    let scans = 0;
    device.global.shrinkers.register({
      name: "counting",
      countObjects: () => 1,
      scanObjects: ({ kswapd }) => {
        if (kswapd) scans++;
        return kswapd ? gives() : -1;
      },
    });
    const bo = device.createBuffer(PAGE_SIZE);
    const wake = async () => {
      bo.writeSync(0, new Uint8Array(1));
      bo.advise("dontneed");
      bo.shrinkSync();
      await until(() => !device.kswapd.running);
    };
    await until(() => !device.kswapd.running);
    return { device, wake, scans: () => scans };
  }

  test("backs off: of a thousand who wake it few are heard", async () => {
    const { device, wake, scans } = await watched(() => -1);
    const heard: number[] = [];
    for (let call = 0; call < 1000; call++) {
      const before = scans();
      await wake();
      if (scans() > before) heard.push(call);
    }
    const waits = heard.slice(1).map((call, i) => call - (heard[i] as number));
    expect(heard.length).toBeLessThanOrEqual(10);
    expect(heard.length).toBeGreaterThan(5);
    // Each wait is about twice the one before it.
    for (const [i, wait] of waits.slice(1).entries())
      expect(wait).toBeGreaterThan((waits[i] as number) * 1.5);
    await device.close({ force: true });
  });

  test("listens again at once when it found something", async () => {
    let left = 0;
    const { device, wake, scans } = await watched(() => (left-- > 0 ? 1 : -1));
    for (let call = 0; call < 100; call++) await wake();
    const before = scans();
    left = 1;
    // It is deaf for a while still, and then hears that there was something.
    while (scans() === before) await wake();
    const heard = scans();
    await wake();
    expect(scans()).toBeGreaterThan(heard);
    await device.close({ force: true });
  });

  test("does so whether it finds nothing or fails to move what it finds", async () => {
    const swap = new MapSwap({ slots: 4096 });
    const device = create(swap);
    swap.before = failAll(true, systemError("EIO"));
    for (let i = 0; i < 27; i++) filled(device, 30, i);
    await until(() => !device.kswapd.running);
    swap.forget();
    const one = device.createBuffer(PAGE_SIZE);
    for (let call = 0; call < 300; call++) {
      one.writeSync(0, new Uint8Array(1));
      one.advise("dontneed");
      one.shrinkSync();
      await until(() => !device.kswapd.running);
    }
    expect(swap.count(true)).toBeLessThanOrEqual(10);
    await device.close({ force: true });
  });
});
