import { describe, expect, test } from "vitest";
import { engineModule } from "../src/engine/module.ts";
import {
  type BlockSwapDevice,
  type BufferObject,
  createDevice,
  createDeviceSync,
  type DeviceOptions,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { blockDevice, expectAllFree, filled, ramDevice } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { Random } from "./support/random.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Bytes that do not compress. */
function noise(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const random = new Random(seed);
  return new Uint8Array(Uint32Array.from({ length: length / 4 }, () => random.next()).buffer);
}

/** The error of both ways to make a device, which has to be the same. */
async function refusal(options: unknown): Promise<Error> {
  let sync: unknown;
  try {
    createDeviceSync(options as DeviceOptions).closeSync();
  } catch (error) {
    sync = error;
  }
  const thrown = await createDevice(options as DeviceOptions).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(sync instanceof Error && thrown instanceof Error)) throw new Error("it was accepted");
  expect(thrown.message).toBe(sync.message);
  expect(thrown.constructor).toBe(sync.constructor);
  return sync;
}

describe("memory", () => {
  test.each<[number | string, number]>([
    ["64 KiB", 16],
    [65_536, 16],
    [65_536 + 4095, 16],
    ["1 MB", 244],
    ["64 MiB", 16_384],
    ["0.5 GiB", 131_072],
  ])("of %j makes a device of %d pages", async (memory, total) => {
    using device = createDeviceSync({ memory });
    expect(device.stats().pages).toMatchObject({ total, free: total });
    await using second = await createDevice({ memory });
    expect(second.stats().pages).toMatchObject({ total, free: total });
  });

  test.each([1, 4096, 65_535, "63 KiB"])(
    "of %j is too small; the least is named",
    async (memory) => {
      const error = await refusal({ memory });
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(/^memory of .* is too small; the least is 64 KiB/);
    },
  );

  test("of a small number may be meant in MiB: the message says how to write that", async () => {
    expect((await refusal({ memory: 64 })).message).toContain('"64 MiB"');
    expect((await refusal({ memory: 4096 })).message).toContain('"4096 MiB"');
    expect((await refusal({ memory: 65_535 })).message).not.toContain("MiB");
    expect((await refusal({ memory: "64" })).message).not.toContain("MiB");
  });

  test.each([
    0,
    -1,
    -65_536,
    65_536.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "0 MiB",
    "64 quads",
    "",
  ])("of %j is a RangeError that names it", async (memory) => {
    const error = await refusal({ memory });
    expect(error).toBeInstanceOf(RangeError);
    expect(error.message).toMatch(/^memory /);
  });

  test.each([undefined, null, true, 65_536n, [65_536], { bytes: 65_536 }])(
    "of type %s is a TypeError that names it",
    async (memory) => {
      const error = await refusal({ memory });
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/^memory must be a number of bytes or a string/);
    },
  );

  test.each([undefined, {}, []])("is missed in options of %j", async (options) => {
    const error = await refusal(options);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^memory must be/);
  });

  test.each([null, 5, "64 MiB"])("is nowhere in options of %j", async (options) => {
    const error = await refusal(options);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^createDevice takes an object of options, not /);
  });
});

