/* Room for a tt: what has to leave before it gets its frames, within the limits, and when there is none. */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../../src/index.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";
import { filled } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { kit } from "./support/kit.ts";

const resident = (bos: readonly BufferObject[]) => bos.map((bo) => bo.residentPages);
const many = (device: Device, count: number, pages: number) =>
  Array.from({ length: count }, (_, i) => filled(device, pages, i));

test("nothing leaves while there are free frames", () => {
  const { device } = kit({ memory: 64 });
  const bos = many(device, 4, 16);
  expect(resident(bos)).toEqual([16, 16, 16, 16]);
  expect(device.stats().pagesOut).toBe(0);
});

test("as many pages leave as are lacking, or a cluster, of the oldest buffers", () => {
  const { device } = kit({ memory: 64 });
  const bos = many(device, 4, 16);
  const fresh = filled(device, 4, 9);
  const out = device.stats().pagesOut;
  expect(out).toBeGreaterThanOrEqual(4);
  expect(out).toBeLessThanOrEqual(16);
  expect(resident(bos).slice(1)).toEqual([16, 16, 16]);
  expect(fresh.residentPages).toBe(4);
  bos.forEach((bo, i) => {
    expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
  });
  device.check();
});

describe("limits.pages", () => {
  test("makes others leave although there are free frames", () => {
    const { device, global } = kit({ memory: 64 }, { limits: { pages: 20 } });
    const bos = many(device, 3, 10);
    expect(global.allocated.pages).toBeLessThanOrEqual(20);
    expect(bos[2]?.residentPages).toBe(10);
    expect(bos[0]?.residentPages).toBeLessThan(10);
    expect(device.stats().pages.free).toBeGreaterThanOrEqual(44);
  });

  test("does not stop a buffer that is larger than the limit, when nothing is left to leave", () => {
    const { device, global } = kit({ memory: 64 }, { limits: { pages: 20 } });
    expect(filled(device, 30, 1).residentPages).toBe(30);
    expect(global.allocated.pages).toBe(30);
  });
});

describe("watermarks.min", () => {
  test("stays free when new content comes", () => {
    const { device } = kit({ memory: 64 }, { watermarks: { min: 8, low: 8, high: 8 } });
    many(device, 8, 10);
    expect(device.stats().pages.free).toBeGreaterThanOrEqual(8);
    device.check();
  });
});

describe("there is no room", () => {
  test("when the others are pinned: ENOMEM, and nothing has changed", () => {
    const { device } = kit({ memory: 64 });
    const pinned = filled(device, 60, 1);
    pinned.pinSync();
    const bo = device.createBuffer(8 * PAGE_SIZE);
    const error = failsSync("ENOMEM", () => bo.populateSync());
    expect(error.message).toMatch(/8 pages are needed, 4 of 64 are free or its own/);
    expect([bo.residentPages, device.stats().pages.free]).toEqual([0, 4]);
    pinned.unpin();
    bo.populateSync();
    expect(bo.residentPages).toBe(8);
    device.check();
  });

  test("when the last frame and the last slot would be taken: ENOSPC, and what is there stays readable", () => {
    const { device } = kit({ memory: 16, swap: 16 });
    const bos: BufferObject[] = [];
    const error = failsSync("ENOSPC", () => {
      for (let i = 0; i < 8; i++) bos.push(filled(device, 4, i));
    });
    expect(error.message).toMatch(/^ENOSPC: swap is full/);
    expect(bos.length).toBeGreaterThanOrEqual(7);
    for (let round = 0; round < 2; round++) {
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      });
    }
    device.check();
  });
});
