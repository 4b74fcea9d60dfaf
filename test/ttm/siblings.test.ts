/* Devices on one memory share what there is: one order in which pages leave, one background loop, one count. */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../../src/index.ts";
import type { TraceEvent } from "../../src/ttm.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "../support/bytes.ts";
import { until } from "../support/delays.ts";
import { expectAllFree, filled } from "../support/devices.ts";
import { MapSwap } from "../support/map_swap.ts";
import { seeded } from "../support/random.ts";

const PAGES = 16;

function family(count: number, frames = 64, options = {}): Device[] {
  const swap = new MapSwap({ slots: 1024 });
  const devices = [createDeviceSync({ memory: frames * PAGE_SIZE, swap, ...options })];
  while (devices.length < count) devices.push((devices[0] as Device).createSibling());
  return devices;
}

describe("who leaves first", () => {
  test("is the least recently used of all, whoever asks and whoever it is of", () =>
    seeded((random) => {
      const devices = family(3, 256);
      for (let round = 0; round < 40; round++) {
        // Used for the first time in this order; so they leave in this order, one for each who asks.
        const bos = Array.from({ length: 15 }, (_, i) => filled(random.pick(devices), PAGES, i));
        const left: BufferObject[] = [];
        for (let i = 0; i < 8; i++) {
          expect(random.pick(devices).shrinkSync({ pages: PAGES })).toBe(PAGES);
          left.push(...bos.filter((bo) => bo.residentPages === 0 && !left.includes(bo)));
        }
        expect(left.map(({ id }) => id)).toEqual(bos.slice(0, 8).map(({ id }) => id));
        for (const [i, bo] of bos.entries()) {
          expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
          bo.destroy();
        }
      }
      for (const device of devices.reverse()) device.closeSync({ force: true });
    }));

  test("is one of a lower priority before one of a higher, across them", () => {
    const [eldest, younger] = family(2) as [Device, Device];
    const hot = eldest.createBuffer(PAGES * PAGE_SIZE, { priority: 3 });
    hot.writeSync(0, pattern(9, hot.size));
    const cold = [1, 2, 3].map((i) => filled(younger, PAGES, i));
    const more = younger.createBuffer(PAGES * PAGE_SIZE);
    for (let round = 0; round < 20; round++) {
      more.writeSync(0, pattern(round, more.size));
      expect(hot.residentPages).toBe(PAGES);
      for (const bo of cold) contentSync(bo);
    }
    younger.closeSync({ force: true });
    eldest.closeSync({ force: true });
  });

  test("is what is not needed, on whichever of them, before anything is written", () => {
    const [eldest, younger] = family(2) as [Device, Device];
    const kept = filled(eldest, 2 * PAGES, 1);
    const thrown = filled(younger, 2 * PAGES, 2);
    thrown.advise("dontneed");
    expect(eldest.shrinkSync({ pages: PAGES })).toBe(2 * PAGES);
    expect(eldest.stats()).toMatchObject({ pagesOut: 0, pagesPurged: 2 * PAGES });
    expectZeros(contentSync(thrown), "thrown away");
    expectSame(contentSync(kept), pattern(1, kept.size), "kept");
    younger.closeSync({ force: true });
    eldest.closeSync({ force: true });
  });
});

describe("numbers of buffers", () => {
  test("are of the memory, so that a trace tells them apart", () => {
    const devices = family(3);
    const bos = devices.flatMap((device) => [filled(device, 2, 1), filled(device, 2, 2)]);
    expect(new Set(bos.map(({ id }) => id)).size).toBe(bos.length);
    const seen: TraceEvent[] = [];
    (devices[1] as Device).trace = (event) => seen.push(event);
    (devices[2] as Device).shrinkSync();
    const left = seen.flatMap((event) => (event.type === "shrink" ? [event.tt] : []));
    expect(left.sort()).toEqual(bos.map(({ id }) => id).sort());
    for (const device of devices.reverse()) device.closeSync({ force: true });
  });

  test("are given to one device as if there were no other memory", () => {
    const [a] = family(1) as [Device];
    const [b] = family(1) as [Device];
    expect(filled(a, 1, 1).id).toBe(filled(b, 1, 1).id);
    a.closeSync({ force: true });
    b.closeSync({ force: true });
  });
});

describe("the background loop", () => {
  const watermarks = { min: 2, low: 16, high: 48 };

  test("is one, woken by whichever of them takes memory, and takes from all", async () => {
    const devices = family(2, 64, { watermarks });
    const [eldest, younger] = devices as [Device, Device];
    expect(eldest.kswapd).toBe(younger.kswapd);
    const bos = [0, 1, 2].map((i) => filled(eldest, PAGES, i));
    bos.push(filled(younger, 2, 3)); // that makes it too little
    expect(eldest.kswapd.running).toBe(true);
    await until(() => !eldest.kswapd.running);
    expect(eldest.stats().pages.free).toBeGreaterThanOrEqual(48);
    for (const [i, bo] of bos.entries()) {
      expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
    }
    await younger.close({ force: true });
    // It works on for those who are left.
    for (let i = 0; i < 4; i++) bos.push(filled(eldest, PAGES, i));
    await until(() => eldest.stats().pages.free >= 48);
    await eldest.close({ force: true });
    expect(eldest.kswapd.running).toBe(false);
  });
});

test("each frees its own, and nothing of the others", async () => {
  const devices = family(3, 128);
  const bos = devices.map((device, i) => filled(device, PAGES, i));
  const [a, b, c] = devices as [Device, Device, Device];
  await b.close({ force: true });
  expect(bos[1]?.destroyed).toBe(true);
  expect([a.stats().buffers, c.stats().buffers]).toEqual([1, 1]);
  expectSame(contentSync(bos[0] as BufferObject), pattern(0, PAGES * PAGE_SIZE), "first");
  bos[2]?.destroy();
  bos[0]?.destroy();
  expectAllFree(a);
  await c.close();
  await a.close();
});

test("a getter of the options that closes the device makes no sibling of a closed memory", () => {
  for (const coherent of [false, true]) {
    const device = createDeviceSync({ memory: 64 * PAGE_SIZE });
    const options = {
      coherent,
      get dma32() {
        device.closeSync();
        return false;
      },
    };
    expect(() => device.createSibling(options)).toThrow("this device is closed");
    expect(device.global.devices).toBe(0);
  }
});

test("a getter of the options that closes the device makes no buffer of it", () => {
  const device = createDeviceSync({ memory: 64 * PAGE_SIZE });
  const options = {
    get dma() {
      device.closeSync();
      return false;
    },
  };
  expect(() => device.createBuffer(PAGE_SIZE, options)).toThrow("this device is closed");
});

test("pages for coherent DMA that come back after their device was closed go to nobody's pool", async () => {
  const device = createDeviceSync({ memory: 64 * PAGE_SIZE });
  const sibling = device.createSibling({ coherent: true, orders: [0] });
  const bo = sibling.createBuffer(8 * PAGE_SIZE);
  let other: Device | undefined;
  let looks = 0;
  const signal = {
    get aborted() {
      if (++looks === 6) {
        expect(bo.residentPages).toBeGreaterThan(0);
        sibling.closeSync({ force: true });
        other = device.createSibling({ coherent: true });
      }
      return false;
    },
  };
  await expect(bo.write(0, new Uint8Array(bo.size), { signal })).rejects.toThrow();
  await until(() => device.global.tasks.size === 0);
  expect(other).toBeDefined();
  expect(device.stats()).toMatchObject({ mappings: 0, pages: { free: 64, pooled: 0 } });
  device.check();
});
