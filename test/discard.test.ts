/*
 * Discarded bytes read as zeros; the pages that they cover whole hold nothing any more, neither in memory nor in swap.
 */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
  type TraceEvent,
} from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { Gate, settles, until } from "./support/delays.ts";
import { expectAllFree, filled, KINDS } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

const size = (pages: number) => pages * PAGE_SIZE;

const PAGES = 100;

interface Scene {
  readonly device: Device;
  readonly swap: MapSwap;
  readonly bo: BufferObject;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function scene(
  delay?: () => Promise<void>,
  options: Omit<DeviceOptions, "memory" | "swap"> = {},
): Scene {
  const swap = new MapSwap({ slots: 512, ...(delay ? { delay } : {}) });
  const device = createDeviceSync({ memory: size(256), swap, ...options });
  const bo = filled(device, PAGES, 1);
  return { device, swap, bo, bytes: pattern(1, bo.size) };
}

function used({ device }: Scene): { pages: number; slots: number } {
  const { pages, slots } = device.stats();
  return { pages: pages.total - pages.free, slots: slots.total - slots.free };
}

/** Where its pages are, before bytes are discarded. */
const STATES: readonly [string, (scene: Scene) => void][] = [
  ["in memory", () => {}],
  ["in swap", ({ bo }) => bo.shrinkSync()],
  [
    "in both, as it came back, clean",
    ({ bo }) => {
      bo.shrinkSync();
      contentSync(bo);
    },
  ],
  [
    "here and there",
    ({ bo }) => {
      bo.shrinkSync();
      bo.readSync(size(20) + 7, new Uint8Array(size(30)));
      bo.writeSync(size(25) + 7, pattern(1, bo.size).subarray(size(25) + 7, size(35)));
    },
  ],
  [
    "half way back, as a restore was stopped",
    ({ bo, swap, device }) => {
      bo.shrinkSync();
      swap.before = failAt(false, device.global.transferPages < PAGES ? 3 : 1, systemError("EIO"));
      failsSync("EIO", () => contentSync(bo));
      swap.before = undefined;
    },
  ],
];

const RANGES: readonly [string, number, number][] = [
  ["whole pages", size(24), size(16)],
  ["whole pages, cut on both sides", size(24) + 100, size(16)],
  ["bytes of one page", size(24) + 100, 50],
  ["bytes of two pages", size(24) - 100, 150],
  ["one page", size(24), size(1)],
  ["all", 0, size(PAGES)],
  ["all but a byte at the begin", 1, size(PAGES) - 1],
  ["all but a byte at the end", 0, size(PAGES) - 1],
  ["the first three quarters", 0, size(75)],
  ["the last page", size(PAGES - 1), size(1)],
];

describe.each(STATES)("of a buffer that is %s,", (state, prepare) => {
  describe.each(RANGES)("%s", (_, offset, length) => {
    test.each([true, false])("read as zeros, and hold nothing; sync: %s", async (sync) => {
      for (const transferPages of [16, 256]) {
        const made = scene(undefined, { transferPages });
        const { device, bo, bytes, swap } = made;
        prepare(made);
        swap.forget();
        const [from, to] = [
          Math.ceil(offset / PAGE_SIZE),
          Math.floor((offset + length) / PAGE_SIZE),
        ];
        if (sync) bo.discardSync({ offset, length });
        else await bo.discard({ offset, length });
        bytes.fill(0, offset, offset + length);
        device.check();
        // A chunk that was read in part is gone on with, if one of them lies in it.
        expect(swap.pages(false)).toBeLessThanOrEqual(state.startsWith("half") ? 32 : 2);
        const whole = Math.max(to - from, 0);
        const { pages, slots } = used(made);
        expect(pages).toBeLessThanOrEqual(PAGES - whole);
        expect(slots).toBeLessThanOrEqual(PAGES - whole);
        expect(bo.residentPages).toBe(pages);
        if (whole === PAGES)
          expect(made.device.global.engine.vectorAlloc(1)).toBe(bo.tt.vector + 1);
        else {
          const at = bo.tt.vector;
          expect(device.global.engine.countEmpty(at, from, Math.max(to, from))).toBe(whole);
        }
        expectSame(contentSync(bo), bytes, "content");
        bo.shrinkSync();
        device.check();
        expectSame(contentSync(bo), bytes, "content that has left and come back");
        const written = pattern(3, Math.min(length, size(3)));
        bo.writeSync(offset, written);
        bytes.set(written, offset);
        expectSame(contentSync(bo), bytes, "content that was written");
        device.check();
        bo.destroy();
      }
    });
  });
});

describe("a buffer", () => {
  test.each(KINDS)("all discarded holds nothing more, and is as new ($kind)", ({ create }) => {
    const device = create({ memory: 256, swap: 512 });
    const bo = filled(device, PAGES, 1);
    for (const prepare of [() => {}, () => bo.shrinkSync()]) {
      prepare();
      bo.discardSync();
      expectAllFree(device);
      expect(bo.tt.vector).toBe(-1);
      expect(bo.residentPages).toBe(0);
      expectZeros(contentSync(bo), "content");
      expectAllFree(device); // a read of it takes nothing
      bo.writeSync(0, pattern(2, bo.size));
      expectSame(contentSync(bo), pattern(2, bo.size), "content");
    }
  });

  test("discarded piece by piece holds nothing more in the end", () => {
    const { device, bo } = scene();
    for (let page = 0; page < PAGES; page += 2)
      bo.discardSync({ offset: size(page), length: size(1) });
    device.check();
    expect(bo.residentPages).toBe(PAGES / 2);
    bo.shrinkSync();
    expect(device.stats().slots.free).toBe(512 - PAGES / 2);
    for (let page = 1; page < PAGES; page += 2)
      bo.discardSync({ offset: size(page), length: size(1) });
    expectAllFree(device);
    expect(bo.tt.vector).toBe(-1);
  });

  test("that was never written, or purged, stays empty", () => {
    const device = createDeviceSync({ memory: size(64), swap: new MapSwap({ slots: 64 }) });
    const bo = device.createBuffer(size(40));
    bo.discardSync();
    bo.discardSync({ offset: 5, length: 100 });
    expectAllFree(device);
    bo.writeSync(size(3), pattern(1, 9));
    bo.discardSync({ offset: 5, length: 100 });
    expect(bo.residentPages).toBe(1); // a hole is no page
    bo.advise("dontneed");
    bo.shrinkSync();
    bo.discardSync({ offset: 5, length: size(4) });
    expect(bo.advise("willneed")).toBe(false);
    expectAllFree(device);
  });

  test("of a size that is no whole pages gives up its last page, too", () => {
    const device = createDeviceSync({ memory: size(64), swap: new MapSwap({ slots: 64 }) });
    const bo = device.createBuffer(size(20) + 9);
    bo.writeSync(0, pattern(1, bo.size));
    bo.shrinkSync();
    bo.discardSync({ offset: size(5) });
    expect(device.stats().pagesIn).toBe(0);
    expect(device.stats().slots.free).toBe(64 - 5);
    const bytes = pattern(1, bo.size).fill(0, size(5));
    expectSame(contentSync(bo), bytes, "content");
  });

  test("small ones, and such with bus addresses or another caching, are discarded of as well", () => {
    for (const options of [{}, { caching: "wc" }, { caching: "uc" }] as const) {
      for (const pages of [1, 7, 16, 40]) {
        const device = createDeviceSync({ memory: size(64), swap: new MapSwap({ slots: 64 }) });
        const bo = device.createBuffer(size(pages), options);
        const bytes = pattern(1, bo.size);
        bo.writeSync(0, bytes);
        const [offset, end] = [Math.min(100, bo.size / 3) | 0, bo.size - 100];
        for (const prepare of [() => {}, () => bo.shrinkSync(), () => void contentSync(bo)]) {
          prepare();
          bo.discardSync({ offset, length: end - offset });
          bytes.fill(0, offset, end);
          device.check();
          expectSame(contentSync(bo), bytes, `${pages} pages`);
          bo.writeSync(0, bytes.set(pattern(4, 50), offset) ?? bytes);
        }
        bo.destroy();
        device.global.poolShrinker.drain(0);
        expectAllFree(device);
      }
    }
  });
});

describe("a pinned or mapped buffer", () => {
  test("keeps its pages, which become zeros, as the mapping shows", () => {
    for (const state of ["pinned", "mapped"]) {
      const { device, bo, bytes } = scene();
      bo.shrinkSync();
      if (state === "pinned") bo.pinSync();
      const mapping = bo.mapSync();
      bo.discardSync({ offset: size(10) + 5, length: size(20) });
      bytes.fill(0, size(10) + 5, size(30) + 5);
      expect(bo.residentPages).toBe(PAGES);
      expect(bo.tt.populated).toBe(true);
      let at = 0;
      for (const segment of mapping.segments) {
        expectSame(segment, bytes.subarray(at, at + segment.length), state);
        segment.fill(9);
        at += segment.length;
      }
      device.check();
      expectSame(contentSync(bo), new Uint8Array(bo.size).fill(9), "what was written to the views");
      mapping.unmap();
      if (state === "pinned") bo.unpin();
      bo.discardSync();
      expectAllFree(device);
    }
  });

  test("gives up the slots of those that are not in memory", () => {
    const { device, bo, bytes } = scene();
    bo.shrinkSync();
    const mapping = bo.mapSync({ offset: size(40), length: size(10), write: false });
    bo.discardSync({ offset: size(30), length: size(15) });
    bytes.fill(0, size(30), size(45));
    expect(bo.residentPages).toBe(10);
    expect(device.stats().slots.free).toBe(512 - PAGES + 15);
    device.check();
    expectSame(contentSync(bo), bytes, "content");
    mapping.unmap();
    bo.shrinkSync();
    expectSame(contentSync(bo), bytes, "content that has left and come back");
    device.check();
  });
});

describe("what is said of it", () => {
  test("a trace has the frames that were freed; slots are told to the swap device", () => {
    const told: number[] = [];
    const swap = Object.assign(new MapSwap({ slots: 512 }), {
      discard: (ranges: readonly { slot: number; pages: number }[]) => {
        for (const { pages } of ranges) told.push(pages);
      },
    });
    const device = createDeviceSync({ memory: size(256), swap });
    const bo = filled(device, PAGES, 1);
    const events: TraceEvent[] = [];
    device.trace = (event) => events.push(event);
    bo.discardSync({ length: size(10) });
    expect(events).toEqual([{ type: "discard", tt: bo.id, pages: 10 }]);
    bo.shrinkSync();
    bo.discardSync();
    expect(told.reduce((sum, pages) => sum + pages, 0)).toBe(PAGES - 10);
  });

  test("arguments that cannot be meant are refused by name", () => {
    const { bo, bytes } = scene();
    expect(() => bo.discardSync({ offset: -1 })).toThrow(/offset/);
    expect(() => bo.discardSync({ offset: bo.size })).toThrow(/offset/);
    expect(() => bo.discardSync({ length: bo.size + 1 })).toThrow(/length/);
    expect(() => bo.discardSync({ lenth: 1 } as object)).toThrow(/did you mean length/);
    expectSame(contentSync(bo), bytes, "content");
    bo.destroy();
    expect(() => bo.discardSync()).toThrow(/destroyed/);
  });
});

describe("an async one", () => {
  test("takes effect in the order of the calls", async () => {
    const gate = new Gate();
    gate.open();
    const swap = new MapSwap({ slots: 512, delay: gate.pass });
    const device = createDeviceSync({ memory: size(256), swap });
    const bo = device.createBuffer(size(PAGES));
    const bytes = pattern(1, bo.size);
    await bo.write(0, bytes);
    await bo.shrink();
    gate.close();
    const [offset, length] = [size(10) + 5, size(20)];
    const before = bo.read(offset, new Uint8Array(length));
    const discarding = bo.discard({ offset, length });
    const between = bo.read(offset, new Uint8Array(length));
    const writing = bo.write(offset + 10, pattern(2, size(5)));
    const after = bo.read(0, new Uint8Array(bo.size));
    failsSync("EBUSY", () => bo.discardSync());
    gate.open();
    await Promise.all([discarding, writing]);
    expectSame(await before, bytes.subarray(offset, offset + length), "before");
    expectZeros(await between, "behind it");
    bytes.fill(0, offset, offset + length);
    bytes.set(pattern(2, size(5)), offset + 10);
    expectSame(await after, bytes, "in the end");
    device.check();
  });

  test("needs no I/O for whole pages: the Sync form does for a device that takes time", async () => {
    const swap = new MapSwap({ slots: 512, delay: () => Promise.resolve() });
    const device = createDeviceSync({ memory: size(256), swap });
    const bo = device.createBuffer(size(PAGES));
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    failsSync("EWOULDBLOCK", () => bo.discardSync({ offset: 5 }));
    bo.discardSync({ offset: size(1) });
    expect(swap.count(false)).toBe(0);
    expect(device.stats().slots.free).toBe(511);
    device.check();
  });

  test("frees frames that others wait for", async () => {
    const gate = new Gate();
    gate.open();
    const swap = new MapSwap({ slots: 64, delay: gate.pass });
    const device = createDeviceSync({ memory: size(64), swap });
    const [a, b] = [device.createBuffer(size(60)), device.createBuffer(size(30))];
    await a.write(0, pattern(1, a.size));
    gate.close();
    const writing = b.write(0, pattern(2, b.size)); // waits for pages of `a` to leave
    await until(() => gate.waiting > 0);
    const discarding = a.discard({ length: size(40) }); // behind the shrink of it
    gate.open();
    await settles(Promise.all([writing, discarding]));
    expectSame(await content(b), pattern(2, b.size), "the other");
    expectSame(await content(a), pattern(1, a.size).fill(0, 0, size(40)), "what is left");
    device.check();
  });
});

describe("one of many windows", () => {
  /** Of 256 frames a window has 64. */
  const WINDOWS = 10;

  test("is no more than three operations: its two ends, and all between them", async () => {
    const gate = new Gate();
    gate.open();
    const { device } = scene(gate.pass);
    const bo = device.createBuffer(size(64 * WINDOWS));
    await Promise.all(
      Array.from({ length: WINDOWS }, (_, i) => bo.write(size(64 * i), pattern(i, 9))),
    );
    gate.close();
    const shrinking = bo.shrink();
    await until(() => gate.waiting > 0);
    const before = device.global.tasks.size;
    const discarding = bo.discard();
    expect(device.global.tasks.size - before).toBeLessThanOrEqual(3);
    const bytes = content(bo);
    gate.open();
    await settles(Promise.all([shrinking, discarding]));
    expectZeros(await settles(bytes), "discarded");
    await device.close({ force: true });
  });

  test("that is aborted between two of them says so", async () => {
    const { device } = scene();
    const bo = device.createBuffer(size(64 * WINDOWS));
    bo.writeSync(0, pattern(1, size(200)));
    const controller = new AbortController();
    device.trace = ({ type }) => {
      if (type === "discard") controller.abort();
    };
    await fails("EINTR", bo.discard({ signal: controller.signal }));
    device.trace = undefined;
    await settles(bo.discard());
    expectZeros(await content(bo), "discarded");
    await device.close({ force: true });
  });
});

describe("what stops it", () => {
  test.each([true, false])("keeps the pages between the ends; sync: %s", async (sync) => {
    for (const k of [1, 2]) {
      const { device, swap, bo, bytes } = scene();
      bo.shrinkSync();
      swap.before = failAt(false, k, systemError("EIO"));
      const range = { offset: size(10) + 5, length: size(20) };
      if (sync) failsSync("EIO", () => bo.discardSync(range));
      else await fails("EIO", bo.discard(range));
      swap.before = undefined;
      device.check();
      const seen = contentSync(bo);
      expectSame(
        seen.subarray(size(11), size(30)),
        bytes.subarray(size(11), size(30)),
        "whole pages",
      );
      bo.discardSync(range);
      bytes.fill(0, range.offset, range.offset + range.length);
      expectSame(contentSync(bo), bytes, "the same call again");
    }
  });

  test.each([true, false])("a signal, at every look at it; sync: %s", async (sync) => {
    let stops = 0;
    for (let looks = 1; ; looks++) {
      const { device, bo, bytes } = scene();
      bo.shrinkSync();
      const range = { offset: size(10) + 5, length: size(20) };
      const signal = new CountingSignal(looks);
      let stopped = false;
      try {
        if (sync) bo.discardSync({ ...range, signal });
        else await bo.discard({ ...range, signal });
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
        stopped = true;
        stops++;
      }
      device.check();
      const seen = contentSync(bo);
      const [end, all] = [range.offset + range.length, bo.size];
      expectSame(seen.subarray(0, range.offset), bytes.subarray(0, range.offset), "before");
      expectSame(seen.subarray(end, all), bytes.subarray(end, all), "behind");
      bo.discardSync(range);
      bytes.fill(0, range.offset, end);
      expectSame(contentSync(bo), bytes, "the same call again");
      if (!stopped) break;
    }
    expect(stops).toBeGreaterThan(2);
  });
});
