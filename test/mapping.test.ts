import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { createDeviceSync, type Mapping, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import {
  DEFAULT_KINDS,
  expectAllFree,
  expectScattered,
  filled,
  ramDevice,
  scatterFrames,
} from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";

function bytesOf(mapping: Mapping): Uint8Array {
  const parts = mapping.segments.map((segment) => [...segment]);
  return new Uint8Array(parts.flat());
}

describe("a mapping", () => {
  test.each([1, 4095, 4096, 4097, 10 * 4096 + 3])(
    "shows exactly the %i bytes of its buffer, in one view when its pages lie side by side",
    async (size) => {
      using device = ramDevice({ memory: 64, swap: 64 });
      const bo = device.createBuffer(size);
      bo.writeSync(0, pattern(1, size));
      for (const mapping of [bo.mapSync(), await bo.map()]) {
        expect(mapping.segments.length).toBe(1);
        expect(mapping.bytes).toBe(mapping.segments[0]);
        expectSame(mapping.bytes as Uint8Array, pattern(1, size), "view");
        mapping.unmap();
      }
    },
  );

  test("has a view for each stretch of pages when they lie scattered", () => {
    using device = ramDevice({ memory: 32, swap: 64 });
    const kept = scatterFrames(device);
    const bo = device.createBuffer(10 * PAGE_SIZE + 3);
    bo.writeSync(0, pattern(1, bo.size));
    const mapping = bo.mapSync();
    expect(mapping.segments.map((segment) => segment.length)).toEqual([
      ...Array.from({ length: 10 }, () => PAGE_SIZE),
      3,
    ]);
    expect(mapping.bytes).toBeUndefined();
    expectSame(bytesOf(mapping), pattern(1, bo.size), "views in order");
    mapping.unmap();
    expectScattered(device, kept, 2e6);
  });

  test("of a buffer never written shows zeros, whatever lay in its pages before", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    filled(device, 16, 1).destroy();
    const mapping = device.createBuffer(9 * PAGE_SIZE + 1).mapSync();
    expectZeros(bytesOf(mapping), "views");
    mapping.unmap();
  });

  test("sees what is written later, and reads see what is written through it", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = device.createBuffer(2 * PAGE_SIZE);
    const mapping = await bo.map();
    bo.writeSync(5, new Uint8Array([1, 2, 3]));
    expect([...(mapping.bytes as Uint8Array).subarray(4, 9)]).toEqual([0, 1, 2, 3, 0]);
    mapping.bytes?.fill(9, PAGE_SIZE - 1, PAGE_SIZE + 1);
    expect([...(await bo.read(PAGE_SIZE - 2, new Uint8Array(4)))]).toEqual([0, 9, 9, 0]);
    mapping.unmap();
  });

  test("may be the source of a write to its own buffer, and the target of a read, overlapping", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const ones = Array.from({ length: 16 }, (_, i) => filled(device, 1, i));
    for (const one of ones) one.pinSync();
    for (const i of [0, 1, 4, 5]) {
      ones[i]?.unpin();
      ones[i]?.destroy();
    }
    const bo = filled(device, 4, 100);
    const mapping = bo.mapSync();
    expect(mapping.segments.length).toBe(2);
    const model = pattern(100, bo.size);
    bo.writeSync(PAGE_SIZE, mapping.segments[0] as Uint8Array);
    model.copyWithin(PAGE_SIZE, 0, 2 * PAGE_SIZE);
    expectSame(contentSync(bo), model, "after the write");
    bo.readSync(PAGE_SIZE, mapping.segments[1] as Uint8Array);
    model.copyWithin(2 * PAGE_SIZE, PAGE_SIZE, 3 * PAGE_SIZE);
    expectSame(contentSync(bo), model, "after the read");
    mapping.unmap();
  });

  test("ends once: a second unmap does not end another mapping of the buffer", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = filled(device, 2, 1);
    const first = bo.mapSync();
    const second = bo.mapSync();
    first.unmap();
    first.unmap();
    first[Symbol.dispose]();
    expect(bo.pinned).toBe(true);
    failsSync("EBUSY", () => bo.shrinkSync());
    second[Symbol.dispose]();
    expect(bo.pinned).toBe(false);
    expect(await bo.shrink()).toBe(2);
    {
      using third = await bo.map();
      expect(third.segments.length).toBe(1);
      expect(bo.pinned).toBe(true);
    }
    expect(bo.pinned).toBe(false);
  });

  test("can be ended after its device was closed by force", () => {
    const device = createDeviceSync({ memory: "64 KiB" });
    const mapping = filled(device, 1, 1).mapSync();
    device.closeSync({ force: true });
    mapping.unmap();
    mapping.unmap();
  });

  test("that failed leaves the buffer unpinned", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const other = filled(device, 10, 1);
    other.pinSync();
    const bo = device.createBuffer(10 * PAGE_SIZE);
    expect(failsSync("ENOMEM", () => bo.mapSync()).message).toMatch(/pinned/);
    expect(bo.pinned).toBe(false);
    other.unpin();
    bo.mapSync().unmap();
    bo.destroy();
    other.destroy();
    expectAllFree(device);
  });
});

