/* What users hand in may fail in odd ways: devices, shrinkers, traces, signals. Nobody else pays for it. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
  TtmError,
} from "../src/index.ts";
import { scriptedSwap } from "../src/testing.ts";
import type { Task } from "../src/ttm/task.ts";
import { type Shrinker, shrinkTtSync, Tt } from "../src/ttm.ts";
import { ArraySwap } from "./support/array_swap.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { Gate, until } from "./support/delays.ts";
import { blockDevice, filled } from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

const ODD: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["an object without a prototype", Object.create(null)],
  ["an error with a symbol for a message", Object.assign(new Error(), { message: Symbol("x") })],
  [
    "an object that cannot be looked at",
    new Proxy(
      {},
      {
        has: () => {
          throw new Error("has");
        },
        get: () => {
          throw new Error("get");
        },
      },
    ),
  ],
];

/** Two buffers that fill a memory of 16 frames. */
function full(swap = new ArraySwap(64)) {
  const device = blockDevice(16, swap);
  return { device, swap, buffers: [filled(device, 8, 1), filled(device, 8, 2)] as const };
}

describe("a device that throws", () => {
  test.each(ODD)("%s fails with EIO, and leaves all as it was", (_, thrown) => {
    const { device, swap, buffers } = full();
    const write = swap.write.bind(swap);
    swap.write = () => {
      throw thrown;
    };
    const third = device.createBuffer(8 * PAGE_SIZE);
    failsSync("EIO", () => third.writeSync(0, pattern(3, third.size)));
    buffers.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
    });
    swap.write = write;
    third.writeSync(0, pattern(3, third.size));
    expectSame(contentSync(third), pattern(3, third.size), "third");
    device.check();
  });
});

describe("a shrinker of the user's", () => {
  const shrinker = (scan: Shrinker["scanObjects"]): Shrinker => ({
    name: "user",
    countObjects: () => 1,
    scanObjects: scan,
  });

  test.each(ODD)("that throws %s stops a write that needs memory, and no more", (_, thrown) => {
    const { device, buffers } = full();
    for (const bo of buffers) bo.pinSync();
    const third = device.createBuffer(PAGE_SIZE);
    device.global.shrinkers.register(
      shrinker(() => {
        throw thrown;
      }),
    );
    let threw = false;
    try {
      third.writeSync(0, new Uint8Array(1));
    } catch {
      threw = true;
    }
    expect(threw).toBe(true);
    expect(third.residentPages).toBe(0);
    buffers.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
    });
    device.check();
  });

  test.each([-2, -7, Number.NaN])("that returns %d is not asked for ever", (freed) => {
    const { device } = full();
    device.global.shrinkers.register(shrinker(() => freed));
    expect(device.shrinkSync()).toBe(16);
  });

  test("that frees what is no frame does not keep a write waiting for ever", () => {
    const { device, buffers } = full();
    for (const bo of buffers) bo.pinSync();
    device.global.shrinkers.register(shrinker(() => 1));
    const third = device.createBuffer(PAGE_SIZE);
    failsSync("ENOMEM", () => third.writeSync(0, new Uint8Array(1)));
  });
});

describe("a trace that throws", () => {
  test.each(["shrink", "restore", "populate"] as const)("on %s changes nothing", async (type) => {
    const { device, buffers } = full();
    const reported: unknown[] = [];
    const onError = (error: unknown) => reported.push(error);
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", onError);
    try {
      device.trace = (event) => {
        if (event.type === type) throw new Error("trace");
      };
      expect(device.shrinkSync()).toBe(16);
      const third = device.createBuffer(PAGE_SIZE);
      third.writeSync(0, pattern(3, PAGE_SIZE));
      expectSame(contentSync(third), pattern(3, PAGE_SIZE), "third");
      buffers.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
      });
      device.check();
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(reported.length).toBeGreaterThan(0);
    } finally {
      process.off("uncaughtException", onError);
      for (const listener of listeners) process.on("uncaughtException", listener);
    }
  });
});

describe("a trace that looks at the device", () => {
  test.each(["ram", "block"])("sees all that left together as left, with swap in %s", (kind) => {
    const swap = kind === "ram" ? ramSwap({ size: 64 * PAGE_SIZE }) : new ArraySwap(64);
    const device = createDeviceSync({ memory: 16 * PAGE_SIZE, swap });
    const bos = Array.from({ length: 8 }, (_, i) => filled(device, 2, i));
    const seen = new Set<string>();
    device.trace = ({ type }) => {
      if (type !== "shrink") return;
      for (const bo of bos) {
        try {
          device.check();
          expectSame(contentSync(bo), pattern(bos.indexOf(bo), bo.size), `buffer ${bo.id}`);
          seen.add("content");
        } catch (error) {
          seen.add((error as { code?: string }).code ?? String(error));
        }
      }
    };
    expect(device.shrinkSync()).toBe(16);
    device.trace = undefined;
    expect([...seen]).toEqual(["EBUSY"]);
    device.check();
  });
});

