/*
 * Many operations at once on a memory that is too small for them. What they cost is counted, and held against
 * the same operations one by one.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE, ramSwap } from "../../src/index.ts";
import { Pool, populateTt, shrinkTt, swapoutTt, Tt } from "../../src/ttm.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { type Cost, costOf, crowd, expectRest } from "../support/crowd.ts";
import { Gate, randomDelay, settles, turn, until } from "../support/delays.ts";
import { defaultDevice, expectAllFree } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { Random, SEED, seeded } from "../support/random.ts";
import { expectContent as expectTtContent, writeContent } from "./support/subject.ts";

const immediately = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Swap devices, of which each test makes its own. */
const SWAPS: readonly { kind: string; create(slots: number): MapSwap | undefined }[] = [
  { kind: "swap in RAM", create: () => undefined },
  { kind: "a synchronous device", create: (slots) => new MapSwap({ slots }) },
  {
    kind: "a device that answers in order",
    create: (slots) => new MapSwap({ slots, delay: immediately }),
  },
  {
    kind: "a device that answers in any order",
    create: (slots) => new MapSwap({ slots, delay: randomDelay(new Random(SEED)) }),
  },
];

function deviceOn(frames: number, slots: number, swap: MapSwap | undefined): Device {
  return defaultDevice(frames, swap ?? ramSwap({ size: slots * PAGE_SIZE }));
}

function asynchronous(frames: number, slots: number): Device {
  return defaultDevice(frames, new MapSwap({ slots, delay: immediately }));
}

async function filled(device: Device, pages: number, seed: number): Promise<BufferObject> {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  await bo.write(0, pattern(seed, bo.size));
  return bo;
}

async function filledAll(
  device: Device | readonly Device[],
  count: number,
  pages: number,
): Promise<BufferObject[]> {
  const devices = Array.isArray(device) ? (device as Device[]) : [device as Device];
  const bos: BufferObject[] = [];
  for (let i = 0; i < count; i++) {
    bos.push(await filled(devices[i % devices.length] as Device, pages, i));
  }
  return bos;
}

async function expectContent(bos: readonly BufferObject[]): Promise<void> {
  for (const [i, bo] of bos.entries()) {
    expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
  }
}

async function close(...devices: Device[]): Promise<void> {
  for (const device of devices) device.check();
  for (const device of devices) expectRest(device);
  for (const device of devices) await device.close({ force: true });
}

type Use = (bo: BufferObject, index: number) => Promise<unknown>;

const expectBytes: Use = async (bo, i) =>
  expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);

const USES: readonly [string, Use][] = [
  ["reads", expectBytes],
  ["writes of all", (bo, i) => bo.write(0, pattern(i, bo.size))],
  ["writes of a part", (bo, i) => bo.write(100, pattern(i, bo.size).subarray(100, 9000))],
  [
    "maps",
    async (bo, i) => {
      const mapping = await bo.map();
      const first = mapping.segments[0] as Uint8Array;
      expectSame(first, pattern(i, bo.size).subarray(0, first.length), `buffer ${i}`);
      mapping.unmap();
    },
  ],
  ["pins", (bo) => bo.pin().then(() => bo.unpin())],
  ["populates", (bo) => bo.populate()],
  ["shrinks and reads", (bo, i) => bo.shrink().then(() => expectBytes(bo, i))],
];

/**
 * What is more than a fifth dearer, or took more than one try. One by one, dirty buffers leave in runs; where
 * all of memory belongs to those inside there are none beside each other: a call out for each is fair then.
 */
function dearer(many: Cost, one: Cost): string[] {
  const limits = { ...one, calls: Math.max(one.calls, one.filled * (2 / 1.2)) };
  const more = (["calls", "pages", "filled"] as const).filter(
    (key) => many[key] > 1.2 * limits[key],
  );
  return many.interrupted > 0 ? [...more, `${many.interrupted} interrupted`] : more;
}

test("writes that overtake each other on a device that answers in any order need one try each", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const swap = new MapSwap({ slots: 3840, delay: randomDelay(new Random(seed)) });
    const device = defaultDevice(96, swap);
    const bos = await filledAll(device, 120, 8);
    await device.shrink();
    const order = new Random(7).shuffle(bos);
    const cost = await costOf(device, swap, () =>
      crowd(order, 120, (bo) => bo.write(0, pattern(seed, bo.size))),
    );
    expect({ seed, interrupted: cost.interrupted }).toEqual({ seed, interrupted: 0 });
    await device.close({ force: true });
  }
});

