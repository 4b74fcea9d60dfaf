/*
 * Bytes that users hand in are taken for what they are: neither what a value says of itself nor a method
 * of its own has a part in it, and it may come from any realm.
 */
import vm from "node:vm";
import { describe, expect, test } from "vitest";
import { type BufferObject, type Bytes, type Device, PAGE_SIZE } from "../src/index.ts";
import { contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { Gate, until } from "./support/delays.ts";
import { blockDevice, expectAllFree, filled, ramDevice, scatterFrames } from "./support/devices.ts";
import { MapSwap } from "./support/map_swap.ts";

const SIZE = 8 * PAGE_SIZE;

/** A Uint8Array with properties of its own. */
function odd(bytes: Uint8Array, properties: PropertyDescriptorMap): Uint8Array {
  return Object.defineProperties(bytes, properties);
}

/** What code of the user's got to see. */
interface Spy {
  readonly seen: unknown[];
}

/** Values that are 16 bytes of 1, whatever they say. `spy` keeps what their methods are given. */
const LIARS: readonly [string, (spy: Spy) => Uint8Array][] = [
  [
    "a subclass with a longer length",
    () =>
      new (
        class extends Uint8Array {
          override get length() {
            return SIZE;
          }
          override get byteLength() {
            return SIZE;
          }
        } as typeof Uint8Array
      )(16).fill(1),
  ],
  [
    "an instance with a shorter length",
    () =>
      odd(new Uint8Array(16).fill(1), {
        length: { value: 0 },
        byteLength: { value: 0 },
      }),
  ],
  [
    "an instance with another buffer and offset",
    () =>
      odd(new Uint8Array(16).fill(1), {
        buffer: { value: new ArrayBuffer(16) },
        byteOffset: { value: 4096 },
      }),
  ],
  [
    "a species that gives nothing",
    ({ seen }) =>
      odd(new Uint8Array(16).fill(1), {
        constructor: {
          value: {
            [Symbol.species]: function Nothing(...given: unknown[]) {
              seen.push(...given);
              return new Uint8Array(SIZE);
            },
          },
        },
      }),
  ],
  [
    "methods of its own",
    ({ seen }) => {
      const spying = (...given: unknown[]) => {
        seen.push(...given);
        return new Uint8Array(0);
      };
      const methods = ["set", "subarray", "slice", "fill", "values"];
      const entries = methods.map((name) => [name, { value: spying }] as const);
      return odd(new Uint8Array(16).fill(1), {
        ...Object.fromEntries(entries),
        [Symbol.iterator]: { value: spying },
        [Symbol.toStringTag]: { value: "Float64Array" },
      });
    },
  ],
  ["no prototype", () => Object.setPrototypeOf(new Uint8Array(16).fill(1), null)],
  [
    "the prototype of another class",
    () => Object.setPrototypeOf(new Uint8Array(16).fill(1), DataView.prototype),
  ],
];

/** A device whose free frames show what a buffer left that was destroyed, in one piece or scattered. */
function dirtyDevice(scattered: boolean): Device {
  const device = ramDevice({ memory: 16, swap: 16 });
  filled(device, 16, 7).destroy();
  if (scattered) scatterFrames(device);
  return device;
}

describe.each([
  ["side by side", false],
  ["scattered", true],
])("in pages that lie %s", (_, scattered) => {
  test.each(LIARS)("%s is written as what it is, and read into", async (_name, make) => {
    using device = dirtyDevice(scattered);
    for (const at of [0, PAGE_SIZE - 8]) {
      for (const sync of [true, false]) {
        const spy: Spy = { seen: [] };
        const bo = device.createBuffer(SIZE);
        const value = make(spy);
        if (sync) bo.writeSync(at, value);
        else await bo.write(at, value);
        const expected = new Uint8Array(SIZE).fill(1, at, at + 16);
        expectSame(contentSync(bo), expected, "what was written");
        bo.writeSync(at, new Uint8Array(16).fill(9));
        const target = make(spy);
        expect(sync ? bo.readSync(at, target) : await bo.read(at, target)).toBe(target);
        const plain = new Uint8Array(16);
        Uint8Array.prototype.set.call(plain, target);
        expectSame(plain, new Uint8Array(16).fill(9), "what was read");
        expect(spy.seen).toEqual([]);
        bo.destroy();
      }
    }
    device.check();
  });

  test("nothing that only looks like bytes is taken", async () => {
    using device = dirtyDevice(scattered);
    const bo = device.createBuffer(SIZE);
    const bytes = new Uint8Array(16);
    const impostors: unknown[] = [
      new Proxy(bytes, {}),
      new Proxy(bytes.buffer, {}),
      Object.create(bytes),
      Object.create(Uint8Array.prototype),
      Object.create(ArrayBuffer.prototype),
      { length: 16, byteLength: 16, buffer: bytes.buffer, byteOffset: 0 },
      { [Symbol.toStringTag]: "Uint8Array" },
      [1, 2, 3],
      "bytes",
      16,
      null,
      undefined,
      Symbol("bytes"),
    ];
    for (const value of impostors) {
      expect(() => bo.writeSync(0, value as Bytes)).toThrow(/^source must be an ArrayBuffer/);
      expect(() => bo.readSync(0, value as Bytes)).toThrow(/^target must be an ArrayBuffer/);
      await expect(bo.write(0, value as Bytes)).rejects.toThrow(/^source must be an ArrayBuffer/);
      await expect(bo.read(0, value as Bytes)).rejects.toThrow(/^target must be an ArrayBuffer/);
    }
    expectZeros(contentSync(bo), "untouched");
  });
});

describe("bytes of every kind and realm", () => {
  const KINDS = [
    "new ArrayBuffer(16)",
    "new SharedArrayBuffer(16)",
    "new ArrayBuffer(16, { maxByteLength: 64 })",
    "new Uint8Array(new ArrayBuffer(64, { maxByteLength: 128 }), 8, 16)",
    "new DataView(new ArrayBuffer(64), 8, 16)",
    "new DataView(new SharedArrayBuffer(64), 8, 16)",
    "new Uint8Array(16)",
    "new Uint8ClampedArray(new SharedArrayBuffer(64), 8, 16)",
    "new Float64Array(2)",
    "new BigUint64Array(2)",
    "new Int16Array(new ArrayBuffer(64), 8, 8)",
  ];
  /** The 16 bytes that each of them is. */
  const view = (value: Bytes) => {
    if (!ArrayBuffer.isView(value)) return new Uint8Array(value, 0, 16);
    return new Uint8Array(value.buffer, value.byteOffset, 16);
  };

  test.each(KINDS)("%s is read and written, of this realm and of others", async (code) => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(SIZE);
    for (const make of [() => vm.runInThisContext(code), () => vm.runInNewContext(code)]) {
      const value: Bytes = make();
      for (const sync of [true, false]) {
        view(value).set(pattern(1, 16));
        if (sync) bo.writeSync(3, value);
        else await bo.write(3, value);
        view(value).fill(0);
        expect(sync ? bo.readSync(3, value) : await bo.read(3, value)).toBe(value);
        expectSame(view(value), pattern(1, 16), code);
        bo.writeSync(0, new Uint8Array(64));
      }
    }
  });

  test.each([
    "new WebAssembly.Memory({ initial: 1, maximum: 4 })",
    "new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true })",
  ])("the memory of %s, too", (code) => {
    using device = ramDevice({ memory: 32, swap: 16 });
    const bo = device.createBuffer(65536);
    for (const memory of [vm.runInThisContext(code), vm.runInNewContext(code)]) {
      new Uint8Array(memory.buffer).set(pattern(2, 65536));
      bo.writeSync(0, memory.buffer);
      new Uint8Array(memory.buffer).fill(0);
      bo.readSync(0, memory.buffer);
      expectSame(new Uint8Array(memory.buffer), pattern(2, 65536), code);
    }
  });
});

