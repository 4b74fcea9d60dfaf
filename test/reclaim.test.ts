import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "./support/bytes.ts";
import {
  blockDevice,
  defaultDevice,
  expectAllFree,
  filled,
  KINDS,
  ramDevice,
} from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

const MIB = 2 ** 20;

describe("buffers of eight times the memory, used at random, never lose a byte", () => {
  const kinds = [
    { kind: "ram", create: () => ramSwap({ size: "32 MiB" }) },
    { kind: "file", create: () => fileSwap({ size: "32 MiB" }) },
  ];

  test.each(kinds)("sync, on $kind swap", ({ create }) =>
    seeded((random) => {
      using device = createDeviceSync({ memory: "4 MiB", swap: create() });
      const bos: { bo: BufferObject; model: Uint8Array }[] = [];
      for (let left = 32 * MIB; left > 0; ) {
        const most = random.pick([100, 5000, 70_000, MIB]);
        const size = Math.min(random.below(most) + 1, left);
        left -= Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
        bos.push({ bo: device.createBuffer(size), model: new Uint8Array(size) });
      }
      for (let round = 0; round < 3000; round++) {
        const { bo, model } = random.pick(bos);
        const from = random.below(bo.size);
        const to = from + random.below(Math.min(bo.size - from, 100_000)) + 1;
        if (random.chance(0.5)) {
          const bytes = pattern(round, to - from);
          bo.writeSync(from, bytes);
          model.set(bytes, from);
        } else {
          const got = bo.readSync(from, new Uint8Array(to - from));
          expectSame(got, model.subarray(from, to), `round ${round}`);
        }
        if (round % 100 === 0) device.check();
      }
      for (const { bo, model } of random.shuffle(bos)) {
        expectSame(contentSync(bo), model, "content at last");
        bo.destroy();
      }
      expectAllFree(device);
    }),
  );

  test.each(kinds)("async, on $kind swap", ({ create }) =>
    seeded(async (random) => {
      await using device = createDeviceSync({ memory: "1 MiB", swap: create() });
      const bos = Array.from({ length: 100 }, () => device.createBuffer(20 * PAGE_SIZE));
      const models = bos.map((bo) => new Uint8Array(bo.size));
      for (let round = 0; round < 1000; round++) {
        const i = random.below(bos.length);
        const [bo, model] = [bos[i] as BufferObject, models[i] as Uint8Array];
        const from = random.below(bo.size);
        const bytes = pattern(round, random.below(bo.size - from) + 1);
        expectSame(await content(bo), model, `round ${round}`);
        await bo.write(from, bytes);
        model.set(bytes, from);
      }
      device.check();
    }),
  );
});

describe.each(KINDS)("on $kind swap", ({ create }) => {
  test("with everything pinned a first write is ENOMEM that names numbers; nothing is lost", () => {
    using device = create({ memory: 64, swap: 256 });
    const pinned = Array.from({ length: 6 }, (_, i) => filled(device, 10, i));
    for (const bo of pinned) bo.pinSync();
    const bo = device.createBuffer(5 * PAGE_SIZE);
    const bytes = pattern(9, bo.size);
    for (const run of [() => bo.writeSync(0, bytes), () => bo.mapSync(), () => bo.pinSync()]) {
      const error = failsSync("ENOMEM", run);
      expect(error.op).toBe("populate");
      expect(error.message).toMatch(/5 pages are needed, 4 of 64 are free/);
      expect(error.message).toMatch(/unmap or unpin buffers, or raise memory \(now 256 KiB\)/);
      expect(device.stats().pages.free).toBe(4);
      device.check();
    }
    expect(device.stats().pagesOut).toBe(0);
    pinned[3]?.unpin();
    bo.writeSync(0, bytes);
    expectSame(contentSync(bo), bytes, "written at last");
    bo.destroy();
    pinned.forEach((other, i) => {
      expectSame(contentSync(other), pattern(i, other.size), `pinned ${i}`);
    });
  });

  test("a buffer larger than memory and swap together is ENOMEM that names the sizes", () => {
    using device = create({ memory: 256, swap: 4096 });
    const error = failsSync("ENOMEM", () => device.createBuffer(17 * MIB + 1));
    expect(error.op).toBe("create");
    expect(error.message).toMatch(
      /a buffer of .* fits neither the memory of 1 MiB nor that and the swap of 16 MiB/,
    );
    const larger = failsSync("ENOMEM", () => device.createBuffer("1.5 GiB"));
    expect(larger.message).toMatch(/1\.5 GiB fits neither the memory of 1 MiB/);
    expect(larger.message).toMatch(/use a smaller one, or more swap/);
    expect(device.stats().buffers).toBe(0);
  });

  test("a buffer exactly as large as the memory works, and pushes all others out", async () => {
    using device = create({ memory: 256, swap: 1024 });
    const others = Array.from({ length: 10 }, (_, i) => filled(device, 20, i));
    const large = filled(device, 256, 100);
    expect(others.map((bo) => bo.residentPages)).toEqual(others.map(() => 0));
    expect(device.stats().pages.free).toBe(0);
    expectSame(contentSync(large), pattern(100, large.size), "large");
    others.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `other ${i}`);
    });
    device.check();
    const second = filled(device, 256, 200);
    expectSame(await content(large), pattern(100, large.size), "large again");
    expectSame(await content(second), pattern(200, second.size), "second");
    device.check();
  });
});