describe.each(SWAPS)("at once, on $kind", ({ create }) => {
  const FRAMES = 96;
  const COUNT = 120;
  const PAGES = 8;
  const SLOTS = 4 * COUNT * PAGES;

  test.each(USES)("%s cost what they do one by one, each in one try", async (_, use) => {
    const costs: Cost[] = [];
    for (const atOnce of [1, 8, COUNT]) {
      const swap = create(SLOTS);
      const device = deviceOn(FRAMES, SLOTS, swap);
      const bos = await filledAll(device, COUNT, PAGES);
      await device.shrink();
      const order = new Random(7).shuffle(bos);
      const index = new Map(bos.map((bo, i) => [bo, i]));
      costs.push(
        await costOf(device, swap, () =>
          crowd(order, atOnce, (bo) => use(bo, index.get(bo) as number)),
        ),
      );
      await expectContent(bos);
      expect(swap?.broken).toBeUndefined();
      await close(device);
    }
    const [alone, few, all] = costs as [Cost, Cost, Cost];
    expect(alone.pages).toBeGreaterThan(0);
    expect({ few: dearer(few, alone), all: dearer(all, alone) }).toEqual({ few: [], all: [] });
  });

  test("a resume costs no more beside another, and beside reads, than by itself", async () => {
    const costs: Cost[] = [];
    for (const atOnce of [1, 2]) {
      const swap = create(SLOTS);
      const device = deviceOn(FRAMES, SLOTS, swap);
      const bos = await filledAll(device, 11, PAGES);
      await device.hibernate();
      costs.push(
        await costOf(device, swap, async () => {
          if (atOnce === 1) await device.resume();
          else await Promise.all([device.resume(), device.resume(), crowd(bos, 11, expectBytes)]);
        }),
      );
      expect(bos.map((bo) => bo.residentPages)).toEqual(bos.map(() => PAGES));
      await close(device);
    }
    expect(costs[1]).toEqual(costs[0]);
  });

  test("siblings share what there is as one device does", async () => {
    const costs: Cost[] = [];
    for (const siblings of [1, 3]) {
      const swap = create(SLOTS);
      const device = deviceOn(FRAMES, SLOTS, swap);
      const devices = [device];
      while (devices.length < siblings) devices.push(device.createSibling());
      const bos = await filledAll(devices, COUNT, PAGES);
      await device.shrink();
      costs.push(await costOf(device, swap, () => crowd(bos, COUNT, expectBytes)));
      await close(...devices.reverse());
    }
    const [alone, together] = costs as [Cost, Cost];
    expect(dearer(together, alone)).toEqual([]);
  });

  test("each as large as the memory: one after the other, each once", async () => {
    const swap = create(SLOTS);
    const device = deviceOn(FRAMES, SLOTS, swap);
    const bos = await filledAll(device, 6, FRAMES);
    await device.shrink();
    const cost = await costOf(device, swap, () => crowd(bos, 6, expectBytes));
    expect(cost).toMatchObject({ filled: 6, interrupted: 0 });
    await close(device);
  });
});

describe("a large one among many small ones", () => {
  test.each([
    { what: "read", atOnce: 4 },
    { what: "read", atOnce: 30 },
    { what: "first write", atOnce: 4 },
    { what: "map", atOnce: 12 },
  ])("ends while they go on: a $what among $atOnce at once", async ({ what, atOnce }) => {
    const device = asynchronous(128, 4096);
    const large = device.createBuffer(120 * PAGE_SIZE);
    if (what !== "first write") await large.write(0, pattern(1000, large.size));
    const small = await filledAll(device, 40, 8);
    await device.shrink();
    let ended = false;
    let meanwhile = 0;
    const starts: (() => Promise<unknown>)[] = Array.from(
      { length: atOnce },
      (_, i) => async () => {
        for (let k = i; !ended && meanwhile < 5000; k += atOnce) {
          await expectBytes(small[k % small.length] as BufferObject, k % small.length);
          if (started) meanwhile++;
        }
      },
    );
    let started = false;
    const smalls = Promise.all(starts.map((start) => start()));
    await turn();
    started = true;
    if (what === "read") expectSame(await content(large), pattern(1000, large.size), "large");
    else if (what === "map") (await large.map()).unmap();
    else await large.write(0, pattern(1000, large.size));
    ended = true;
    await smalls;
    expect(meanwhile).toBeLessThan(300);
    await expectContent(small);
    await close(device);
  });
});

