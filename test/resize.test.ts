/* A buffer that gets another size shows the bytes that it had, and zeros behind them; what is beyond is given up. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { expectRest } from "./support/crowd.ts";
import { Gate, settles, turn, until } from "./support/delays.ts";
import { expectAllFree, filled } from "./support/devices.ts";
import { fails, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

const FRAMES = 128;
const SLOTS = 2048;

function create(swap: SwapDevice = new MapSwap({ slots: SLOTS }), frames = FRAMES): Device {
  return createDeviceSync({ memory: frames * PAGE_SIZE, swap });
}

/** `bytes` as it is when it has another length. */
function cut(bytes: Uint8Array, length: number): Uint8Array {
  const other = new Uint8Array(length);
  other.set(bytes.subarray(0, length));
  return other;
}

const SWAPS: Record<string, () => SwapDevice> = {
  RAM: () => ramSwap({ size: SLOTS * PAGE_SIZE }),
  "a file": () => fileSwap({ size: SLOTS * PAGE_SIZE }),
  "a map that takes time": () => new MapSwap({ slots: SLOTS, delay: turn }),
};

test.each(Object.entries(SWAPS))("at random, on %s", (name, swap) =>
  seeded(async (random) => {
    const device = create(swap());
    const bo = device.createBuffer(1);
    let model: Uint8Array = new Uint8Array(1);
    for (let step = 0; step < 80; step++) {
      const size = 1 + random.below(random.pick([1, 3, 40, 300]) * PAGE_SIZE);
      if (random.chance(0.5) || name.includes("time")) await bo.resize(size);
      else bo.resizeSync(size);
      model = cut(model, size);
      expect(bo.size).toBe(size);
      if (random.chance(0.2)) await bo.shrink();
      if (random.chance(0.5)) expectSame(await content(bo), model, `step ${step}`);
      const length = 1 + random.below(size);
      const offset = random.below(size - length + 1);
      const bytes = pattern(step, length);
      await bo.write(offset, bytes);
      model.set(bytes, offset);
      device.check();
    }
    expectSame(await content(bo), model, "in the end");
    bo.destroy();
    expectAllFree(device);
    expectRest(device);
    await device.close();
  }),
);

test("what is beyond is given up, and reads as zeros if it comes back", () => {
  using device = create();
  const bo = filled(device, 400, 1);
  bo.shrinkSync();
  bo.resizeSync(PAGE_SIZE + 10);
  const { pages, slots } = device.stats();
  expect(pages.total - pages.free + slots.total - slots.free).toBeLessThanOrEqual(4);
  bo.resizeSync(400 * PAGE_SIZE);
  const bytes = contentSync(bo);
  expectSame(bytes.subarray(0, PAGE_SIZE + 10), pattern(1, PAGE_SIZE + 10), "kept");
  expectZeros(bytes.subarray(PAGE_SIZE + 10), "new");
});

test("a size that is another one by whole windows moves nothing", () => {
  const swap = new MapSwap({ slots: SLOTS });
  using device = create(swap);
  const bo = filled(device, 320, 1); // ten windows of 32 pages
  bo.shrinkSync();
  swap.forget();
  bo.resizeSync(640 * PAGE_SIZE);
  bo.resizeSync(192 * PAGE_SIZE);
  expect(swap.calls).toEqual([]);
  expectSame(contentSync(bo), pattern(1, 320 * PAGE_SIZE).subarray(0, bo.size), "kept");
});

describe("a resize that fails leaves the buffer as it was", () => {
  test.each(["sync", "async"] as const)("%s", async (form) => {
    const swap = new MapSwap({ slots: SLOTS });
    const device = create(swap);
    const bo = filled(device, 100, 1);
    const resize = async (size: number, signal?: CountingSignal) => {
      if (form === "sync") bo.resizeSync(size, { signal });
      else await bo.resize(size, { signal });
    };
    for (const size of [50 * PAGE_SIZE, 110 * PAGE_SIZE, 300 * PAGE_SIZE]) {
      for (let looks = 1; looks < 12; looks += 3) {
        bo.shrinkSync();
        await fails("EINTR", resize(size, new CountingSignal(looks)));
        expect(bo.size).toBe(100 * PAGE_SIZE);
        device.check();
      }
      bo.shrinkSync();
      swap.before = failAt(false, 1, systemError("EIO"));
      await fails("EIO", resize(size));
      swap.before = undefined;
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
    }
    await fails("ENOMEM", resize((SLOTS + FRAMES) * PAGE_SIZE));
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.destroy();
    expectAllFree(device);
    expectRest(device);
    await device.close();
  });
});

