import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { DEFAULT_KINDS, expectAllFree, filled, ramDevice } from "./support/devices.ts";
import { seeded } from "./support/random.ts";

const MIB = 2 ** 20;

describe("a new buffer", () => {
  test("reads as zeros and takes no memory for it", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(3 * PAGE_SIZE + 5);
    const target = new Uint8Array(bo.size).fill(7);
    expectZeros(bo.readSync(0, target), "sync read");
    expectZeros(await bo.read(1, target.subarray(1).fill(7)), "async read");
    expect(bo.residentPages).toBe(0);
    expectAllFree(device);
  });

  test("tells its size in bytes, whatever form the size was given in", () => {
    using device = ramDevice({ memory: 1024, swap: 16 });
    expect(device.createBuffer(1).size).toBe(1);
    expect(device.createBuffer("1.5 KiB").size).toBe(1536);
    expect(device.createBuffer("2MiB").size).toBe(2 * MIB);
  });

  test("shows zeros around the bytes that were written first", () => {
    using device = ramDevice({ memory: 64, swap: 16 });
    filled(device, 64, 1).destroy();
    const bo = device.createBuffer(8 * PAGE_SIZE + 100);
    bo.writeSync(PAGE_SIZE + 10, pattern(2, 2 * PAGE_SIZE));
    const expected = new Uint8Array(bo.size);
    expected.set(pattern(2, 2 * PAGE_SIZE), PAGE_SIZE + 10);
    expectSame(contentSync(bo), expected, "content");
    expect(bo.residentPages).toBe(9);
  });

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "", "0", "12 parsec"])(
    "cannot have a size of %j",
    (size) => {
      using device = ramDevice({ memory: 16, swap: 16 });
      expect(() => device.createBuffer(size)).toThrow(RangeError);
      expect(() => device.createBuffer(size)).toThrow(/size/);
      expect(device.stats().buffers).toBe(0);
    },
  );

  test.each([undefined, null, 4096n, {}, [4096]])("cannot have a size of type %s", (size) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    expect(() => device.createBuffer(size as never)).toThrow(TypeError);
  });

  test.each([-1, 4, 0.5, Number.NaN, "1", null])("cannot have a priority of %j", (priority) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const create = () => device.createBuffer(1, { priority: priority as number });
    expect(create).toThrow(RangeError);
    expect(create).toThrow(/priority must be 0 to 3/);
    expect(device.stats().buffers).toBe(0);
  });
});

describe.each(DEFAULT_KINDS)("on $kind swap, reads give what was written", ({ create }) => {
  const sizes = [1, 4095, 4096, 4097, 2 * MIB, 2 * MIB + 1];

  test.each(sizes)("of a buffer of %i bytes, at every kind of offset", (size) =>
    seeded((random) => {
      using device = create({ memory: 1024, swap: 1024 });
      const bo = device.createBuffer(size);
      const model = new Uint8Array(size);
      const borders = [0, 1, 4095, 4096, 4097, 65_536, MIB - 1, 2 * MIB - 1, 2 * MIB, size];
      for (let round = 0; round < 60; round++) {
        const ends = [random.pick(borders), random.below(size + 1), random.below(size + 1)];
        const [from, to] = random.shuffle(ends.filter((end) => end <= size)).sort((a, b) => a - b);
        if (from === undefined || to === undefined) continue;
        const bytes = pattern(random.next(), to - from);
        bo.writeSync(from, bytes);
        model.set(bytes, from);
        if (random.chance(0.3)) bo.shrinkSync();
        const at = random.below(size + 1);
        const length = random.below(size - at + 1);
        const got = bo.readSync(at, new Uint8Array(length));
        expectSame(got, model.subarray(at, at + length), `round ${round} at ${at}`);
      }
      expectSame(contentSync(bo), model, "all of it");
      bo.destroy();
      expectAllFree(device);
    }),
  );

  test("across chunks of every order, asynchronously", async () => {
    using device = create({ memory: 2048, swap: 2048 });
    const bo = device.createBuffer(1023 * PAGE_SIZE); // chunks of 512, 256, ... 1 pages
    const model = pattern(3, bo.size);
    await bo.write(0, model);
    await bo.shrink();
    for (let order = 0, border = bo.size; order < 10; order++) {
      border -= PAGE_SIZE << order;
      const from = Math.max(border - 100, 0);
      const bytes = pattern(order, 200);
      await bo.write(from, bytes);
      model.set(bytes, from);
      expectSame(await bo.read(from, new Uint8Array(200)), bytes, `at border ${border}`);
    }
    expectSame(await content(bo), model, "all of it");
  });
});

