import { afterEach, describe, expect, test, vi } from "vitest";
import { codecModule } from "../../src/codec/module.ts";
import { codeOf } from "../../src/errors.ts";
import { createDevice, createDeviceSync, PAGE_SIZE, type ShortWrite } from "../../src/index.ts";
import { Extent } from "../../src/swap/compressed/extent.ts";
import { Segment } from "../../src/swap/compressed/segment.ts";
import { classBytes, sizeClass } from "../../src/swap/compressed/sizes.ts";
import {
  type CompressedSwap,
  type CompressedSwapOptions,
  compressedSwap,
} from "../../src/swap/compressed.ts";
import { swapDeviceTests } from "../../src/testing.ts";
import { contentSync, expectSame } from "../support/bytes.ts";
import { corpus } from "../support/corpus.ts";
import { expectAllFree } from "../support/devices.ts";
import { Random, seeded } from "../support/random.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

const MiB = 2 ** 20;
/** A limit below which there is little but what is kept for exchange. */
const RESERVE = 2 ** 18;

function opened(options: CompressedSwapOptions): CompressedSwap {
  const swap = compressedSwap(options);
  void swap.open?.();
  return swap;
}

/** Bytes that do not shrink. */
function noise(seed: number, pages: number): Uint8Array<ArrayBuffer> {
  const random = new Random(seed);
  const words = Uint32Array.from({ length: (pages * PAGE_SIZE) / 4 }, () => random.next());
  return new Uint8Array(words.buffer);
}

function readBack(swap: CompressedSwap, slot: number, pages: number): Uint8Array {
  const views = [new Uint8Array(pages * PAGE_SIZE)];
  swap.readSync([{ slot, views }]);
  return views[0] as Uint8Array;
}

describe("contract", () => {
  for (const algorithm of ["lz4", "none"] as const) {
    const tests = swapDeviceTests({
      create: ({ slots }) => ({ device: compressedSwap({ size: slots * PAGE_SIZE, algorithm }) }),
      createSmall: ({ slots, pages }) => {
        const limit = Math.max(pages * PAGE_SIZE + RESERVE, MiB);
        return { device: compressedSwap({ size: slots * PAGE_SIZE, limit, algorithm }) };
      },
      bytes: ({ device }) => device.stats().storedBytes,
      left: ({ device }) => device.stats().storageBytes,
    });
    for (const { name, run } of tests) test(`${algorithm}: ${name}`, run);
  }
});

describe("options", () => {
  test.each([
    [undefined, TypeError, "compressedSwap needs at least a size"],
    [{}, TypeError, "compressedSwap size must be a number of bytes or a string"],
    [{ size: 0 }, RangeError, "compressedSwap size must be a whole number of bytes above 0"],
    [{ size: MiB, limit: "x" }, RangeError, 'compressedSwap limit is "x"'],
    [{ size: MiB, limit: 100 }, RangeError, "compressedSwap limit must be 1 MiB or more"],
    [{ size: MiB, algorithm: "zstd" }, TypeError, 'algorithm must be "lz4" or "none", not "zstd"'],
    [{ size: MiB, refuse: 1 }, TypeError, "compressedSwap refuse must be true or false"],
    [{ size: MiB, slots: 5 }, TypeError, 'compressedSwap has no option "slots"'],
  ])("%j is refused by name", (options, type, text) => {
    const make = () => compressedSwap(options as CompressedSwapOptions);
    expect(make).toThrow(type);
    expect(make).toThrow(text);
  });

  test("a module that is not the codec is refused when it is opened", async () => {
    const swap = () => compressedSwap({ size: MiB, module: {} });
    expect(() => createDeviceSync({ memory: MiB, swap: swap() })).toThrow(TypeError);
    await expect(createDevice({ memory: MiB, swap: swap() })).rejects.toThrow(
      "compressedSwap module must be ttm-wasm/codec.wasm",
    );
    const good = compressedSwap({ size: MiB, module: codecModule() });
    createDeviceSync({ memory: MiB, swap: good }).closeSync();
  });

  test("before it is opened and after it is closed it holds nothing", () => {
    const swap = compressedSwap({ size: MiB });
    const nothing = {
      pages: 0,
      samePages: 0,
      rawPages: 0,
      storedBytes: 0,
      storageBytes: 0,
      ratio: 1,
    };
    expect(swap.stats()).toEqual(nothing);
    expect(swap.trim()).toBe(0);
    expect(() => readBack(swap, 1, 1)).toThrow("is not open");
    void swap.open?.();
    swap.writeSync([{ slot: 1, views: [corpus(MiB / 2, PAGE_SIZE)] }]);
    expect(swap.stats()).toMatchObject({ pages: 128 });
    void swap.close?.();
    expect(swap.stats()).toEqual(nothing);
  });
});

