/*
 * Memory that goes back to the host, by each means that there is: what is in use stays, byte for byte and view for view,
 * what was given back reads as zeros, and a trim that cannot be done says why.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { afterEach, describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  ramSwap,
  type SwapDevice,
  type TrimMeans,
  type TrimOptions,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { systemError } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { roomySwap } from "./support/packed_swap.ts";
import { seeded } from "./support/random.ts";
import { BY, HERE } from "./support/trims.ts";

const MIB = 2 ** 20;

type Discarding = { discard?: (this: WebAssembly.Memory, at: number, bytes: number) => void };
const prototype = WebAssembly.Memory.prototype as unknown as Discarding;

afterEach(() => {
  delete prototype.discard;
});

/** As the proposal has it: whole pages of WebAssembly become zeros. No host has it, so there is no other to be tried. */
function haveDiscard(): void {
  prototype.discard = function (at, bytes) {
    if (at % 65536 !== 0 || bytes % 65536 !== 0) throw new RangeError("not aligned");
    new Uint8Array(this.buffer, at, bytes).fill(0);
  };
}

const MEANS: readonly TrimMeans[] = ["discard", ...HERE];

function prepare(means: TrimMeans): TrimOptions {
  if (means === "discard") haveDiscard();
  return BY[means];
}

function deviceOf(memory: number, swap: SwapDevice, options?: Partial<DeviceOptions>): Device {
  return createDeviceSync({ memory, swap, ...options });
}

/** Buffers of 256 KiB, each with a pattern of its own. */
function filled(device: Device, count: number): BufferObject[] {
  return Array.from({ length: count }, (_, i) => {
    const bo = device.createBuffer(MIB / 4);
    bo.writeSync(0, pattern(i, bo.size));
    return bo;
  });
}

function expectAll(buffers: readonly BufferObject[]): void {
  for (const [i, bo] of buffers.entries()) {
    expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
  }
}

const SWAPS: Record<string, () => SwapDevice> = {
  RAM: () => ramSwap({ size: "16 MiB" }),
  file: () => fileSwap({ size: "16 MiB" }),
  map: () => new MapSwap({ slots: 4096 }),
  compressed: () => roomySwap(4096),
};

describe.each(MEANS)("by %s", (means) => {
  test.each(Object.keys(SWAPS))("what is free goes, and every byte stays, on %s swap", (kind) => {
    const options = prepare(means);
    const device = deviceOf(8 * MIB, SWAPS[kind]!());
    const buffers = filled(device, 24);
    for (const bo of buffers.slice(0, 20)) bo.shrinkSync();
    const trimmed = device.trimSync(options);
    expect(trimmed).toMatchObject({ means, declined: [] });
    expect(trimmed.bytes).toBeGreaterThanOrEqual(5 * MIB - 128 * 1024);
    expect(device.rss().frames - device.rss().live).toBeLessThan(128 * 1024);
    expect(device.stats().trim).toEqual({ trims: 1, bytes: trimmed.bytes, means, by: trimmed.by });
    device.check();
    expectAll(buffers);
    device.check();
    for (const bo of buffers) bo.destroy();
    device.closeSync();
  });

  test("new pages are zeros, whoever had them before", () => {
    const options = prepare(means);
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 64 }));
    const secrets = device.createBuffer(4 * MIB);
    secrets.writeSync(0, new Uint8Array(secrets.size).fill(0xa5));
    secrets.destroy();
    expect(device.trimSync(options).bytes).toBe(4 * MIB);
    const bo = device.createBuffer(4 * MIB);
    bo.writeSync(100, new Uint8Array(1).fill(1));
    expectZeros(contentSync(bo).subarray(101), "what was never written");
    device.check();
    bo.destroy();
    device.closeSync();
  });

  test("twice gives nothing the second time", () => {
    const options = prepare(means);
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 2048 }));
    const buffers = filled(device, 8);
    expect(device.shrinkSync()).toBe(512);
    expect(device.trimSync(options).bytes).toBe(2 * MIB);
    expect(device.trimSync(options).bytes).toBe(0);
    expectAll(buffers);
    device.closeSync({ force: true });
  });

  test("siblings share what is given back", async () => {
    const options = prepare(means);
    const device = deviceOf(8 * MIB, ramSwap({ size: "16 MiB" }));
    const sibling = device.createSibling({ orders: [2, 0] });
    const [mine, theirs] = [filled(device, 8), filled(sibling, 8)];
    device.shrinkSync({ pages: 600 });
    expect((await sibling.trim(options)).bytes).toBeGreaterThan(MIB);
    expectAll(mine);
    expectAll(theirs);
    device.check();
    await sibling.close({ force: true });
    await device.close({ force: true });
  });

  test("pooled pages go, too, and come back as zeros of their caching", () => {
    const options = prepare(means);
    const device = deviceOf(4 * MIB, ramSwap());
    const bo = device.createBuffer(2 * MIB, { caching: "wc" });
    bo.writeSync(0, pattern(1, bo.size));
    bo.destroy();
    expect(device.stats().pages.pooled).toBe(512);
    expect(device.trimSync(options).bytes).toBe(2 * MIB);
    expect(device.stats().pages.pooled).toBe(512);
    const next = device.createBuffer(2 * MIB, { caching: "wc" });
    next.writeSync(0, new Uint8Array(1));
    expectZeros(contentSync(next), "a page of the pool");
    device.check();
    device.closeSync({ force: true });
  });
});

