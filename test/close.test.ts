/*
 * What `close` does to each thing that is alive or in use: a table of things, times the ways to close. A thing
 * is made on a device of its own; what was promised to whoever used it has to come true, and nothing may happen
 * on the swap device once it is closed.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import {
  kmapTt,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTt,
  swapoutTt,
  swapoutTtSync,
  Tt,
} from "../src/ttm.ts";
import { content, expectSame, pattern } from "./support/bytes.ts";
import { expectRest } from "./support/crowd.ts";
import { Gate, settles, turn, until } from "./support/delays.ts";
import { fails, failsSync } from "./support/errors.ts";
import { HAS_PROC, openFiles } from "./support/files.ts";
import { MapSwap } from "./support/map_swap.ts";

const PAGES = 8;
const FRAMES = 32;

/** A swap device that notes what happens on it after it was closed, and whose calls wait at a gate. */
class WatchedSwap extends MapSwap {
  readonly gate: Gate;
  /** Calls begun, and calls that took effect, after `close`. */
  late = 0;

  constructor(isAsync: boolean) {
    const gate = new Gate();
    gate.open();
    super({ slots: 256, ...(isAsync ? { delay: gate.pass } : {}) });
    this.gate = gate;
    this.before = () => {
      if (this.closed > 0) this.late++;
    };
  }

  override close(): void {
    this.closed++;
  }
}

interface Scene {
  readonly device: Device;
  readonly swap: WatchedSwap;
  /** Operations under way, by name. */
  readonly running: Map<string, Promise<unknown>>;
}

interface Thing {
  readonly thing: string;
  /** Buffers that are alive: without `force`, close is refused for them. */
  readonly alive: boolean;
  /** An operation waits for the device. */
  readonly busy: boolean;
  make(scene: Scene): unknown;
}

async function filled(device: Device, seed: number): Promise<BufferObject> {
  const bo = device.createBuffer(PAGES * PAGE_SIZE);
  await bo.write(0, pattern(seed, bo.size));
  return bo;
}

/** A tt of the kernel's layer, written to. */
function filledTt({ global }: Device): { pool: Pool; tt: Tt } {
  const pool = new Pool(global);
  const tt = new Tt(PAGES);
  populateTtSync(pool, tt);
  for (const view of kmapTt(pool, tt)) view.fill(7);
  return { pool, tt };
}

/** The same, in swap. */
async function shrunkenTt({ device }: Scene): Promise<{ pool: Pool; tt: Tt }> {
  const { pool, tt } = filledTt(device);
  await shrinkTt(pool, tt);
  return { pool, tt };
}

/** Starts something that stops at the device. */
async function start(
  { swap, running }: Scene,
  operations: Readonly<Record<string, () => Promise<unknown>>>,
): Promise<void> {
  swap.gate.close();
  for (const [name, run] of Object.entries(operations)) {
    const promise = run();
    promise.catch(() => {});
    running.set(name, promise);
  }
  await until(() => swap.gate.waiting > 0);
}

const idle = (thing: string, alive: boolean, make: Thing["make"]): Thing => ({
  thing,
  alive,
  busy: false,
  make,
});
const busy = (thing: string, alive: boolean, make: Thing["make"]): Thing => ({
  thing,
  alive,
  busy: true,
  make,
});

const IDLE: readonly Thing[] = [
  idle("nothing", false, () => {}),
  idle("a buffer that was destroyed", false, async ({ device }) =>
    (await filled(device, 1)).destroy(),
  ),
  idle("an empty buffer", true, ({ device }) => device.createBuffer(5)),
  idle("a buffer in memory", true, ({ device }) => filled(device, 1)),
  idle("a buffer in swap", true, async ({ device }) => (await filled(device, 1)).shrink()),
  idle("a pinned buffer", true, async ({ device }) => (await filled(device, 1)).pin()),
  idle("a mapped buffer", true, async ({ device }) => (await filled(device, 1)).map()),
  idle("buffers that hibernate", true, async ({ device }) => {
    await filled(device, 1);
    await device.hibernate();
  }),
  idle("a tt of the kernel's layer", false, async (scene) => {
    const { pool, tt } = await shrunkenTt(scene);
    await populateTt(pool, tt);
  }),
];

