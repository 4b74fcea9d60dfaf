/*
 * A restore is stopped at every place where it can be, and goes on there. Method: signals that count
 * how often they are looked at, and a device that counts how often each page is read.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE, type Signal } from "../../src/index.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { blockDevice, expectAllFree, filled, ramDevice, scatterSlots } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";

const PAGES = [1, 19, 275, 508];
interface Setup {
  readonly swap: MapSwap;
  readonly device: Device;
  readonly bo: BufferObject;
}

/** A buffer, on a device of its own; with `scatter` each page needs a transfer of its own. */
function setup(pages: number, scatter: boolean, delay?: () => Promise<void>): Setup {
  const total = scatter ? Math.max(2 * pages + 2, 16) : 2048;
  const swap = new MapSwap({ slots: total, ...(delay ? { delay } : {}) });
  const device = blockDevice(total, swap);
  if (scatter) scatterSlots(device);
  return { swap, device, bo: filled(device, pages, 1) };
}

function expectEachReadOnce(swap: MapSwap, pages: number): void {
  expect(swap.reads.size).toBe(pages);
  expect(Math.max(...swap.reads.values())).toBe(1);
}

/** A read of the last byte. */
function touchSync(bo: BufferObject, signal?: Signal): void {
  bo.readSync(0, new Uint8Array(bo.size), { signal });
}

async function touch(bo: BufferObject, signal?: Signal): Promise<void> {
  await bo.read(0, new Uint8Array(bo.size), { signal });
}

function totals({ device }: Setup): { interrupted: number; resumed: number } {
  const { interrupted, resumed } = device.stats();
  return { interrupted, resumed };
}

describe("interrupted once, at every look at the signal, a restore goes on", () => {
  test.each([
    ...PAGES.map((pages) => ({ pages, scatter: false })),
    ...[1, 19, 275].map((pages) => ({ pages, scatter: true })),
  ])("sync, $pages pages, scattered: $scatter", ({ pages, scatter }) => {
    const s = setup(pages, scatter);
    const { device, bo, swap } = s;
    let stops = 0;
    for (let abortAt = 1; ; abortAt++) {
      bo.shrinkSync();
      expect(bo.residentPages).toBe(0);
      swap.forget();
      const before = totals(s);
      const signal = new CountingSignal(abortAt);
      let stopped = true;
      try {
        touchSync(bo, signal);
        stopped = false;
      } catch {
        stops++;
      }
      if (!stopped) break;
      device.check();
      const read = swap.pages(false);
      const error = failsSync("EINTR", () => touchSync(bo, new CountingSignal(1)));
      expect(error).toMatchObject({ errno: -4, op: "restore" });
      expect(swap.pages(false)).toBe(read);
      touchSync(bo);
      expectEachReadOnce(swap, pages);
      const after = totals(s);
      expect(after.resumed - before.resumed).toBe(read > 0 ? 1 : 0);
      expect(after.interrupted - before.interrupted).toBeLessThanOrEqual(1);
      if (read > 0) expect(after.interrupted - before.interrupted).toBe(1);
      device.check();
      expectSame(contentSync(bo), pattern(1, bo.size), `stopped at look ${abortAt}`);
    }
    expect(stops).toBeGreaterThanOrEqual(scatter ? pages : Math.ceil(pages / 256));
    device.closeSync({ force: true });
  });

  test.each([
    { pages: 1, scatter: true },
    { pages: 19, scatter: true },
    { pages: 275, scatter: false },
    { pages: 508, scatter: false },
  ])("async, $pages pages, scattered: $scatter", async ({ pages, scatter }) => {
    const s = setup(pages, scatter);
    const { device, bo, swap } = s;
    for (let abortAt = 1, stopped = true; stopped; abortAt++) {
      await bo.shrink();
      swap.forget();
      const before = totals(s);
      stopped = await touch(bo, new CountingSignal(abortAt)).then(
        () => false,
        () => true,
      );
      device.check();
      const read = swap.pages(false);
      await touch(bo);
      expectEachReadOnce(swap, pages);
      const after = totals(s);
      if (stopped) expect(after.resumed - before.resumed).toBe(read > 0 ? 1 : 0);
      else expect(after).toEqual(before);
      expectSame(await content(bo), pattern(1, bo.size), `stopped at look ${abortAt}`);
    }
    await device.close({ force: true });
  });
});