describe.each(HERE)("by %s, among many", (means) => {
  test("at once with reads, writes and shrinks, on a device that takes time", () =>
    seeded(async (random) => {
      const delay = () => new Promise<void>((resolve) => setTimeout(resolve, random.below(3)));
      const device = deviceOf(8 * MIB, new MapSwap({ slots: 8192, delay }));
      const buffers = Array.from({ length: 40 }, () => device.createBuffer(MIB / 4));
      for (const [i, bo] of buffers.entries()) await bo.write(0, pattern(i, bo.size));
      const uses = buffers.map(async (bo, i) => {
        for (let round = 0; round < 4; round++) {
          expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
          if (random.chance(0.3)) await device.shrink({ pages: 64 });
          if (random.chance(0.3)) await device.trim(BY[means]);
          if (random.chance(0.1)) device.trimSync(BY[means]);
          await bo.write(0, pattern(i, bo.size));
        }
      });
      await Promise.all(uses);
      device.check();
      await device.shrink();
      expect(await device.trim(BY[means])).toMatchObject({ means, declined: [] });
      expect(device.stats().pages.free).toBe(2048);
      expect(device.rss().frames).toBe(0);
      for (const [i, bo] of buffers.entries()) {
        expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
      }
      await device.close({ force: true });
    }));

  test("called by a swap device in the midst of a shrink, it is declined", () => {
    const swap = new MapSwap({ slots: 2048 });
    const device = deviceOf(2 * MIB, swap);
    const buffers = filled(device, 8);
    const whys: string[] = [];
    swap.before = () => {
      whys.push(device.trimSync(BY[means]).declined[0]?.why ?? "nothing");
    };
    device.shrinkSync();
    expect(new Set(whys)).toEqual(
      new Set([
        means === "move"
          ? "pages are on their way to swap, or from there"
          : "an operation is under way",
      ]),
    );
    swap.before = undefined;
    expectAll(buffers);
    device.closeSync({ force: true });
  });
});

describe.runIf(process.platform === "linux")("madvise", () => {
  test("is there on this runtime, and is what is chosen", () => {
    const device = deviceOf(4 * MIB, ramSwap());
    const buffers = filled(device, 8);
    device.shrinkSync();
    const { means, by, declined } = device.trimSync();
    const runtime = process.env.TTM_TEST_RUNTIME ?? "node";
    const expected = { node: "koffi", bun: "bun:ffi", deno: "Deno.dlopen" }[runtime];
    expect({ means, by }).toEqual({ means: "madvise", by: expected });
    expect(declined.map((each) => each.means)).toEqual(["discard"]);
    expectAll(buffers);
    device.closeSync({ force: true });
  });

  test("keeps views of mappings, and what they show", () => {
    const device = deviceOf(8 * MIB, fileSwap({ size: "16 MiB" }));
    const buffers = filled(device, 16);
    const mappings = buffers.slice(0, 8).map((bo) => bo.mapSync());
    device.shrinkSync();
    const { means, bytes } = device.trimSync();
    expect(means).toBe("madvise");
    expect(bytes).toBeGreaterThanOrEqual(2 * MIB - 65536);
    for (const [i, mapping] of mappings.entries()) {
      expectSame(mapping.bytes!, pattern(i, MIB / 4), `mapping ${i}`);
      mapping.bytes![5] = 77;
      mapping.unmap();
      expect(buffers[i]!.readSync(5, new Uint8Array(1))[0]).toBe(77);
    }
    device.closeSync({ force: true });
  });

  test("takes the process' memory down", () => {
    const device = deviceOf(64 * MIB, new MapSwap({ slots: 16 }));
    const bo = device.createBuffer(64 * MIB);
    for (let at = 0; at < bo.size; at += MIB) bo.writeSync(at, new Uint8Array(MIB).fill(1));
    bo.destroy();
    const before = rss();
    expect(device.trimSync({ means: ["madvise"] }).bytes).toBe(64 * MIB);
    // All but what the test itself may have taken meanwhile.
    expect(before - rss()).toBeGreaterThan(32 * MIB);
    device.closeSync();
  });
});