const BUSY: readonly Thing[] = [
  busy("a read", true, async (scene) => {
    const bo = await filled(scene.device, 1);
    await bo.shrink();
    await start(scene, { read: () => content(bo) });
  }),
  busy("reads, writes, maps and pins that queue behind a read", true, async (scene) => {
    const bo = await filled(scene.device, 1);
    await bo.shrink();
    await start(scene, {
      read: () => content(bo),
      "read in the queue": () => content(bo),
      "write in the queue": () => bo.write(3, new Uint8Array(5)),
      "map in the queue": () => bo.map().then((mapping) => mapping.unmap()),
      "pin in the queue": () => bo.pin().then(() => bo.unpin()),
    });
  }),
  busy("operations that wait to be let in", true, async (scene) => {
    const bos = [];
    for (let i = 0; i < 6; i++) bos.push(await filled(scene.device, i));
    await scene.device.shrink();
    await start(scene, Object.fromEntries(bos.map((bo, i) => [`read of ${i}`, () => content(bo)])));
  }),
  busy("a first write that pushes others out", true, async (scene) => {
    for (let i = 0; i < FRAMES / PAGES; i++) await filled(scene.device, i);
    const bo = scene.device.createBuffer(PAGES * PAGE_SIZE);
    await start(scene, { write: () => bo.write(0, pattern(9, bo.size)) });
  }),
  busy("a shrink of the device, and a read of what it has", true, async (scene) => {
    const bo = await filled(scene.device, 1);
    await start(scene, {
      shrink: () => scene.device.shrink(),
      read: () => bo.write(0, pattern(1, bo.size)),
    });
  }),
  busy("a hibernation", true, async (scene) => {
    await filled(scene.device, 1);
    await start(scene, { hibernate: () => scene.device.hibernate() });
  }),
  busy("a resume", true, async (scene) => {
    await filled(scene.device, 1);
    await scene.device.hibernate();
    await start(scene, { resume: () => scene.device.resume() });
  }),
  busy("a read of a buffer that was destroyed since", false, async (scene) => {
    const bo = await filled(scene.device, 1);
    await bo.shrink();
    await start(scene, { read: () => content(bo).catch(gone) });
    bo.destroy();
  }),
  busy("a populate of the kernel's layer, and one that waits for it", false, async (scene) => {
    const { pool, tt } = await shrunkenTt(scene);
    await start(scene, { populate: () => populateTt(pool, tt), next: () => populateTt(pool, tt) });
  }),
  busy("a shrink of the kernel's layer", false, async (scene) => {
    const { pool, tt } = await shrunkenTt(scene);
    await populateTt(pool, tt);
    pool.dirty(tt, 0, PAGES, false);
    await start(scene, { shrink: () => shrinkTt(pool, tt) });
  }),
];

/** A destroyed buffer is not an interruption: it was its user who did that. */
function gone(error: unknown): void {
  if (!(error instanceof TypeError) && (error as { code?: string }).code !== "EINTR") throw error;
}

async function sceneOf({ make }: Thing, isAsync: boolean): Promise<Scene> {
  const swap = new WatchedSwap(isAsync);
  const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
  const scene: Scene = { device, swap, running: new Map() };
  await make(scene);
  return scene;
}

