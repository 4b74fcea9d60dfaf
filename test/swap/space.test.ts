/*
 * Stores that lie: that promise more slots than they have room for, have bad ones, or are broken for a
 * moment. What was accepted can always be read again, and what the store has room for is used.
 */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  TtmError,
  type TtmErrorCode,
} from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { randomDelay, until } from "../support/delays.ts";
import { expectAllFree, filled } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { CAN_MOUNT, SmallDisk } from "../support/files.ts";
import { CuttableSwap, LimitedSwap } from "../support/limited_swap.ts";
import { MapSwap } from "../support/map_swap.ts";
import { type Random, seeded } from "../support/random.ts";

function open(memory: number, swap: LimitedSwap): Device {
  return createDeviceSync({ memory: memory * PAGE_SIZE, swap });
}

interface Filled {
  readonly bo: BufferObject;
  readonly seed: number;
}

/** Buffers of `pages` pages until one is refused as there is no room. */
function fillUp(device: Device, pages: number, most: number): Filled[] {
  const all: Filled[] = [];
  for (let seed = 0; seed < most; seed++) {
    const bo = device.createBuffer(pages * PAGE_SIZE);
    try {
      bo.writeSync(0, pattern(seed, bo.size));
      all.push({ bo, seed });
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
      bo.destroy();
      return all;
    }
  }
  throw new Error("it was never full");
}

function expectAll(all: readonly Filled[]): void {
  for (const { bo, seed } of all) expectSame(contentSync(bo), pattern(seed, bo.size), `${seed}`);
}