test("sizes of objects: the least one that holds so many bytes, whole pages among them", () => {
  for (let bytes = 1; bytes <= 65536; bytes++) {
    const kind = sizeClass(bytes);
    const size = classBytes(kind);
    if (size < bytes || (kind > 0 && classBytes(kind - 1) >= bytes)) {
      throw new Error(`${bytes} bytes get an object of ${size}`);
    }
    const waste = size - bytes;
    if (bytes > 128 && waste >= (bytes % PAGE_SIZE === 0 ? 1 : bytes / 16)) {
      throw new Error(`${bytes} bytes get an object of ${size}`);
    }
  }
});

describe("content", () => {
  test("every page of a corpus comes back, alone and with others", () => {
    const bytes = corpus(4 * MiB, PAGE_SIZE);
    const pages = bytes.length / PAGE_SIZE;
    const swap = opened({ size: bytes.length });
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    expectSame(readBack(swap, 1, pages), bytes, "all of it");
    for (let page = 0; page < pages; page++) {
      const part = bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
      expectSame(readBack(swap, page + 1, 1), part, `page ${page}`);
    }
    const { ratio, storedBytes, storageBytes } = swap.stats();
    expect(ratio).toBeGreaterThan(2);
    expect(storageBytes).toBeGreaterThanOrEqual(storedBytes);
    // Each size of object has a page of memory that it needs in part.
    expect(storageBytes).toBeLessThan(1.1 * storedBytes + 64 * PAGE_SIZE);
  });

  test("pages of one word take nothing, and do not stay in the way of their neighbours", () => {
    const swap = opened({ size: 4 * MiB });
    const words = new Uint32Array(64 * 1024);
    words.forEach((_, i) => {
      words[i] = Math.imul(i >> 10, 0x01020305);
    });
    const views = [new Uint8Array(words.buffer)];
    swap.writeSync([{ slot: 5, views }]);
    expect(swap.stats()).toMatchObject({ pages: 64, samePages: 64, storageBytes: 0 });
    expectSame(readBack(swap, 5, 64), views[0] as Uint8Array, "words");
    // Another one in the last page.
    words[words.length - 1] = 1;
    swap.writeSync([{ slot: 5, views }]);
    expect(swap.stats()).toMatchObject({ pages: 64, samePages: 63 });
    expectSame(readBack(swap, 5, 64), views[0] as Uint8Array, "words, but one");
  });

  test("more different words than can be told apart are compressed like anything else", () => {
    const pages = 17_000;
    const swap = opened({ size: pages * PAGE_SIZE });
    const page = new Uint32Array(PAGE_SIZE / 4);
    for (let slot = 1; slot <= pages; slot++) {
      page.fill(slot);
      swap.writeSync([{ slot, views: [new Uint8Array(page.buffer)] }]);
    }
    const { samePages, storedBytes } = swap.stats();
    expect(samePages).toBe(2 ** 14 - 2);
    expect(storedBytes).toBeGreaterThan(0);
    for (const slot of [1, samePages, samePages + 1, pages]) {
      page.fill(slot);
      expectSame(readBack(swap, slot, 1), new Uint8Array(page.buffer), `slot ${slot}`);
    }
  });

  test("what does not shrink is kept as it is, or refused", () => {
    const bytes = noise(1, 32);
    const text = corpus(16 * PAGE_SIZE, PAGE_SIZE);
    const swap = opened({ size: MiB });
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    expect(swap.stats()).toMatchObject({ pages: 32, rawPages: 32, storedBytes: bytes.length });
    expectSame(readBack(swap, 1, 32), bytes, "noise");
    expectSame(readBack(swap, 20, 1), bytes.subarray(19 * PAGE_SIZE, 20 * PAGE_SIZE), "a page");
    const other = opened({ size: MiB, refuse: true });
    const short = other.writeSync([{ slot: 1, views: [text, bytes] }]);
    expect(short).toMatchObject({ pages: 16 });
    expect(codeOf(short?.error)).toBe("ENOSPC");
    expectSame(readBack(other, 1, 16), text, "what came before");
  });

  test("a block that is damaged is EIO, which names the slot, and others are read", () => {
    const bytes = corpus(64 * PAGE_SIZE, PAGE_SIZE);
    const swap = opened({ size: MiB });
    const contentOf = vi.spyOn(Segment.prototype, "contentOf");
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    readBack(swap, 20, 1);
    // The memory in which the block with this slot lies: an offset that leads out of it.
    const block = contentOf.mock.results[0]?.value as Uint8Array;
    block.fill(0xff, 0, 200);
    let error: unknown;
    try {
      readBack(swap, 20, 1);
    } catch (thrown) {
      error = thrown;
    }
    expect(codeOf(error)).toBe("EIO");
    expect(String(error)).toContain("slot 20 cannot be read");
    expectSame(readBack(swap, 1, 16), bytes.subarray(0, 16 * PAGE_SIZE), "the block before");
    expect(() => readBack(swap, 1000, 1)).toThrow("slot 1000 holds nothing");
    // It cannot be compressed anew either, and goes with its pages.
    void swap.discard?.([{ slot: 17, pages: 10 }], 64);
    swap.trim();
    void swap.discard?.([{ slot: 1, pages: 64 }], 0);
    expect(swap.stats()).toMatchObject({ pages: 0, storedBytes: 0 });
  });
});