/** Runs `body` on a buffer that is in swap, while a transfer of it is held up, then lets it go on. */
async function meanwhile(
  start: (bo: BufferObject) => Promise<unknown>,
  body: () => void,
): Promise<unknown> {
  const gate = new Gate();
  const device = blockDevice(16, new MapSwap({ slots: 16, delay: gate.pass }));
  gate.open();
  const bo = device.createBuffer(SIZE);
  await bo.write(0, pattern(5, SIZE));
  await bo.shrink();
  gate.close();
  const running = start(bo).then(
    () => undefined,
    (error: unknown) => error,
  );
  await until(() => gate.waiting > 0);
  body();
  gate.open();
  const error = await running;
  expectSame(
    (await bo.read(0, new Uint8Array(SIZE))).subarray(16),
    pattern(5, SIZE).subarray(16),
    "rest",
  );
  bo.destroy();
  expectAllFree(device);
  await device.close();
  return error;
}

describe("memory that goes away", () => {
  const resizable = (length?: number) => {
    const buffer = new (ArrayBuffer as new (n: number, o: object) => ArrayBuffer)(64, {
      maxByteLength: 128,
    });
    return { buffer, bytes: new Uint8Array(buffer, 0, length) };
  };
  const resize = (buffer: ArrayBuffer, length: number) =>
    (buffer as unknown as { resize(length: number): void }).resize(length);

  test("before the call: refused, not taken for no bytes", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(SIZE);
    const detached = [
      new Uint8Array(16),
      new Float32Array(4),
      new DataView(new ArrayBuffer(16)),
      new ArrayBuffer(16),
    ];
    for (const value of detached) {
      const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
      structuredClone(buffer, { transfer: [buffer] });
    }
    const { buffer } = resizable();
    const shrunken = [new Uint8Array(buffer, 32, 16), new DataView(buffer, 32, 16)];
    resize(buffer, 16);
    for (const value of [...detached, ...shrunken]) {
      expect(() => bo.writeSync(0, value)).toThrow(/^source is detached, or lies beyond/);
      await expect(bo.read(0, value)).rejects.toThrow(/^target is detached, or lies beyond/);
    }
    expect(bo.readSync(0, new Uint8Array(buffer, 16))).toHaveLength(0);
  });

  test.each(["read", "write"] as const)("during a %s: refused", async (op) => {
    const bytes = new Uint8Array(16);
    const error = await meanwhile(
      (bo) => bo[op](0, bytes),
      () => structuredClone(bytes.buffer, { transfer: [bytes.buffer] }),
    );
    expect(String(error)).toMatch(/detached or resized meanwhile/);
  });

  test.each(["read", "write"] as const)("in part, during a %s: refused", async (op) => {
    for (const length of [undefined, 64]) {
      const { buffer, bytes } = resizable(length);
      const error = await meanwhile(
        (bo) => bo[op](0, bytes),
        () => resize(buffer, 8),
      );
      expect(String(error)).toMatch(/detached or resized meanwhile/);
    }
  });
});

describe("a view of a mapping", () => {
  test("as source or target moves the bytes that were there, scattered or not", () => {
    for (const scattered of [false, true]) {
      using device = ramDevice({ memory: 40, swap: 40 });
      if (scattered) scatterFrames(device);
      const bo = filled(device, 8, 3);
      const mapping = bo.mapSync();
      const [first] = mapping.segments as [Uint8Array];
      const { length } = first;
      const at = scattered ? PAGE_SIZE / 2 : 1;
      const bytes = first.subarray(0, Math.min(length, SIZE - at));
      const expected = pattern(3, SIZE);
      expected.copyWithin(at, 0, bytes.length);
      bo.writeSync(at, bytes);
      expectSame(contentSync(bo), expected, "written");
      bo.readSync(at, bytes);
      expected.copyWithin(0, at, at + bytes.length);
      expectSame(contentSync(bo), expected, "read");
      mapping.unmap();
    }
  });
});