describe("a store that is smaller than it says", () => {
  test("gives back all that was accepted, wherever its end is", () => {
    for (let capacity = 0; capacity <= 90; capacity++) {
      const swap = new LimitedSwap({ slots: 4096 });
      swap.capacity = capacity;
      const device = open(64, swap);
      const all = fillUp(device, 8, 100);
      expect(all.length).toBeGreaterThanOrEqual(7 + Math.floor(capacity / 8) - 1);
      for (let round = 0; round < 3; round++) expectAll(all);
      expectAll([...all].reverse());
      device.check();
      for (const { bo } of all) bo.destroy();
      expectAllFree(device);
      device.closeSync();
    }
  });

  test("is filled to the page, and that is its capacity", () => {
    for (let capacity = 1; capacity <= 70; capacity++) {
      const swap = new LimitedSwap({ slots: 4096 });
      swap.capacity = capacity;
      const device = open(512, swap);
      const bo = filled(device, 300, 1);
      expect(bo.shrinkSync()).toBe(capacity);
      expect(device.stats().slots).toEqual({ total: capacity, free: 0 });
      expect(swap.taken.size).toBe(capacity);
      device.check();
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
      device.closeSync({ force: true });
    }
  });

  test("is told by name of what it said; without room for a page, once a shrink", () => {
    const swap = new LimitedSwap({ slots: 4096 });
    const thrown = new DOMException("the quota is used up", "QuotaExceededError");
    swap.full = () => thrown;
    swap.capacity = 20;
    const device = open(64, swap);
    const bo = filled(device, 40, 1);
    expect(bo.shrinkSync()).toBe(20);
    for (let i = 1; i <= 5; i++) {
      swap.refusals = [];
      const error = failsSync("ENOSPC", () => bo.shrinkSync());
      expect(error).toMatchObject({ op: "shrink", cause: thrown });
      expect(swap.refusals.map(({ pages }) => pages)).toEqual([1]);
      expect(device.stats().slots).toEqual({ total: 20, free: 0 });
    }
    device.check();
  });

  test("that has room again is used again, at once", () => {
    const swap = new LimitedSwap({ slots: 4096 });
    swap.capacity = 20;
    const device = open(512, swap);
    const bo = filled(device, 300, 1);
    expect(bo.shrinkSync()).toBe(20);
    failsSync("ENOSPC", () => bo.shrinkSync());
    swap.capacity = 200;
    expect(bo.shrinkSync()).toBe(180);
    expect(device.stats().slots.total).toBe(200);
    swap.capacity = 4096;
    expect(bo.shrinkSync()).toBe(100);
    expect(device.stats().slots.total).toBe(4096);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.check();
  });

  test("has its promise back when nothing is in it any more", () => {
    for (const swap of [new LimitedSwap({ slots: 4096 }), new CuttableSwap({ slots: 4096 })]) {
      swap.capacity = 20;
      const device = open(64, swap);
      const bo = filled(device, 40, 1);
      bo.shrinkSync();
      expect(device.stats().slots.total).toBe(20);
      bo.destroy();
      expect(device.stats().slots).toEqual({ total: 4096, free: 4096 });
      device.check();
    }
  });

  test("tells ENOSPC, and how much it has, for content that would leave nothing to exchange", () => {
    const swap = new LimitedSwap({ slots: 4096 });
    swap.capacity = 32;
    const device = open(64, swap);
    const all = fillUp(device, 8, 100);
    expect(all.length).toBe(11); // 96 frames and slots, of which one is left
    const next = device.createBuffer(8 * PAGE_SIZE);
    failsSync("ENOSPC", () => next.writeSync(0, new Uint8Array(1)));
    expect(device.stats().slots.total).toBe(32);
    expectAll(all);
  });

  test("may say so about slots that it had: then it has not", () => {
    // A quota on what is written, not on what is there.
    let left = 100;
    const swap = new MapSwap({ slots: 4096 });
    swap.before = ({ out, pages }) => {
      if (out && pages > left) throw Object.assign(new Error("quota"), { code: "EDQUOT" });
      if (out) left -= pages;
    };
    const device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap });
    const bo = filled(device, 40, 1);
    const other = filled(device, 20, 2);
    for (let round = 0; round < 3; round++) {
      try {
        bo.shrinkSync();
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
      bo.writeSync(0, pattern(1, bo.size));
      device.check();
    }
    expect(left).toBe(0);
    expectSame(contentSync(other), pattern(2, other.size), "other");
  });

  test.each(["sync", "async"] as const)("through all that is done with it: %s", (form) =>
    seeded(async (random) => {
      for (let round = 0; round < 8; round++) await workOn(random, form === "async");
    }),
  );

  test("with several shrinks in flight: none takes from another, and all is learnt", () =>
    seeded(async (random) => {
      for (let round = 0; round < 12; round++) {
        const swap = new LimitedSwap({ slots: 4096, delay: randomDelay(random) });
        swap.capacity = random.below(120) + 1;
        const device = await createDevice({ memory: 512 * PAGE_SIZE, swap });
        const all: Filled[] = [];
        for (let seed = 0; seed < 8; seed++) {
          const bo = device.createBuffer((random.below(50) + 1) * PAGE_SIZE);
          await bo.write(0, pattern(seed, bo.size));
          all.push({ bo, seed });
        }
        const released = await Promise.all(
          all.map(({ bo }) => bo.shrink().catch((error) => refused(error))),
        );
        const pages = all.reduce((sum, { bo }) => sum + bo.size / PAGE_SIZE, 0);
        const fit = Math.min(swap.capacity, pages);
        expect(released.reduce((sum, pages) => sum + pages, 0)).toBe(fit);
        expect(swap.taken.size).toBe(fit);
        if (fit < pages) expect(device.stats().slots).toEqual({ total: fit, free: 0 });
        device.check();
        for (const { bo, seed } of all) {
          expectSame(await content(bo), pattern(seed, bo.size), `${seed}`);
        }
        expect(swap.broken).toBeUndefined();
        await device.close({ force: true });
      }
    }));
});

/** No pages released, as there was no room. */
function refused(error: unknown): number {
  expect(error).toMatchObject({ code: "ENOSPC" });
  return 0;
}