/** A page of some kind: one word, text, noise, or half of each. */
function drawn(random: Random, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const at = random.below(text.length / PAGE_SIZE) * PAGE_SIZE;
  const page = text.slice(at, at + PAGE_SIZE);
  const kind = random.below(8);
  if (kind === 0) page.fill(random.below(4));
  if (kind === 1) page.set(noise(random.below(1e6), 1));
  if (kind === 2) page.set(noise(random.below(1e6), 1).subarray(PAGE_SIZE / 2));
  page[random.below(PAGE_SIZE)] = random.below(256);
  return page;
}

describe("random calls against a map of pages", () => {
  const SLOTS = 1200;
  const TEXT = corpus(2 * MiB, PAGE_SIZE);

  /** Writes a run of pages, and notes what was taken. */
  function write(random: Random, swap: CompressedSwap, model: Map<number, Uint8Array>): boolean {
    const pages = 1 + random.below(random.pick([1, 4, 16, 60]));
    const slot = 1 + random.below(SLOTS - pages);
    const views = Array.from({ length: pages }, () => drawn(random, TEXT));
    for (let i = 0; i < pages; i++) model.delete(slot + i);
    const short = swap.writeSync([{ slot, views }]);
    if (short && codeOf(short.error) !== "ENOSPC") throw short.error;
    views.slice(0, short?.pages ?? pages).forEach((view, i) => {
      model.set(slot + i, view);
    });
    return short === undefined;
  }

  function expectModel(swap: CompressedSwap, model: Map<number, Uint8Array>): void {
    for (const [slot, page] of model) {
      expectSame(readBack(swap, slot, 1), page, `slot ${slot}`);
    }
  }

  test.each([
    ["lz4", SLOTS * PAGE_SIZE * 2],
    ["lz4", MiB],
    ["lz4", 2 * MiB],
    ["none", 2 * MiB],
  ] as const)(
    "%s in %i bytes",
    (algorithm, limit) =>
      seeded((random) => {
        const swap = opened({ size: SLOTS * PAGE_SIZE, limit, algorithm });
        const model = new Map<number, Uint8Array>();
        let full = 0;
        for (let step = 0; step < 600; step++) {
          const what = random.below(100);
          if (what < 70) full += Number(!write(random, swap, model));
          else if (what < 95) {
            const pages = 1 + random.below(random.pick([1, 20, 200]));
            const slot = 1 + random.below(SLOTS - pages);
            for (let i = 0; i < pages; i++) model.delete(slot + i);
            void swap.discard?.([{ slot, pages }], SLOTS);
          } else if (what < 99) swap.trim();
          else expectModel(swap, model);
          const { storageBytes, storedBytes } = swap.stats();
          if (storageBytes > limit) throw new Error(`${storageBytes} bytes at step ${step}`);
          if (storedBytes > storageBytes) throw new Error(`more stored than there is, ${step}`);
        }
        if (limit === MiB) expect(full).toBeGreaterThan(0);
        expectModel(swap, model);
        // What a discarded slot held is not there, but may still be in a block.
        void swap.discard?.([{ slot: 1, pages: SLOTS }], 0);
        const left = { pages: 0, samePages: 0, rawPages: 0, storedBytes: 0, ratio: 1 };
        expect(swap.stats()).toMatchObject(left);
        swap.trim();
        expect(swap.stats().storageBytes).toBe(0);
      }),
    120_000,
  );
});

