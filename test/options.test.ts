/*
 * Options are known by name and looked at before anything is done: one that there is not, or whose value
 * cannot be meant, is a TypeError or RangeError that names it, and all stays as it was.
 */
import { describe, expect, test } from "vitest";
import {
  type BlockSwapDevice,
  createDevice,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
  ramSwap,
} from "../src/index.ts";
import { assertOptions } from "../src/options.ts";
import {
  FaultAttr,
  Iommu,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTt,
  shrinkTtSync,
  swapoutTt,
  swapoutTtSync,
  Tt,
} from "../src/ttm.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { filled, ramDevice } from "./support/devices.ts";
import { MapSwap } from "./support/map_swap.ts";

/** All that has to be as it was when a call was refused. */
function facts(device: Device) {
  const { global } = device;
  const { mappings, ...stats } = device.stats();
  return {
    ...stats,
    mappings,
    types: global.types,
    list: global.shrinkers.list,
    closed: device.closed,
  };
}

function setup() {
  const device = ramDevice({ memory: 64, swap: 64 });
  const bo = filled(device, 4, 1);
  const pool = new Pool(device.global);
  const tt = new Tt(2);
  populateTtSync(pool, tt);
  return { device, bo, pool, tt, bytes: new Uint8Array(16) };
}

type Made = ReturnType<typeof setup>;
type Call = (made: Made, options: never) => unknown;

/** Everything that takes options: an option of each that there is, and a value that it cannot have. */
const CALLS: readonly [string, Call, [option: string, wrong: unknown]][] = [
  ["write", ({ bo, bytes }, o) => bo.write(0, bytes, o), ["signal", 5]],
  ["writeSync", ({ bo, bytes }, o) => bo.writeSync(0, bytes, o), ["signal", "x"]],
  ["read", ({ bo, bytes }, o) => bo.read(0, bytes, o), ["signal", true]],
  ["readSync", ({ bo, bytes }, o) => bo.readSync(0, bytes, o), ["signal", {}]],
  ["map", ({ bo }, o) => bo.map(o), ["write", "no"]],
  ["mapSync", ({ bo }, o) => bo.mapSync(o), ["write", 0]],
  ["pin", ({ bo }, o) => bo.pin(o), ["signal", Symbol("x")]],
  ["pinSync", ({ bo }, o) => bo.pinSync(o), ["signal", 1n]],
  ["populate", ({ bo }, o) => bo.populate(o), ["signal", []]],
  ["populateSync", ({ bo }, o) => bo.populateSync(o), ["signal", () => {}]],
  ["shrink of a buffer", ({ bo }, o) => bo.shrink(o), ["signal", Object.create(null)]],
  ["shrinkSync of a buffer", ({ bo }, o) => bo.shrinkSync(o), ["signal", new AbortController()]],
  ["createBuffer", ({ device }, o) => device.createBuffer(1, o), ["dma", "yes"]],
  ["createSibling", ({ device }, o) => device.createSibling(o), ["orders", 9]],
  ["shrink", ({ device }, o) => device.shrink(o), ["pages", "all"]],
  ["shrinkSync", ({ device }, o) => device.shrinkSync(o), ["pages", Number.NaN]],
  ["hibernate", ({ device }, o) => device.hibernate(o), ["signal", 5]],
  ["resume", ({ device }, o) => device.resume(o), ["signal", 5]],
  ["close", ({ device }, o) => device.close(o), ["force", 1]],
  ["closeSync", ({ device }, o) => device.closeSync(o), ["force", "true"]],
  ["injectFault", ({ device }, o) => device.injectFault("slot", o), ["seed", "x"]],
  ["a fault attribute", (_, o) => new FaultAttr().set(o), ["probability", "50"]],
  [
    "createDevice",
    (_, o) => createDevice({ memory: "64 KiB", ...(o as object) }),
    ["checksums", 1],
  ],
  [
    "createDeviceSync",
    (_, o) => createDeviceSync({ memory: "64 KiB", ...(o as object) }),
    ["keepClean", "no"],
  ],
  ["ramSwap", (_, o) => ramSwap(o), ["size", -1]],
  ["limits", (_, limits) => createDeviceSync({ memory: "64 KiB", limits }), ["pages", "5"]],
  [
    "watermarks",
    (_, o) =>
      createDeviceSync({
        memory: "64 KiB",
        watermarks: Object.assign({ min: 1, low: 2, high: 3 }, o),
      }),
    ["low", 9],
  ],
  ["a pool", ({ device }, o) => new Pool(device.global, o), ["coherent", 1]],
  ["a tt", (_, o) => new Tt(2, o), ["dma", 1]],
  ["populateTt", ({ pool, tt }, o) => populateTt(pool, tt, o), ["interruptible", 0]],
  ["populateTtSync", ({ pool, tt }, o) => populateTtSync(pool, tt, o), ["signal", 5]],
  ["shrinkTt", ({ pool, tt }, o) => shrinkTt(pool, tt, o), ["purge", "yes"]],
  ["shrinkTtSync", ({ pool, tt }, o) => shrinkTtSync(pool, tt, o), ["pages", 0]],
  ["swapoutTt", ({ pool, tt }, o) => swapoutTt(pool, tt, o), ["interruptible", "no"]],
  ["swapoutTtSync", ({ pool, tt }, o) => swapoutTtSync(pool, tt, o), ["signal", 5]],
];