/** Random work on a store that has room for some pages; what it accepted can always be read. */
async function workOn(random: Random, isAsync: boolean): Promise<void> {
  const options = isAsync ? { slots: 4096, delay: randomDelay(random) } : { slots: 4096 };
  const swap = random.chance(0.5) ? new CuttableSwap(options) : new LimitedSwap(options);
  swap.capacity = random.below(100);
  const memory = 32 + random.below(100);
  const keepClean = random.chance(0.7);
  const device = createDeviceSync({ memory: memory * PAGE_SIZE, swap, keepClean });
  const alive: { bo: BufferObject; bytes: Uint8Array }[] = [];
  for (let step = 0; step < 150; step++) {
    const one = alive.length > 0 ? random.pick(alive) : undefined;
    const kind = random.below(10);
    if (kind < 3 || !one) {
      const bo = device.createBuffer((random.below(12) + 1) * PAGE_SIZE);
      const bytes = pattern(random.next(), bo.size);
      const error = await codeOf(() => (isAsync ? bo.write(0, bytes) : bo.writeSync(0, bytes)));
      if (error === undefined) alive.push({ bo, bytes });
      else expect([error, bo.destroy()]).toEqual(["ENOSPC", undefined]);
    } else if (kind < 7) {
      const shown = isAsync ? await content(one.bo) : contentSync(one.bo);
      expectSame(shown, one.bytes, `step ${step}`);
    } else if (kind < 8) {
      const page = pattern(random.next(), PAGE_SIZE);
      const at = random.below(one.bytes.length / PAGE_SIZE) * PAGE_SIZE;
      if (isAsync) await one.bo.write(at, page);
      else one.bo.writeSync(at, page);
      one.bytes.set(page, at);
    } else if (kind < 9) {
      const error = await codeOf(() => (isAsync ? device.shrink() : device.shrinkSync()));
      expect([undefined, "ENOSPC"]).toContain(error);
    } else if (random.chance(0.5)) {
      alive.splice(alive.indexOf(one), 1);
      one.bo.destroy();
    } else swap.capacity = swap.taken.size + random.below(60);
    device.check();
    expect(swap.broken).toBeUndefined();
  }
  for (const { bo, bytes } of alive) {
    expectSame(isAsync ? await content(bo) : contentSync(bo), bytes, "at the end");
    bo.destroy();
  }
  expectAllFree(device);
  await device.close();
}

async function codeOf(run: () => unknown): Promise<TtmErrorCode | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    if (error instanceof TtmError) return error.code;
    throw error;
  }
}

describe.skipIf(!CAN_MOUNT)("a small disk that is full (needs root, to mount one)", () => {
  test.each([16, 128, 511])("all buffers of %i pages that were accepted can be read", (pages) => {
    using disk = new SmallDisk("2m");
    const swap = fileSwap({ size: "64 MiB", path: disk.file("swap") });
    const device = createDeviceSync({ memory: "2 MiB", swap });
    const all = fillUp(device, pages, 2000);
    expect(all.length * pages).toBeGreaterThan(pages > 500 ? 500 : 800);
    for (let round = 0; round < 3; round++) expectAll(all);
    device.check();
    const { total } = device.stats().slots;
    if (pages < 500) expect(total).toBe(512);
    device.closeSync({ force: true });
  });
});