describe("with memory and swap both full", () => {
  const sizes = [
    { frames: 64, slots: 64, pages: 8, count: 15 },
    { frames: 64, slots: 64, pages: 4, count: 31 },
    { frames: 64, slots: 64, pages: 16, count: 7 },
    { frames: 64, slots: 128, pages: 8, count: 22 },
  ];
  const crowds = sizes.flatMap((size) => [2, 3, 8, 40].map((atOnce) => ({ ...size, atOnce })));

  test.each(crowds)("$count of $pages pages on $frames and $slots: $atOnce at once", (c) =>
    seeded(async (random) => {
      const device = asynchronous(c.frames, c.slots);
      const bos = await filledAll(device, c.count, c.pages);
      for (let round = 0; round < 160 / c.atOnce; round++) {
        const chosen = Array.from({ length: c.atOnce }, () => random.below(c.count));
        await Promise.all(
          chosen.map((i) => {
            const bo = bos[i] as BufferObject;
            if (random.chance(0.7)) return expectBytes(bo, i);
            if (random.chance(0.5)) return bo.write(0, pattern(i, bo.size));
            return bo.map({ write: random.chance(0.5) }).then((mapping) => mapping.unmap());
          }),
        );
      }
      await expectContent(bos);
      await close(device);
    }),
  );
});

test("nearly full, while shrinks take what others had: few have to try twice", () =>
  seeded(async (random) => {
    const device = asynchronous(128, 1024);
    const bos: BufferObject[] = [];
    for (let left = 1090; left > 0; left -= (bos.at(-1) as BufferObject).size / PAGE_SIZE) {
      bos.push(await filled(device, Math.min(random.below(60) + 1, left), bos.length));
    }
    const cost = await costOf(device, undefined, () =>
      Promise.all(
        Array.from({ length: 40 }, async () => {
          for (let round = 0; round < 10; round++) {
            const i = random.below(bos.length);
            const bo = bos[i] as BufferObject;
            if (random.chance(0.85)) await expectBytes(bo, i);
            else if (random.chance(0.5))
              await device.shrink({ pages: random.below(32) + 1 }).catch(full);
            else await bo.shrink().catch(full);
          }
        }),
      ),
    );
    // How many is a matter of luck: in 44 runs it was 0.15 at most.
    expect(cost.interrupted).toBeLessThan(cost.filled / 3);
    await expectContent(bos);
    await close(device);
  }));

/** A shrink may find no slot: then memory is as full as it was. */
function full(error: unknown): void {
  if ((error as { code?: string }).code !== "ENOSPC") throw error;
}

describe("what stands in the way", () => {
  test("for a moment only, a mapping that is used at once, fails nobody", async () => {
    const device = asynchronous(32, 512);
    const bos = await filledAll(device, 6, 20);
    await Promise.all(
      [...bos, ...bos].map(async (bo, i) => {
        const mapping = await bo.map();
        if (i % 2 === 0) await Promise.resolve();
        mapping.unmap();
      }),
    );
    await expectContent(bos);
    await close(device);
  });

  test("for a moment only, fails nobody who is there alone either", async () => {
    const device = asynchronous(64, 512);
    const large = await filled(device, 48, 0);
    await large.shrink();
    const bos = [1, 2, 3].map((i) => filled(device, 16, i)); // with them in memory it does not fit
    const small = await Promise.all(bos);
    await turn(); // those who map on the spot have time to
    const cost = await costOf(device, undefined, async () => {
      const mapping = small.map((bo) => bo.map().then((mapping) => mapping.unmap()));
      expect(device.global.frames.stuck).toBe(48);
      await Promise.all([expectBytes(large, 0), ...mapping]);
    });
    expect(cost).toMatchObject({ filled: 1, interrupted: 0 });
    await expectContent([large, ...small]);
    await close(device);
  });

  test("for long is ENOMEM, told by those it is in the way of, and by nobody else", async () => {
    const device = asynchronous(64, 1024);
    const pinned = await filled(device, 30, 0);
    await pinned.pin();
    const bos = [pinned, ...(await filledAll(device, 8, 16)).slice(1)];
    const large = [device.createBuffer(40 * PAGE_SIZE), device.createBuffer(40 * PAGE_SIZE)];
    const ends = await settles(
      Promise.allSettled([
        ...bos.slice(1).map((bo, i) => expectBytes(bo, i + 1)),
        ...large.map((bo) => bo.populate()),
        ...bos.slice(1).map((bo, i) => expectBytes(bo, i + 1)),
      ]),
    );
    const failed = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
    expect(failed).toMatchObject([{ code: "ENOMEM" }, { code: "ENOMEM" }]);
    expect((failed[0] as Error).message).toMatch(/pinned or in use: unmap or unpin/);
    pinned.unpin();
    for (const bo of large) await bo.populate();
    await close(device);
  });

  test("a shrink under way is waited for: there is swap enough once it has ended", async () => {
    const gate = new Gate();
    gate.open();
    const device = defaultDevice(32, new MapSwap({ slots: 8, delay: gate.pass }));
    const bos = await filledAll(device, 8, 4);
    gate.close();
    const shrinking = device.shrink({ pages: 8 });
    await until(() => gate.waiting > 0);
    const late = device.createBuffer(4 * PAGE_SIZE);
    const writing = late.write(0, pattern(8, late.size));
    for (let i = 0; i < 5; i++) await turn();
    gate.open();
    await settles(Promise.all([shrinking, writing]));
    await expectContent([...bos, late]);
    await close(device);
  });
});

