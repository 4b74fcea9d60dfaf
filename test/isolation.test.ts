/*
 * No buffer ever sees another's bytes. Method: memory is first filled with secrets, buffers give it
 * up in some way, and new ones get it: what they show is what was written to them, and zeros.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { contentSync, expectSame, expectZeros } from "./support/bytes.ts";
import { blockDevice, DEFAULT_KINDS, ramDevice, scatterSlots } from "./support/devices.ts";
import { failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { type Random, seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

const SECRET = 0xa5;

/** Buffers of `pages` pages in all, full of secrets, perhaps more than fit the memory. */
function secrets(device: Device, pages: number): BufferObject[] {
  return Array.from({ length: pages / 8 }, () => {
    const bo = device.createBuffer(8 * PAGE_SIZE);
    bo.writeSync(0, new Uint8Array(bo.size).fill(SECRET));
    return bo;
  });
}

/** Writes somewhere in a new buffer, and returns what it then has to show. */
function writePart(random: Random, bo: BufferObject): Uint8Array {
  const from = random.below(bo.size);
  const to = from + random.below(bo.size - from) + 1;
  const expected = new Uint8Array(bo.size).fill(0xff, from, to);
  bo.writeSync(from, expected.subarray(from, to));
  return expected;
}

/** @throws Error when new buffers in all of the free memory show anything they should not */
function expectClean(random: Random, device: Device): void {
  const bos: [BufferObject, Uint8Array][] = [];
  let left = device.stats().pages.free;
  while (left > 0) {
    const bo = device.createBuffer((random.below(Math.min(left, 20)) + 1) * PAGE_SIZE - 100);
    left -= Math.ceil(bo.size / PAGE_SIZE);
    bos.push([bo, writePart(random, bo)]);
  }
  for (const [bo, expected] of bos) expectSame(contentSync(bo), expected, "a new buffer");
  for (const [bo] of bos) bo.destroy();
}

type Step = (bo: BufferObject) => unknown;
const populate: Step = (bo) => bo.populateSync();
const shrink: Step = (bo) => bo.shrinkSync();
const dontneed: Step = (bo) => bo.advise("dontneed");
const destroy: Step = (bo) => bo.destroy();

describe.each(DEFAULT_KINDS)("on $kind swap, new buffers show nothing of others", ({ create }) => {
  const leavings: [string, Step[]][] = [
    ["destroyed", [destroy]],
    ["shrunken", [shrink]],
    ["shrunken and destroyed", [shrink, destroy]],
    ["purged", [dontneed, shrink]],
    ["restored and destroyed", [shrink, populate, destroy]],
  ];

  test.each(leavings)("that were %s", (_, steps) =>
    seeded((random) => {
      for (let round = 0; round < 10; round++) {
        using device = create({ memory: 64, swap: 200 });
        for (const other of random.shuffle(secrets(device, 96))) {
          for (const step of steps) step(other);
        }
        for (let i = 0; i < 4; i++) expectClean(random, device);
        device.check();
      }
    }),
  );

  test("that were pushed out to make room for them", () =>
    seeded((random) => {
      using device = create({ memory: 64, swap: 2000 });
      const others = secrets(device, 64);
      for (let i = 0; i < 60; i++) {
        const bo = device.createBuffer((random.below(30) + 1) * PAGE_SIZE);
        const expected = writePart(random, bo);
        expectSame(contentSync(bo), expected, `buffer ${i}`);
        if (random.chance(0.5)) bo.destroy();
      }
      for (const other of others) {
        expectSame(contentSync(other), new Uint8Array(other.size).fill(SECRET), "a secret");
      }
    }));
});

describe("new buffers show nothing of a restore that was interrupted", () => {
  test.each(Array.from({ length: 18 }, (_, i) => i + 1))("after %i of 19 pages", (pages) =>
    seeded((random) => {
      const swap = new MapSwap({ slots: 40 });
      using device = blockDevice(40, swap);
      scatterSlots(device);
      const bo = device.createBuffer(19 * PAGE_SIZE);
      bo.writeSync(0, new Uint8Array(bo.size).fill(SECRET));
      bo.shrinkSync();
      swap.before = failAt(false, pages + 1, systemError("EIO")); // leaves garbage in the chunk
      failsSync("EIO", () => contentSync(bo));
      swap.before = undefined;
      expectClean(random, device);
      if (random.chance(0.5)) bo.destroy();
      else bo.shrinkSync();
      expectClean(random, device);
      device.check();
    }),
  );
});

describe("a first write that failed leaves zeros", () => {
  test("when it was interrupted", () => {
    using device = ramDevice({ memory: 2048, swap: 2048 });
    for (const bo of secrets(device, 2048)) bo.destroy();
    for (let looks = 1; ; looks++) {
      const bo = device.createBuffer(500 * PAGE_SIZE + 1);
      const signal = new CountingSignal(looks);
      let done = false;
      try {
        bo.writeSync(0, new Uint8Array(500 * PAGE_SIZE).fill(0xff), { signal });
        done = true;
      } catch {
        expectZeros(contentSync(bo), `interrupted at look ${looks}`);
      }
      bo.destroy();
      device.check();
      if (done) break;
    }
  });

  test("when memory ran out, or swap did, or the swap device failed", () => {
    const swap = new MapSwap({ slots: 64 });
    using device = blockDevice(64, swap);
    const [first, ...others] = secrets(device, 64);
    const bo = device.createBuffer(20 * PAGE_SIZE);
    const write = () => bo.writeSync(100, new Uint8Array(18 * PAGE_SIZE).fill(0xff));
    for (let k = 1; k <= 2; k++) {
      swap.before = failAt(true, k, systemError("EIO"));
      try {
        write();
        bo.advise("dontneed");
        bo.shrinkSync();
      } catch {
        expectZeros(contentSync(bo), "after EIO");
      }
    }
    swap.before = undefined;
    for (const other of others) other.pinSync();
    failsSync("ENOMEM", write);
    expectZeros(contentSync(bo), "after ENOMEM");
    first?.destroy();
    others[0]?.unpin();
    others[0]?.destroy();
    const small = device.createBuffer(10 * PAGE_SIZE);
    small.writeSync(PAGE_SIZE, new Uint8Array([0xff]));
    const expected = new Uint8Array(small.size);
    expected[PAGE_SIZE] = 0xff;
    expectSame(contentSync(small), expected, "the next buffer");
    device.check();
  });

  test("when its source is transferred away while it is in flight", async () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const secret = device.createBuffer(16 * PAGE_SIZE);
    secret.writeSync(0, new Uint8Array(secret.size).fill(SECRET));
    secret.destroy();
    const bo = device.createBuffer(16 * PAGE_SIZE);
    const source = new Uint8Array(bo.size).fill(0xff);
    const writing = bo.write(0, source).catch(() => {});
    structuredClone(source.buffer, { transfer: [source.buffer] });
    expect(source.length).toBe(0);
    await writing;
    const seen = new Set(contentSync(bo));
    expect(seen.has(SECRET)).toBe(false);
  });
});