describe("slots to which a write fails", () => {
  test("come after all others: one bad one stops one shrink, not every one", () => {
    const swap = new LimitedSwap({ slots: 256 });
    swap.bad.add(10);
    const device = open(256, swap);
    const bo = filled(device, 200, 1);
    failsSync("EIO", () => bo.shrinkSync());
    expect(device.stats().slots.free).toBe(256);
    swap.refusals = [];
    // Those that were not tried, and then the others, a few at a time.
    let released = bo.shrinkSync();
    expect(released).toBeGreaterThan(56);
    expect(swap.refusals.length).toBeLessThanOrEqual(1);
    for (let i = 0; i < 5 && released < 200; i++) released += bo.shrinkSync();
    expect(released).toBe(200);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.check();
  });

  test("leave the rest of the store to be used, down to the last slot", () => {
    for (const step of [3, 7, 16, 50]) {
      const swap = new LimitedSwap({ slots: 128 });
      for (let slot = step; slot <= 128; slot += step) swap.bad.add(slot);
      const good = 128 - swap.bad.size;
      const device = open(256, swap);
      const bo = filled(device, 200, 1);
      let released = 0;
      let failures = 0;
      while (failures < 2 * swap.bad.size + 2) {
        try {
          released += bo.shrinkSync();
        } catch (error) {
          expect(error).toMatchObject({ code: "EIO" });
          failures++;
        }
        device.check();
      }
      expect(released).toBe(good);
      expect(swap.taken.size).toBe(good);
      expectSame(contentSync(bo), pattern(1, bo.size), `every ${step}`);
      device.closeSync({ force: true });
    }
  });

  test("as the store was broken for a moment are not lost", () => {
    const swap = new LimitedSwap({ slots: 64 });
    const device = open(128, swap);
    const bo = filled(device, 64, 1);
    for (let slot = 1; slot <= 64; slot++) swap.bad.add(slot);
    for (let i = 0; i < 20; i++) failsSync("EIO", () => bo.shrinkSync());
    expect(device.stats().slots).toEqual({ total: 64, free: 64 });
    swap.bad.clear();
    expect(bo.shrinkSync()).toBe(64);
    expect(device.stats().slots.free).toBe(0);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.destroy();
    expectAllFree(device);
  });

  test("do not count as something to exchange with", async () => {
    const swap = new LimitedSwap({ slots: 32, delay: async () => {} });
    for (let slot = 17; slot <= 32; slot++) swap.bad.add(slot);
    const device = await createDevice({ memory: 32 * PAGE_SIZE, swap });
    const all: Filled[] = [];
    for (let seed = 0; seed < 20; seed++) {
      const bo = device.createBuffer(4 * PAGE_SIZE);
      const code = await codeOf(() => bo.write(0, pattern(seed, bo.size)));
      if (code === undefined) all.push({ bo, seed });
      else bo.destroy();
    }
    expect(all.length).toBeGreaterThanOrEqual(10);
    for (let round = 0; round < 3; round++) {
      for (const { bo, seed } of all) {
        expectSame(await content(bo), pattern(seed, bo.size), `${seed}`);
      }
    }
    device.check();
  });
});