describe("sizes that do not fit one memory of 4 GiB", () => {
  test.each<[string, DeviceOptions, RegExp]>([
    [
      "frames and metadata",
      { memory: "4 GiB", swap: fileSwap({ size: "1 GiB" }) },
      /make the memory smaller by/,
    ],
    [
      "frames",
      { memory: "8 GiB", swap: fileSwap({ size: "1 GiB" }) },
      /8 GiB of page frames .*make the memory smaller by/,
    ],
    [
      "frames and as much RAM swap",
      { memory: "2.5 GiB", swap: ramSwap() },
      /2\.5 GiB of RAM swap.*make the memory or the RAM swap smaller by/,
    ],
    [
      "RAM swap",
      { memory: "64 MiB", swap: ramSwap({ size: "4 GiB" }) },
      /4 GiB of RAM swap .*make the memory or the RAM swap smaller/,
    ],
    ["frames of 16 TiB", { memory: 16 * 2 ** 40 }, /page frames/],
    ["frames of more than 2^32 pages", { memory: 16 * 2 ** 40 + 64 * MIB }, /page frames/],
    [
      "RAM swap of more than 2^32 pages",
      { memory: MIB, swap: ramSwap({ size: 16 * 2 ** 40 + MIB }) },
      /RAM swap/,
    ],
    ["frames of all bytes a number can count", { memory: 2 ** 53 - 1 }, /page frames/],
  ])("%s: RangeError says what to make smaller", async (_, options, text) => {
    const error = await refusal(options);
    expect(error).toBeInstanceOf(RangeError);
    expect(error.message).toMatch(text);
    expect(error.message).not.toMatch(/-\d/);
  });

  test("the metadata of a large swap space: the message names the swap space", async () => {
    for (const size of ["2 TiB", "4 TiB", "7.5 TiB"]) {
      const error = await refusal({ memory: "64 MiB", swap: fileSwap({ size }) });
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(/swap/);
      expect(error.message).not.toMatch(/make the memory smaller/);
    }
  });

  test("what the message asks for is then accepted", async () => {
    const error = await refusal({ memory: "4 GiB", swap: fileSwap({ size: "1 GiB" }) });
    const [, number, unit] = /smaller by ([\d.]+) (\w+)/.exec(error.message) as RegExpExecArray;
    const less = Number(number) * { MiB: MIB, KiB: KIB, GiB: GIB }[unit as "MiB"];
    const device = createDeviceSync({ memory: 4 * GIB - less, swap: fileSwap({ size: "1 GiB" }) });
    device.check();
    device.closeSync();
  });
});

describe("swap", () => {
  const read = () => {};
  const write = () => {};

  test.each<[string, unknown]>([
    ["null", null],
    ["a number", 5],
    ["a string", "ram"],
    ["a function that makes one", ramSwap],
    ["an empty object", {}],
    ["one without read", { name: "x", slots: 5, write }],
    ["one without write", { name: "x", slots: 5, read }],
    ["one whose read is no function", { name: "x", slots: 5, write, read: true }],
  ])("that is no swap device is a TypeError: %s", async (_, swap) => {
    const error = await refusal({ memory: "64 KiB", swap });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^swap must be a swap device such as ramSwap\(\)/);
  });

  test.each<[string, unknown, string]>([
    ["a path", "/tmp/x", 'fileSwap({ path: "/tmp/x", size: "4 GiB" })'],
    ["a factory", ramSwap, 'call "ramSwap"'],
    ["a size", "8 GiB", 'fileSwap({ size: "8 GiB" })'],
  ])("that is %s: the message says what is meant", async (_, swap, text) => {
    const error = await refusal({ memory: "64 KiB", swap });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(text);
  });

  test.each([undefined, null, 0, -1, 1.5, Number.NaN, "64", 2 ** 31, Number.POSITIVE_INFINITY])(
    "whose slots are %j is a RangeError that names them",
    async (slots) => {
      const error = await refusal({ memory: "64 KiB", swap: { name: "x", slots, read, write } });
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(/^swap\.slots must be 1 to 2147483647/);
    },
  );

  test.each([0, -1, 1.5, "none", Number.NaN])("ramSwap of %j is a RangeError", (size) => {
    expect(() => ramSwap({ size })).toThrow(RangeError);
    expect(() => ramSwap({ size })).toThrow(/^ramSwap size/);
  });

  test("is compressed, and four times the memory, when none is given", () => {
    using device = createDeviceSync({ memory: "1 MiB" });
    expect(device.stats().slots).toEqual({ total: 1024, free: 1024 });
    // Twice of each word, so it shrinks to half.
    const content = (seed: number) => noise(seed, MIB).map((_, i, all) => all[i & ~64] as number);
    const bos = [0, 1].map((seed) => {
      const bo = device.createBuffer(256 * PAGE_SIZE);
      bo.writeSync(0, content(seed));
      return bo;
    });
    device.shrinkSync();
    const { swap, ratio } = device.rss();
    expect(swap).toBeGreaterThan(0);
    expect(ratio).toBeGreaterThan(1.5);
    for (const [seed, bo] of bos.entries()) {
      expectSame(contentSync(bo), content(seed), "content");
      bo.destroy();
    }
  });

  test("takes no more than the memory when none is given, of content that does not compress", () => {
    using device = createDeviceSync({ memory: "4 MiB" });
    const bos: BufferObject[] = [];
    const error = failsSync("ENOSPC", () => {
      for (;;) {
        const bo = device.createBuffer("64 KiB");
        bos.push(bo);
        bo.writeSync(0, noise(bos.length, bo.size));
      }
    });
    expect(error.message).toContain("4 MiB");
    bos.pop()?.destroy();
    // As much as the memory has, and seven eighths of that in swap: the last eighth is for exchange.
    expect(bos.length).toBeGreaterThan(64 * 1.8);
    for (const [i, bo] of bos.entries()) {
      expectSame(contentSync(bo), noise(i + 1, bo.size), "content");
      bo.destroy();
    }
  });

  test("stays in linear memory when the engine is given, and none else", () => {
    using device = createDeviceSync({ memory: "1 MiB", module: engineModule() });
    expect(device.stats().slots.total).toBe(256);
  });

  test("in linear memory is as large as the memory by default, and rounded up to pages", () => {
    using second = createDeviceSync({ memory: "1 MiB", swap: ramSwap() });
    expect(second.stats().slots.total).toBe(256);
    using third = createDeviceSync({ memory: "1 MiB", swap: ramSwap({ size: 4097 }) });
    expect(third.stats().slots.total).toBe(2);
  });

  test("is opened once, and not at all when the device cannot be made", async () => {
    const swap = new MapSwap({ slots: 16 });
    await refusal({ memory: 1, swap });
    await refusal({ memory: "4 GiB", swap });
    expect(swap.opened).toBe(0);
    createDeviceSync({ memory: "64 KiB", swap }).closeSync();
    expect([swap.opened, swap.closed]).toEqual([1, 1]);
  });

  test("that cannot be opened: its error arrives", async () => {
    const thrown = systemError("EACCES");
    const swap: BlockSwapDevice = {
      name: "x",
      slots: 5,
      read,
      write,
      open() {
        throw thrown;
      },
    };
    expect(await refusal({ memory: "64 KiB", swap })).toBe(thrown);
  });

  test("needs neither open nor close", () => {
    const device = createDeviceSync({
      memory: "64 KiB",
      swap: { name: "x", slots: 5, read, write },
    });
    device.closeSync();
    expect(device.closed).toBe(true);
  });
});