/** What `call` throws or rejects with; it must be one of the errors for misuse, and nothing may change. */
async function refused(call: Call, options: unknown): Promise<string> {
  const made = setup();
  const before = facts(made.device);
  let error: unknown;
  try {
    await call(made, options as never);
    throw new Error("it was accepted");
  } catch (thrown) {
    error = thrown;
  }
  expect(String(error)).toMatch(/^(Type|Range)Error: /);
  expect(facts(made.device)).toEqual(before);
  expectSame(contentSync(made.bo), pattern(1, made.bo.size), "content");
  made.device.check();
  return (error as Error).message;
}

describe.each(CALLS)("%s", (_, call, [option, wrong]) => {
  test("refuses an option that there is not, and names those there are", async () => {
    for (const name of ["nothing alike", "__proto__x", "signa"]) {
      const message = await refused(call, { [name]: undefined });
      expect(message).toContain(`has no option ${JSON.stringify(name)}`);
      if (name !== "signa") expect(message).toContain(option);
    }
  });

  test("refuses a value that cannot be meant, and names the option", async () => {
    expect(await refused(call, { [option]: wrong })).toContain(option);
    for (const value of [Symbol("odd"), Object.create(null)]) {
      expect(await refused(call, { [option]: value })).toContain(option);
    }
  });
});

test.each(CALLS.filter(([name]) => !/createDevice|watermarks/.test(name)))(
  "%s refuses options that are none",
  async (_, call) => {
    for (const options of [null, 5, "x", true, Symbol("x")]) {
      expect(await refused(call, options)).toMatch(/takes an object of options, not /);
    }
  },
);

