/* What hibernation moves out comes back, once, and nothing else does. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { BufferObject } from "../src/buffer_object.ts";
import { createDeviceSync, type Device, PAGE_SIZE, ramSwap } from "../src/index.ts";
import { Window } from "../src/window.ts";
import { content, contentSync, expectSame, pattern } from "./support/bytes.ts";
import { expectAllFree, filled } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAll, failAt, MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

/** A clock that, once it is set, moves a millisecond each time it is looked at. */
const clock = vi.hoisted(() => ({ time: undefined as number | undefined }));

vi.mock(import("../src/host.ts"), async (original) => ({
  ...(await original()),
  now: () => (clock.time === undefined ? performance.now() : clock.time++),
}));

const PAGES = 8;

interface Form {
  readonly form: string;
  readonly isAsync: boolean;
  hibernate(device: Device, signal?: CountingSignal): Promise<number>;
  resume(device: Device, signal?: CountingSignal): Promise<void>;
}

const FORMS: readonly Form[] = [
  {
    form: "sync",
    isAsync: false,
    hibernate: async (device, signal) => device.hibernateSync({ signal }),
    resume: async (device, signal) => device.resumeSync({ signal }),
  },
  {
    form: "async",
    isAsync: true,
    hibernate: (device, signal) => device.hibernate({ signal }),
    resume: (device, signal) => device.resume({ signal }),
  },
];

function deviceOf(isAsync: boolean, frames = 64): { device: Device; swap: MapSwap } {
  const delay = () => Promise.resolve();
  const swap = new MapSwap({ slots: 256, ...(isAsync ? { delay } : {}) });
  const device = createDeviceSync({ memory: frames * PAGE_SIZE, swap, transferPages: 4 });
  return { device, swap };
}

const residents = (bos: readonly BufferObject[]) => bos.map((bo) => bo.residentPages);

async function expectContent(bos: readonly BufferObject[]): Promise<void> {
  for (const [i, bo] of bos.entries()) {
    expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
  }
}