describe("memory given back", () => {
  /** Slots of 64 KiB each, every other one discarded. */
  function halved(): { swap: CompressedSwap; bytes: Uint8Array; objects: number } {
    const bytes = corpus(6 * MiB, 16 * PAGE_SIZE);
    const objects = bytes.length / (16 * PAGE_SIZE);
    const swap = opened({ size: bytes.length });
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    for (let i = 0; i < objects; i += 2) {
      void swap.discard?.([{ slot: 1 + i * 16, pages: 16 }], objects * 16);
    }
    return { swap, bytes, objects };
  }

  test("half of the objects are gone: so is the storage that they took", () => {
    const { swap, bytes, objects } = halved();
    const before = swap.stats();
    const given = swap.trim();
    const after = swap.stats();
    expect(before.storageBytes - after.storageBytes).toBe(given);
    expect(given).toBeGreaterThan(0);
    expect(after.storageBytes).toBeLessThan(1.1 * after.storedBytes + 64 * PAGE_SIZE);
    for (let i = 1; i < objects; i += 2) {
      const part = bytes.subarray(i * 16 * PAGE_SIZE, (i + 1) * 16 * PAGE_SIZE);
      expectSame(readBack(swap, 1 + i * 16, 16), part, `object ${i}`);
    }
    expect(swap.trim()).toBe(0);
  });

  test("slots whose new content is refused hold nothing any more", () => {
    const swap = opened({ size: "4 MiB", refuse: true });
    const blank = new Uint8Array(64 * PAGE_SIZE);
    swap.writeSync([{ slot: 1, views: [blank] }]);
    swap.writeSync([{ slot: 101, views: [blank] }]);
    const rest = noise(1, 63);
    const refused = swap.writeSync([
      { slot: 1, views: [blank.subarray(0, PAGE_SIZE), rest] },
      { slot: 101, views: [blank] },
    ]);
    expect(refused).toMatchObject({ pages: 1, error: { code: "ENOSPC" } });
    expect(swap.stats().pages).toBe(1);
  });

  test.skipIf(!("resize" in ArrayBuffer.prototype))(
    "slots whose new content the host has no memory for hold nothing any more",
    () => {
      const swap = opened({ size: "8 MiB" });
      swap.writeSync([{ slot: 1, views: [noise(1, 16)] }]);
      swap.writeSync([{ slot: 101, views: [new Uint8Array(400 * PAGE_SIZE)] }]);
      const none = () => {
        throw new RangeError("no memory");
      };
      const prototype = ArrayBuffer.prototype as unknown as { resize(bytes: number): void };
      const resize = vi.spyOn(prototype, "resize").mockImplementation(none);
      const refused = swap.writeSync([{ slot: 101, views: [noise(2, 400)] }]) as ShortWrite;
      resize.mockRestore();
      expect(refused.error).toMatchObject({ code: "ENOSPC" });
      expect(swap.stats().pages).toBe(16 + refused.pages);
      expectSame(readBack(swap, 1, 16), noise(1, 16), "what was there");
      expectSame(readBack(swap, 101, refused.pages), noise(2, refused.pages), "what was taken");
    },
  );

  test("what came back takes no memory twice, where it gave its slots up", () => {
    const swap = compressedSwap({ size: "4 MiB" });
    const device = createDeviceSync({ memory: "2 MiB", swap, keepClean: false });
    const bo = device.createBuffer(MiB);
    const bytes = noise(3, MiB / PAGE_SIZE);
    bo.writeSync(0, bytes);
    bo.shrinkSync();
    expect(swap.stats().pages).toBe(MiB / PAGE_SIZE);
    expectSame(contentSync(bo), bytes, "content");
    expect(swap.stats().pages).toBe(0);
    device.closeSync({ force: true });
  });

  test("pages that were written again elsewhere leave no room taken in their block", () => {
    const bytes = corpus(6 * MiB, 16 * PAGE_SIZE);
    const pages = bytes.length / PAGE_SIZE;
    const swap = opened({ size: bytes.length });
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    const { storedBytes } = swap.stats();
    // Three of four pages: of each block four are left.
    for (let slot = 1; slot <= pages; slot += 4) void swap.discard?.([{ slot, pages: 3 }], pages);
    swap.trim();
    expect(swap.stats().storedBytes).toBeLessThan(storedBytes / 2);
    for (let slot = 4; slot <= pages; slot += 4) {
      const part = bytes.subarray((slot - 1) * PAGE_SIZE, slot * PAGE_SIZE);
      expectSame(readBack(swap, slot, 1), part, `slot ${slot}`);
    }
  });

  test("on a host without resizable buffers whole segments go", async () => {
    const { resize } = ArrayBuffer.prototype as { resize?: unknown };
    const descriptor = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "resize");
    try {
      Reflect.deleteProperty(ArrayBuffer.prototype, "resize");
      vi.resetModules();
      const { compressedSwap: make } = await import("../../src/swap/compressed.ts");
      const swap = make({ size: 16 * MiB });
      void swap.open?.();
      const bytes = noise(3, 1024);
      swap.writeSync([{ slot: 1, views: [bytes] }]);
      expect(swap.stats().storageBytes).toBe(4 * MiB);
      void swap.discard?.([{ slot: 1, pages: 512 }], 1024);
      expect(swap.trim()).toBe(2 * MiB);
      expectSame(readBack(swap, 513, 512), bytes.subarray(2 * MiB), "what is left");
      void swap.discard?.([{ slot: 513, pages: 496 }], 1024);
      // A part of a segment cannot go.
      expect(swap.trim()).toBe(0);
      expect(swap.stats().storageBytes).toBe(2 * MiB);
    } finally {
      if (descriptor) Object.defineProperty(ArrayBuffer.prototype, "resize", descriptor);
    }
    expect((ArrayBuffer.prototype as { resize?: unknown }).resize).toBe(resize);
  });

  test("a host without memory for more is a full store", () => {
    const swap = opened({ size: 16 * MiB });
    const bytes = noise(4, 64);
    swap.writeSync([{ slot: 1, views: [bytes] }]);
    const grow = vi.spyOn(Extent.prototype, "grow").mockImplementation(() => {
      throw new RangeError("Array buffer allocation failed");
    });
    const short = swap.writeSync([{ slot: 100, views: [bytes] }]);
    expect(short).toMatchObject({ pages: 0 });
    expect(codeOf(short?.error)).toBe("ENOSPC");
    grow.mockRestore();
    expectSame(readBack(swap, 1, 64), bytes, "what it has");
    expect(swap.writeSync([{ slot: 100, views: [bytes] }])).toBe(undefined);
    expectSame(readBack(swap, 100, 64), bytes, "what it has then");
  });
});

