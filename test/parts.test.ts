/* A read, a write or a mapping of a part of a large buffer moves the pages that it needs, and those ahead of it. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  type SwapDevice,
} from "../src/index.ts";
import { scriptedSwap } from "../src/testing.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { Gate, settles, until } from "./support/delays.ts";
import {
  blockDevice,
  defaultDevice,
  expectAllFree,
  filled,
  scatterSlots,
} from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

/** 2 MiB. */
const PAGES = 512;

interface Scene {
  readonly device: Device;
  readonly swap: MapSwap;
  readonly bo: BufferObject;
  readonly bytes: Uint8Array;
}

/** A buffer that is all in swap, and enough memory. */
function shrunken(pages = PAGES, transferPages = 256): Scene {
  const swap = new MapSwap({ slots: 2 * pages });
  const device = createDeviceSync({
    memory: 2 * pages * PAGE_SIZE,
    swap,
    transferPages,
    keepClean: false,
  });
  const bo = filled(device, pages, 1);
  bo.shrinkSync();
  swap.forget();
  return { device, swap, bo, bytes: pattern(1, bo.size) };
}

/** Reads pages [from, to), checks them, and returns how many came from swap. */
function readPages({ bo, swap, bytes }: Scene, from: number, to: number): number {
  const before = swap.pages(false);
  const [start, end] = [from * PAGE_SIZE, to * PAGE_SIZE];
  expectSame(
    bo.readSync(start, new Uint8Array(end - start)),
    bytes.subarray(start, end),
    `pages ${from} to ${to}`,
  );
  return swap.pages(false) - before;
}

function expectOnce(swap: MapSwap): void {
  expect(swap.broken).toBeUndefined();
  for (const [slot, times] of swap.reads) {
    if (times > 1) throw new Error(`slot ${slot} was read ${times} times`);
  }
}