describe.each(FORMS)("$form", ({ isAsync, hibernate, resume }) => {
  test("what was in memory comes back, and what was out before stays out", async () => {
    const { device, swap } = deviceOf(isAsync);
    const bos = [0, 1, 2, 3].map((i) => filled(device, PAGES, i));
    await bos[1]?.shrink();
    expect(await hibernate(device)).toBe(3 * PAGES);
    expect(residents(bos)).toEqual([0, 0, 0, 0]);
    swap.forget();
    await resume(device);
    expect(residents(bos)).toEqual([PAGES, 0, PAGES, PAGES]);
    expect(swap.pages(false)).toBe(3 * PAGES);
    await resume(device);
    expect(swap.pages(false)).toBe(3 * PAGES); // once
    await expectContent(bos);
    await device.close({ force: true });
  });

  test("goes on when others destroy a buffer, or close its device, while it comes back", async () => {
    for (const end of ["destroy", "close"]) {
      const { device, swap } = deviceOf(isAsync);
      const sibling = device.createSibling();
      const bos = [device, sibling, device].map((each, i) => filled(each, PAGES, i));
      await hibernate(device);
      let closing: Promise<void> | undefined;
      swap.before = (call) => {
        if (call.out || bos[1]?.destroyed || closing || device.stats().pagesIn < PAGES) return;
        if (end === "destroy") bos[1]?.destroy();
        else if (isAsync) closing = sibling.close({ force: true });
        else sibling.closeSync({ force: true });
      };
      await resume(device);
      await closing;
      expect(residents(bos)).toEqual([PAGES, 0, PAGES]);
      expect(bos[1]?.destroyed).toBe(true);
      await device.close({ force: true });
    }
  });

  test("ends with its own device", async () => {
    const { device, swap } = deviceOf(isAsync);
    for (const i of [0, 1]) filled(device, PAGES, i);
    await hibernate(device);
    let closing: Promise<void> | undefined;
    swap.before = () => {
      if (isAsync) closing ??= device.close({ force: true });
      else if (!device.closed) device.closeSync({ force: true });
    };
    await expect(resume(device)).rejects.toThrow(/closed/);
    await closing;
  });

  test("twice: what the first moved out comes back as well", async () => {
    const { device } = deviceOf(isAsync);
    const bos = [0, 1, 2].map((i) => filled(device, PAGES, i));
    expect(await hibernate(device)).toBe(3 * PAGES);
    expect(await hibernate(device)).toBe(0);
    await content(bos[1] as BufferObject); // somebody uses it in between
    expect(await hibernate(device)).toBe(PAGES);
    await resume(device);
    expect(residents(bos)).toEqual([PAGES, PAGES, PAGES]);
    await expectContent(bos);
    await device.close({ force: true });
  });

  test("stopped, or failing, and called again: all of it comes back", async () => {
    for (const stop of ["signal", "failure"]) {
      const { device, swap } = deviceOf(isAsync);
      const bos = [0, 1, 2, 3].map((i) => filled(device, PAGES, i));
      if (stop === "failure") swap.before = failAt(true, 3, systemError("EIO"));
      const signal = stop === "signal" ? new CountingSignal(5) : undefined;
      const first = await hibernate(device, signal);
      swap.before = undefined;
      expect(first).toBeGreaterThan(0);
      expect(first).toBeLessThan(4 * PAGES);
      expect(first + (await hibernate(device))).toBe(4 * PAGES);
      await resume(device);
      expect(residents(bos)).toEqual(bos.map(() => PAGES));
      await expectContent(bos);
      await device.close({ force: true });
    }
  });

  test("one that moved nothing says why, and nothing is noted", async () => {
    const { device, swap } = deviceOf(isAsync);
    const bos = [0, 1].map((i) => filled(device, PAGES, i));
    swap.before = failAll(true, systemError("EIO"));
    await expect(hibernate(device)).rejects.toMatchObject({ code: "EIO" });
    swap.before = undefined;
    await bos[0]?.shrink();
    await resume(device);
    expect(residents(bos)).toEqual([0, PAGES]);
    await device.close({ force: true });
  });

  test("a resume that fails goes on where it stopped, with no page read twice", async () => {
    const { device, swap } = deviceOf(isAsync);
    const bos = [0, 1, 2, 3].map((i) => filled(device, PAGES, i));
    await hibernate(device);
    swap.forget();
    for (let k = 3; k > 0; k--) {
      swap.before = failAt(false, k, systemError("EIO"));
      await expect(resume(device)).rejects.toMatchObject({ code: "EIO", op: "restore" });
    }
    swap.before = undefined;
    await expect(resume(device, new CountingSignal(4))).rejects.toMatchObject({ code: "EINTR" });
    await resume(device);
    expect(residents(bos)).toEqual(bos.map(() => PAGES));
    expect(Math.max(...swap.reads.values())).toBe(1);
    await expectContent(bos);
    await device.close({ force: true });
  });

  test("what was destroyed, purged or rewritten meanwhile is no concern of a resume", async () => {
    const { device, swap } = deviceOf(isAsync);
    const bos = [0, 1, 2, 3].map((i) => filled(device, PAGES, i));
    const [destroyed, purged, rewritten, left] = bos as [
      BufferObject,
      BufferObject,
      BufferObject,
      BufferObject,
    ];
    await hibernate(device);
    destroyed.destroy();
    expect(purged.advise("dontneed")).toBe(false);
    await rewritten.write(0, pattern(9, rewritten.size));
    swap.forget();
    await resume(device);
    expect(swap.pages(false)).toBe(PAGES);
    expect(residents([purged, rewritten, left])).toEqual([0, PAGES, PAGES]);
    expectSame(await content(rewritten), pattern(9, rewritten.size), "rewritten");
    for (const bo of [purged, rewritten, left]) bo.destroy();
    expectAllFree(device);
    await device.close();
  });

  test("pinned and mapped buffers stay where they are", async () => {
    const { device } = deviceOf(isAsync);
    const bos = [0, 1, 2].map((i) => filled(device, PAGES, i));
    bos[0]?.pinSync();
    const mapping = bos[1]?.mapSync();
    expect(await hibernate(device)).toBe(PAGES);
    expect(residents(bos)).toEqual([PAGES, PAGES, 0]);
    await resume(device);
    expect(residents(bos)).toEqual([PAGES, PAGES, PAGES]);
    bos[0]?.unpin();
    mapping?.unmap();
    await expectContent(bos);
    await device.close({ force: true });
  });

  test("a sibling's buffers leave and come back, whichever of them is told to", async () => {
    const { device, swap } = deviceOf(isAsync);
    const sibling = device.createSibling();
    const bos = [filled(device, PAGES, 0), filled(sibling, PAGES, 1), filled(device, PAGES, 2)];
    expect(await hibernate(sibling)).toBe(3 * PAGES);
    await hibernate(device);
    swap.forget();
    await resume(device);
    expect(residents(bos)).toEqual([PAGES, PAGES, PAGES]);
    await resume(sibling);
    expect(swap.pages(false)).toBe(3 * PAGES);
    await hibernate(device);
    await sibling.close({ force: true });
    await resume(device);
    expect(residents([bos[0], bos[2]] as BufferObject[])).toEqual([PAGES, PAGES]);
    await device.close({ force: true });
  });

  test("with memory for a part only, what came first makes room again, as for any restore", async () => {
    const { device } = deviceOf(isAsync, 32);
    const bos = [0, 1, 2].map((i) => filled(device, PAGES, i));
    await hibernate(device);
    const pinned = device.createBuffer(20 * PAGE_SIZE);
    pinned.pinSync();
    await expect(resume(device)).resolves.toBeUndefined();
    expect(residents(bos).reduce((sum, pages) => sum + pages)).toBeLessThanOrEqual(12);
    await expectContent(bos);
    await device.close({ force: true });
  });
});

