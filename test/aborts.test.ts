/*
 * An abort is heard wherever an operation is: its caller learns of it although the device stands still, nothing it
 * held is given to others before the device is done, and afterwards everything is as if it had not been.
 */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  type Device,
  PAGE_SIZE,
  type SwapDevice,
  type SwapRun,
} from "../src/index.ts";
import { kmapTt, Pool, populateTt, shrinkTt, swapoutTt, Tt } from "../src/ttm.ts";
import { content, expectSame, pattern } from "./support/bytes.ts";
import { expectRest } from "./support/crowd.ts";
import { Gate, settles, turn, until } from "./support/delays.ts";
import { blockDevice, expectAllFree } from "./support/devices.ts";
import { fails } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

const FRAMES = 32;
const PAGES = 12;
const REASON = new Error("the caller's reason");

interface Scene {
  readonly device: Device;
  readonly gate: Gate;
  readonly swap: MapSwap;
  /** Three buffers: the first two are in swap, the third in memory. */
  readonly bos: readonly [BufferObject, BufferObject, BufferObject];
}

async function sceneOf(): Promise<Scene> {
  const gate = new Gate();
  gate.open();
  const swap = new MapSwap({ slots: 256, delay: gate.pass });
  const device = blockDevice(FRAMES, swap);
  const bos = [0, 1, 2].map(() => device.createBuffer(PAGES * PAGE_SIZE));
  for (const [i, bo] of bos.entries()) {
    await bo.write(0, pattern(i, bo.size));
    if (i < 2) await bo.shrink();
  }
  gate.close();
  return { device, gate, swap, bos: bos as unknown as Scene["bos"] };
}

type Start = (bo: BufferObject, signal: AbortSignal) => Promise<unknown>;

const OPERATIONS: readonly [string, Start][] = [
  ["read", (bo, signal) => bo.read(0, new Uint8Array(bo.size), { signal })],
  ["write", (bo, signal) => bo.write(5, new Uint8Array(7), { signal })],
  ["map", (bo, signal) => bo.map({ signal })],
  ["pin", (bo, signal) => bo.pin({ signal })],
  ["populate", (bo, signal) => bo.populate({ signal })],
  ["shrink", (bo, signal) => bo.shrink({ signal })],
];

/** Everything is as it was, and works. */
async function expectUnharmed({ device, gate, bos, swap }: Scene): Promise<void> {
  gate.open();
  await until(() => device.global.tasks.size === 0);
  expectRest(device);
  device.check();
  expect(swap.broken).toBeUndefined();
  for (const [i, bo] of bos.entries()) {
    expect(bo.pinned).toBe(false);
    expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
  }
  for (const bo of bos) bo.destroy();
  expectAllFree(device);
  await device.close();
}

async function expectInterrupted(running: Promise<unknown>): Promise<void> {
  const error = await fails("EINTR", settles(running));
  expect(error.cause).toBe(REASON);
  expect(error.stack ?? "").not.toMatch(/\n\s+at /);
}