test.each(["write", "writeSync"] as const)(
  "a trace that reads what a %s is about to fill sees no bytes of others",
  async (name) => {
    const device = blockDevice(32, new ArraySwap(64));
    const secret = filled(device, 24, 1);
    secret.destroy();
    const bo = device.createBuffer(20 * PAGE_SIZE);
    const seen: Uint8Array[] = [];
    device.trace = () => {
      const bytes = new Uint8Array(bo.size).fill(2);
      try {
        seen.push(bo.readSync(0, bytes));
      } catch {
        // It is in use.
      }
    };
    await bo[name](0, new Uint8Array(bo.size).fill(2));
    device.trace = undefined;
    for (const bytes of seen) expect(bytes.every((byte) => byte === 0 || byte === 2)).toBe(true);
    expect(contentSync(bo).every((byte) => byte === 2)).toBe(true);
    device.check();
    device.closeSync({ force: true });
  },
);

describe("a device that is told of slots given back", () => {
  function scene(truncate: () => void) {
    const swap = Object.assign(new MapSwap({ slots: 64 }), { truncate });
    const device = blockDevice(16, swap);
    const bo = filled(device, 8, 1);
    bo.shrinkSync();
    return { device, bo };
  }

  test("may look at all there is", () => {
    const failures: unknown[] = [];
    let told = 0;
    const { device, bo } = scene(() => {
      told++;
      try {
        device.check();
        device.debugfs("page_pool");
        expectSame(contentSync(bo), new Uint8Array(bo.size), "what was purged");
      } catch (error) {
        failures.push(error);
      }
    });
    expect(bo.advise("dontneed")).toBe(false);
    expect(told).toBe(1);
    expect(failures).toEqual([]);
  });

  test("and has pages leave meanwhile: not to slots that it is about to forget", async () => {
    const swap = scriptedSwap({ slots: 64, pairs: "sync" });
    const device = blockDevice(16, swap);
    const [gone, kept] = [filled(device, 8, 1), filled(device, 8, 2)];
    gone.shrinkSync();
    let shrinking: Promise<number> | undefined;
    swap.script = ({ kind }) => {
      if (kind !== "discard" || shrinking) return;
      const { message } = failsSync("EWOULDBLOCK", () => kept.shrinkSync());
      expect(message).toMatch(/is discarding slots/);
      shrinking = kept.shrink();
    };
    gone.destroy();
    expect(await shrinking).toBe(8);
    expectSame(contentSync(kept), pattern(2, kept.size), "kept");
    expect(swap.broken).toBe(undefined);
    device.check();
    device.closeSync({ force: true });
  });

  test("and answers with a promise that rejects: nobody hears of it", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    try {
      const { device, bo } = scene(() => Promise.reject(new Error("too late")));
      bo.destroy();
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(unhandled).toEqual([]);
      device.closeSync();
    } finally {
      process.off("unhandledRejection", onUnhandled);
    }
  });
});

test("a sibling closed while another moves its pages frees them afterwards", async () => {
  const gate = new Gate();
  gate.open();
  const swap = new MapSwap({ slots: 200, delay: gate.pass });
  const other = createDeviceSync({ memory: 32 * PAGE_SIZE, swap, checksums: false });
  const device = other.createSibling();
  const a = other.createBuffer(16 * PAGE_SIZE);
  await a.write(0, pattern(1, a.size));
  const b = device.createBuffer(12 * PAGE_SIZE);
  await b.write(0, pattern(2, b.size));
  const c = device.createBuffer(16 * PAGE_SIZE);
  gate.close();
  const writing = c.write(0, pattern(3, c.size));
  await until(() => gate.waiting > 0);
  await other.close({ force: true });
  const { free } = device.stats().slots;
  expect(free).toBeLessThan(200); // its slots are still being written
  gate.open();
  await writing;
  await device.shrink();
  expectSame(await b.read(0, new Uint8Array(b.size)), pattern(2, b.size), "b");
  expectSame(await c.read(0, new Uint8Array(c.size)), pattern(3, c.size), "c");
  device.check();
  b.destroy();
  c.destroy();
  expect(device.stats().slots.free).toBe(200);
  expect(device.stats().pages.free).toBe(32);
  await device.close();
});

test("a shrink on RAM swap looks at its signal again and again", () => {
  const device = createDeviceSync({ memory: 8192 * PAGE_SIZE, swap: ramSwap() });
  for (let i = 0; i < 4; i++) filled(device, 2000, i);
  const released = device.shrinkSync({ signal: new CountingSignal(4) });
  expect(released).toBeGreaterThan(0);
  expect(released).toBeLessThan(8000);
});