test("a buffer in use is not resized, and one that is being resized is not used", async () => {
  const gate = new Gate();
  gate.open();
  const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
  const bo = device.createBuffer(100 * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  await bo.pin();
  expect((await fails("EBUSY", bo.resize(1))).message).toMatch(/unmap or unpin it first/);
  bo.unpin();
  await bo.shrink();
  gate.close();
  const reading = content(bo);
  await until(() => gate.waiting > 0);
  expect((await fails("EBUSY", bo.resize(1))).message).toMatch(/await what is in flight/);
  gate.open();
  expectSame(await settles(reading), pattern(1, bo.size), "read");
  await bo.shrink();
  gate.close();
  const resizing = bo.resize(90 * PAGE_SIZE);
  await until(() => gate.waiting > 0);
  for (const use of [
    () => bo.read(0, new Uint8Array(1)),
    () => bo.write(0, new Uint8Array(1)),
    () => bo.map(),
    () => bo.shrink(),
    () => bo.resize(5),
  ]) {
    expect((await fails("EBUSY", use())).message).toMatch(/being resized/);
  }
  gate.open();
  await settles(resizing);
  expectSame(await content(bo), pattern(1, 100 * PAGE_SIZE).subarray(0, bo.size), "resized");
  await device.close({ force: true });
});

/** Bytes of a window of a buffer that is a row of them and fits the memory all the same. */
const WHOLE = 512 * PAGE_SIZE;

test("what is pinned gets no more windows either, as a pin is one of all of them", async () => {
  const device = create(undefined, 2048);
  const bo = filled(device, 1024, 1);
  bo.pinSync();
  expect((await fails("EBUSY", bo.resize(3 * WHOLE))).message).toMatch(/unmap or unpin it first/);
  expect(() => bo.resizeSync(3 * WHOLE)).toThrow(/unmap or unpin it first/);
  bo.unpin();
  bo.resizeSync(3 * WHOLE);
  bo.pinSync();
  bo.unpin();
  expectRest(device);
  await device.close({ force: true });
});

describe("what waits until it may take one window after the other is in use", () => {
  const uses: Record<string, (bo: BufferObject) => Promise<unknown>> = {
    pin: (bo) => bo.pin(),
    map: async (bo) => (await bo.map()).unmap(),
    populate: (bo) => bo.populate(),
  };
  test.each(Object.entries(uses))("%s", async (_, use) => {
    const gate = new Gate();
    gate.open();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }), 2048);
    const other = device.createBuffer(2 * WHOLE);
    await other.write(0, pattern(2, other.size));
    const bo = device.createBuffer(2 * WHOLE);
    await bo.write(0, pattern(1, bo.size));
    await device.shrink();
    gate.close();
    const first = other.populate();
    await until(() => gate.waiting > 0);
    const second = use(bo);
    for (const size of [WHOLE, 3 * WHOLE]) {
      const failed = await fails("EBUSY", bo.resize(size));
      expect(failed.message).toMatch(/await what is in flight/);
    }
    gate.open();
    await settles(Promise.all([first, second]));
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
    expectRest(device);
  });
});

test("what was mapped by the call whose signal began it stays, and the size as it was", async () => {
  const device = create();
  const bo = filled(device, 20, 1);
  let resizing: Promise<void> | undefined;
  const signal = {
    get aborted() {
      resizing ??= bo.resize(10 * PAGE_SIZE);
      return false;
    },
  };
  const mapping = bo.mapSync({ signal });
  await fails("EBUSY", resizing as Promise<void>);
  const other = filled(device, FRAMES - 20, 2);
  expectSame(mapping.segments[0] as Uint8Array, pattern(1, bo.size), "mapped");
  mapping.unmap();
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
  device.check();
  for (const each of [bo, other]) each.destroy();
  expectAllFree(device);
  await device.close();
});

test.each(["write", "writeSync"] as const)(
  "what the %s writes whose signal began it is kept",
  async (name) => {
    const device = create();
    const bo = filled(device, 20, 1);
    let resizing: Promise<void> | undefined;
    const signal = {
      get aborted() {
        resizing ??= bo.resize(10 * PAGE_SIZE);
        return false;
      },
    };
    await bo[name](0, pattern(2, PAGE_SIZE), { signal });
    const outcome = await (resizing as Promise<void>).catch((error) => error.code);
    expect([undefined, "EBUSY"]).toContain(outcome);
    expectSame(bo.readSync(0, new Uint8Array(PAGE_SIZE)), pattern(2, PAGE_SIZE), "written");
    device.check();
    await device.close({ force: true });
  },
);

test.each([30, 10, 300])("advice is kept, and what came of it, with %i pages", (pages) => {
  const device = create();
  const bo = filled(device, 20, 1);
  bo.advise("dontneed");
  bo.resizeSync(pages * PAGE_SIZE);
  expectSame(contentSync(bo), cut(pattern(1, 20 * PAGE_SIZE), bo.size), "resized");
  device.shrinkSync();
  expectZeros(contentSync(bo), "thrown away");
  bo.resizeSync(20 * PAGE_SIZE);
  expect(bo.advise("willneed")).toBe(false);
  bo.writeSync(0, new Uint8Array(1));
  bo.resizeSync(21 * PAGE_SIZE);
  expect(bo.advise("willneed")).toBe(true);
  device.closeSync({ force: true });
});

test("a device that is closed meanwhile gets all pages back", async () => {
  const gate = new Gate();
  gate.open();
  const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
  const sibling = device.createSibling();
  const bo = sibling.createBuffer(100 * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  await bo.shrink();
  gate.close();
  const resizing = bo.resize(300 * PAGE_SIZE).catch((error: unknown) => error);
  await until(() => gate.waiting > 0);
  const closing = sibling.close({ force: true });
  gate.open();
  expect(await settles(resizing)).toBeInstanceOf(Error);
  await settles(closing);
  expectAllFree(device);
  await device.close();
});

test.each([0, -1, 1.5, Number.NaN, "5 apples", null])("a size of %s is refused", (size) => {
  using device = create();
  const bo = filled(device, 1, 1);
  expect(() => bo.resizeSync(size as never)).toThrow(/size/);
  expect(bo.size).toBe(PAGE_SIZE);
});