test("a closed device neither hibernates nor resumes", async () => {
  const { device } = deviceOf(false);
  await device.close();
  await expect(device.hibernate()).rejects.toThrow(/device is closed/);
  await expect(device.resume()).rejects.toThrow(/device is closed/);
  expect(() => device.hibernateSync()).toThrow(/device is closed/);
  expect(() => device.resumeSync()).toThrow(/device is closed/);
});

test("the Sync forms on an asynchronous device are EWOULDBLOCK, and lose nothing", async () => {
  const { device } = deviceOf(true);
  const bos = [0, 1].map((i) => filled(device, PAGES, i));
  failsSync("EWOULDBLOCK", () => device.hibernateSync());
  expect(residents(bos)).toEqual([PAGES, PAGES]);
  await device.hibernate();
  failsSync("EWOULDBLOCK", () => device.resumeSync());
  await device.resume();
  expect(residents(bos)).toEqual([PAGES, PAGES]);
  await expectContent(bos);
  await device.close({ force: true });
});

describe("the event loop turns", () => {
  afterEach(() => {
    clock.time = undefined;
  });

  /** Turns during `work`, by a clock that moves a millisecond each time it is looked at. */
  async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
    clock.time = performance.now();
    let turns = 0;
    let going = true;
    const tick = () => {
      turns++;
      if (going) setImmediate(tick);
    };
    setImmediate(tick);
    await work();
    going = false;
    return turns;
  }

  test("during a resume, on a device that never waits", async () => {
    const size = 512 * PAGE_SIZE;
    const device = createDeviceSync({ memory: size, swap: ramSwap({ size }) });
    const bos = Array.from({ length: 250 }, (_, i) => filled(device, 1, i));
    await device.hibernate();
    const turns = await turnsDuring(() => device.resume());
    // At least a look for each buffer that is restored, and eight milliseconds a turn.
    expect(turns).toBeGreaterThanOrEqual(25);
    expect(bos.every((bo) => bo.residentPages === 1)).toBe(true);
    await fails("EBUSY", device.close());
    await device.close({ force: true });
  });
});

test("what was hibernated often is brought back once", () => {
  const device = createDeviceSync({ memory: 64 * PAGE_SIZE });
  const bo = filled(device, 40, 1);
  bo.shrinkSync();
  for (let round = 0; round < 20; round++) {
    bo.readSync((round % 2) * 20 * PAGE_SIZE, new Uint8Array(1));
    device.hibernateSync();
  }
  const populate = vi.spyOn(Window.prototype, "populateSync");
  device.resumeSync();
  expect(populate).toHaveBeenCalledTimes(2);
  populate.mockRestore();
  expect(bo.residentPages).toBe(2);
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
  device.check();
});

test("a resume never says of a device that closes that somebody destroyed a buffer just before", async () => {
  // The error of the buffer is on its way for some microtasks: in each of them the device may be closed.
  for (let turns = 0; turns < 40; turns++) {
    const { device, swap } = deviceOf(true);
    const bos = [0, 1].map((i) => filled(device, PAGES, i));
    await device.hibernate();
    let closing: Promise<void> | undefined;
    const close = async () => {
      for (let i = 0; i < turns; i++) await undefined;
      await device.close();
    };
    swap.before = () => {
      for (const bo of bos) bo.destroy();
      swap.before = undefined;
      closing = close();
    };
    const failure = await device.resume().catch((error: unknown) => error);
    if (failure !== undefined) expect(String(failure)).toContain("this device is closed");
    await closing;
    expect(device.closed).toBe(true);
  }
});