test("a close that is refused leaves the background loop at work", async () => {
  const gate = new Gate();
  gate.open();
  const swap = new MapSwap({ slots: 200, delay: gate.pass });
  const watermarks = { min: 2, low: 8, high: 16 };
  const device = createDeviceSync({ memory: 32 * PAGE_SIZE, swap, watermarks });
  for (const seed of [1, 2, 3]) {
    const bo = device.createBuffer(9 * PAGE_SIZE);
    await bo.write(0, pattern(seed, bo.size));
  }
  gate.close();
  await until(() => gate.waiting > 0); // the loop writes a page
  await fails("EBUSY", device.close());
  gate.open();
  const more = device.createBuffer(14 * PAGE_SIZE);
  await more.write(0, pattern(4, more.size));
  await expect.poll(() => device.stats().pages.free).toBeGreaterThanOrEqual(16);
  await device.close({ force: true });
});

test("what stops the background loop is nobody's unhandled rejection", async () => {
  const rejected: unknown[] = [];
  const onRejection = (error: unknown) => rejected.push(error);
  const listeners = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", onRejection);
  try {
    const swap = new ArraySwap(200);
    const watermarks = { min: 0, low: 8, high: 16 };
    const device = createDeviceSync({ memory: 32 * PAGE_SIZE, swap, watermarks });
    let asked = 0;
    device.global.shrinkers.register({
      name: "user",
      countObjects: () => 1,
      scanObjects({ kswapd }) {
        if (!kswapd) return -1;
        asked++;
        throw new Error("not now");
      },
    });
    const bo = device.createBuffer(30 * PAGE_SIZE);
    bo.pinSync();
    await until(() => asked > 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(rejected).toEqual([]);
    await device.close({ force: true });
  } finally {
    process.off("unhandledRejection", onRejection);
    for (const listener of listeners) process.on("unhandledRejection", listener);
  }
});

test("with faults armed, the least recently used leave first and whole, as without", () => {
  const resident = [false, true].map((armed) => {
    const device = createDeviceSync({ memory: 32 * PAGE_SIZE, pool: { orders: [0] } });
    const buffers = [1, 2, 3].map((seed) => filled(device, 8, seed));
    if (armed) device.injectFault("write", { probability: 100, space: 1e6 });
    expect(device.shrinkSync({ pages: 12 })).toBeGreaterThanOrEqual(12);
    return buffers.map(({ residentPages }) => residentPages);
  });
  expect(resident[1]).toEqual(resident[0]);
});

test("names that are none are refused, those of Object.prototype too", () => {
  const device = createDeviceSync({ memory: "1 MiB" });
  expect(() => device.debugfs("constructor" as never)).toThrow(RangeError);
  expect(() => device.createBuffer(1, { caching: "toString" as never })).toThrow(TypeError);
  expect(() => createDeviceSync({ memory: "1 MiB", limits: { page: 1 } as never })).toThrow(/page/);
  for (const pages of [0, -1, 1.5, Number.NaN]) expect(() => new Tt(pages)).toThrow(RangeError);
  const tt = new Tt(1);
  const pages = Number.NaN;
  expect(() => shrinkTtSync(device.pool, tt, { pages })).toThrow(RangeError);
  expect(new TtmError("EIO", "shrink", "x")).toBeInstanceOf(TtmError);
});

describe("an operation begun in the middle of a transfer", () => {
  /** Two buffers that fill `frames`, and a hook that is called once, in the write that comes `nth`. */
  function hooked(frames: number, nth: number, hook: (device: Device, swap: ArraySwap) => void) {
    const swap = new ArraySwap(2 * frames);
    const device = blockDevice(frames, swap);
    const buffers = [filled(device, frames / 2, 1), filled(device, frames / 2, 2)] as const;
    const write = swap.write.bind(swap);
    let writes = 0;
    swap.write = (slot, views) => {
      write(slot, views);
      if (++writes === nth) hook(device, swap);
    };
    const intact = () => {
      device.check();
      buffers.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
      });
    };
    return { device, buffers, intact };
  }

  test("stops for its own signal, not for that of the one around it", () => {
    const { device, buffers, intact } = hooked(16, 1, (device) => {
      failsSync("EINTR", () => device.shrinkSync({ signal: { aborted: true } }));
    });
    expect(buffers[0].shrinkSync({ signal: { aborted: false } })).toBe(8);
    expect(device.shrinkSync()).toBe(8);
    intact();
  });

  test("leaves the one around it its signal", () => {
    const signal = { aborted: false };
    // The second write is the last of the first 512 pages.
    const { device, intact } = hooked(1024, 2, (device) => {
      signal.aborted = true;
      expect(device.createBuffer(1).shrinkSync()).toBe(0);
    });
    expect(device.shrinkSync({ signal })).toBe(512);
    intact();
  });

  test("awaits the device if it is of the async form, though the one around it cannot", async () => {
    let shrinking: Promise<number> | undefined;
    const { buffers, intact } = hooked(16, 1, (device, swap) => {
      const { write } = swap;
      swap.write = ((slot, views) => Promise.resolve(write(slot, views))) as typeof write;
      shrinking = device.shrink();
      swap.write = write;
    });
    expect(buffers[0].shrinkSync()).toBe(8);
    expect(await shrinking).toBe(8);
    intact();
  });
});

