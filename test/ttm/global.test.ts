/* What all pools on one memory share: its settings, each checked, and its totals. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/index.ts";
import type { TraceEvent, TtmGlobal } from "../../src/ttm.ts";
import { kit, written } from "./support/kit.ts";

describe("a setting", () => {
  const { global } = kit({ memory: 64 });

  test.each<[string, (value: never) => void, readonly unknown[]]>([
    ["checksums", (value) => (global.checksums = value), [1, "true", null]],
    ["transferPages", (value) => (global.transferPages = value), [0, 257, 1.5, "16"]],
    ["limits.pages", (value) => (global.limits.pages = value), [-1, 0.5, Number.NaN, "all"]],
    ["limits.pagePoolSize", (value) => (global.limits.pagePoolSize = value), [-1, 1e-3]],
    ["limits.dma32Pages", (value) => (global.limits.dma32Pages = value), [-1, null]],
    ["trace", (value) => (global.trace = value), [1, "log", {}]],
  ])("%s refuses what it cannot be, and stays as it was", (name, set, values) => {
    const now = () => [global.checksums, global.transferPages, { ...global.limits }, global.trace];
    const before = now();
    for (const value of values) expect(() => set(value as never)).toThrow(name);
    expect(now()).toEqual(before);
  });

  test("takes what it may be", () => {
    const { global } = kit({ memory: 64 });
    global.checksums = false;
    global.transferPages = 256;
    global.limits.pages = Number.POSITIVE_INFINITY;
    global.limits.pagePoolSize = 0;
    expect([global.checksums, global.transferPages, global.limits.pagePoolSize]).toEqual([
      false,
      256,
      0,
    ]);
  });

  test.each([
    [{ min: 0, low: 0, high: 65 }, /^watermarks\.high must be/],
    [{ min: 0, low: 9, high: 8 }, /^watermarks\.low must be/],
    [{ min: 5, low: 4, high: 8 }, /^watermarks\.min must be/],
  ])("watermarks %j are refused when the memory is made", (watermarks, message) => {
    expect(() => kit({ memory: 64 }, { watermarks })).toThrow(message);
  });
});

describe("totals", () => {
  const totals = ({ stats, allocated, heldPages }: TtmGlobal) => ({
    ...stats,
    ...allocated,
    heldPages,
  });

  test("count pages that leave, come back, and leave again for nothing", () => {
    const { device, global } = kit({ memory: 64 });
    expect(totals(global)).toMatchObject({ pagesOut: 0, pagesIn: 0, pages: 0, heldPages: 0 });
    const bo = device.createBuffer(16 * PAGE_SIZE);
    bo.writeSync(0, new Uint8Array(bo.size).fill(1));
    expect(totals(global)).toMatchObject({ pages: 16, heldPages: 16 });
    bo.shrinkSync();
    expect(totals(global)).toMatchObject({ pagesOut: 16, pagesClean: 0, pages: 0, heldPages: 0 });
    bo.readSync(0, new Uint8Array(bo.size));
    bo.shrinkSync();
    expect(totals(global)).toMatchObject({ pagesOut: 16, pagesIn: 16, pagesClean: 16 });
  });

  test("can be looked at and not be set", () => {
    const { global } = kit({ memory: 64 });
    for (const readings of [global.stats, global.allocated]) {
      const [name] = Object.keys(readings) as [never];
      expect(() => Object.assign(readings, { [name]: 7 })).toThrow(TypeError);
      expect(readings[name]).toBe(0);
    }
    expect(() => (global.types as unknown[]).push(undefined)).toThrow(TypeError);
  });

  test("know the memory in bytes", () => {
    expect(kit({ memory: 48 }).global.memory).toBe(48 * PAGE_SIZE);
  });
});

test("a trace sees each event, until it is taken away", () => {
  const { device, global } = kit({ memory: 64 });
  const events: TraceEvent["type"][] = [];
  global.trace = ({ type }) => events.push(type);
  const bo = device.createBuffer(PAGE_SIZE);
  bo.writeSync(0, new Uint8Array(1));
  bo.shrinkSync();
  bo.advise("dontneed");
  const seen = events.length;
  expect(new Set(events)).toContain("shrink");
  for (const none of [undefined, null, false] as const) {
    global.trace = none;
    expect(global.trace).toBeUndefined();
    bo.writeSync(0, new Uint8Array(1));
    bo.shrinkSync();
  }
  expect(events.length).toBe(seen);
});

test("a memory knows how many devices are on it, and that the last of them was closed", async () => {
  const { device, global } = kit({ memory: 64 });
  expect([global.devices, global.closed]).toEqual([1, false]);
  const { tt } = written(device.pool, 4, 1);
  expect(tt.resident).toBe(4);
  await device.close({ force: true });
  expect([global.devices, global.closed]).toEqual([0, true]);
});