describe("space that is not needed any more", () => {
  test("is given back when nothing is in swap, at once", () => {
    const swap = new CuttableSwap({ slots: 4096 });
    const device = open(64, swap);
    const bos = Array.from({ length: 30 }, (_, i) => filled(device, 16, i));
    expect(swap.stored.size).toBeGreaterThan(400);
    for (const bo of bos) bo.destroy();
    expect(swap.truncated.at(-1)).toBe(0);
    expect(swap.stored.size).toBe(0);
    const again = Array.from({ length: 8 }, (_, i) => filled(device, 16, i));
    device.shrinkSync();
    expect(Math.max(...swap.stored.keys())).toBe(128);
    for (const bo of again) bo.destroy();
    expect(swap.stored.size).toBe(0);
    expectAllFree(device);
  });

  test("is given back by and by while it gets less, and not for a little", () => {
    const swap = new CuttableSwap({ slots: 65_536 });
    const device = open(64, swap);
    const bos = Array.from({ length: 512 }, (_, i) => filled(device, 16, i));
    device.shrinkSync();
    expect(Math.max(...swap.stored.keys())).toBe(8192);
    while (bos.length > 256) bos.pop()?.destroy();
    expect(swap.truncated).toEqual([]);
    for (let left = 256; left > 4; left--) {
      bos.pop()?.destroy();
      // Twice what is there, and 256 slots to spare.
      expect(Math.max(...swap.stored.keys())).toBeLessThanOrEqual(2 * (16 * left + 256));
    }
    expect(swap.truncated.length).toBeLessThanOrEqual(8);
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
    expect(swap.broken).toBeUndefined();
  });

  test("stays where a restore frees its slots, for when they leave again, and goes with what came back", () => {
    const swap = new CuttableSwap({ slots: 4096 });
    const device = createDeviceSync({ memory: 1024 * PAGE_SIZE, swap, keepClean: false });
    const bo = filled(device, 900, 1);
    bo.shrinkSync();
    bo.populateSync();
    expect(device.stats().slots.free).toBe(4096);
    expect(swap.stored.size).toBe(900);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    bo.shrinkSync();
    expect(swap.truncated).toEqual([]);
    bo.populateSync();
    expectSame(contentSync(bo), pattern(1, bo.size), "content once more");
    bo.destroy();
    expect(swap.stored.size).toBe(0);
  });

  test("that a store cannot give back costs nothing but space", () => {
    const swap = new CuttableSwap({ slots: 4096 });
    swap.truncate = () => {
      throw new Error("not now");
    };
    const device = open(64, swap);
    for (let round = 0; round < 3; round++) {
      const bos = Array.from({ length: 30 }, (_, i) => filled(device, 16, i));
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      });
      for (const bo of bos) bo.destroy();
      expectAllFree(device);
    }
  });
});

describe("a device object", () => {
  const make = (kind: string): MapSwap =>
    kind === "sync"
      ? new MapSwap({ slots: 64 })
      : new MapSwap({ slots: 64, delay: () => Promise.resolve() });

  test.each(["sync", "async"])("serves one device at a time: %s", async (kind) => {
    const swap = make(kind);
    const first = await createDevice({ memory: "64 KiB", swap });
    const again = () => createDeviceSync({ memory: "64 KiB", swap });
    expect(again).toThrow(TypeError);
    expect(again).toThrow(/swap device map is in use by another device/);
    expect(swap.opened).toBe(1);
    const sibling = first.createSibling();
    await first.close();
    expect(again).toThrow(TypeError);
    await sibling.close();
    await again().close();
    expect([swap.opened, swap.closed]).toEqual([2, 2]);
  });

  test("that could not be opened can be tried again", () => {
    const swap = make("sync");
    let broken = true;
    swap.open = () => {
      if (broken) throw new Error("not yet");
    };
    expect(() => createDeviceSync({ memory: "64 KiB", swap })).toThrow("not yet");
    broken = false;
    createDeviceSync({ memory: "64 KiB", swap }).closeSync();
  });

  test("is in use until its close has settled, and free even if that failed", async () => {
    const swap = make("sync");
    let reject: ((error: Error) => void) | undefined;
    swap.close = () =>
      new Promise<void>((_, no) => {
        reject = no;
      });
    const first = createDeviceSync({ memory: "64 KiB", swap });
    const closing = first.close();
    await until(() => reject !== undefined);
    expect(() => createDeviceSync({ memory: "64 KiB", swap })).toThrow(TypeError);
    reject?.(new Error("the network is down"));
    await expect(closing).rejects.toThrow();
    createDeviceSync({ memory: "64 KiB", swap });
  });
});

test("what is not full is not learnt: an injected fault, or an interruption", async () => {
  const swap = new LimitedSwap({ slots: 256 });
  const device = open(64, swap);
  const bo = filled(device, 40, 1);
  device.injectFault("slot", { probability: 100, times: 1 });
  await fails("ENOSPC", bo.shrink());
  failsSync("EINTR", () => bo.shrinkSync({ signal: { aborted: true } }));
  expect(device.stats().slots).toEqual({ total: 256, free: 256 });
  expect(bo.shrinkSync()).toBe(40);
});