test("a pool says early what it needs no more, since that takes memory", () => {
  const swap = compressedSwap({ size: 64 * MiB });
  using device = createDeviceSync({ memory: MiB, swap });
  const buffers = Array.from({ length: 200 }, (_, i) => {
    const bo = device.createBuffer(16 * PAGE_SIZE);
    bo.writeSync(0, noise(i, 16));
    return bo;
  });
  device.shrinkSync();
  const { pages } = swap.stats();
  expect(pages).toBe(3200);
  expect(swap.memoryBytes).toBe(swap.stats().storageBytes);
  for (const bo of buffers.slice(0, 50)) bo.destroy();
  // A thirty-second of those in use may still be unsaid.
  expect(swap.stats().pages).toBeLessThanOrEqual(2400 + 2400 / 32 + 16);
  expect(swap.stats().pages).toBeGreaterThanOrEqual(2400);
});

describe("without a limit", () => {
  test.each([1, 16, 300, 2048])("there is room for all of %d pages that do not shrink", (pages) => {
    for (const each of [1, 16]) {
      const swap = opened({ size: pages * PAGE_SIZE });
      const content = noise(pages, pages);
      for (let slot = 0; slot < pages; slot += each) {
        const views = [content.subarray(slot * PAGE_SIZE, (slot + each) * PAGE_SIZE)];
        expect(swap.writeSync([{ slot, views }])).toBeUndefined();
      }
      expectSame(readBack(swap, 0, pages), content, `pages, ${each} at a time`);
    }
  });
});