/** Bytes of the process that are in memory. */
function rss(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}

describe("a move", () => {
  const by = { means: ["move"] } as const;

  test("declines while something is pinned or mapped, and says so", () => {
    const device = deviceOf(8 * MIB, ramSwap());
    const buffers = filled(device, 16);
    const mapping = buffers[0]!.mapSync({ offset: 0, length: 1 });
    device.shrinkSync();
    const { declined } = device.trimSync(by);
    expect(declined).toEqual([{ means: "move", why: "256 KiB are pinned or mapped" }]);
    mapping.unmap();
    buffers[1]!.pinSync();
    expect(device.trimSync(by).declined[0]!.why).toBe("256 KiB are pinned or mapped");
    buffers[1]!.unpin();
    device.shrinkSync();
    expect(device.trimSync(by).means).toBe("move");
    expectAll(buffers);
    device.closeSync({ force: true });
  });

  test("declines when it costs more than it gives, or more than its budget", () => {
    const device = deviceOf(8 * MIB, new MapSwap({ slots: 4096 }));
    const buffers = filled(device, 24);
    for (const bo of buffers.slice(0, 8)) bo.shrinkSync();
    expect(device.trimSync(by).declined[0]!.why).toMatch(/4.* would be there twice, to give 2/);
    const small = device.trimSync({ ...by, budget: "3 MiB" });
    expect(small.declined[0]!.why).toMatch(/more than the budget/);
    expect(device.trimSync({ ...by, budget: "4 MiB" }).bytes).toBe(2 * MIB);
    expectAll(buffers);
    device.closeSync({ force: true });
  });

  test("has a function of the user's collect the garbage", async () => {
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 2048 }));
    filled(device, 8);
    let calls = 0;
    const collect = () => {
      calls++;
    };
    device.shrinkSync();
    expect(device.trimSync({ ...by, collect }).bytes).toBe(2 * MIB);
    filled(device, 8);
    await device.shrink();
    expect((await device.trim({ ...by, collect })).bytes).toBe(2 * MIB);
    expect(calls).toBe(2);
    await device.close({ force: true });
  });

  test("keeps restores that were interrupted, checksums, and vectors that are half in swap", async () => {
    const swap = new MapSwap({ slots: 4096 });
    const device = deviceOf(8 * MIB, swap, { transferPages: 16 });
    const buffers = filled(device, 8);
    device.shrinkSync();
    for (const [i, bo] of buffers.entries()) {
      let calls = 0;
      swap.before = () => {
        if (++calls > i % 4) throw systemError("EIO");
      };
      expect(() => bo.populateSync()).toThrow("EIO");
    }
    swap.before = undefined;
    device.check();
    expect((await device.trim(BY.move)).means).toBe("move");
    device.check();
    expectAll(buffers);
    await device.close({ force: true });
  });
});

describe("the swap device", () => {
  test("gives back what it says it does, and its failures are told", async () => {
    const swap = Object.assign(new MapSwap({ slots: 64 }), { trim: (): unknown => 4096 });
    const device = deviceOf(MIB, swap as unknown as SwapDevice);
    expect(device.trimSync()).toMatchObject({ bytes: 4096, swapBytes: 4096 });
    swap.trim = async () => 8192;
    expect(await device.trim()).toMatchObject({ bytes: 8192, swapBytes: 8192 });
    swap.trim = () => Number.POSITIVE_INFINITY;
    expect(device.trimSync().bytes).toBe(0);
    swap.trim = () => {
      throw new Error("not now");
    };
    expect(device.trimSync().declined[0]).toEqual({ means: "swap", why: "not now" });
    swap.trim = () => Promise.reject(new Error("not ever"));
    expect((await device.trim()).declined[0]).toEqual({ means: "swap", why: "not ever" });
    device.closeSync();
  });

  test("in RAM gives free slots back, once", () => {
    const device = deviceOf(2 * MIB, ramSwap({ size: "4 MiB" }));
    const buffers = filled(device, 8);
    device.shrinkSync();
    for (const bo of buffers.splice(4)) bo.destroy();
    const [means] = HERE as [TrimMeans];
    const swap = device.rss().swap;
    expect(device.trimSync(BY[means]).bytes).toBe(2 * MIB + MIB);
    expect(swap - device.rss().swap).toBe(MIB);
    expect(device.trimSync(BY[means]).bytes).toBe(0);
    expectAll(buffers);
    device.closeSync({ force: true });
  });
});