test("what a device that stands still has in hand is no longer lacked: others have the rest", async () => {
  const gate = new Gate();
  gate.open();
  const device = defaultDevice(64, new MapSwap({ slots: 512, delay: gate.pass }));
  const large = await filled(device, 32, 1);
  await large.shrink();
  gate.close();
  const reading = content(large);
  await until(() => gate.waiting === 1);
  // Free frames, and not a free slot that the store has had a page in.
  const others = [2, 3].map((i) => device.createBuffer((i === 2 ? 20 : 8) * PAGE_SIZE));
  await settles(Promise.all(others.map((bo, i) => bo.write(0, pattern(i, bo.size)))));
  expect(gate.waiting).toBe(1);
  gate.open();
  expectSame(await reading, pattern(1, large.size), "the large one");
  expectRest(device);
  await device.close({ force: true });
});

describe("one that is aborted while it waits", () => {
  test("leaves no place taken, and those behind it go on", async () => {
    const gate = new Gate();
    gate.open();
    const device = defaultDevice(32, new MapSwap({ slots: 512, delay: gate.pass }));
    const bos = await filledAll(device, 5, 20);
    await device.shrink();
    gate.close();
    const first = content(bos[0] as BufferObject);
    await until(() => gate.waiting > 0);
    const controller = new AbortController();
    const waiting = (bos[1] as BufferObject).read(0, new Uint8Array(20 * PAGE_SIZE), controller);
    const rest = Promise.all(bos.slice(2).map((bo, i) => expectBytes(bo, i + 2)));
    const queued = (bos[2] as BufferObject).read(0, new Uint8Array(20 * PAGE_SIZE), controller);
    await turn();
    controller.abort();
    await Promise.all([waiting, queued].map((one) => fails("EINTR", one)));
    expect(device.global.tasks.size).toBe(4);
    gate.open();
    expectSame(await first, pattern(0, 20 * PAGE_SIZE), "the first");
    await rest;
    await expectContent(bos);
    await close(device);
  });

  test("although all of them are, leaves an empty house", async () => {
    const gate = new Gate();
    gate.open();
    const device = defaultDevice(32, new MapSwap({ slots: 512, delay: gate.pass }));
    const bos = await filledAll(device, 6, 20);
    await device.shrink();
    gate.close();
    const controller = new AbortController();
    const running = bos.map((bo) => bo.read(0, new Uint8Array(20 * PAGE_SIZE), controller));
    await until(() => gate.waiting > 0);
    controller.abort();
    await Promise.all(running.map((one) => fails("EINTR", one)));
    gate.open();
    await until(() => device.global.tasks.size === 0);
    expectRest(device);
    await expectContent(bos);
    for (const bo of bos) bo.destroy();
    expectAllFree(device);
    await close(device);
  });
});