test("the engine may be given as a compiled module", () => {
  using device = createDeviceSync({ memory: "64 KiB", module: engineModule() });
  const bo = filled(device, 10, 1);
  bo.shrinkSync();
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
});

describe("close", () => {
  test("with buffers alive is EBUSY, until they are destroyed", async () => {
    const swap = new MapSwap({ slots: 16 });
    const device = blockDevice(16, swap);
    const bos = [device.createBuffer(1), filled(device, 2, 1)];
    const error = failsSync("EBUSY", () => device.closeSync());
    expect(error.op).toBe("close");
    expect(error.message).toMatch(
      /2 buffers are alive; destroy them, or close\(\{ force: true \}\)/,
    );
    await fails("EBUSY", device.close());
    await fails("EBUSY", device.close({ force: false }));
    expect(device.closed).toBe(false);
    expect(swap.closed).toBe(0);
    expectSame(contentSync(bos[1] as never), pattern(1, 2 * PAGE_SIZE), "content");
    for (const bo of bos) bo.destroy();
    await device.close();
    expect(device.closed).toBe(true);
    expect(swap.closed).toBe(1);
  });

  test("with force takes the buffers along", () => {
    const device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 2, 1);
    bo.pinSync();
    device.closeSync({ force: true });
    expect(device.closed).toBe(true);
    expect(() => bo.readSync(0, new Uint8Array(1))).toThrow("this device is closed");
    bo[Symbol.dispose]();
  });

  test("leaves nothing that can be used: TypeError", async () => {
    const device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 2, 1);
    await device.close({ force: true });
    const bytes = new Uint8Array(1);
    const sync = [
      () => device.createBuffer(1),
      () => device.shrinkSync(),
      () => device.check(),
      () => device.closeSync(),
      () => device.closeSync({ force: true }),
      () => bo.readSync(0, bytes),
      () => bo.writeSync(0, bytes),
      () => bo.mapSync(),
      () => bo.pinSync(),
      () => bo.unpin(),
      () => bo.populateSync(),
      () => bo.shrinkSync(),
      () => bo.advise("dontneed"),
      () => bo.destroy(),
    ];
    for (const run of sync) {
      expect(run).toThrow(TypeError);
      expect(run).toThrow("this device is closed");
    }
    const running = [
      device.shrink(),
      device.close(),
      bo.read(0, bytes),
      bo.write(0, bytes),
      bo.map(),
    ];
    for (const one of running) await expect(one).rejects.toThrow("this device is closed");
  });

  test("of a swap device that fails: its error arrives, and the device is closed", async () => {
    const thrown = systemError("EIO");
    const swap = new MapSwap({ slots: 16 });
    swap.close = () => {
      throw thrown;
    };
    const device = blockDevice(16, swap);
    await expect(device.close()).rejects.toBe(thrown);
    expect(device.closed).toBe(true);
  });

  test("happens at the end of a `using` block, buffers or not, once", async () => {
    const swaps = [new MapSwap({ slots: 16 }), new MapSwap({ slots: 16 })];
    {
      using device = blockDevice(16, swaps[0] as MapSwap);
      await using second = blockDevice(16, swaps[1] as MapSwap);
      filled(device, 3, 1);
      filled(second, 3, 1).pinSync();
    }
    expect(swaps.map((swap) => swap.closed)).toEqual([1, 1]);
    const device = createDeviceSync({ memory: "64 KiB" });
    device.closeSync();
    device[Symbol.dispose]();
    await device[Symbol.asyncDispose]();
  });
});