describe("a pool whose compressed swap is full", () => {
  test("says so, has lost nothing, and goes on when there is room again", () => {
    const swap = compressedSwap({ size: 64 * MiB, limit: 2 * MiB });
    using device = createDeviceSync({ memory: MiB, swap });
    const size = 16 * PAGE_SIZE;
    const buffers = [];
    let error: unknown;
    for (let i = 0; error === undefined; i++) {
      if (i === 1000) throw new Error("it is never full");
      const bo = device.createBuffer(size);
      try {
        bo.writeSync(0, noise(i, 16));
        buffers.push(bo);
      } catch (thrown) {
        error = thrown;
        bo.destroy();
      }
    }
    expect(["ENOSPC", "ENOMEM"]).toContain(codeOf(error));
    expect(buffers.length).toBeGreaterThan(32);
    expect(swap.stats().storageBytes).toBeLessThanOrEqual(2 * MiB);
    for (let round = 0; round < 3; round++) {
      buffers.forEach((bo, i) => {
        expectSame(contentSync(bo), noise(i, 16), `buffer ${i}, round ${round}`);
      });
    }
    for (const bo of buffers.splice(10)) bo.destroy();
    const more = device.createBuffer(size);
    more.writeSync(0, noise(999, 16));
    device.shrinkSync();
    expectSame(contentSync(more), noise(999, 16), "a new one");
    buffers.forEach((bo, i) => {
      expectSame(contentSync(bo), noise(i, 16), `buffer ${i}`);
      bo.destroy();
    });
    device.check();
  });

  test("holds more in a limit than the limit has bytes, when it shrinks", () => {
    const swap = compressedSwap({ size: 64 * MiB, limit: 4 * MiB });
    using device = createDeviceSync({ memory: MiB, swap });
    const bytes = corpus(7 * MiB, 16 * PAGE_SIZE);
    const buffers = [];
    for (let at = 0; at < bytes.length; at += 16 * PAGE_SIZE) {
      const bo = device.createBuffer(16 * PAGE_SIZE);
      bo.writeSync(0, bytes.subarray(at, at + bo.size));
      buffers.push(bo);
    }
    device.shrinkSync();
    buffers.forEach((bo, i) => {
      expectSame(contentSync(bo), bytes.subarray(i * bo.size, (i + 1) * bo.size), `buffer ${i}`);
    });
    for (const bo of buffers) bo.destroy();
    expectAllFree(device);
    expect(swap.stats()).toMatchObject({ pages: 0, storedBytes: 0 });
  });
});