describe.each(OPERATIONS)("a %s that is aborted", (name, start) => {
  test("before it begins, does nothing at all", async () => {
    const scene = await sceneOf();
    const signal = AbortSignal.abort(REASON);
    await expectInterrupted(start(scene.bos[0], signal));
    expect(scene.device.global.tasks.size).toBe(0);
    await expectUnharmed(scene);
  });

  test("while it waits for its turn on the buffer", async () => {
    const scene = await sceneOf();
    const { bos, gate } = scene;
    const first = content(bos[0]);
    await until(() => gate.waiting > 0);
    const controller = new AbortController();
    const running = start(bos[0], controller.signal);
    const behind = content(bos[0]);
    await turn();
    controller.abort(REASON);
    await expectInterrupted(running);
    expect(gate.waiting).toBe(1);
    gate.open();
    for (const bytes of await Promise.all([first, behind])) {
      expectSame(bytes, pattern(0, bytes.length), "the others");
    }
    await expectUnharmed(scene);
  });

  test("while another moves the pages", async () => {
    const scene = await sceneOf();
    const { device, bos, gate } = scene;
    const shrinking = device.shrink();
    await until(() => gate.waiting > 0);
    const controller = new AbortController();
    const running = start(bos[2], controller.signal);
    // A read does not wait for it: bytes may be copied out while pages are written to swap.
    if (name === "read") await running;
    else await turn();
    controller.abort(REASON);
    if (name !== "read") await expectInterrupted(running);
    expect(gate.waiting).toBe(1);
    gate.open();
    expect(await shrinking).toBe(PAGES);
    await expectUnharmed(scene);
  });

  test("while the device is at work for it: its pages are set aside until that is done", async () => {
    const scene = await sceneOf();
    const { device, bos, gate, swap } = scene;
    const bo = name === "shrink" ? bos[2] : bos[0];
    const controller = new AbortController();
    const running = start(bo, controller.signal);
    await until(() => gate.waiting > 0);
    const held = { free: device.stats().pages.free, slots: device.stats().slots.free };
    controller.abort(REASON);
    await expectInterrupted(running);
    expect(gate.waiting).toBe(1);
    expect({ free: device.stats().pages.free, slots: device.stats().slots.free }).toEqual(held);
    // Nobody else gets at the buffer meanwhile, and who comes is served when the device is done.
    const next = content(bo);
    await turn();
    expect(swap.calls.filter(({ out }) => out === (name === "shrink")).length).toBeGreaterThan(0);
    expect(gate.waiting).toBe(1);
    gate.open();
    expectSame(await settles(next), pattern(bos.indexOf(bo), bo.size), "who came next");
    await expectUnharmed(scene);
  });

  test("and whose device answers in time, learns how far it came", async () => {
    const scene = await sceneOf();
    const bo = name === "shrink" ? scene.bos[2] : scene.bos[0];
    const controller = new AbortController();
    const running = start(bo, controller.signal);
    await until(() => scene.gate.waiting > 0);
    controller.abort(REASON);
    scene.gate.open();
    if (name === "shrink") expect(await running).toBe(PAGES);
    else await expectInterrupted(running);
    await expectUnharmed(scene);
  });
});

describe("aborted while it waits to be let in", () => {
  test.each(OPERATIONS.slice(0, 5))("a %s goes, and those behind it go on", async (_, start) => {
    const scene = await sceneOf();
    const { device, bos, gate } = scene;
    const large = device.createBuffer(30 * PAGE_SIZE);
    const writing = large.write(0, new Uint8Array(large.size)); // stands still at the device, with all of memory
    await until(() => gate.waiting > 0);
    const controller = new AbortController();
    const running = start(bos[0], controller.signal);
    const behind = content(bos[1]);
    await turn();
    expect(device.global.admission.inside).toBe(1);
    controller.abort(REASON);
    await expectInterrupted(running);
    gate.open();
    expectSame(await behind, pattern(1, bos[1].size), "the one behind");
    await writing;
    large.destroy();
    await expectUnharmed(scene);
  });
});

describe("of the kernel's layer", () => {
  const operations: [
    string,
    boolean,
    (pool: Pool, tt: Tt, signal: AbortSignal) => Promise<unknown>,
  ][] = [
    ["populate", true, (pool, tt, signal) => populateTt(pool, tt, { signal })],
    ["shrink", false, (pool, tt, signal) => shrinkTt(pool, tt, { signal })],
    ["swapout", false, (pool, tt, signal) => swapoutTt(pool, tt, { signal })],
  ];

  test.each(operations)(
    "a %s is heard at the device, in the queue, and before",
    async (_, inSwap, start) => {
      const scene = await sceneOf();
      const { device, gate } = scene;
      const pool = new Pool(device.global);
      const tt = new Tt(8);
      gate.open();
      await populateTt(pool, tt);
      for (const view of kmapTt(pool, tt)) view.fill(7);
      if (inSwap) await shrinkTt(pool, tt);
      gate.close();
      await expectInterrupted(start(pool, tt, AbortSignal.abort(REASON)));
      const [first, second] = [new AbortController(), new AbortController()];
      const running = start(pool, tt, first.signal);
      await until(() => gate.waiting > 0);
      const queued = start(pool, tt, second.signal);
      await turn();
      second.abort(REASON);
      await expectInterrupted(queued);
      first.abort(REASON);
      await expectInterrupted(running);
      expect(tt.lock.held).toBe(true);
      gate.open();
      await until(() => !tt.lock.held);
      await populateTt(pool, tt);
      pool.release(tt);
      pool.close();
      await expectUnharmed(scene);
    },
  );

  test("one that may not be interrupted is not", async () => {
    const scene = await sceneOf();
    const { device, gate } = scene;
    const pool = new Pool(device.global);
    const tt = new Tt(8);
    gate.open();
    await populateTt(pool, tt);
    for (const view of kmapTt(pool, tt)) view.fill(7);
    await shrinkTt(pool, tt);
    gate.close();
    const controller = new AbortController();
    const context = { interruptible: false, signal: controller.signal };
    const running = populateTt(pool, tt, context);
    await until(() => gate.waiting > 0);
    controller.abort(REASON);
    gate.open();
    await running;
    expect(tt.populated).toBe(true);
    pool.release(tt);
    pool.close();
    await expectUnharmed(scene);
  });
});