describe("an option of createDevice", () => {
  const block = { name: "x", slots: 16, read() {}, write() {} };

  test.each<[string, object, RegExp]>([
    ["memory", { memory: Symbol("much") }, /^memory must be .* not Symbol\(much\)$/],
    ["memory", { memory: Object.create(null) }, /^memory must be .*not an object$/],
    ["swapSize", { swapSize: 5 }, /has no option "swapSize"/],
    ["checksum", { checksum: true }, /did you mean checksums\?/],
    ["keepclean", { keepclean: true }, /did you mean keepClean\?/],
    [
      "module of bytes",
      { module: new Uint8Array(8) },
      /^module .*new WebAssembly\.Module\(bytes\)$/,
    ],
    [
      "module of another kind",
      { module: Object.create(null) },
      /^module must be .* as a WebAssembly\.Module/,
    ],
    ["swap", { swap: Symbol("swap") }, /^swap must be a swap device/],
    ["name of swap", { swap: { ...block, name: "" } }, /^swap\.name must be .* not ""/],
    [
      "name of swap",
      { swap: { ...block, name: Object.create(null) } },
      /^swap\.name must be a string/,
    ],
    [
      "slots of swap",
      { swap: { ...block, slots: Symbol("x") } },
      /^swap\.slots must be .* Symbol\(x\)/,
    ],
    [
      "async of swap",
      { swap: { ...block, async: 1 } },
      /^swap\.async must be true or false, not 1/,
    ],
    [
      "open of swap",
      { swap: { ...block, open: true } },
      /^swap\.open must be a function, not true/,
    ],
    [
      "truncate of swap",
      { swap: { ...block, truncate: 5 } },
      /^swap\.truncate must be a function, not 5/,
    ],
    [
      "close of swap",
      { swap: { ...block, close: null } },
      /^swap\.close must be a function, not null/,
    ],
    ["slots of RAM swap", { swap: { ram: true, slots: 1.5 } }, /^swap\.slots must be .* not 1\.5/],
    ["slots of RAM swap", { swap: { ram: true, slots: "5" } }, /^swap\.slots must be .* not "5"/],
    ["slots of RAM swap", { swap: { ram: true } }, /^swap\.slots must be .* not undefined/],
    ["RAM swap that is none", { swap: { ram: 1, name: "ram", slots: 5 } }, /^swap must be a swap/],
    ["dma32", { dma32: null }, /^dma32 must be/],
    ["transferPages", { transferPages: "5" }, /^transferPages must be .* not "5"/],
    ["watermarks", { watermarks: { low: 1, high: 2 } }, /^watermarks\.min must be .* undefined/],
    ["watermarks", { watermarks: null }, /^watermarks takes an object/],
    ["limits", { limits: { page: 5 } }, /^limits has no option "page"; did you mean pages\?/],
    ["pool", { pool: null }, /^pool takes an object/],
    ["orders", { pool: { orders: new Set([0]) } }, /^orders must be an array/],
    ["orders", { pool: { orders: [0, 0] } }, /^orders name 0 twice/],
    ["orders", { pool: { orders: [0, Number.NaN] } }, /^orders must be whole numbers .* NaN/],
    ["orders", { pool: { orders: Object.assign([0], { 2: 1 }) } }, /^orders must be .* undefined/],
    ["orders", { pool: { orders: [0, "1"] } }, /^orders must be .* "1"/],
    ["orders", { pool: { orders: [0, Symbol("x")] } }, /^orders must be .* Symbol\(x\)/],
    ["beneficialOrder", { pool: { beneficialOrder: "4" } }, /^beneficialOrder must be/],
  ])("%s that cannot be meant is named", async (_, options, message) => {
    const swap = new MapSwap({ slots: 16 });
    const given = { memory: "64 KiB", swap, ...options } as DeviceOptions;
    expect(() => createDeviceSync(given)).toThrow(message);
    await expect(createDevice(given)).rejects.toThrow(message);
    expect(swap.opened).toBe(0);
  });

  test("is looked at once, and not after the device is made", () => {
    const looks = new Map<string, number>();
    const counting = <T extends object>(what: string, object: T): T =>
      new Proxy(object, {
        get(target, name, receiver) {
          const key = `${what}.${String(name)}`;
          looks.set(key, (looks.get(key) ?? 0) + 1);
          return Reflect.get(target, name, receiver);
        },
      });
    const options: DeviceOptions = {
      memory: "64 KiB",
      swap: counting("swap", { ...block, read: () => {}, write: () => {} } as BlockSwapDevice),
      dma32: "64 KiB",
      limits: counting("limits", { pages: 16 }),
      watermarks: counting("watermarks", { min: 0, low: 0, high: 0 }),
      checksums: false,
      keepClean: false,
      transferPages: 16,
      pool: counting("pool", { orders: [0], coherent: false, dma32: false, beneficialOrder: 0 }),
    };
    const device = createDeviceSync(counting("options", options));
    filled(device, 12, 1);
    filled(device, 12, 2);
    for (const [name, times] of looks) {
      if (!/^swap\.(read|write)$/.test(name)) expect([name, times]).toEqual([name, 1]);
    }
    expect(looks.get("options.memory")).toBe(1);
    expect(looks.get("swap.write")).toBeGreaterThan(1);
  });
});

test("a swap device stays what it was when it was handed over, but for its methods", async () => {
  const swap = new MapSwap({ slots: 64 });
  const device = createDeviceSync({ memory: 16 * PAGE_SIZE, swap, keepClean: false });
  Object.defineProperty(swap, "name", { get: () => Symbol("changed") });
  Object.assign(swap, { async: true, ram: true });
  const [a, b] = [filled(device, 12, 1), filled(device, 12, 2)];
  expectSame(contentSync(a), pattern(1, a.size), "a");
  expectSame(contentSync(b), pattern(2, b.size), "b");
  let calls = 0;
  const { write } = MapSwap.prototype;
  swap.write = function counted(slot, views) {
    calls++;
    return write.call(this, slot, views);
  };
  device.shrinkSync();
  expect(calls).toBeGreaterThan(0);
  swap.read = () => {
    throw Symbol("torn");
  };
  expect(() => contentSync(a)).toThrow("swap device map failed to read: Symbol(torn)");
  await device.close({ force: true });
  expect(swap.closed).toBe(1);
});

