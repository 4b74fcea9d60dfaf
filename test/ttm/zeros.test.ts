/* Pages of zeros leave as nothing: no slot, no transfer; they come back as holes do. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  createDeviceSync,
  PAGE_SIZE,
  ramSwap,
} from "../../src/index.ts";
import { Pool, populateTtSync, shrinkTtSync, Tt } from "../../src/ttm.ts";
import { contentSync, expectSame } from "../support/bytes.ts";
import { filled, KINDS } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { kit } from "./support/kit.ts";

const ONE = Uint8Array.of(1);
const SIZE = 512 * PAGE_SIZE;

function expectContent(bo: BufferObject, model: Uint8Array): void {
  expectSame(contentSync(bo), model, `buffer ${bo.id}`);
}

describe.each(KINDS)("on $kind swap", ({ create }) => {
  test("one byte written into a fresh buffer of 2 MiB is one page out, and one in", () => {
    const device = create({ memory: 1024, swap: 1024 });
    for (const at of [0, SIZE / 2 + 5, SIZE - 1]) {
      const before = { ...device.stats() };
      const bo = device.createBuffer(SIZE);
      const model = new Uint8Array(SIZE);
      bo.populateSync();
      bo.writeSync(at, ONE);
      model[at] = 1;
      expect(bo.shrinkSync()).toBe(512);
      const { pagesOut, pagesZero, pages, slots } = device.stats();
      expect(pagesOut - before.pagesOut).toBe(1);
      expect(pagesZero - before.pagesZero).toBe(511);
      expect(pages.free).toBe(1024);
      expect(slots.free).toBe(1023);
      device.check();
      expectContent(bo, model);
      expect(device.stats().pagesIn - before.pagesIn).toBe(1);
      device.check();
      bo.destroy();
    }
    device.closeSync();
  });

  test("what the frames held before is not seen where zeros were", () => {
    const device = create({ memory: 64, swap: 256 });
    const bo = device.createBuffer(32 * PAGE_SIZE);
    const model = new Uint8Array(bo.size);
    for (const page of [3, 4, 20]) {
      bo.writeSync(page * PAGE_SIZE, ONE);
      model[page * PAGE_SIZE] = 1;
    }
    bo.shrinkSync();
    const others = filled(device, 64, 2);
    others.shrinkSync();
    expectContent(bo, model);
    device.check();
  });

  test("a buffer of zeros holds nothing once it has left, and is read without memory", () => {
    const device = create({ memory: 64, swap: 64 });
    const bo = device.createBuffer(40 * PAGE_SIZE);
    bo.populateSync();
    expect(bo.shrinkSync()).toBe(40);
    expect(device.stats()).toMatchObject({ pagesOut: 0, pagesZero: 40, slots: { free: 64 } });
    expect(bo.tt.vector).toBe(-1);
    expectContent(bo, new Uint8Array(bo.size));
    expect(bo.residentPages).toBe(0);
    expect(bo.advise("willneed")).toBe(true); // nothing was thrown away
    bo.writeSync(7, ONE);
    expect(bo.residentPages).toBe(1);
    device.check();
  });

  test("with swap full, zeros leave, wherever they stand", () => {
    const device = create({ memory: 64, swap: 32 });
    filled(device, 32, 1).shrinkSync();
    const bo = device.createBuffer(32 * PAGE_SIZE);
    bo.populateSync();
    const model = new Uint8Array(bo.size);
    for (const page of [0, 9, 31]) {
      bo.writeSync(page * PAGE_SIZE + 1, ONE);
      model[page * PAGE_SIZE + 1] = 1;
    }
    expect(device.stats().slots.free).toBe(0);
    expect(bo.shrinkSync()).toBe(29);
    expect(bo.residentPages).toBe(3);
    expect(device.stats().pagesZero).toBe(29);
    device.check();
    failsSync("ENOSPC", () => bo.shrinkSync());
    // And by pressure: what is dirty stays, what is zeros makes room.
    bo.populateSync();
    const more = filled(device, 60, 3);
    expect(bo.residentPages).toBe(3);
    device.check();
    more.destroy();
    expectContent(bo, model);
  });
});

test("zeros written over content in swap take their slots away", () => {
  const { device, swap } = kit({ memory: 64, swap: 64 });
  const bo = filled(device, 20, 1);
  bo.shrinkSync();
  bo.populateSync();
  bo.writeSync(0, new Uint8Array(bo.size));
  swap.forget();
  expect(bo.shrinkSync()).toBe(20);
  expect(swap.pagesOut).toBe(0);
  expect(device.stats().slots.free).toBe(64);
  expectContent(bo, new Uint8Array(bo.size));
  // In part: such pages keep their slots until then.
  const other = filled(device, 20, 2);
  other.shrinkSync();
  other.populateSync();
  other.writeSync(5 * PAGE_SIZE, new Uint8Array(3 * PAGE_SIZE));
  swap.forget();
  expect(other.shrinkSync()).toBe(20);
  expect(swap.pagesOut).toBe(0);
  expect(device.stats()).toMatchObject({ pagesZero: 23, slots: { free: 64 - 17 } });
  device.check();
});

test("a shrink that is stopped, or fails, leaves zeros as they were, or gone", () => {
  for (const failure of ["abort", "write"]) {
    for (let stop = 0; stop < 6; stop++) {
      const { device, swap } = kit({ memory: 64, swap: 64 }, { transferPages: 2 });
      const bo = device.createBuffer(16 * PAGE_SIZE);
      const model = new Uint8Array(bo.size);
      for (const page of [1, 2, 3, 7, 8, 12]) {
        bo.writeSync(page * PAGE_SIZE, ONE);
        model[page * PAGE_SIZE] = 1;
      }
      const over = () => swap.pagesOut >= stop;
      const signal = {
        get aborted() {
          return failure === "abort" && over();
        },
      };
      if (failure === "write" && stop === 0) swap.writeFailure = new Error("torn");
      let released = 0;
      try {
        released = bo.shrinkSync({ signal });
      } catch (error) {
        expect(error).toMatchObject({ code: failure === "abort" ? "EINTR" : "EIO" });
      }
      swap.writeFailure = undefined;
      expect(bo.residentPages).toBe(16 - released);
      device.check();
      expectContent(bo, model);
      bo.shrinkSync();
      expectContent(bo, model);
      device.check();
    }
  }
});

test("a partly shrunken tt of the kernel's layer is shrunken, of zeros or not, and comes back", () => {
  const { device, global } = kit({ memory: 64, swap: 64 });
  const pool = new Pool(global);
  const tt = new Tt(16, { caching: "wc" });
  populateTtSync(pool, tt);
  expect(shrinkTtSync(pool, tt, { pages: 4 })).toBe(16); // a chunk leaves whole
  expect(tt).toMatchObject({ shrunken: true, swapped: true, populated: false, resident: 0 });
  expect(global.stats).toMatchObject({ pagesOut: 0, pagesZero: 16 });
  device.check();
  populateTtSync(pool, tt);
  expect(tt).toMatchObject({ shrunken: false, populated: true, resident: 16 });
  device.check();
  pool.release(tt);
});

test("an interrupted restore goes on across zeros", () => {
  const { device, swap } = kit(
    { memory: 64, swap: 64 },
    { transferPages: 1, pool: { orders: [0, 2] } },
  );
  const bo = device.createBuffer(16 * PAGE_SIZE);
  const model = new Uint8Array(bo.size);
  for (const page of [0, 2, 5, 6, 13]) {
    bo.writeSync(page * PAGE_SIZE, ONE);
    model[page * PAGE_SIZE] = 1;
  }
  bo.shrinkSync();
  swap.forget();
  for (let stop = 1; stop < 5; stop++) {
    const signal = {
      get aborted() {
        return swap.pagesIn >= stop;
      },
    };
    expect(failsSync("EINTR", () => bo.populateSync({ signal })).code).toBe("EINTR");
    device.check();
  }
  bo.populateSync();
  expect(swap.pagesIn).toBe(5);
  expectContent(bo, model);
});

test("asynchronously, with checksums and without", async () => {
  for (const checksums of [true, false]) {
    const swap = ramSwap({ size: 64 * PAGE_SIZE });
    const device = await createDevice({ memory: 64 * PAGE_SIZE, swap, checksums });
    const bo = device.createBuffer(33 * PAGE_SIZE);
    await bo.populate();
    const model = new Uint8Array(bo.size);
    for (let round = 0; round < 3; round++) {
      await bo.write(round * 10 * PAGE_SIZE, ONE);
      model[round * 10 * PAGE_SIZE] = 1;
      expect(await bo.shrink()).toBe(33);
      expect(await bo.read(0, new Uint8Array(bo.size))).toEqual(model);
      device.check();
    }
    expect(device.stats().pagesOut).toBe(3);
    await device.close({ force: true });
  }
});

test("many buffers of zeros want no room for page vectors", () => {
  using device = createDeviceSync({
    memory: 16 * PAGE_SIZE,
    swap: ramSwap({ size: 16 * PAGE_SIZE }),
  });
  const bos: BufferObject[] = [];
  for (let i = 0; i < 400; i++) {
    const bo = device.createBuffer(8 * PAGE_SIZE);
    bo.writeSync(0, new Uint8Array(bo.size));
    bos.push(bo);
  }
  device.check();
  for (const bo of bos) expectContent(bo, new Uint8Array(bo.size));
});