describe("stats", () => {
  test("add up after every step", () => {
    using device = ramDevice({ memory: 64, swap: 48 });
    expect(device.stats()).toMatchObject({
      pagesOut: 0,
      pagesIn: 0,
      pagesPurged: 0,
      interrupted: 0,
      resumed: 0,
      pages: { total: 64, free: 64 },
      slots: { total: 48, free: 48 },
      buffers: 0,
    });
    expect(device.stats().memoryBytes).toBeGreaterThanOrEqual((64 + 48) * PAGE_SIZE);
    const bos = [filled(device, 10, 0), filled(device, 20, 1), device.createBuffer(5)];
    expect(device.stats()).toMatchObject({ buffers: 3, pages: { free: 34 }, slots: { free: 48 } });
    bos[1]?.shrinkSync();
    expect(device.stats()).toMatchObject({
      pagesOut: 20,
      pages: { free: 54 },
      slots: { free: 28 },
    });
    bos[1]?.populateSync();
    expect(device.stats()).toMatchObject({ pagesIn: 20, pages: { free: 34 } });
    bos[0]?.advise("dontneed");
    device.shrinkSync({ pages: 1 });
    expect(device.stats()).toMatchObject({ pagesPurged: 10, pages: { free: 44 } });
    for (const bo of bos) bo.destroy();
    expect(device.stats().buffers).toBe(0);
    expectAllFree(device);
  });

  test("are a copy: they do not change later, and changing them changes nothing", () => {
    using device = ramDevice({ memory: 64, swap: 48 });
    const before = device.stats();
    filled(device, 10, 1).shrinkSync();
    expect(before).toMatchObject({ pagesOut: 0, buffers: 0, pages: { free: 64 } });
    (device.stats() as { pagesOut: number }).pagesOut = 99;
    expect(device.stats().pagesOut).toBe(10);
  });
});

test("two devices side by side know nothing of each other", () => {
  using a = ramDevice({ memory: 64, swap: 64 });
  using b = blockDevice(32, new MapSwap({ slots: 128 }));
  const boA = filled(a, 40, 1);
  const boB = filled(b, 20, 2);
  a.shrinkSync();
  expect(boB.residentPages).toBe(20);
  filled(b, 30, 3);
  expect(a.stats()).toMatchObject({ pagesIn: 0, buffers: 1, pages: { free: 64 } });
  expectSame(contentSync(boB), pattern(2, boB.size), "b");
  expectSame(contentSync(boA), pattern(1, boA.size), "a");
  a.closeSync({ force: true });
  expectSame(contentSync(boB), pattern(2, boB.size), "b after a was closed");
  b.check();
});

test("one ramSwap may serve any number of devices: it only says how large", () => {
  const swap: SwapDevice = ramSwap({ size: "256 KiB" });
  using a = createDeviceSync({ memory: "64 KiB", swap });
  using b = createDeviceSync({ memory: "64 KiB", swap });
  const [boA, boB] = [filled(a, 10, 1), filled(b, 10, 2)];
  a.shrinkSync();
  b.shrinkSync();
  expectSame(contentSync(boA), pattern(1, boA.size), "a");
  expectSame(contentSync(boB), pattern(2, boB.size), "b");
});
