/*
 * What objects show of themselves can be looked at and not be assigned: whoever tries is told, and nothing
 * changes. What may be set is checked when it is.
 */
import { expect, test } from "vitest";
import { createDeviceSync, PAGE_SIZE, ramSwap } from "../src/index.ts";
import { FaultAttr, Iommu, Pool, populateTtSync, Tt } from "../src/ttm.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { filled } from "./support/devices.ts";

function setup() {
  const device = createDeviceSync({
    memory: 64 * PAGE_SIZE,
    swap: ramSwap({ size: 64 * PAGE_SIZE }),
    watermarks: { min: 1, low: 2, high: 3 },
  });
  const bo = filled(device, 2, 1);
  const mapping = bo.mapSync();
  const pool = new Pool(device.global);
  const tt = new Tt(2, { dma: true });
  const elsewhere = new Tt(2, { sg: [4096, 8192] });
  populateTtSync(pool, tt);
  return { device, bo, mapping, pool, tt, elsewhere, global: device.global };
}

/** Objects of the public faces, and the fields of each. */
const FIELDS: readonly [string, (made: ReturnType<typeof setup>) => object, string][] = [
  ["a buffer", ({ bo }) => bo, "size priority id residentPages pinned destroyed tt windows"],
  ["a device", ({ device }) => device, "global closed pool reclaimer tasks kswapd"],
  ["a mapping", ({ mapping }) => mapping, "segments bytes"],
  [
    "a tt",
    ({ tt }) => tt,
    "numPages caching id sg lock dma populated shrunken swapped purgeable counted",
  ],
  ["bus addresses of a tt", ({ elsewhere }) => elsewhere.sg as object, "0 length"],
  ["a pool", ({ pool }) => pool, "global coherent dma32 orders free"],
  [
    "a global",
    ({ global }) => global,
    "engine swap limits watermarks keepClean iommu admission frames faults shrinkers stats " +
      "allocated clean poolShrinker devices heldPages clusterPages memory roomForClean types",
  ],
  ["a swap device in use", ({ global }) => global.swap, "name slots ram"],
  ["watermarks", ({ global }) => global.watermarks, "min low high"],
  [
    "stats",
    ({ global }) => global.stats,
    "pagesOut pagesIn pagesClean pagesZero pagesPurged interrupted resumed faults",
  ],
  ["allocated", ({ global }) => global.allocated, "pages dma32Pages"],
  ["faults", ({ global }) => global.faults, "alloc map caching slot write read on"],
  ["a fault attribute", () => new FaultAttr(), "on"],
  ["shrinkers", ({ global }) => global.shrinkers, "list"],
  ["an iommu", () => new Iommu(), "size pages"],
  ["pool types", ({ global }) => global.types, "0 length"],
  ["a pool type", ({ global }) => global.types[0] as object, "name caching"],
  ["the pool shrinker", ({ global }) => global.poolShrinker, "name seeks batch"],
  ["an engine", ({ global }) => global.engine, "geometry freePages"],
  ["a geometry", ({ global }) => global.engine.geometry, "frames slots entries ram dma32"],
];

const CASES = FIELDS.flatMap(([what, of, names]) =>
  names.split(" ").map((name) => [name, what, of] as const),
);

test.each(CASES)("%s of %s cannot be assigned", (name, _, of) => {
  const made = setup();
  const object = of(made) as Record<string, unknown>;
  expect(name in object).toBe(true);
  const before = object[name];
  for (const value of [9, undefined, { numPages: 9 }]) {
    expect(() => {
      object[name] = value;
    }).toThrow(TypeError);
    // Fresh lists are alike.
    if (Array.isArray(before)) expect(object[name]).toEqual(before);
    else expect(object[name]).toBe(before);
  }
  made.device.check();
  expectSame(contentSync(made.bo), pattern(1, 2 * PAGE_SIZE), "content");
});

test("lists that are shown are not the ones that are used", () => {
  const { device, global } = setup();
  const { list } = global.shrinkers;
  (list as unknown[]).length = 0;
  expect(global.shrinkers.list).toHaveLength(2);
  device.stats().pagesOut = 5;
  expect(device.stats().pagesOut).toBe(0);
});

test("a size that was not taken leaves neighbours alone", () => {
  const device = createDeviceSync({ memory: 16 * PAGE_SIZE });
  const [a, b] = [filled(device, 1, 1), filled(device, 1, 2)];
  expect(() => Object.assign(a, { size: 2 * PAGE_SIZE })).toThrow(TypeError);
  Object.defineProperty(a, "size", { value: 2 * PAGE_SIZE });
  expect(() => a.readSync(PAGE_SIZE, new Uint8Array(1))).toThrow(RangeError);
  expect(() => a.writeSync(PAGE_SIZE - 1, new Uint8Array(2))).toThrow(RangeError);
  expectSame(contentSync(b), pattern(2, PAGE_SIZE), "the neighbour");
});

test("limits are set to whole pages or to none, and nothing else", () => {
  const { global } = setup();
  const { limits } = global;
  for (const name of ["pagePoolSize", "pages", "dma32Pages"] as const) {
    for (const pages of [0, 7, Number.POSITIVE_INFINITY]) {
      limits[name] = pages;
      expect(limits[name]).toBe(pages);
    }
    for (const wrong of [
      -1,
      0.5,
      Number.NaN,
      Number.NEGATIVE_INFINITY,
      "7",
      null,
      undefined,
      {},
      7n,
    ]) {
      expect(() => {
        limits[name] = wrong as number;
      }).toThrow(`limits.${name} must be a whole number`);
      expect(limits[name]).toBe(Number.POSITIVE_INFINITY);
    }
  }
  expect(() => Object.assign(limits, { page: 5 })).toThrow(TypeError);
});

test("the size of transfers is set to 1 to 256 pages, and nothing else", () => {
  const { global } = setup();
  global.transferPages = 1;
  for (const wrong of [0, 257, 0.5, Number.NaN, "5", null, undefined]) {
    expect(() => {
      global.transferPages = wrong as number;
    }).toThrow(/transferPages must be a whole number from 1 to 256/);
  }
  expect(global.transferPages).toBe(1);
});

test("checksums are set to true or false, and nothing else", () => {
  const { global } = setup();
  global.checksums = true;
  for (const wrong of [1, "true", null, undefined, {}]) {
    expect(() => {
      global.checksums = wrong as boolean;
    }).toThrow(/checksums must be true or false/);
  }
  expect(global.checksums).toBe(true);
});

test.each([false as const, null, undefined])("a trace of %s is off", (off) => {
  const { device, bo, mapping } = setup();
  mapping.unmap();
  const seen: string[] = [];
  device.trace = ({ type }) => seen.push(type);
  device.shrinkSync();
  device.trace = off;
  const { length } = seen;
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
  expect(length).toBeGreaterThan(0);
  expect(seen).toHaveLength(length);
});

test.each([true, 0, "", "log", {}, [], Symbol("log"), Object.create(null)])(
  "a trace of %o is refused by name, and the one before goes on",
  (wrong) => {
    const { device, bo, mapping } = setup();
    mapping.unmap();
    const seen: string[] = [];
    device.trace = ({ type }) => seen.push(type);
    expect(() => {
      device.trace = wrong as never;
    }).toThrow(/^trace must be a function/);
    device.shrinkSync();
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    expect(seen).toContain("shrink");
    device.check();
  },
);