describe("a read", () => {
  test("of 4 KiB somewhere in 2 MiB brings in one page, once", () => {
    const scene = shrunken();
    for (const page of [300, 17, 511, 0, 299]) {
      expect(readPages(scene, page, page + 1)).toBe(1);
      expect(readPages(scene, page, page + 1)).toBe(0);
      scene.device.check();
    }
    expect(scene.bo.residentPages).toBe(5);
    expect(scene.swap.count(false)).toBe(5);
  });

  test("of some bytes brings in the pages that they lie in", () => {
    const { bo, swap, bytes } = shrunken();
    const at = 200 * PAGE_SIZE - 3;
    expectSame(bo.readSync(at, new Uint8Array(7)), bytes.subarray(at, at + 7), "bytes");
    expect(swap.pages(false)).toBe(2);
  });

  test("of a small buffer brings in all of it", () => {
    const { bo, swap } = shrunken(16);
    bo.readSync(0, new Uint8Array(1));
    expect(swap.calls).toHaveLength(1);
    expect(bo.residentPages).toBe(16);
  });

  test("that goes on where the last one ended reads ahead, up to 1 MiB", () => {
    const scene = shrunken(2048);
    const moved = Array.from({ length: 2048 }, (_, page) => readPages(scene, page, page + 1));
    expect(moved.filter((pages) => pages > 0)).toEqual([
      1, 17, 33, 65, 129, 256, 11, 256, 256, 256, 256, 256, 256,
    ]);
    expectOnce(scene.swap);
  });

  test.each([4, 128])(
    "in a row over more than the memory keeps its beginning, by %i pages",
    (by) => {
      const swap = new MapSwap({ slots: 2048 });
      using device = blockDevice(512, swap);
      const bo = filled(device, 2048, 1);
      const scan = () => {
        const before = swap.pages(false);
        for (let page = 0; page < 2048; page += by) {
          bo.readSync(page * PAGE_SIZE, new Uint8Array(by * PAGE_SIZE));
        }
        return swap.pages(false) - before;
      };
      scan();
      // Of what comes in once more the memory has half, at least.
      expect(scan()).toBeLessThan(2048 - 256);
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
      device.check();
    },
  );

  test("in pieces that are no whole pages reads ahead as well", () => {
    const { bo, swap, bytes } = shrunken();
    for (let at = 0; at < bo.size; at += 1000) {
      const length = Math.min(1000, bo.size - at);
      expectSame(bo.readSync(at, new Uint8Array(length)), bytes.subarray(at, at + length), "bytes");
    }
    expect(swap.count(false)).toBeLessThan(10);
    expectOnce(swap);
  });

  test("elsewhere ends that, and begins anew", () => {
    const scene = shrunken();
    expect([0, 1, 18].map((page) => readPages(scene, page, page + 1))).toEqual([1, 17, 1]);
    expect([400, 401].map((page) => readPages(scene, page, page + 1))).toEqual([1, 17]);
  });

  test("after advice is read ahead as that says", () => {
    const scene = shrunken();
    expect(scene.bo.advise("random")).toBe(true);
    expect([0, 1, 2].map((page) => readPages(scene, page, page + 1))).toEqual([1, 1, 1]);
    scene.bo.advise("sequential");
    expect(readPages(scene, 100, 101)).toBe(129); // an eighth of the memory
    scene.bo.advise("normal");
    expect(readPages(scene, 500, 501)).toBe(1);
  });

  test("fails for what it asks for alone: what is ahead may be lost", () => {
    const scene = shrunken();
    readPages(scene, 0, 1);
    scene.swap.before = ({ pages }) => {
      if (pages > 1) throw systemError("EIO");
    };
    expect(readPages(scene, 1, 2)).toBe(18);
    scene.swap.before = failAt(false, 1, systemError("EIO"));
    failsSync("EIO", () => scene.bo.readSync(500 * PAGE_SIZE, new Uint8Array(1)));
    expectSame(contentSync(scene.bo), scene.bytes, "content");
    scene.device.check();
  });

  test("does not read ahead where there is no room for that", () => {
    const swap = new MapSwap({ slots: 256 });
    using device = blockDevice(64, swap);
    const bo = filled(device, 32, 1);
    bo.shrinkSync();
    const pinned = filled(device, 60, 2);
    pinned.pinSync();
    for (let page = 0; page < 32; page++) {
      const got = bo.readSync(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
      expectSame(
        got,
        pattern(1, bo.size)
          .subarray(page * PAGE_SIZE)
          .subarray(0, PAGE_SIZE),
        "page",
      );
    }
    pinned.unpin();
    device.check();
  });

  test("of what was never written reads as zeros, whatever lay there", () => {
    using device = defaultDevice(256, new MapSwap({ slots: 256 }));
    filled(device, 256, 9).destroy();
    const bo = device.createBuffer(200 * PAGE_SIZE);
    bo.writeSync(77 * PAGE_SIZE, pattern(1, PAGE_SIZE));
    expect(bo.residentPages).toBe(1);
    expectZeros(bo.readSync(0, new Uint8Array(77 * PAGE_SIZE)), "before");
    expectZeros(bo.readSync(78 * PAGE_SIZE, new Uint8Array(122 * PAGE_SIZE)), "behind");
    expectSame(bo.readSync(77 * PAGE_SIZE, new Uint8Array(PAGE_SIZE)), pattern(1, PAGE_SIZE), "it");
  });
});

describe("a write", () => {
  test("of a part brings in that alone, and it leaves alone", () => {
    const { bo, swap, bytes, device } = shrunken();
    const at = 100 * PAGE_SIZE - 5;
    const written = pattern(2, 3 * PAGE_SIZE);
    bo.writeSync(at, written);
    bytes.set(written, at);
    expect(swap.pages(false)).toBe(2); // those that it covers whole are not read
    swap.forget();
    expect(bo.shrinkSync()).toBe(4);
    expect(swap.pages(true)).toBe(4);
    device.check();
    expectSame(contentSync(bo), bytes, "content");
  });

  test("of a new buffer takes the pages that it needs, and no I/O when it leaves but theirs", () => {
    const swap = new MapSwap({ slots: 1024 });
    using device = blockDevice(1024, swap);
    const bo = device.createBuffer(PAGES * PAGE_SIZE);
    for (const page of [3, 500, 4]) bo.writeSync(page * PAGE_SIZE + 1, pattern(page, 100));
    expect(bo.residentPages).toBe(3);
    expect(bo.shrinkSync()).toBe(3);
    expect(swap.pages(true)).toBe(3);
    const expected = new Uint8Array(bo.size);
    for (const page of [3, 500, 4]) expected.set(pattern(page, 100), page * PAGE_SIZE + 1);
    expectSame(contentSync(bo), expected, "content");
    bo.destroy();
    expectAllFree(device);
  });

  test("that fails in a new buffer leaves no bytes of others behind", async () => {
    const gate = new Gate();
    gate.open();
    const swap = new MapSwap({ slots: 256, delay: gate.pass });
    const device = blockDevice(128, swap);
    const old = device.createBuffer(120 * PAGE_SIZE);
    await old.write(0, pattern(9, old.size));
    gate.close();
    const bo = device.createBuffer(100 * PAGE_SIZE);
    const source = pattern(1, 40 * PAGE_SIZE);
    const writing = bo.write(0, source);
    await until(() => gate.waiting > 0);
    structuredClone(source.buffer, { transfer: [source.buffer] });
    gate.open();
    await expect(settles(writing)).rejects.toThrow(/detached/);
    expectZeros(await content(bo), "content");
    device.check();
    await device.close({ force: true });
  });

  test("of new content leaves room to exchange pages: memory and swap are never both full", () => {
    const swap = new MapSwap({ slots: 64 });
    using device = blockDevice(64, swap);
    const bos = [0, 1, 2].map(() => device.createBuffer(48 * PAGE_SIZE));
    const models = bos.map((bo) => new Uint8Array(bo.size));
    let full = 0;
    for (let page = 0; page < 48; page++) {
      for (const [i, bo] of bos.entries()) {
        const bytes = pattern(page * 3 + i, PAGE_SIZE);
        try {
          bo.writeSync(page * PAGE_SIZE, bytes);
          models[i]?.set(bytes, page * PAGE_SIZE);
        } catch (error) {
          expect(error).toMatchObject({ code: "ENOSPC" });
          full++;
        }
      }
    }
    expect(full).toBeGreaterThan(0);
    device.check();
    for (let page = 0; page < 48; page++) {
      const at = page * PAGE_SIZE;
      for (const [i, bo] of bos.entries()) {
        const model = models[i]?.subarray(at, at + PAGE_SIZE) as Uint8Array;
        if (model.every((byte) => byte === 0)) continue;
        expectSame(
          bo.readSync(at, new Uint8Array(PAGE_SIZE)),
          model,
          `page ${page} of buffer ${i}`,
        );
      }
    }
  });
});

describe("a part whose restore stops", () => {
  const [FROM, TO] = [30, 70];

  /** Free slots are scattered, so that each page is a call, and stops inside of chunks. */
  function scattered(): Scene {
    const swap = new MapSwap({ slots: 400 });
    const device = blockDevice(400, swap);
    scatterSlots(device);
    const bo = filled(device, 100, 1);
    bo.shrinkSync();
    swap.forget();
    return { device, swap, bo, bytes: pattern(1, bo.size) };
  }

  const target = () => new Uint8Array((TO - FROM) * PAGE_SIZE);

  test("at any place goes on there, and reads no page twice", () => {
    for (let looks = 1; ; looks++) {
      const scene = scattered();
      const { bo, swap, device } = scene;
      const signal = new CountingSignal(looks);
      try {
        bo.readSync(FROM * PAGE_SIZE, target(), { signal });
        expect(looks).toBeGreaterThan(TO - FROM);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
      }
      device.check();
      const before = swap.pages(false);
      expect(readPages(scene, FROM, TO)).toBe(TO - FROM - before);
      expectOnce(swap);
      expect(bo.residentPages).toBe(TO - FROM);
      device.check();
      expectSame(contentSync(bo), scene.bytes, "content");
      expectOnce(swap);
    }
  });

  test("by a fault goes on there, too", () => {
    for (let k = 1; k <= TO - FROM; k++) {
      const scene = scattered();
      scene.swap.before = failAt(false, k, systemError("EIO"));
      failsSync("EIO", () => scene.bo.readSync(FROM * PAGE_SIZE, target()));
      scene.device.check();
      expect(readPages(scene, FROM, TO)).toBe(TO - FROM - (k - 1));
      expectOnce(scene.swap);
    }
  });

  const others: [string, number, number][] = [
    ["a page in memory", FROM, FROM + 1],
    ["a page inside of the chunk", FROM + 13, FROM + 14],
    ["the pages around", FROM - 10, TO + 10],
    ["pages behind it", TO + 5, TO + 9],
    ["pages before it", 3, 9],
    ["all", 0, 100],
  ];
  test.each(others)("lets %s be used meanwhile", (_, from, to) => {
    for (let looks = 4; looks < 40; looks++) {
      const scene = scattered();
      const { bo, device } = scene;
      const signal = new CountingSignal(looks);
      failsSync("EINTR", () => bo.readSync(FROM * PAGE_SIZE, target(), { signal }));
      readPages(scene, from, to);
      device.check();
      readPages(scene, FROM, TO);
      device.check();
      expectSame(contentSync(bo), scene.bytes, "content");
      bo.populateSync();
      bo.writeSync(0, scene.bytes);
      device.check();
    }
  });

  test("gives all back when it is destroyed, or shrunken", () => {
    for (let looks = 4; looks < 40; looks++) {
      const { bo, device, bytes } = scattered();
      const { pages, slots } = device.stats();
      const signal = () => ({ signal: new CountingSignal(looks) });
      failsSync("EINTR", () => bo.readSync(FROM * PAGE_SIZE, target(), signal()));
      bo.shrinkSync();
      expect(device.stats().pages.free).toBe(pages.free);
      expect(device.stats().slots.free).toBe(slots.free);
      failsSync("EINTR", () => bo.readSync(FROM * PAGE_SIZE, target(), signal()));
      expectSame(contentSync(bo), bytes, "content");
      bo.destroy();
      expect(device.stats().slots.free).toBe(slots.free + 100);
      device.check();
    }
  });
});

describe("operations at the same time", () => {
  test("two readers of one part share its restore", async () => {
    const swap = new MapSwap({ slots: 1024, delay: () => Promise.resolve() });
    const device = blockDevice(1024, swap);
    const bo = device.createBuffer(PAGES * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    swap.forget();
    const reads = [0, 1, 2].map(() => bo.read(300 * PAGE_SIZE, new Uint8Array(8 * PAGE_SIZE)));
    for (const got of await Promise.all(reads)) {
      expectSame(got, pattern(1, bo.size).subarray(300 * PAGE_SIZE, 308 * PAGE_SIZE), "bytes");
    }
    expect(swap.pages(false)).toBe(8);
    await device.close({ force: true });
  });

  test.each(["sync", "async"])(
    "pages of the buffer itself leave, if no others can: %s",
    async (form) => {
      const isAsync = form === "async";
      const delay = () => Promise.resolve();
      const swap = new MapSwap({ slots: 1024, ...(isAsync ? { delay } : {}) });
      const device = blockDevice(128, swap);
      const bo = device.createBuffer(100 * PAGE_SIZE);
      await bo.write(0, pattern(1, bo.size));
      await bo.shrink();
      const pinned = device.createBuffer(90 * PAGE_SIZE);
      await pinned.write(0, pattern(2, pinned.size));
      await pinned.pin();
      for (const page of [0, 80, 20, 60, 40, 1, 81]) {
        const target = new Uint8Array(18 * PAGE_SIZE);
        if (isAsync) await bo.read(page * PAGE_SIZE, target);
        else bo.readSync(page * PAGE_SIZE, target);
        const expected = pattern(1, bo.size)
          .subarray(page * PAGE_SIZE)
          .subarray(0, target.length);
        expectSame(target, expected, `page ${page}`);
        device.check();
      }
      await fails("ENOMEM", bo.populate());
      pinned.unpin();
      expectSame(await content(bo), pattern(1, bo.size), "content");
      await device.close({ force: true });
    },
  );
});

describe("a mapping of a part", () => {
  test("brings that in, and shows it", () => {
    const { bo, swap, bytes, device } = shrunken();
    const [at, length] = [100 * PAGE_SIZE + 5, 3 * PAGE_SIZE];
    const mapping = bo.mapSync({ offset: at, length });
    expect(swap.pages(false)).toBe(4);
    const got = new Uint8Array(length);
    let filledTo = 0;
    for (const segment of mapping.segments) {
      got.set(segment, filledTo);
      filledTo += segment.length;
      segment.fill(7);
    }
    expectSame(got, bytes.subarray(at, at + length), "mapped");
    bytes.fill(7, at, at + length);
    failsSync("EBUSY", () => bo.shrinkSync());
    // What is mapped stays where it is while the others come and go.
    expectSame(contentSync(bo), bytes, "content");
    mapping.unmap();
    bo.shrinkSync();
    device.check();
    expectSame(contentSync(bo), bytes, "content after it left");
  });

  test("keeps its pages while others lack memory", () => {
    const swap = new MapSwap({ slots: 512 });
    using device = blockDevice(64, swap);
    const bo = filled(device, 60, 1);
    bo.shrinkSync();
    const mapping = bo.mapSync({ offset: 10 * PAGE_SIZE, length: 20 * PAGE_SIZE });
    const other = filled(device, 40, 2);
    const page = bo.readSync(50 * PAGE_SIZE, new Uint8Array(4 * PAGE_SIZE));
    expectSame(page, pattern(1, bo.size).subarray(50 * PAGE_SIZE, 54 * PAGE_SIZE), "page");
    expectSame(contentSync(other), pattern(2, other.size), "other");
    const mapped = mapping.segments.reduce((bytes, { length }) => bytes + length, 0);
    expect(mapped).toBe(20 * PAGE_SIZE);
    const first = mapping.segments[0] as Uint8Array;
    expectSame(
      first,
      pattern(1, bo.size)
        .subarray(10 * PAGE_SIZE)
        .subarray(0, first.length),
      "it",
    );
    mapping.unmap();
    device.check();
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
  });

  test("refuses bytes that there are not", () => {
    const { bo } = shrunken(32);
    for (const options of [
      { offset: -1 },
      { offset: bo.size },
      { length: 0 },
      { offset: 1, length: bo.size },
    ]) {
      expect(() => bo.mapSync(options)).toThrow(RangeError);
      expect(() => bo.populateSync(options)).toThrow(RangeError);
    }
    expect(() => bo.mapSync({ offset: "1" as never })).toThrow(TypeError);
    expect(bo.pinned).toBe(false);
  });
});

describe("parts that are in memory", () => {
  test("populate brings one in", () => {
    const { bo, swap } = shrunken();
    bo.populateSync({ offset: 10 * PAGE_SIZE + 1, length: PAGE_SIZE });
    expect(swap.pages(false)).toBe(2);
    bo.populateSync();
    expect(swap.pages(false)).toBe(PAGES);
    expectOnce(swap);
  });

  test.each(["sync", "async"])("come back after hibernation, and no others: %s", async (form) => {
    const scene = shrunken();
    const { bo, swap, device } = scene;
    readPages(scene, 5, 9);
    readPages(scene, 500, 512);
    if (form === "sync") device.hibernateSync();
    else await device.hibernate();
    expect(bo.residentPages).toBe(0);
    swap.forget();
    if (form === "sync") device.resumeSync();
    else await device.resume();
    expect(bo.residentPages).toBe(16);
    expect(readPages(scene, 5, 9) + readPages(scene, 500, 512)).toBe(0);
    expectSame(contentSync(bo), scene.bytes, "content");
  });

  test("are thrown away with the rest of what is not needed", () => {
    const scene = shrunken();
    readPages(scene, 5, 9);
    scene.bo.advise("dontneed");
    scene.device.shrinkSync();
    expectAllFree(scene.device);
    expect(scene.bo.advise("willneed")).toBe(false);
    expectZeros(contentSync(scene.bo), "content");
  });

  test("stay when all are brought in, and a pin keeps them", () => {
    const scene = shrunken();
    readPages(scene, 100, 200);
    scene.bo.pinSync();
    expect(scene.swap.pages(false)).toBe(PAGES);
    expectOnce(scene.swap);
    scene.bo.unpin();
    expectSame(contentSync(scene.bo), scene.bytes, "content");
  });
});

describe("when only pages of its own can leave for a part", () => {
  function crowded(swap: SwapDevice): { device: Device; bo: BufferObject } {
    const device = createDeviceSync({ memory: 20 * PAGE_SIZE, swap });
    device.createBuffer(18 * PAGE_SIZE).pinSync();
    const bo = device.createBuffer(17 * PAGE_SIZE);
    for (const page of [3, 5]) bo.writeSync(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(page));
    return { device, bo };
  }

  test("it is said why they cannot, and not that memory is too small", async () => {
    const swap = new MapSwap({ slots: 64 });
    const { bo } = crowded(swap);
    swap.before = () => {
      throw systemError("EIO");
    };
    failsSync("EIO", () => bo.writeSync(7 * PAGE_SIZE, new Uint8Array(8).fill(7)));
    await fails("EIO", bo.write(7 * PAGE_SIZE, new Uint8Array(8).fill(7)));
    swap.before = undefined;
    bo.writeSync(7 * PAGE_SIZE, new Uint8Array(8).fill(7));
  });

  test("a Sync call on a device that is asynchronous says that it would block", async () => {
    const { bo } = crowded(scriptedSwap({ slots: 64, pairs: "async" }));
    failsSync("EWOULDBLOCK", () => bo.writeSync(7 * PAGE_SIZE, new Uint8Array(8).fill(7)));
    await bo.write(7 * PAGE_SIZE, new Uint8Array(8).fill(7));
  });
});