describe("bytes are taken from, and put into", () => {
  const raw = pattern(4, 64);
  const views: [string, (buffer: ArrayBuffer) => ArrayBufferView<ArrayBuffer>][] = [
    ["Uint8Array", (b) => new Uint8Array(b)],
    ["a part of an Uint8Array", (b) => new Uint8Array(b, 8, 40)],
    ["Buffer", (b) => Buffer.from(b)],
    ["Int8Array", (b) => new Int8Array(b, 1, 7)],
    ["Uint16Array", (b) => new Uint16Array(b, 2, 9)],
    ["Float64Array", (b) => new Float64Array(b, 16, 3)],
    ["BigInt64Array", (b) => new BigInt64Array(b, 8)],
    ["Uint8ClampedArray", (b) => new Uint8ClampedArray(b, 5)],
    ["DataView", (b) => new DataView(b, 3, 33)],
  ];

  test.each(views)("%s", async (_, view) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const source = view(raw.slice().buffer);
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    const bo = device.createBuffer(PAGE_SIZE);
    bo.writeSync(100, source);
    await bo.write(300, source);
    const expected = new Uint8Array(PAGE_SIZE);
    expected.set(bytes, 100);
    expected.set(bytes, 300);
    expectSame(contentSync(bo), expected, "content");
    for (const at of [100, 300]) {
      const target = view(new ArrayBuffer(64));
      expect(at === 100 ? bo.readSync(at, target) : await bo.read(at, target)).toBe(target);
      const around = new Uint8Array(target.buffer);
      const whole = new Uint8Array(around.length);
      whole.set(bytes, target.byteOffset);
      expectSame(around, whole, "target and what is around it");
    }
  });

  test("an ArrayBuffer, and views of shared memory", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(PAGE_SIZE);
    bo.writeSync(0, raw.slice().buffer);
    const target = new ArrayBuffer(64);
    expect(bo.readSync(0, target)).toBe(target);
    expectSame(new Uint8Array(target), raw, "target");
    const shared = new Uint8Array(new SharedArrayBuffer(64));
    expectSame(bo.readSync(0, shared as Uint8Array) as Uint8Array, raw, "shared target");
  });

  test.each([undefined, null, "text", 5, [1, 2], {}])("nothing else: not %j", async (value) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(PAGE_SIZE);
    expect(() => bo.writeSync(0, value as never)).toThrow(/source must be an ArrayBuffer/);
    expect(() => bo.readSync(0, value as never)).toThrow(/target must be an ArrayBuffer/);
    await expect(bo.write(0, value as never)).rejects.toThrow(TypeError);
    await expect(bo.read(0, value as never)).rejects.toThrow(TypeError);
  });
});

describe("offsets", () => {
  function both(device: Device, offset: number, length: number): (() => unknown)[] {
    const bo = device.createBuffer(100);
    return [
      () => bo.writeSync(offset, new Uint8Array(length)),
      () => bo.readSync(offset, new Uint8Array(length)),
    ];
  }

  test.each([
    [-1, 1],
    [0, 101],
    [100, 1],
    [101, 0],
    [50, 51],
    [0.5, 1],
    [Number.NaN, 1],
    [2 ** 53, 0],
    [Number.POSITIVE_INFINITY, 0],
  ])("of %d with %d bytes do not fit 100 bytes: RangeError names both", (offset, length) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    for (const run of both(device, offset, length)) {
      expect(run).toThrow(RangeError);
      expect(run).toThrow(`offset ${offset}: the ${length} bytes of`);
    }
    expectAllFree(device);
  });

  test.each(["0", null, undefined, 1n, {}])("of another type than number: %s", (offset) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    for (const run of both(device, offset as number, 1)) {
      expect(run).toThrow(TypeError);
      expect(run).toThrow(/offset/);
    }
  });

  test("reads and writes of no bytes do nothing, at the end too", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(100);
    const none = new Uint8Array(0);
    for (const offset of [0, 50, 100]) {
      bo.writeSync(offset, none);
      await bo.write(offset, none);
      expect(bo.readSync(offset, none)).toBe(none);
      expect(await bo.read(offset, none)).toBe(none);
    }
    expect(bo.residentPages).toBe(0);
    expectAllFree(device);
  });
});

describe("populate", () => {
  test("gives an empty buffer pages of zeros, and brings a shrunken one back", async () => {
    using device = ramDevice({ memory: 64, swap: 64 });
    filled(device, 64, 1).destroy();
    const bo = device.createBuffer(5 * PAGE_SIZE);
    bo.populateSync();
    expect(bo.residentPages).toBe(5);
    expectZeros(contentSync(bo), "content");
    bo.writeSync(0, pattern(6, bo.size));
    bo.shrinkSync();
    expect(bo.residentPages).toBe(0);
    await bo.populate();
    expect(bo.residentPages).toBe(5);
    bo.populateSync();
    expect(bo.residentPages).toBe(5);
    expectSame(contentSync(bo), pattern(6, bo.size), "content");
    device.check();
  });
});

describe("a destroyed buffer", () => {
  test("refuses every call with a TypeError, and its dispose does nothing", async () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 1, 1);
    expect(bo.destroyed).toBe(false);
    bo.destroy();
    expect(bo.destroyed).toBe(true);
    const bytes = new Uint8Array(1);
    const sync = [
      () => bo.readSync(0, bytes),
      () => bo.writeSync(0, bytes),
      () => bo.writeSync(0, new Uint8Array(0)),
      () => bo.mapSync(),
      () => bo.pinSync(),
      () => bo.unpin(),
      () => bo.populateSync(),
      () => bo.shrinkSync(),
      () => bo.advise("willneed"),
      () => bo.destroy(),
    ];
    for (const run of sync) {
      expect(run).toThrow(TypeError);
      expect(run).toThrow("this buffer is destroyed");
    }
    const running = [
      bo.read(0, bytes),
      bo.write(0, bytes),
      bo.map(),
      bo.pin(),
      bo.populate(),
      bo.shrink(),
    ];
    for (const p of running) await expect(p).rejects.toThrow("this buffer is destroyed");
    bo[Symbol.dispose]();
    expect(device.stats().buffers).toBe(0);
    expectAllFree(device);
  });

  test("is what a `using` block leaves behind", () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    {
      using bo = filled(device, 4, 1);
      expect(bo.residentPages).toBe(4);
    }
    expect(device.stats().buffers).toBe(0);
    expectAllFree(device);
  });
});