/** Nothing works any more, nothing is left, and nothing came after the close of the swap device. */
async function expectClosed({ device, swap }: Scene): Promise<void> {
  expect([device.closed, swap.closed]).toEqual([true, 1]);
  const { global } = device;
  await until(() => global.tasks.size === 0);
  expectRest(device);
  expect(device.stats().buffers).toBe(0);
  expect(global.engine.check()).toBeUndefined();
  expect(() => device.createBuffer(1)).toThrow(/device is closed/);
  const tt = new Tt(1);
  const pool = new Pool(global);
  expect(() => populateTtSync(pool, tt)).toThrow(/device is closed/);
  await expect(populateTt(pool, tt)).rejects.toThrow(/device is closed/);
  await expect(device.shrink()).rejects.toThrow(/device is closed/);
  await expect(device.close()).rejects.toThrow(/device is closed/);
  expect(() => device.closeSync()).toThrow(/device is closed/);
  await device[Symbol.asyncDispose]();
  device[Symbol.dispose]();
  for (let i = 0; i < 3; i++) await turn();
  expect([swap.closed, swap.late]).toEqual([1, 0]);
}

/** How each of the operations ended: "done", or a code. */
async function endsOf({ running }: Scene): Promise<Record<string, string>> {
  const ends: Record<string, string> = {};
  for (const [name, promise] of running) {
    ends[name] = await settles(
      promise.then(
        () => "done",
        (error) => (error as { code?: string }).code ?? String(error),
      ),
    );
  }
  return ends;
}

const WAYS = [
  { way: "close()", force: false, close: (d: Device) => d.close() },
  { way: "close({ force: true })", force: true, close: (d: Device) => d.close({ force: true }) },
  { way: "asyncDispose", force: true, close: (d: Device) => d[Symbol.asyncDispose]() },
  { way: "closeSync()", force: false, close: async (d: Device) => d.closeSync() },
  {
    way: "closeSync({ force: true })",
    force: true,
    close: async (d: Device) => d.closeSync({ force: true }),
  },
  { way: "dispose", force: true, close: async (d: Device) => d[Symbol.dispose]() },
];

const SYNC_DEVICE = WAYS.flatMap((way) => IDLE.map((thing) => ({ ...way, ...thing })));

test.each(SYNC_DEVICE)("$thing, on a synchronous device: $way", async (c) => {
  const scene = await sceneOf(c, false);
  if (c.alive && !c.force) {
    await fails("EBUSY", c.close(scene.device));
    expect([scene.device.closed, scene.swap.closed]).toEqual([false, 0]);
    scene.device.createBuffer(1).destroy();
    await scene.device.close({ force: true });
  } else await c.close(scene.device);
  await expectClosed(scene);
});

const ASYNC_WAYS = WAYS.slice(0, 3);
const ASYNC_DEVICE = ASYNC_WAYS.flatMap((way) =>
  [...IDLE, ...BUSY].map((thing) => ({ ...way, ...thing })),
);

test.each(ASYNC_DEVICE)("$thing, on a device that answers: $way", async (c) => {
  const scene = await sceneOf(c, true);
  if (c.alive && !c.force) {
    await fails("EBUSY", c.close(scene.device));
    expect([scene.device.closed, scene.swap.closed]).toEqual([false, 0]);
    scene.swap.gate.open();
    // Refused, it has disturbed nobody.
    const ends = await endsOf(scene);
    expect(Object.values(ends).filter((end) => end !== "done")).toEqual([]);
    await scene.device.close({ force: true });
  } else {
    const closing = c.close(scene.device);
    if (c.busy) {
      await turn();
      expect(scene.swap.closed).toBe(0); // it waits for the device
      scene.swap.gate.open();
    }
    await settles(closing);
    const ends = await endsOf(scene);
    const expected = c.force ? ["done", "EINTR"] : ["done"];
    expect(Object.values(ends).filter((end) => !expected.includes(end))).toEqual([]);
  }
  await expectClosed(scene);
});