describe("a swap space that is too small", () => {
  test.each(KINDS)(
    "on $kind swap: ENOSPC, and what was written can all still be read",
    async ({ create }) => {
      using device = create({ memory: 64, swap: 64 });
      const bos: BufferObject[] = [];
      const fill = () => {
        for (;;) bos.push(filled(device, 10, bos.length));
      };
      const error = failsSync("ENOSPC", fill);
      expect(error.message).toMatch(/swap/);
      device.check();
      expect(bos.length).toBeGreaterThanOrEqual(6);
      for (let round = 0; round < 2; round++) {
        for (const [i, bo] of bos.entries()) {
          const bytes = round ? await content(bo) : contentSync(bo);
          expectSame(bytes, pattern(i, bo.size), `buffer ${i}`);
        }
      }
      device.check();
    },
  );

  test("goes on after a buffer was destroyed", () => {
    using device = ramDevice({ memory: 64, swap: 64 });
    const bos: BufferObject[] = [];
    failsSync("ENOSPC", () => {
      for (;;) bos.push(filled(device, 10, bos.length));
    });
    for (let round = 0; round < 20; round++) {
      bos.shift()?.destroy();
      bos.push(filled(device, 10, 100 + round));
      device.check();
    }
    for (const bo of bos) bo.destroy();
    for (let i = 0; i < 4; i++) device.createBuffer(1);
    device.check();
    expect(device.stats().pages.free).toBe(64);
  });

  test("keeps frames of the DMA32 zone for its pools, so that they can always exchange pages", () => {
    const swap = ramSwap({ size: 64 * PAGE_SIZE });
    using device = createDeviceSync({ memory: 1024 * PAGE_SIZE, dma32: "2 MiB", swap });
    const low = device.createSibling({ dma32: true });
    const bos: BufferObject[] = [];
    failsSync("ENOSPC", () => {
      for (let i = 0; i < 20; i++) {
        const bo = low.createBuffer(32 * PAGE_SIZE);
        bo.writeSync(0, pattern(i, bo.size));
        bos.push(bo);
      }
    });
    expect(bos.length).toBeGreaterThan(16);
    for (let round = 0; round < 2; round++) {
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      });
    }
    device.check();
  });

  test("takes frames back that an interrupted restore holds, before it counts as full", async () => {
    for (const form of ["sync", "async"] as const) {
      const swap = new MapSwap({ slots: 64 });
      const device = createDeviceSync({ memory: 128 * PAGE_SIZE, swap, transferPages: 4 });
      const stopped = filled(device, 64, 1);
      stopped.shrinkSync();
      const dirty = filled(device, 60, 2);
      // After a transfer: 4 of 64 pages are read into the frames held for them.
      const signal = new CountingSignal(4);
      failsSync("EINTR", () => stopped.populateSync({ signal }));
      expect(stopped.residentPages).toBe(64);
      const fresh = device.createBuffer(8 * PAGE_SIZE);
      if (form === "sync") fresh.writeSync(0, pattern(3, fresh.size));
      else await fresh.write(0, pattern(3, fresh.size));
      expect(stopped.residentPages).toBe(0);
      device.check();
      for (const [bo, seed] of [
        [fresh, 3],
        [dirty, 2],
        [stopped, 1],
      ] as const) {
        expectSame(contentSync(bo), pattern(seed, bo.size), `${form}, buffer ${seed}`);
      }
    }
  });

  test("fails an asynchronous write as well, and loses nothing", async () => {
    const swap = new MapSwap({ slots: 16, delay: () => Promise.resolve() });
    await using device = blockDevice(64, swap);
    const bo = device.createBuffer(64 * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    const next = device.createBuffer(64 * PAGE_SIZE);
    await fails("ENOSPC", next.write(0, pattern(2, next.size)));
    expectSame(await content(bo), pattern(1, bo.size), "content");
    device.check();
  });
});

