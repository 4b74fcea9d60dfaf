/*
 * Signals and the event loop while an async operation runs. The devices here take a while for each
 * call, so that timers set before an operation fire in the middle of it.
 */
import { describe, expect, test } from "vitest";
import {
  type BlockSwapDevice,
  type Device,
  PAGE_SIZE,
  type SyncSwapDevice,
} from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { turn } from "../support/delays.ts";
import { blockDevice, filled } from "../support/devices.ts";
import { fails } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";

const PAGES = 3000;

/** Keeps the processor busy for longer than an async operation may hold the event loop. */
function work(): void {
  const end = performance.now() + 12;
  while (performance.now() < end);
}

/** A swap file on a disk that takes its time, and never lets go of the event loop. */
function slowFile(called: () => void): SyncSwapDevice {
  const file = fileSwap({ size: PAGES * PAGE_SIZE });
  return {
    ...file,
    writeSync(runs) {
      called();
      work();
      return file.writeSync(runs);
    },
    readSync(runs) {
      called();
      work();
      file.readSync(runs);
    },
  };
}

function slowMap(called: () => void): BlockSwapDevice {
  const swap = new MapSwap({ slots: PAGES, delay: turn });
  swap.before = called;
  return swap;
}

const kinds = [
  { kind: "a slow synchronous file", create: slowFile },
  { kind: "a slow asynchronous device", create: slowMap },
];

describe.each(kinds)("with $kind", ({ create }) => {
  /** The device, and a way to have a timer abort a signal in the middle of the next operation. */
  function setup(): { device: Device; aborted: () => AbortSignal } {
    let controller: AbortController | undefined;
    const swap = create(() => {
      const it = controller;
      controller = undefined;
      if (it) setTimeout(() => it.abort(new Error("pressed escape")), 0);
    });
    const aborted = () => {
      controller = new AbortController();
      return controller.signal;
    };
    return { device: blockDevice(PAGES, swap), aborted };
  }

  test("a timer's abort() stops a restore, and a retry resumes it", async () => {
    const { device, aborted } = setup();
    const bo = filled(device, PAGES, 1);
    await bo.shrink();
    const signal = aborted();
    const error = await fails("EINTR", content(bo, { signal }));
    expect(error.op).toBe("restore");
    expect(error.cause).toMatchObject({ message: "pressed escape" });
    device.check();
    const { pagesIn, interrupted } = device.stats();
    expect(pagesIn).toBeGreaterThan(0);
    expect(pagesIn).toBeLessThan(PAGES);
    expect(interrupted).toBeLessThanOrEqual(1);
    await fails("EINTR", content(bo, { signal }));
    expectSame(await content(bo), pattern(1, bo.size), "content");
    expect(device.stats()).toMatchObject({ pagesIn: PAGES, resumed: interrupted });
    await device.close({ force: true });
  });

  test("a timer's abort() stops a shrink; the pages moved so far are its result", async () => {
    const { device, aborted } = setup();
    const bo = filled(device, PAGES, 1);
    const released = await bo.shrink({ signal: aborted() });
    expect(released).toBeGreaterThan(0);
    expect(released).toBeLessThan(PAGES);
    expect(bo.residentPages).toBe(PAGES - released);
    device.check();
    expect(await device.shrink()).toBe(PAGES - released);
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });

  test("the event loop turns during a long shrink and a long restore", async () => {
    const { device } = setup();
    const bo = filled(device, PAGES, 1);
    let ticks = 0;
    const interval = setInterval(() => ticks++, 0);
    try {
      expect(await bo.shrink()).toBe(PAGES);
      expect(ticks).toBeGreaterThan(2);
      ticks = 0;
      await bo.populate();
      expect(ticks).toBeGreaterThan(2);
    } finally {
      clearInterval(interval);
    }
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });
});

test("the event loop turns between many short operations on a synchronous device", async () => {
  const swap = fileSwap({ size: 64 * PAGE_SIZE });
  const slow: SyncSwapDevice = {
    ...swap,
    writeSync(runs) {
      const end = performance.now() + 5; // shorter than a single operation may hold the event loop
      while (performance.now() < end);
      return swap.writeSync(runs);
    },
  };
  const device = blockDevice(64, slow);
  const buffers = Array.from({ length: 20 }, (_, i) => filled(device, 2, i));
  let turns = 0;
  const interval = setInterval(() => turns++, 0);
  for (const bo of buffers) await bo.shrink();
  clearInterval(interval);
  expect(turns).toBeGreaterThan(2);
  await device.close({ force: true });
});

describe("with an asynchronous device", () => {
  test("the signal of one operation does not stop another", async () => {
    const device = blockDevice(600, new MapSwap({ slots: 4000, delay: turn }));
    const [a, b] = [filled(device, 250, 1), filled(device, 250, 2)];
    await device.shrink();
    const stopped = a.populate({ signal: new CountingSignal(3) });
    const read = content(b);
    await fails("EINTR", stopped);
    expectSame(await read, pattern(2, b.size), "the other");
    expectSame(await content(a), pattern(1, a.size), "the one that was stopped");
    device.check();
    await device.close({ force: true });
  });

  test("a write that waits for others to make room stops for its signal", async () => {
    const device = blockDevice(64, new MapSwap({ slots: 640, delay: turn }));
    const bo = filled(device, 60, 1);
    const controller = new AbortController();
    const next = device.createBuffer(60 * PAGE_SIZE);
    const writing = next.write(0, new Uint8Array(next.size), { signal: controller.signal });
    const third = device.createBuffer(60 * PAGE_SIZE);
    const waiting = third.write(0, pattern(3, third.size), { signal: controller.signal });
    controller.abort();
    await fails("EINTR", writing);
    await fails("EINTR", waiting);
    device.check();
    expectSame(await content(bo), pattern(1, bo.size), "what was there");
    await third.write(0, pattern(3, third.size));
    expectSame(await content(third), pattern(3, third.size), "third");
    await device.close({ force: true });
  });
});