describe("a Sync call among async operations", () => {
  /** One that restores 20 of 32 pages, and stands still at the device. */
  async function busy() {
    const gate = new Gate();
    gate.open();
    const device = defaultDevice(32, new MapSwap({ slots: 512, delay: gate.pass }));
    const bo = await filled(device, 20, 0);
    await device.shrink();
    gate.close();
    const reading = content(bo);
    await until(() => gate.waiting > 0);
    return { gate, device, bo, reading };
  }

  test("is let in when there is room beside them", async () => {
    const { gate, device, bo, reading } = await busy();
    const other = device.createBuffer(12 * PAGE_SIZE);
    other.writeSync(0, pattern(1, other.size));
    expectSame(other.readSync(0, new Uint8Array(other.size)), pattern(1, other.size), "other");
    gate.open();
    expectSame(await reading, pattern(0, bo.size), "the read");
    await expectContent([bo, other]);
    await close(device);
  });

  test("is EBUSY, with the reason, when they have what it needs; afterwards it works", async () => {
    const { gate, device, bo, reading } = await busy();
    const other = device.createBuffer(13 * PAGE_SIZE);
    const calls = [
      () => other.writeSync(0, pattern(1, other.size)),
      () => other.mapSync(),
      () => other.pinSync(),
      () => other.populateSync(),
    ];
    for (const call of calls) {
      const error = failsSync("EBUSY", call);
      expect(error.message).toMatch(/held by asynchronous operations in flight; await them/);
      expect((error.cause as { code?: string }).code).toBe("ENOMEM");
      device.check();
      expect(other.residentPages).toBe(0);
    }
    gate.open();
    expectSame(await reading, pattern(0, bo.size), "the read");
    await bo.shrink();
    other.writeSync(0, pattern(1, other.size));
    await expectContent([bo, other]);
    await close(device);
  });

  test("gets no frame that one of them has claimed, and loses none, whenever it comes", () =>
    seeded(async (random) => {
      const swap = new MapSwap({ slots: 2048, delay: randomDelay(random) });
      const device = defaultDevice(64, swap);
      const bos = await filledAll(device, 40, 8);
      let ended = false;
      const codes = new Set<unknown>();
      let done = 0;
      const sync = (async () => {
        while (!ended) {
          const pages = random.below(20) + 1;
          const bo = device.createBuffer(pages * PAGE_SIZE);
          try {
            bo.writeSync(0, pattern(999, bo.size));
            expectSame(bo.readSync(0, new Uint8Array(bo.size)), pattern(999, bo.size), "sync");
            done++;
          } catch (error) {
            codes.add((error as { code?: unknown }).code ?? error);
          }
          bo.destroy();
          device.check();
          await immediately();
        }
      })();
      for (let round = 0; round < 5; round++) await crowd(random.shuffle(bos), 40, readAny);
      ended = true;
      await sync;
      // The device answers no Sync call, so what is not free is EWOULDBLOCK or EBUSY.
      expect([...codes].filter((code) => code !== "EBUSY" && code !== "EWOULDBLOCK")).toEqual([]);
      expect(done + codes.size).toBeGreaterThan(0);
      await expectContent(bos);
      for (const bo of bos) bo.destroy();
      expectAllFree(device);
      await close(device);
    }));
});

const readAny: Use = (bo) => content(bo);

describe("operations of the kernel's layer among them", () => {
  test("are let in like all others: nobody fails, and nothing is lost", () =>
    seeded(async (random) => {
      const device = asynchronous(96, 2048);
      const bos = await filledAll(device, 20, 8);
      const pool = new Pool(device.global);
      // Nobody but they themselves can move these, so together they leave room for the buffers.
      const tts = [0, 1, 2, 3].map(() => new Tt(16));
      for (const [i, tt] of tts.entries()) {
        await populateTt(pool, tt);
        writeContent(pool, tt, pattern(100 + i, 16 * PAGE_SIZE));
        await shrinkTt(pool, tt);
      }
      const cost = await costOf(device, undefined, async () => {
        const buffers = crowd(random.shuffle([...bos, ...bos, ...bos]), 30, readAny);
        const others = tts.map(async (tt, i) => {
          for (let round = 0; round < 8; round++) {
            await populateTt(pool, tt);
            expectTtContent(device.global, tt, pattern(100 + i, 16 * PAGE_SIZE));
            if (random.chance(0.5)) await shrinkTt(pool, tt);
            else await swapoutTt(pool, tt);
          }
        });
        await settles(Promise.all([buffers, ...others]));
      });
      expect(cost.interrupted).toBe(0);
      await expectContent(bos);
      pool.close();
      await close(device);
    }));
});