describe("a buffer destroyed in the middle of an operation on it", () => {
  test.each<[string, (bo: BufferObject) => unknown]>([
    ["map", (bo) => bo.mapSync()],
    ["read", (bo) => bo.readSync(0, new Uint8Array(1))],
    ["write", (bo) => bo.writeSync(5, new Uint8Array(1))],
    ["pin", (bo) => bo.pinSync()],
    ["populate", (bo) => bo.populateSync()],
  ])(
    "fails its %sSync, by a shrinker as by its signal, and takes nothing from others",
    (_, use) => {
      const device = createDeviceSync({ memory: 16 * PAGE_SIZE });
      const victim = filled(device, 4, 1);
      victim.shrinkSync();
      const cached = filled(device, 8, 2);
      const other = filled(device, 8, 3);
      for (const bo of [cached, other]) bo.pinSync();
      device.global.shrinkers.register({
        name: "a cache that drops what it has",
        countObjects: () => (cached.destroyed ? 0 : 8),
        scanObjects() {
          cached.unpin();
          cached.destroy();
          victim.destroy();
          return 8;
        },
      });
      expect(() => use(victim)).toThrow(/destroyed/);
      expect(device.stats().pages.free).toBe(8);
      const fresh = filled(device, 8, 4);
      expectSame(contentSync(other), pattern(3, other.size), "other");
      expectSame(contentSync(fresh), pattern(4, fresh.size), "fresh");
      device.check();
    },
  );

  test("by the getter of its signal, though all of it is in memory", () => {
    const device = createDeviceSync({ memory: 16 * PAGE_SIZE });
    const bo = filled(device, 4, 1);
    const signal = {
      get aborted() {
        if (!bo.destroyed) bo.destroy();
        return false;
      },
    };
    expect(() => bo.mapSync({ signal })).toThrow(/destroyed/);
    expect(device.stats().pages.free).toBe(16);
    device.check();
  });
});

describe("the registry of shrinkers, asked from outside", () => {
  test.each<[string, (device: Device) => number]>([
    ["registry", ({ global }) => global.shrinkers.shrinkSync(global, 16, false).released],
    ["background loop", ({ global }) => global.shrinkers.shrinkSync(global, 16, true).released],
  ])("writes what it releases: %s", (_, reclaim) => {
    const { device, swap, buffers } = full();
    expect(reclaim(device)).toBe(16);
    expect(swap.pagesOut).toBe(16);
    buffers.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
    });
    device.check();
  });

  test.each(["sync", "async"])("by a shrinker of another memory, %s", async (form) => {
    const near = full();
    const far = full();
    near.device.global.shrinkers.register({
      name: "what another memory can give",
      countObjects: () => far.device.global.heldPages,
      *scanObjects({ task }) {
        const slab = far.device.global.shrinkers.begin(task as Task, 8, false);
        yield slab;
        return slab.released;
      },
    });
    const pages = { pages: 24 };
    if (form === "sync") near.device.shrinkSync(pages);
    else await near.device.shrink(pages);
    expect([near.swap.pagesOut, far.swap.pagesOut]).toEqual([16, 16]);
    for (const { device, buffers } of [near, far]) {
      buffers.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i + 1, bo.size), `buffer ${i}`);
      });
      device.check();
    }
  });

  test.each(["sync", "async"])(
    "names the device of the memory whose transfer fails, %s",
    async (form) => {
      const near = full();
      const far = full(Object.defineProperty(new ArraySwap(64), "name", { value: "far" }));
      far.swap.writeFailure = new Error("torn");
      let failure: unknown;
      near.device.global.shrinkers.register({
        name: "what another memory can give",
        countObjects: () => far.device.global.heldPages,
        *scanObjects({ task }) {
          const slab = far.device.global.shrinkers.begin(task as Task, 8, false);
          yield slab;
          failure = slab.failure;
          return slab.released;
        },
      });
      if (form === "sync") near.device.shrinkSync({ pages: 24 });
      else await near.device.shrink({ pages: 24 });
      expect(String(failure)).toMatch(/swap device far failed to write: torn/);
    },
  );
});