test("a shrink and a hibernation of the device are heard as well", async () => {
  for (const op of ["shrink", "hibernate"] as const) {
    const scene = await sceneOf();
    const controller = new AbortController();
    const running = scene.device[op](controller);
    await until(() => scene.gate.waiting > 0);
    controller.abort(REASON);
    await expectInterrupted(running);
    await expectUnharmed(scene);
  }
});

test("a resume is heard, and goes on from there when it is called again", async () => {
  const scene = await sceneOf();
  const { device, gate, bos } = scene;
  gate.open();
  await bos[0].populate();
  await device.hibernate();
  gate.close();
  const controller = new AbortController();
  const running = device.resume(controller);
  await until(() => gate.waiting > 0);
  controller.abort(REASON);
  await expectInterrupted(running);
  gate.open();
  await device.resume();
  expect(bos.map((bo) => bo.residentPages)).toEqual([PAGES, 0, PAGES]);
  await expectUnharmed(scene);
});

test("nobody is left listening to a signal that outlives many operations", async () => {
  const scene = await sceneOf();
  scene.gate.open();
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  for (let round = 0; round < 5; round++) {
    for (const [, start] of OPERATIONS) {
      const result = await start(scene.bos[0], signal);
      if (scene.bos[0].pinned) {
        if (typeof result === "object") (result as Disposable)[Symbol.dispose]();
        else scene.bos[0].unpin();
      }
      if (round % 2 === 0) await scene.bos[0].shrink();
    }
  }
  await scene.bos[0].write(0, pattern(0, scene.bos[0].size));
  expect(listeners).toBe(0);
  await expectUnharmed(scene);
});

test("a read copies out what a shrink is writing, also when its slice of time is over", async () => {
  const scene = await sceneOf();
  const { device, bos, gate } = scene;
  const shrinking = device.shrink();
  await until(() => gate.waiting > 0);
  for (const end = performance.now() + 20; performance.now() < end; );
  const bytes = await bos[2].read(0, new Uint8Array(bos[2].size));
  expectSame(bytes, pattern(2, bytes.length), "read");
  gate.open();
  expect(await shrinking).toBe(PAGES);
  await expectUnharmed(scene);
});

test("an abort that only a look finds is heard while other calls are on their way, too", async () => {
  const gate = new Gate();
  const stored = new Map<number, Uint8Array>();
  const each = (runs: readonly SwapRun[], page: (slot: number, bytes: Uint8Array) => void) => {
    for (const { slot, views } of runs) {
      let at = slot;
      for (const view of views) {
        for (let from = 0; from < view.length; from += PAGE_SIZE) {
          page(at++, view.subarray(from, from + PAGE_SIZE));
        }
      }
    }
  };
  const swap: SwapDevice = {
    name: "gated",
    slots: 64,
    queueDepth: 4,
    async write(runs: readonly SwapRun[]) {
      await gate.pass();
      each(runs, (slot, bytes) => stored.set(slot, bytes.slice()));
    },
    async read(runs: readonly SwapRun[]) {
      await gate.pass();
      each(runs, (slot, bytes) => bytes.set(stored.get(slot) as Uint8Array));
    },
  };
  const device = await createDevice({ memory: FRAMES * PAGE_SIZE, swap, transferPages: 4 });
  const bo = device.createBuffer(PAGES * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  // The first look is that of the shrink, and each call that it makes looks before it is made.
  const running = device.shrink({ signal: new CountingSignal(3) });
  await until(() => gate.waiting === 1);
  expect((await fails("EINTR", settles(running))).op).toBe("shrink");
  expect(gate.waiting).toBe(1);
  gate.open();
  await until(() => device.global.tasks.size === 0);
  expectSame(await content(bo), pattern(1, bo.size), "content");
  bo.destroy();
  expectAllFree(device);
  await device.close();
});