describe.each(DEFAULT_KINDS)("on $kind swap", ({ create }) => {
  test("what was written through a mapping goes to swap and comes back, again and again", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 20, 1);
    const model = pattern(1, bo.size);
    for (let round = 0; round < 5; round++) {
      expect(bo.shrinkSync()).toBe(20);
      const mapping = bo.mapSync();
      expectSame(bytesOf(mapping), model, `views of round ${round}`);
      const at = round * 3 * PAGE_SIZE + 17;
      model.set(pattern(100 + round, 5000), at);
      let skip = 0;
      for (const segment of mapping.segments) {
        segment.set(model.subarray(skip, skip + segment.length));
        skip += segment.length;
      }
      mapping.unmap();
    }
    bo.shrinkSync();
    expectSame(contentSync(bo), model, "content");
    device.check();
  });

  test("what was written between a restore and the next shrink is not lost", () => {
    using device = create({ memory: 64, swap: 64 });
    const bo = filled(device, 20, 1);
    const model = pattern(1, bo.size);
    for (let round = 0; round < 20; round++) {
      bo.shrinkSync();
      expectSame(bo.readSync(0, new Uint8Array(100)), model.subarray(0, 100), "start");
      bo.writeSync(round * PAGE_SIZE, new Uint8Array([round + 1]));
      model[round * PAGE_SIZE] = round + 1;
    }
    bo.shrinkSync();
    expectSame(contentSync(bo), model, "content");
  });

  test("pages of a pinned or mapped buffer never leave, however short memory gets", async () => {
    using device = create({ memory: 64, swap: 256 });
    const pinned = filled(device, 20, 1);
    const mapped = filled(device, 20, 2);
    await pinned.pin();
    const mapping = await mapped.map();
    for (let i = 0; i < 8; i++) filled(device, 24, 10 + i);
    expect(pinned.residentPages).toBe(20);
    expect(mapped.residentPages).toBe(20);
    expectSame(bytesOf(mapping), pattern(2, mapped.size), "views");
    await device.shrink();
    expect(pinned.residentPages + mapped.residentPages).toBe(40);
    const busy = [() => pinned.shrinkSync(), () => mapped.shrinkSync()];
    for (const run of busy) expect(failsSync("EBUSY", run).op).toBe("shrink");
    for (const bo of [pinned, mapped])
      expect((await fails("EBUSY", bo.shrink())).op).toBe("shrink");
    for (const bo of [pinned, mapped]) {
      expect(failsSync("EBUSY", () => bo.destroy()).op).toBe("destroy");
      expect(bo.destroyed).toBe(false);
    }
    mapping.unmap();
    pinned.unpin();
    expect(await device.shrink()).toBe(40);
    expectSame(await content(pinned), pattern(1, pinned.size), "pinned");
    expectSame(await content(mapped), pattern(2, mapped.size), "mapped");
    device.check();
  });
});

describe("pins", () => {
  test("count: the pages may leave after as many unpins", async () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = filled(device, 3, 1);
    bo.shrinkSync();
    bo.pinSync();
    await bo.pin();
    const mapping = bo.mapSync();
    expect(bo.residentPages).toBe(3);
    bo.unpin();
    mapping.unmap();
    expect(bo.pinned).toBe(true);
    failsSync("EBUSY", () => bo.shrinkSync());
    expect(device.shrinkSync()).toBe(0);
    bo.unpin();
    expect(bo.pinned).toBe(false);
    expect(device.shrinkSync()).toBe(3);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("cannot be taken off more often than they were put on", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    const bo = filled(device, 1, 1);
    expect(() => bo.unpin()).toThrow(TypeError);
    expect(() => bo.unpin()).toThrow("unpin: this buffer is not pinned");
    const mapping = bo.mapSync();
    expect(() => bo.unpin()).toThrow("not pinned");
    expect(bo.pinned).toBe(true);
    mapping.unmap();
    bo.pinSync();
    bo.unpin();
    expect(() => bo.unpin()).toThrow("not pinned");
  });

  test("give an empty buffer its pages of zeros", () => {
    using device = ramDevice({ memory: 16, swap: 16 });
    filled(device, 16, 1).destroy();
    const bo = device.createBuffer(4 * PAGE_SIZE);
    bo.pinSync();
    expect(bo.residentPages).toBe(4);
    expectZeros(contentSync(bo), "content");
    bo.unpin();
  });
});

describe("a view that leaves its thread", () => {
  test("takes the whole memory along, other buffers' bytes included; a slice of it does not", () => {
    using device = ramDevice({ memory: 64, swap: 64 });
    const bo = filled(device, 1, 1);
    const other = filled(device, 1, 2);
    using mapping = bo.mapSync();
    const view = mapping.bytes as Uint8Array;
    const clone = structuredClone(view);
    expectSame(clone, pattern(1, PAGE_SIZE), "the clone");
    expect(clone.buffer.byteLength).toBe(view.buffer.byteLength);
    const bytes = Buffer.from(clone.buffer);
    expect(bytes.includes(Buffer.from(contentSync(other)))).toBe(true);
    expect(structuredClone(view.slice()).buffer.byteLength).toBe(PAGE_SIZE);
  });

  test("cannot be transferred, and neither view nor memory are harmed by who tries", () => {
    using device = ramDevice({ memory: 64, swap: 64 });
    const bo = filled(device, 5, 1);
    using mapping = bo.mapSync();
    const { buffer } = mapping.bytes as Uint8Array<ArrayBuffer>;
    try {
      structuredClone(buffer, { transfer: [buffer] }); // Node 20 makes a clone
    } catch (error) {
      expect(String(error)).toMatch(/transfer/i);
    }
    expectSame(mapping.bytes as Uint8Array, pattern(1, bo.size), "the view");
    device.check();
  });
});