describe("on a device that never answers", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test.each(BUSY)(
    "$thing: close({ force: true }) ends, and an answer that comes late harms nobody",
    async (c) => {
      const scene = await sceneOf(c, true);
      const { swap, device } = scene;
      swap.before = undefined; // what comes late is looked at below
      await settles(device.close({ force: true }));
      expect([device.closed, swap.closed, swap.gate.waiting > 0]).toEqual([true, 1, true]);
      const ends = await endsOf(scene);
      expect(Object.values(ends).filter((end) => !["EINTR", "done"].includes(end))).toEqual([]);
      const calls = swap.calls.length;
      swap.gate.open();
      await until(() => device.global.tasks.size === 0);
      expect(swap.calls.length).toBe(calls); // nothing new is begun
      expectRest(device);
      expect(device.global.engine.check()).toBeUndefined();
    },
  );

  test.each(["a read of a buffer destroyed since", "an operation of the kernel's layer"])(
    "%s: a close that waits for it is not in the way of one with force",
    async (what) => {
      const swap = new WatchedSwap(true);
      const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
      let running: Promise<unknown>;
      if (what.startsWith("a read")) {
        const bo = await filled(device, 1);
        await bo.shrink();
        swap.gate.close();
        running = content(bo);
        await until(() => swap.gate.waiting === 1);
        bo.destroy();
      } else {
        const { pool, tt } = filledTt(device);
        swap.gate.close();
        running = shrinkTt(pool, tt);
        await until(() => swap.gate.waiting === 1);
      }
      const ended = running.then(
        () => "done",
        () => "failed",
      );
      const waiting = device.close();
      await turn();
      expect(swap.closed).toBe(0);
      await settles(device.close({ force: true }));
      await settles(waiting);
      expect(swap.closed).toBe(1);
      expect(await settles(ended)).toBe("failed");
    },
  );

  test("a swapout that was stopped brings nothing back once the swap device is closed", async () => {
    for (const how of ["close", "closeSync"]) {
      const swap = new WatchedSwap(true);
      const device = createDeviceSync({
        memory: FRAMES * PAGE_SIZE,
        swap: Object.assign(swap, how === "closeSync" ? { close: undefined } : {}),
        transferPages: 2,
      });
      const { pool, tt } = filledTt(device);
      let calls = 0;
      swap.before = () => {
        if (++calls === 2) swap.gate.close();
      };
      const moving = swapoutTt(pool, tt);
      moving.catch(() => {});
      await until(() => swap.gate.waiting === 1);
      if (how === "close") await settles(device.close({ force: true }));
      else device.closeSync({ force: true });
      const begun = swap.calls.length;
      swap.gate.open();
      await fails("EINTR", moving);
      await until(() => device.global.tasks.size === 0);
      expect(swap.calls.length).toBe(begun);
      expectRest(device);
    }
  });

  test("nor does one at a stretch whose swap device closes it in the middle", () => {
    const swap = new WatchedSwap(false);
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap, transferPages: 2 });
    const { pool, tt } = filledTt(device);
    let calls = 0;
    swap.before = () => {
      if (++calls !== 2) return;
      device.closeSync({ force: true });
      throw Object.assign(new Error("torn out"), { code: "EIO" });
    };
    failsSync("EIO", () => swapoutTtSync(pool, tt));
    expect(swap.closed).toBe(1);
    expect(swap.calls.length).toBe(2);
  });

  test("close() without force waits for it", async () => {
    const thing = BUSY.find(({ alive }) => !alive) as Thing;
    const scene = await sceneOf(thing, true);
    let closed = false;
    const closing = scene.device.close().then(() => {
      closed = true;
    });
    for (let i = 0; i < 5; i++) await turn();
    expect(closed).toBe(false);
    scene.swap.gate.open();
    await closing;
    await expectClosed(scene);
  });
});