describe("interrupted after every single transfer, a restore takes one attempt for each", () => {
  async function chain(s: Setup, attempt: (signal: Signal) => Promise<void>): Promise<void> {
    const { device, bo, swap } = s;
    swap.forget();
    const before = totals(s);
    let attempts = 0;
    for (let done = false; !done; attempts++) {
      const resident = bo.residentPages;
      const signal = {
        get aborted() {
          return swap.count(false) > attempts;
        },
      };
      done = await attempt(signal).then(
        () => true,
        (error: unknown) => {
          expect(error).toMatchObject({ code: "EINTR" });
          return false;
        },
      );
      expect(swap.count(false)).toBe(attempts + 1);
      expect(bo.residentPages).toBeGreaterThanOrEqual(resident);
      device.check();
    }
    expectEachReadOnce(swap, bo.size / PAGE_SIZE);
    const after = totals(s);
    expect(after.interrupted - before.interrupted).toBe(attempts - 1);
    expect(after.resumed - before.resumed).toBe(attempts - 1);
    expectSame(await content(bo), pattern(1, bo.size), "content");
    bo.destroy();
    device.check();
    await device.close({ force: true });
  }

  const cases = PAGES.flatMap((pages) => [true, false].map((scatter) => ({ pages, scatter })));

  test.each(cases)("sync, $pages pages, scattered: $scatter", async ({ pages, scatter }) => {
    const s = setup(pages, scatter);
    s.bo.shrinkSync();
    await chain(s, async (signal) => touchSync(s.bo, signal));
  });

  test.each(cases)("async, $pages pages, scattered: $scatter", async ({ pages, scatter }) => {
    const s = setup(pages, scatter);
    await s.bo.shrink();
    await chain(s, (signal) => touch(s.bo, signal));
  });

  test.each(PAGES)("with an asynchronous device, %i pages", async (pages) => {
    const s = setup(pages, false, () => Promise.resolve());
    await s.bo.shrink();
    await chain(s, (signal) => touch(s.bo, signal));
  });
});

describe("every operation that restores", () => {
  const operations: [string, (bo: BufferObject, signal: CountingSignal) => void][] = [
    ["read", (bo, signal) => bo.readSync(0, new Uint8Array(bo.size), { signal })],
    ["map", (bo, signal) => bo.mapSync({ signal }).unmap()],
    ["populate", (bo, signal) => bo.populateSync({ signal })],
    ["pin", (bo, signal) => bo.pinSync({ signal })],
  ];

  test.each(operations)("%s stops for its signal and leaves no pin behind", (_, operation) => {
    const { device, bo, swap } = setup(275, false);
    bo.shrinkSync();
    let stops = 0;
    for (let looks = 1; bo.residentPages < 275; looks++) {
      try {
        operation(bo, new CountingSignal(looks));
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
        expect((error as Error).cause).toMatchObject({ message: "the test's reason" });
        expect(bo.pinned).toBe(false);
        stops++;
      }
      device.check();
    }
    expect(stops).toBeGreaterThan(2);
    expectEachReadOnce(swap, 275);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.closeSync({ force: true });
  });

  test("goes on where another one stopped", () => {
    const { device, bo, swap } = setup(508, false);
    bo.shrinkSync();
    const model = pattern(1, bo.size);
    for (let i = 0; bo.residentPages < 508; i++) {
      const [, operation] = operations[i % operations.length] as (typeof operations)[number];
      try {
        operation(bo, new CountingSignal(4 + Math.floor(i / 20)));
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
      }
    }
    expectEachReadOnce(swap, 508);
    expectSame(contentSync(bo), model, "content");
    device.closeSync({ force: true });
  });
});

describe("a signal that is aborted from the start", () => {
  test("stops everything before anything is moved", async () => {
    const { device, bo, swap } = setup(19, false);
    bo.shrinkSync();
    swap.forget();
    const before = device.stats();
    const signal = AbortSignal.abort("no time");
    const bytes = new Uint8Array(1);
    const sync = [
      () => bo.readSync(0, bytes, { signal }),
      () => bo.writeSync(0, bytes, { signal }),
      () => bo.mapSync({ signal }),
      () => bo.pinSync({ signal }),
      () => bo.populateSync({ signal }),
      () => bo.shrinkSync({ signal }),
      () => device.shrinkSync({ signal }),
    ];
    for (const run of sync) expect(failsSync("EINTR", run).cause).toBe("no time");
    const running = [
      () => bo.read(0, bytes, { signal }),
      () => bo.write(0, bytes, { signal }),
      () => bo.map({ signal }),
      () => bo.pin({ signal }),
      () => bo.populate({ signal }),
      () => bo.shrink({ signal }),
      () => device.shrink({ signal }),
    ];
    for (const run of running) expect((await fails("EINTR", run())).cause).toBe("no time");
    expect(swap.calls).toEqual([]);
    expect(device.stats()).toEqual(before);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.closeSync({ force: true });
  });
});

test("on RAM swap a restore stops between batches, and goes on there", () => {
  using device = ramDevice({ memory: 2048, swap: 2048 });
  const bo = filled(device, 1100, 1);
  let stops = 0;
  for (let abortAt = 1, done = false; !done; abortAt++) {
    bo.shrinkSync();
    const { pagesIn } = device.stats();
    try {
      touchSync(bo, new CountingSignal(abortAt));
      done = true;
    } catch (error) {
      expect(error).toMatchObject({ code: "EINTR", op: "restore" });
      if (bo.residentPages > 0) stops++;
      device.check();
      touchSync(bo);
    }
    expect(device.stats().pagesIn - pagesIn).toBe(1100);
    expectSame(contentSync(bo), pattern(1, bo.size), `stopped at look ${abortAt}`);
  }
  expect(stops).toBeGreaterThanOrEqual(2);
  bo.destroy();
  expectAllFree(device);
});