describe("a trim that does not come to its end", () => {
  test("counts what it had given back when the caller's collector threw", async () => {
    const device = deviceOf(4 * MIB, ramSwap());
    for (const bo of filled(device, 8)) bo.destroy();
    const collect = () => {
      throw new Error("mine");
    };
    await expect(device.trim({ ...BY.move, collect })).rejects.toThrow("mine");
    expect(device.rss()).toMatchObject({ frames: 0, released: 2 * MIB });
    expect(device.stats().trim).toMatchObject({ trims: 1, bytes: 2 * MIB, means: "move" });
    device.closeSync();
  });

  test("ends with the signal of the call that it comes after", async () => {
    for (const op of ["shrink", "hibernate"] as const) {
      let reached = () => {};
      const begun = new Promise<void>((resolve) => {
        reached = resolve;
      });
      const trim = () => {
        reached();
        return new Promise<number>(() => {});
      };
      const swap = Object.assign(new MapSwap({ slots: 1024 }), { trim });
      const device = deviceOf(4 * MIB, swap);
      const buffers = filled(device, 4);
      const controller = new AbortController();
      const { signal } = controller;
      const released =
        op === "shrink" ? device.shrink({ trim: true, signal }) : device.hibernate({ signal });
      await begun;
      controller.abort();
      expect(await released).toBe(256);
      expectAll(buffers);
      await device.close({ force: true });
    }
  });
});

describe("who else trims", () => {
  test("a shrink that is told to, and a hibernation", async () => {
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 2048 }));
    const buffers = filled(device, 8);
    expect(await device.shrink({ trim: true })).toBe(512);
    expect(device.rss()).toMatchObject({ live: 0, frames: 0, released: 2 * MIB });
    expectAll(buffers);
    expect(device.shrinkSync({ trim: true })).toBe(512);
    expect(device.rss().frames).toBe(0);
    expectAll(buffers);
    expect(await device.hibernate()).toBe(512);
    expect(device.rss().frames).toBe(0);
    await device.resume();
    expect(device.rss().frames).toBeGreaterThan(0);
    expect(device.hibernateSync()).toBe(512);
    expect(device.rss().frames).toBe(0);
    device.resumeSync();
    expectAll(buffers);
    await device.close({ force: true });
  });

  test("a device that rests, when it was asked to", async () => {
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 2048 }), { trimAfter: 5 });
    const buffers = filled(device, 8);
    device.shrinkSync();
    while (device.rss().frames > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expectAll(buffers);
    await device.close({ force: true });
  });

  test("what the host refuses counts as not given back, and the next means gives it", () => {
    haveDiscard();
    const { discard } = prototype;
    let calls = 0;
    prototype.discard = function (at, bytes) {
      // It does what it should when it is tried.
      if (++calls > 1) throw new RangeError("not now");
      discard?.call(this, at, bytes);
    };
    const device = deviceOf(4 * MIB, new MapSwap({ slots: 2048 }));
    const buffers = filled(device, 12);
    expect(device.shrinkSync()).toBe(768);
    const { frames } = device.rss();
    const refused = device.trimSync({ means: ["discard"] });
    const declined = [{ means: "discard", why: "discard was refused" }];
    expect(refused).toMatchObject({ bytes: 0, means: undefined, declined });
    expect(device.rss().frames).toBe(frames);
    device.check();
    expect(device.trimSync({ means: ["discard", "move"], budget: "1 GiB" })).toMatchObject({
      ...{ bytes: 3 * MIB, means: "move", declined },
    });
    device.check();
    expectAll(buffers);
    device.closeSync({ force: true });
  });

  test.each([
    () => Number.POSITIVE_INFINITY,
    () => -1,
    () => "much",
    () => {
      throw new Error("not now");
    },
  ])("a swap device that cannot say what it has counts for nothing: %s", (said) => {
    const swap = new MapSwap({ slots: 64 });
    Object.defineProperty(swap, "memoryBytes", { get: said });
    const device = deviceOf(MIB, swap);
    expect(device.rss()).toMatchObject({ swap: 0, ratio: 0 });
    device.closeSync();
  });

  test("options that cannot be meant are refused", async () => {
    const device = deviceOf(MIB, ramSwap());
    expect(() => device.trimSync({ means: ["munmap"] as never })).toThrow(RangeError);
    expect(() => device.trimSync({ means: "move" as never })).toThrow(/means must be an array/);
    expect(() => device.trimSync({ collect: 1 as never })).toThrow(/collect must be a function/);
    await expect(device.trim({ budget: -1 })).rejects.toThrow(/budget/);
    expect(() => device.shrinkSync({ trim: 1 as never })).toThrow(/trim must be true or false/);
    expect(() => deviceOf(MIB, ramSwap(), { trimAfter: -1 })).toThrow(/trimAfter/);
    device.closeSync();
    await expect(device.trim()).rejects.toThrow(/closed/);
  });
});