describe("closeSync on an asynchronous device", () => {
  test("is EWOULDBLOCK, whatever is alive, and changes nothing", async () => {
    const swap = new WatchedSwap(true);
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
    const bo = await filled(device, 1);
    failsSync("EBUSY", () => device.closeSync());
    failsSync("EWOULDBLOCK", () => device.closeSync({ force: true }));
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
    await expectClosed({ device, swap, running: new Map() });
  });

  test("is EBUSY while operations of the kernel's layer are under way, too", async () => {
    const swap = new WatchedSwap(true);
    // One that has nothing to close can be closed at a stretch.
    Object.defineProperty(swap, "close", { value: undefined });
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
    const scene: Scene = { device, swap, running: new Map() };
    const { pool, tt } = await shrunkenTt(scene);
    await start(scene, { populate: () => populateTt(pool, tt) });
    failsSync("EBUSY", () => device.closeSync());
    expect(device.closed).toBe(false);
    swap.gate.open();
    expect(await endsOf(scene)).toEqual({ populate: "done" });
    device.closeSync();
    expect(device.closed).toBe(true);
  });

  test("is EBUSY while operations are under way on a sibling that is not the last", async () => {
    const swap = new WatchedSwap(true);
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
    const sibling = device.createSibling();
    const bo = await filled(sibling, 1);
    await bo.shrink();
    const scene: Scene = { device, swap, running: new Map() };
    await start(scene, { read: () => content(bo).catch(gone) });
    bo.destroy();
    failsSync("EBUSY", () => sibling.closeSync());
    sibling.closeSync({ force: true });
    expect([sibling.closed, device.closed, swap.closed]).toEqual([true, false, 0]);
    swap.gate.open();
    await endsOf(scene);
    await device.close();
    await expectClosed(scene);
  });
});

describe.each([{ isAsync: false }, { isAsync: true }])(
  "siblings, asynchronous: $isAsync",
  ({ isAsync }) => {
    async function family() {
      const swap = new WatchedSwap(isAsync);
      const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
      const sibling = device.createSibling();
      const bos = [await filled(device, 0), await filled(sibling, 1)] as const;
      await device.shrink();
      return { swap, device, sibling, bos };
    }

    test.each([{ first: "the eldest" }, { first: "the younger" }])(
      "$first is closed with all that is its own; the other goes on, and the last closes the swap device",
      async ({ first }) => {
        const { swap, device, sibling, bos } = await family();
        const [going, staying] = first === "the eldest" ? [device, sibling] : [sibling, device];
        const kept = bos[first === "the eldest" ? 1 : 0];
        const seed = first === "the eldest" ? 1 : 0;
        await going.close({ force: true });
        expect([going.closed, staying.closed, swap.closed]).toEqual([true, false, 0]);
        expectSame(await content(kept), pattern(seed, kept.size), "what the other has");
        expect(staying.stats().slots.total - staying.stats().slots.free).toBeLessThanOrEqual(PAGES);
        await staying.close({ force: true });
        await expectClosed({ device: staying, swap, running: new Map() });
      },
    );

    test("the operations of the other are left alone", async () => {
      if (!isAsync) return;
      const { swap, device, sibling, bos } = await family();
      const scene: Scene = { device, swap, running: new Map() };
      await start(scene, { mine: () => content(bos[0]), other: () => content(bos[1]) });
      const closing = sibling.close({ force: true });
      await turn();
      swap.gate.open();
      await closing;
      const { mine, other } = await endsOf(scene);
      expect(mine).toBe("done");
      expect(["EINTR", "done"]).toContain(other);
      await device.close({ force: true });
      await expectClosed(scene);
    });
  },
);