test("pages are only reclaimed when they are needed", () => {
  using device = ramDevice({ memory: 256, swap: 256 });
  const bos = Array.from({ length: 16 }, (_, i) => filled(device, 16, i));
  for (const bo of bos) contentSync(bo);
  expect(device.stats()).toMatchObject({ pagesOut: 0, pagesIn: 0, pages: { free: 0 } });
});

test("a buffer that grows the working set by little pushes little out", () => {
  using device = ramDevice({ memory: 1024, swap: 1024 });
  for (let i = 0; i < 64; i++) filled(device, 16, i);
  filled(device, 1, 100);
  expect(device.stats().pagesOut).toBeLessThanOrEqual(64);
});

describe("how many pages leave at a stretch", () => {
  /** A memory of 2048 frames, full of buffers of 16 pages that swap does not have. */
  function full(): { device: Device; swap: MapSwap; bos: BufferObject[] } {
    const swap = new MapSwap({ slots: 8192 });
    const device = defaultDevice(2048, swap);
    const bos = Array.from({ length: 128 }, (_, i) => filled(device, 16, i));
    expect(device.stats().pages.free).toBe(0);
    return { device, swap, bos };
  }

  function expectContent(bos: readonly BufferObject[]): void {
    bos.forEach((bo, i) => {
      expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
    });
  }

  test("for new content a thirty-second of the memory, in one transfer", () => {
    const { device, swap, bos } = full();
    filled(device, 1, 200);
    expect(device.stats().pages.free).toBe(64 - 1);
    expect(swap.calls.map(({ pages }) => pages)).toEqual([64]);
    for (let i = 1; i < 63; i++) filled(device, 1, 200 + i);
    expect(swap.count(true)).toBe(1);
    // The last frame is taken only when swap has shown that it takes more: something must be left to exchange.
    filled(device, 1, 300);
    expect(swap.count(true)).toBe(2);
    expectContent(bos);
    device.check();
  });

  test("for new content with no more swap than it needs, what fits", () => {
    const swap = new MapSwap({ slots: 20 });
    const device = defaultDevice(2048, swap);
    const bos = Array.from({ length: 128 }, (_, i) => filled(device, 16, i));
    filled(device, 16, 128);
    expectContent(bos);
    device.check();
  });

  test("for a restore what it needs", () => {
    const { device, swap, bos } = full();
    const [out] = bos as [BufferObject];
    out.shrinkSync();
    swap.forget();
    filled(device, 16, 200).pinSync();
    contentSync(out);
    expect(swap.calls.map(({ out, pages }) => [out, pages])).toEqual([
      [true, 16],
      [false, 16],
    ]);
    expectContent(bos);
    device.check();
  });

  test("for new content no more than it needs if the others cannot leave", async () => {
    for (const form of ["sync", "async"] as const) {
      const { device, swap, bos } = full();
      // A disk with room for 40 pages.
      let pages = 0;
      swap.before = (call) => {
        if (!call.out) return;
        if (pages + call.pages > 40)
          throw Object.assign(new Error("disk full"), { code: "ENOSPC" });
        pages += call.pages;
      };
      const fresh = [1, 2].map(() => device.createBuffer(16 * PAGE_SIZE));
      for (const [i, bo] of fresh.entries()) {
        if (form === "sync") bo.writeSync(0, pattern(200 + i, bo.size));
        else await bo.write(0, pattern(200 + i, bo.size));
      }
      expect(pages).toBe(40);
      failsSync("ENOSPC", () => filled(device, 16, 300));
      swap.before = undefined;
      expectContent(bos);
      device.check();
    }
  });

  test("asks nobody for more than new content needs, and purges no more", () => {
    const { device, bos } = full();
    for (const bo of bos.slice(0, 8)) bo.advise("dontneed");
    const asked: number[] = [];
    device.global.shrinkers.register({
      name: "mine",
      countObjects: () => 1000,
      scanObjects(control) {
        asked.push(control.nrToScan);
        return 0;
      },
    });
    filled(device, 16, 200);
    expect(bos.slice(0, 8).filter((bo) => bo.advise("willneed")).length).toBe(7);
    expect(device.stats().pages.free).toBe(0);
    for (const bo of bos.slice(8)) bo.pinSync();
    for (const bo of bos.slice(2, 8)) bo.pinSync();
    filled(device, 16, 201);
    expect(asked).toEqual([]);
    device.check();
  });
});

test("over a page limit it is enough that as much left as is over it, although more could not", () => {
  const swap = new MapSwap({ slots: 4 });
  const device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap, limits: { pages: 8 } });
  const bos = Array.from({ length: 8 }, (_, i) => filled(device, 1, i));
  filled(device, 1, 8); // of 9 pages one has to leave, and 4 can
  for (const [i, bo] of bos.entries()) expectSame(contentSync(bo), pattern(i, PAGE_SIZE), `${i}`);
});
