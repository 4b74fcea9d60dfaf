/*
 * A write that covers whole pages in swap does not read these first; whatever stops it until its bytes are copied leaves
 * the old content where it was, and shows nobody else's bytes.
 */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { Gate, settles, until } from "./support/delays.ts";
import { expectAllFree, filled } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { Random, seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

interface Scene {
  readonly device: Device;
  readonly swap: MapSwap;
  readonly bo: BufferObject;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Shape {
  readonly memory?: number;
  readonly slots?: number;
  readonly delay?: () => Promise<void>;
}

/** A buffer of so many bytes, all of it in swap, and frames full of others' bytes. */
async function shrunken(
  size: number,
  { memory = 1024, slots = 2048, delay }: Shape = {},
  options: Omit<DeviceOptions, "memory" | "swap"> = {},
): Promise<Scene> {
  const swap = new MapSwap({ slots, ...(delay ? { delay } : {}) });
  const device = createDeviceSync({ memory: memory * PAGE_SIZE, swap, ...options });
  const dirt = device.createBuffer(memory * PAGE_SIZE);
  await dirt.write(0, new Uint8Array(dirt.size).fill(0xd1));
  dirt.destroy();
  const bo = device.createBuffer(size);
  const bytes = pattern(1, size);
  await bo.write(0, bytes);
  await bo.shrink();
  swap.forget();
  return { device, swap, bo, bytes };
}

const size = (pages: number) => pages * PAGE_SIZE;

/** Of a write to bytes [offset, offset + length): pages that it covers in part only. */
function cut(offset: number, length: number, all: number): number {
  const end = offset + length;
  const first = Math.floor(offset / PAGE_SIZE);
  const last = Math.ceil(end / PAGE_SIZE) - 1;
  const pages = new Set<number>();
  if (offset % PAGE_SIZE !== 0) pages.add(first);
  if (end % PAGE_SIZE !== 0 && end !== all) pages.add(last);
  return pages.size;
}

const WRITES: readonly (readonly [string, number, number, number])[] = [
  ["all of 2 MiB", size(512), 0, size(512)],
  ["all of 4 MiB", size(1024), 0, size(1024)],
  ["all of a size that is no whole pages", size(100) + 17, 0, size(100) + 17],
  ["the end of one", size(100) + 17, size(90), size(10) + 17],
  ["64 KiB in 2 MiB", size(512), size(16), size(16)],
  ["64 KiB in 2 MiB, cut on both sides", size(512), size(16) + 5, size(16)],
  ["64 KiB in 2 MiB, cut at its begin", size(512), size(16) - 5, size(16) + 5],
  ["64 KiB in 2 MiB, cut at its end", size(512), size(16), size(16) + 5],
  ["all but a byte at the begin", size(512), 1, size(512) - 1],
  ["all but a byte at the end", size(512), 0, size(512) - 1],
  ["a page of a small buffer", size(16), size(3), size(1)],
  ["all of a small buffer", size(16), 0, size(16)],
  ["a page", size(1), 0, size(1)],
];

describe.each(WRITES)("a write of %s", (_, all, offset, length) => {
  test.each([true, false])(
    "reads what it leaves of pages alone; clean kept: %s",
    async (keepClean) => {
      for (const isAsync of [true, false]) {
        const { device, swap, bo, bytes } = await shrunken(all, {}, { keepClean });
        const written = pattern(2, length);
        const before = device.stats().pagesIn;
        if (isAsync) await bo.write(offset, written);
        else bo.writeSync(offset, written);
        bytes.set(written, offset);
        expect(swap.pages(false)).toBe(cut(offset, length, all));
        expect(device.stats().pagesIn - before).toBe(cut(offset, length, all));
        device.check();
        expectSame(contentSync(bo), bytes, "content");
        bo.shrinkSync();
        device.check();
        expectSame(contentSync(bo), bytes, "content that has left and come back");
        expect(swap.broken).toBeUndefined();
        bo.destroy();
        expectAllFree(device);
      }
    },
  );

  test("needs no I/O, and can be Sync, on a device that takes time, if it cuts no page", async () => {
    const { device, swap, bo, bytes } = await shrunken(all, { delay: () => Promise.resolve() });
    const written = pattern(2, length);
    if (cut(offset, length, all) > 0) failsSync("EWOULDBLOCK", () => bo.writeSync(offset, written));
    else {
      bo.writeSync(offset, written);
      bytes.set(written, offset);
      expect(swap.count(false)).toBe(0);
    }
    expectSame(await content(bo), bytes, "content");
    await bo.shrink();
    await bo.write(offset, written);
    bytes.set(written, offset);
    expectSame(await content(bo), bytes, "content after an async one");
    device.check();
  });
});

test("pages in memory, holes and pages in swap are overwritten together", () =>
  seeded(async (random) => {
    for (let round = 0; round < 60; round++) {
      const pages = 20 + random.below(200);
      const { device, bo, swap } = await shrunken(
        size(pages),
        {},
        { keepClean: random.chance(0.5) },
      );
      const bytes = new Uint8Array(bo.size);
      bo.writeSync(0, bytes); // all zeros, so all leaves as holes
      bo.shrinkSync();
      const some = () => {
        const offset = random.below(bo.size);
        return { offset, length: 1 + random.below(Math.min(bo.size - offset, size(40))) };
      };
      for (let i = 0; i < 12; i++) {
        const { offset, length } = some();
        const written = pattern(random.next(), length);
        if (random.chance(0.4)) bo.shrinkSync();
        if (random.chance(0.3)) bo.readSync(offset, new Uint8Array(length));
        swap.forget();
        bo.writeSync(offset, written);
        expect(swap.pages(false)).toBeLessThanOrEqual(pages <= 16 ? 16 : 2);
        bytes.set(written, offset);
        device.check();
      }
      expectSame(contentSync(bo), bytes, "content");
      bo.destroy();
      expectAllFree(device);
    }
  }));

/** Pages 40 to 56 are held, of which the first 4 are read. */
async function halfRead(): Promise<Scene> {
  const scene = await shrunken(size(100), {}, { transferPages: 4, keepClean: false });
  const { bo, swap } = scene;
  swap.before = failAt(false, 2, systemError("EIO"));
  failsSync("EIO", () => bo.populateSync({ offset: size(40), length: size(16) }));
  swap.before = undefined;
  expect(bo.tt.restore).toMatchObject({ cursor: 40, read: 4 });
  swap.forget();
  return scene;
}

describe("a chunk that is half read", () => {
  test.each([
    ["right before it", 30, 10],
    ["right behind it", 56, 10],
    ["elsewhere", 80, 10],
  ])("is gone on with after a write %s", async (_, page, pages) => {
    const { device, bo, bytes, swap } = await halfRead();
    const written = pattern(2, size(pages));
    bo.writeSync(size(page), written);
    bytes.set(written, size(page));
    expect(swap.pages(false)).toBe(0);
    device.check();
    bo.populateSync({ offset: size(40), length: size(16) });
    expect(swap.pages(false)).toBe(12);
    expectSame(contentSync(bo), bytes, "content");
    device.check();
  });

  test.each([
    ["over its begin", 38, 4],
    ["inside of it", 42, 4],
    ["over its end", 50, 10],
    ["over all of it", 30, 40],
  ])("is given back for a write %s", async (_, page, pages) => {
    const { device, bo, bytes, swap } = await halfRead();
    const written = pattern(2, size(pages));
    bo.writeSync(size(page), written);
    bytes.set(written, size(page));
    expect(swap.pages(false)).toBe(0);
    expect(bo.residentPages).toBe(pages);
    device.check();
    expectSame(contentSync(bo), bytes, "content");
  });
});

test.each(["sync", "async"])(
  "a chunk that is half read counts as released by a shrink that is stopped at any look: %s",
  async (form) => {
    for (let look = 1; look <= 8; look++) {
      const { bo, device } = await halfRead();
      const before = bo.residentPages;
      const signal = new CountingSignal(look);
      const stopped = (error: unknown) => {
        expect(error).toMatchObject({ code: "EINTR" });
        return 0;
      };
      let released: number;
      try {
        released = form === "sync" ? bo.shrinkSync({ signal }) : await bo.shrink({ signal });
      } catch (error) {
        released = stopped(error);
      }
      expect(before - bo.residentPages).toBe(released);
      device.check();
    }
  },
);

describe("what it leaves in swap", () => {
  test("are the slots of a buffer that is written in part, to which it leaves again", async () => {
    const { device, swap, bo } = await shrunken(size(512));
    const used = () => device.stats().slots.total - device.stats().slots.free;
    expect(used()).toBe(512);
    bo.writeSync(size(100), pattern(2, size(64)));
    expect(used()).toBe(512);
    bo.shrinkSync();
    expect(swap.calls.filter(({ out }) => out).map(({ slot, pages }) => [slot, pages])).toEqual([
      [101, 64],
    ]);
    expect(used()).toBe(512);
  });

  test("is nothing of a buffer that is written whole, or where clean pages keep none", async () => {
    for (const keepClean of [true, false]) {
      const { device, bo } = await shrunken(size(512), {}, { keepClean });
      bo.writeSync(0, pattern(2, bo.size));
      expect(device.stats().slots.free).toBe(2048);
    }
    const { device, bo } = await shrunken(size(512), {}, { keepClean: false });
    bo.writeSync(size(100), pattern(2, size(64)));
    expect(device.stats().slots.free).toBe(2048 - 512 + 64);
  });
});

test("what lies behind the last byte is zeros, in frames that held others' bytes", async () => {
  for (const fresh of [true, false]) {
    for (const offset of [0, size(20)]) {
      const { device, bo } = await shrunken(size(40) + 100);
      if (fresh) bo.discardSync();
      bo.writeSync(offset, pattern(2, bo.size - offset));
      const { engine } = device.global;
      const last = engine.view(engine.pageAt(bo.tt.vector + 40), PAGE_SIZE);
      expectZeros(last.subarray(100), "the rest of the page");
      device.check();
    }
  }
});

/** A write that is cut on both sides, so that it has something to wait for. */
const OFFSET = size(20) + 5;
const LENGTH = size(40);

describe("what stops it leaves the old content", () => {
  test("a signal, at every look at it, after which the same call ends it", async () => {
    for (const transferPages of [1, 256]) {
      let stops = 0;
      for (let looks = 1; ; looks++) {
        const { device, bo, bytes } = await shrunken(size(100), { memory: 128 }, { transferPages });
        filled(device, 100, 7); // so that others have to leave
        const written = pattern(2, LENGTH);
        const signal = new CountingSignal(looks);
        const write = () => bo.writeSync(OFFSET, written, { signal });
        try {
          write();
          break;
        } catch (error) {
          expect(error).toMatchObject({ code: "EINTR" });
          stops++;
        }
        device.check();
        expectSame(contentSync(bo), bytes, `stopped at look ${looks}`);
        bo.writeSync(OFFSET, written);
        bytes.set(written, OFFSET);
        expectSame(contentSync(bo), bytes, "the same call again");
        device.check();
      }
      expect(stops).toBeGreaterThan(2);
    }
  });

  test("a signal that is aborted after ever fewer looks does not keep it from its end", async () => {
    const { device, bo, bytes } = await shrunken(size(100), { memory: 128 }, { transferPages: 1 });
    filled(device, 100, 7);
    const written = pattern(2, LENGTH);
    let stops = 0;
    for (let done = false; !done; ) {
      try {
        bo.writeSync(OFFSET, written, { signal: new CountingSignal(4) });
        done = true;
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
        if (++stops > 200) throw new Error("it does not get on");
      }
    }
    bytes.set(written, OFFSET);
    expectSame(contentSync(bo), bytes, "content");
  });

  test.each(["read", "write", "slot", "alloc"] as const)(
    "an injected fault at any %s",
    async (site) => {
      let failed = 0;
      for (let interval = 1; interval < 90; interval++) {
        const { device, bo, bytes } = await shrunken(size(100), { memory: 128 });
        const other = filled(device, 100, 7);
        // Others may leave after all when only one fails.
        const times = site === "read" || site === "alloc" ? 1 : -1;
        device.injectFault(site, { probability: 100, interval, times });
        const written = pattern(2, LENGTH);
        try {
          bo.writeSync(OFFSET, written);
          bytes.set(written, OFFSET);
        } catch (error) {
          expect(["ENOMEM", "ENOSPC", "EIO"]).toContain((error as { code: string }).code);
          failed++;
        }
        device.injectFault(site, { probability: 0 });
        device.check();
        expectSame(contentSync(bo), bytes, `after fault ${interval}`);
        bo.writeSync(OFFSET, written);
        bytes.set(written, OFFSET);
        expectSame(contentSync(bo), bytes, "the same call again");
        expectSame(contentSync(other), pattern(7, other.size), "the other");
        bo.destroy();
        other.destroy();
        expectAllFree(device);
      }
      if (site !== "alloc") expect(failed).toBeGreaterThan(0);
    },
  );

  test("a border page that cannot be read: the first, or the last", async () => {
    for (const k of [1, 2]) {
      const { device, swap, bo, bytes } = await shrunken(size(100));
      swap.before = failAt(false, k, systemError("EIO"));
      failsSync("EIO", () => bo.writeSync(OFFSET, pattern(2, LENGTH)));
      expect(bo.residentPages).toBe(k - 1); // what was read stays
      device.check();
      swap.before = undefined;
      swap.forget();
      expectSame(contentSync(bo), bytes, `read ${k} failed`);
    }
  });

  test("too little memory, as others are pinned", async () => {
    const { device, bo, bytes } = await shrunken(size(100), { memory: 128 });
    const pinned = filled(device, 100, 7);
    pinned.pinSync();
    failsSync("ENOMEM", () => bo.writeSync(OFFSET, pattern(2, LENGTH)));
    failsSync("ENOMEM", () => bo.writeSync(0, pattern(2, size(100))));
    device.check();
    pinned.unpin();
    pinned.destroy();
    expectSame(contentSync(bo), bytes, "content");
  });

  test("a source that is a view of what leaves meanwhile is copied as it was asked for", async () => {
    const { device, bo, bytes } = await shrunken(size(100));
    const other = filled(device, 60, 7);
    const mapping = other.mapSync({ write: false });
    for (const segment of mapping.segments) bo.writeSync(size(10), segment.subarray(0, size(20)));
    mapping.unmap();
    bytes.set(pattern(7, size(20)), size(10));
    expectSame(contentSync(bo), bytes, "content");
    device.check();
  });
});

type Happens = (scene: Scene, source: ArrayBuffer, controller: AbortController) => void;

const MEANWHILE: readonly [string, Happens, string | RegExp][] = [
  ["its signal is aborted", (_s, _b, controller) => controller.abort(), "EINTR"],
  [
    "its source is detached",
    (_s, source) => void structuredClone(source, { transfer: [source] }),
    /source was detached or resized/,
  ],
  ["its buffer is destroyed", ({ bo }) => bo.destroy(), /this buffer is destroyed/],
  ["its device is closed", ({ device }) => void device.close({ force: true }), "EINTR"],
];

describe.each(MEANWHILE)("while it waits %s:", (_, happens, expected) => {
  test.each([
    ["for a border page", OFFSET],
    ["for others to leave", size(20)],
  ] as const)("%s", async (wait, offset) => {
    const gate = new Gate();
    gate.open();
    const scene = await shrunken(size(100), { memory: 128, delay: gate.pass });
    const { device, bo, bytes } = scene;
    const other = device.createBuffer(size(wait === "for others to leave" ? 120 : 10));
    await other.write(0, pattern(7, other.size));
    gate.close();
    const controller = new AbortController();
    const source = new ArrayBuffer(LENGTH);
    const { signal } = controller;
    const writing = bo.write(offset, new Uint8Array(source).fill(9), { signal });
    writing.catch(() => {});
    await until(() => gate.waiting > 0);
    happens(scene, source, controller);
    gate.open();
    if (typeof expected === "string") await fails(expected as "EINTR", settles(writing));
    else await expect(settles(writing)).rejects.toThrow(expected);
    await until(() => device.tasks.inFlight() === 0);
    if (device.closed) return;
    device.check();
    if (!bo.destroyed) expectSame(await content(bo), bytes, "content");
    expectSame(await content(other), pattern(7, other.size), "the other");
    if (!bo.destroyed) bo.destroy();
    other.destroy();
    expectAllFree(device);
  });
});

test.each(MEANWHILE.slice(1, 3))(
  "while a Sync one reads a border page, %s",
  async (_, happens, expected) => {
    const scene = await shrunken(size(100));
    const { device, swap, bo, bytes } = scene;
    const source = new ArrayBuffer(LENGTH);
    swap.before = () => {
      swap.before = undefined;
      happens(scene, source, new AbortController());
    };
    expect(() => bo.writeSync(OFFSET, new Uint8Array(source).fill(9))).toThrow(expected as RegExp);
    device.check();
    if (!bo.destroyed) {
      expectSame(contentSync(bo), bytes, "content");
      bo.destroy();
    }
    expectAllFree(device);
  },
);

test("nobody sees a frame that is to be written, while it waits", async () => {
  const gate = new Gate();
  gate.open();
  const { device, bo, bytes } = await shrunken(size(100), { delay: gate.pass });
  gate.close();
  const written = pattern(2, LENGTH);
  const writing = bo.write(OFFSET, written);
  await until(() => gate.waiting > 0);
  failsSync("EBUSY", () => contentSync(bo));
  const reading = content(bo); // takes its turn
  gate.open();
  await writing;
  bytes.set(written, OFFSET);
  expectSame(await reading, bytes, "content");
  device.check();
});

/** Frames and slots are all taken, but for what always stays free. */
describe("with memory and swap full", () => {
  const kinds: [string, () => SwapDevice][] = [
    ["a map", () => new MapSwap({ slots: 64 })],
    ["RAM", () => ramSwap({ size: size(64) })],
  ];
  test.each(kinds)("it gets on by exchange, on %s", async (_, swap) => {
    for (const keepClean of [true, false]) {
      for (const pages of [4, 16, 30, 60]) {
        const device = createDeviceSync({ memory: size(64), swap: swap(), keepClean });
        const bos: BufferObject[] = [];
        const fill = (most: number) => {
          for (let n = most; n > 0; ) {
            const bo = device.createBuffer(size(n));
            try {
              bo.writeSync(0, pattern(bos.length, bo.size));
              bos.push(bo);
            } catch (error) {
              expect(error).toMatchObject({ code: "ENOSPC" });
              bo.destroy();
              n >>>= 1;
            }
          }
        };
        fill(pages);
        const { slots, pages: frames } = device.stats();
        expect(slots.free + frames.free).toBeLessThan(pages);
        const before = device.stats().pagesIn;
        let overwritten = 0;
        for (const [i, bo] of bos.entries()) {
          if (bo.residentPages > 0) continue;
          bo.writeSync(0, pattern(100 + i, bo.size));
          overwritten += bo.size / PAGE_SIZE;
          device.check();
          expectSame(contentSync(bo), pattern(100 + i, bo.size), `buffer ${i}`);
        }
        expect(overwritten).toBeGreaterThan(0);
        // Some of them found frames: fewer were read than were written.
        expect(device.stats().pagesIn - before).toBeLessThanOrEqual(overwritten);
        for (const bo of bos) bo.destroy();
        expectAllFree(device);
      }
    }
  });

  test("only as many pages are read as there are frames too few", async () => {
    const swap = new MapSwap({ slots: 64 });
    const device = createDeviceSync({ memory: size(64), swap, keepClean: false });
    const bo = filled(device, 50, 1);
    bo.shrinkSync();
    const others = [filled(device, 32, 2), filled(device, 32, 3)];
    const { slots, pages } = device.stats();
    const room = slots.free + pages.free;
    expect(room).toBe(14);
    swap.forget();
    bo.writeSync(0, pattern(4, bo.size));
    expect(swap.pages(false)).toBe(50 - room);
    device.check();
    expectSame(contentSync(bo), pattern(4, bo.size), "content");
    for (const [i, other] of others.entries()) {
      expectSame(contentSync(other), pattern(2 + i, other.size), "others");
    }
  });
});

describe("a tt with mappings or another caching", () => {
  test("is restored before it is written", async () => {
    const swap = new MapSwap({ slots: 64 });
    const device = createDeviceSync({ memory: size(64), swap });
    const bo = device.createBuffer(size(40), { caching: "wc" });
    bo.writeSync(0, pattern(1, bo.size));
    bo.shrinkSync();
    bo.writeSync(0, pattern(2, bo.size));
    expect(swap.pages(false)).toBe(40);
    expectSame(contentSync(bo), pattern(2, bo.size), "content");
    device.check();
  });
});

test("the same random writes, async and all at once, show what a copy of the bytes shows", () =>
  seeded(async (random) => {
    const delay = () =>
      random.chance(0.5)
        ? Promise.resolve()
        : new Promise<void>((resolve) => setImmediate(resolve));
    const swap = new MapSwap({ slots: 600, delay });
    swap.before = () => {
      if (random.chance(0.02)) throw systemError("EIO");
    };
    const device = createDeviceSync({ memory: size(150), swap, transferPages: 8 });
    const models = Array.from({ length: 6 }, (_, i) => {
      const bo = device.createBuffer(size(10 + 15 * i) - random.below(PAGE_SIZE));
      return { bo, bytes: new Uint8Array(bo.size) };
    });
    for (let step = 0; step < 400; step++) {
      const chosen = random.shuffle([...models]).slice(0, 3);
      await Promise.all(
        chosen.map(async ({ bo, bytes }) => {
          const own = new Random(random.next());
          const whole = own.chance(0.2);
          const offset = whole ? 0 : own.below(bo.size);
          const length = whole ? bo.size : 1 + own.below(bo.size - offset);
          const written = pattern(own.next(), length);
          const signal = new CountingSignal(own.chance(0.3) ? 1 + own.below(12) : undefined);
          try {
            if (own.chance(0.4)) await bo.shrink({ signal });
            await bo.write(offset, written, { signal });
            bytes.set(written, offset);
          } catch (error) {
            expect(["EIO", "EINTR"]).toContain((error as { code?: string }).code);
          }
          const seen = new Uint8Array(length);
          await bo.read(offset, seen).then(
            () => expectSame(seen, bytes.subarray(offset, offset + length), `step ${step}`),
            (error) => expect(error).toMatchObject({ code: "EIO" }),
          );
        }),
      );
      device.check();
    }
    swap.before = undefined;
    for (const { bo, bytes } of models) expectSame(await content(bo), bytes, `buffer ${bo.id}`);
    expect(swap.broken).toBeUndefined();
    await device.close({ force: true });
  }));

test("a restore that was stopped before it goes on where the write left pages missing", async () => {
  const { device, swap, bo, bytes } = await shrunken(size(32));
  swap.before = () => {
    throw systemError("EIO");
  };
  const cut = pattern(2, 100);
  failsSync("EIO", () => bo.writeSync(size(5) + 7, cut)); // its page is where a restore would go on
  swap.before = undefined;
  const fresh = pattern(3, size(29));
  await bo.write(0, fresh);
  bytes.set(fresh);
  expectSame(contentSync(bo), bytes, "after both");
  bo.destroy();
  expectAllFree(device);
});

test("with all slots taken, a chunk that was half read does not keep a write from its room", () => {
  for (let failing = 2; failing <= 6; failing++) {
    const swap = new MapSwap({ slots: 64 });
    const device = createDeviceSync({ memory: size(64), swap, transferPages: 1 });
    const bo = filled(device, 24, 1);
    bo.discardSync({ offset: size(16), length: size(4) });
    bo.shrinkSync();
    const out = filled(device, 44, 2);
    out.shrinkSync(); // no slot is free now
    const rest = filled(device, 55, 3); // nine frames are
    let reads = 0;
    swap.before = (call) => {
      if (!call.out && ++reads === failing) throw systemError("EIO");
    };
    failsSync("EIO", () => bo.writeSync(0, pattern(4, bo.size)));
    swap.before = undefined;
    bo.writeSync(0, pattern(4, bo.size));
    for (const [each, seed] of [
      [bo, 4],
      [out, 2],
      [rest, 3],
    ] as const) {
      expectSame(contentSync(each), pattern(seed, each.size), `buffer ${seed}, ${failing}`);
      each.destroy();
    }
    expectAllFree(device);
  }
});