describe("the background loop", () => {
  test.each([true, false])(
    "at work comes to rest before the swap device is closed, async: %j",
    async (isAsync) => {
      const swap = new WatchedSwap(isAsync);
      const watermarks = { min: 2, low: 12, high: 24 };
      const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap, watermarks });
      for (let i = 0; i < 3; i++) await filled(device, i);
      expect(device.kswapd.running).toBe(true);
      if (isAsync) {
        swap.gate.close();
        await until(() => swap.gate.waiting > 0);
      }
      const closing = device.close({ force: true });
      await turn();
      if (isAsync) expect(swap.closed).toBe(0);
      swap.gate.open();
      await closing;
      expect(device.kswapd.running).toBe(false);
      await expectClosed({ device, swap, running: new Map() });
    },
  );

  test("whose device never answers does not keep close({ force: true }) for ever", async () => {
    const swap = new WatchedSwap(true);
    const watermarks = { min: 2, low: 12, high: 24 };
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap, watermarks });
    for (let i = 0; i < 3; i++) await filled(device, i);
    swap.gate.close();
    await until(() => swap.gate.waiting > 0);
    await settles(device.close({ force: true }));
    expect([device.closed, swap.closed]).toEqual([true, 1]);
    swap.gate.open();
    for (let i = 0; i < 3; i++) await turn();
    expect(device.global.engine.check()).toBeUndefined();
  });
});

describe("at the end of a block", () => {
  const BODY = new Error("the body's own");

  test("await using: what the body threw is seen, with reads still under way", async () => {
    const swap = new WatchedSwap(true);
    let reading: Promise<unknown> | undefined;
    const body = async () => {
      await using device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
      const bo = await filled(device, 1);
      await bo.shrink();
      reading = bo.read(0, new Uint8Array(1));
      reading.catch(() => {});
      throw BODY;
    };
    await expect(body()).rejects.toBe(BODY);
    expect(swap.closed).toBe(1);
    await expect(reading).rejects.toMatchObject({ code: "EINTR" });
  });

  test("using: what the body threw is seen, with buffers pinned and mapped", async () => {
    const swap = new WatchedSwap(false);
    const body = async () => {
      using device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
      await (await filled(device, 1)).pin();
      await (await filled(device, 2)).map();
      throw BODY;
    };
    await expect(body()).rejects.toBe(BODY);
    expect(swap.closed).toBe(1);
  });

  test("buffers and mappings of the block, too, whose device was closed in it", async () => {
    const body = async () => {
      await using device = createDeviceSync({
        memory: FRAMES * PAGE_SIZE,
        swap: new WatchedSwap(true),
      });
      using bo = await filled(device, 1);
      using _mapping = await bo.map();
      await device.close({ force: true });
      throw BODY;
    };
    await expect(body()).rejects.toBe(BODY);
  });

  test.skipIf(!HAS_PROC)("a file is closed although reads of it were under way", async () => {
    const files = () => openFiles().filter(({ target }) => target.includes("ttm-swap")).length;
    const before = files();
    const device = createDeviceSync({ memory: "1 MiB", swap: fileSwap({ size: "16 MiB" }) });
    const bos = Array.from({ length: 8 }, () => device.createBuffer("512 KiB"));
    for (const bo of bos) await bo.write(0, new Uint8Array(bo.size).fill(7));
    expect(files()).toBe(before + 1);
    const running = bos.map((bo) => bo.read(0, new Uint8Array(1)).catch(() => {}));
    await device[Symbol.asyncDispose]();
    expect(files()).toBe(before);
    await Promise.all(running);
  });
});

test("two closes at once are one", async () => {
  const scene = await sceneOf(BUSY[0] as Thing, true);
  const closing = [
    scene.device.close({ force: true }),
    scene.device.close(),
    scene.device[Symbol.asyncDispose](),
  ];
  await turn();
  scene.swap.gate.open();
  await Promise.all(closing);
  await endsOf(scene);
  await expectClosed(scene);
});

test("a device whose close fails is closed all the same, and says so", async () => {
  const swap = new WatchedSwap(true);
  const boom = new Error("the store is gone");
  swap.close = () => {
    throw boom;
  };
  const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap });
  await filled(device, 1);
  await expect(device.close({ force: true })).rejects.toBe(boom);
  expect(device.closed).toBe(true);
  await expect(device.close()).rejects.toThrow(/device is closed/);
});