test.each([5, {}, { catch: 5 }, null, "closed"])("a close that returns %j ends", (value) => {
  const swap = { name: "x", slots: 16, read() {}, write() {}, close: () => value as never };
  const device = createDeviceSync({ memory: "64 KiB", swap });
  device.closeSync();
  expect(device.closed).toBe(true);
});

describe("a signal", () => {
  const odd = {
    "whose aborted throws": {
      get aborted(): boolean {
        throw Object.create(null);
      },
    },
    "whose reason throws": {
      aborted: true,
      get reason(): unknown {
        throw new Error("no reason");
      },
    },
  };

  test.each(Object.entries(odd))("%s stops the call, with an error of ours", async (_, signal) => {
    const { device, bo, bytes } = setup();
    bo.shrinkSync();
    const sync = [
      () => bo.readSync(0, bytes, { signal }),
      () => bo.writeSync(0, bytes, { signal }),
      () => bo.mapSync({ signal }),
      () => device.shrinkSync({ signal }),
    ];
    for (const call of sync) {
      expect(call).toThrow(expect.objectContaining({ name: "TtmError" }));
    }
    for (const call of [
      bo.read(0, bytes, { signal }),
      bo.pin({ signal }),
      device.shrink({ signal }),
    ]) {
      await expect(call).rejects.toMatchObject({ name: "TtmError" });
    }
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.check();
  });

  test("of null or undefined is none", async () => {
    const { bo, bytes } = setup();
    for (const signal of [null, undefined]) {
      await bo.read(0, bytes, { signal: signal as undefined });
      bo.shrinkSync({ signal: signal as undefined });
    }
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("in place of its controller: the message says what to pass", () => {
    const { bo, bytes } = setup();
    const signal = new AbortController() as never;
    expect(() => bo.readSync(0, bytes, { signal })).toThrow(/pass its \.signal/);
  });
});

describe("values in messages", () => {
  const UNPRINTABLE = [
    Symbol("x"),
    Object.create(null),
    { toString: () => ({}) },
    {
      toString() {
        throw new Error("of the user's");
      },
    },
    new Proxy(
      {},
      {
        get: () => {
          throw new Error("get");
        },
      },
    ),
    "x".repeat(1e6),
  ];

  test.each(UNPRINTABLE)("%# may be anything", async (value) => {
    const { device, bo, pool, bytes } = setup();
    const wrong = value as never;
    const calls = [
      () => device.createBuffer(wrong),
      () => device.createBuffer(1, { caching: wrong }),
      () => device.createBuffer(1, { priority: wrong }),
      () => bo.advise(wrong),
      () => bo.readSync(wrong, bytes),
      () => bo.writeSync(0, wrong),
      () => device.debugfs(wrong),
      () => device.injectFault(wrong, {}),
      () => device.injectFault("slot", { probability: wrong }),
      () => device.shrinkSync({ pages: wrong }),
      () => new Tt(wrong),
      () => new Tt(1, { flags: wrong }),
      () => new Tt(1, { sg: wrong }),
      () => shrinkTtSync(pool, new Tt(1), { pages: wrong }),
      () => ramSwap({ size: wrong }),
      () => new Iommu().map(wrong),
    ];
    for (const call of calls) {
      let error: Error | undefined;
      try {
        call();
      } catch (thrown) {
        error = thrown as Error;
      }
      expect(`${call}: ${error?.name}`).toMatch(/(Type|Range)Error$/);
      expect(error?.message).not.toMatch(/cannot convert|of the user's|^get$/i);
      expect(error?.message.length).toBeLessThan(300);
    }
  });
});

test("what others add to all objects is no option", () => {
  const prototype = Object.prototype as { added?: unknown };
  prototype.added = 1;
  try {
    expect(() => assertOptions({ a: 1 }, ["a"], "it")).not.toThrow();
    expect(() => assertOptions({ added: 1 }, ["a"], "it")).toThrow(/it has no option "added"/);
  } finally {
    delete prototype.added;
  }
});

test.each([
  ["signals", "signal"],
  ["signa", "signal"],
  ["sgnal", "signal"],
  ["SIGNAL", "signal"],
  ["Signal", "signal"],
  ["sigmal", "signal"],
])("of %s it says: did you mean %s?", (name, near) => {
  expect(() => assertOptions({ [name]: 1 }, ["other", near], "it")).toThrow(
    `did you mean ${near}?`,
  );
});
