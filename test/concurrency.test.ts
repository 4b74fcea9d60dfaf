import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { content, expectSame, pattern } from "./support/bytes.ts";
import { Gate, randomDelay, settles, turn, until } from "./support/delays.ts";
import { defaultDevice, expectAllFree } from "./support/devices.ts";
import { systemError } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { Random, SEED, seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

function delayed(slots: number): MapSwap {
  return new MapSwap({ slots, delay: randomDelay(new Random(SEED)) });
}

async function filled(device: Device, pages: number, seed: number): Promise<BufferObject> {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  await bo.write(0, pattern(seed, bo.size));
  return bo;
}

interface Task {
  readonly index: number;
  readonly of: number;
  readonly rounds: number;
  /** Whether operations may be interrupted and may fail. */
  readonly faults: boolean;
}

/** Bytes of a buffer that one task alone writes, and what they have to be. */
interface Stretch {
  readonly bo: BufferObject;
  readonly at: number;
  readonly model: Uint8Array;
}

/** @throws what is no fault that was asked for */
function expectFault(error: unknown, { faults }: Task): void {
  const code = (error as { code?: string }).code ?? "";
  if (!(faults && ["EINTR", "EIO"].includes(code)) && code !== "EBUSY") throw error;
}

/**
 * One of many tasks on the same buffers. It alone writes its stretch of each of them, so it knows
 * what it has to read there, whatever the others do.
 */
async function useAtRandom(
  random: Random,
  bos: readonly BufferObject[],
  task: Task,
): Promise<Stretch[]> {
  const stretches = bos.map((bo) => {
    const length = Math.floor(bo.size / task.of);
    return { bo, at: task.index * length, model: new Uint8Array(length) };
  });
  for (let round = 0; round < task.rounds; round++) {
    const { bo, at, model } = random.pick(stretches);
    const from = random.below(model.length);
    const to = from + random.below(model.length - from) + 1;
    const what = `task ${task.index}, round ${round}`;
    const faulty = task.faults && random.chance(0.3);
    const options = { signal: new CountingSignal(faulty ? random.below(8) + 1 : undefined) };
    try {
      if (random.chance(0.4)) {
        const bytes = pattern(random.next(), to - from);
        await bo.write(at + from, bytes, options);
        model.set(bytes, from);
      } else if (random.chance(0.8)) {
        const got = await bo.read(at + from, new Uint8Array(to - from), options);
        expectSame(got, model.subarray(from, to), what);
      } else if (random.chance(0.5)) {
        using mapping = await bo.map(options);
        if (mapping.bytes) expectSame(mapping.bytes.subarray(at, at + model.length), model, what);
      } else await bo.shrink(options);
    } catch (error) {
      expectFault(error, task);
    }
  }
  return stretches;
}

describe("many operations at once, on the same buffers and in too little memory", () => {
  const kinds: [string, boolean, () => { device: Device; swap?: MapSwap }][] = [
    [
      "an asynchronous device whose calls end in random order",
      false,
      () => {
        const swap = delayed(1024);
        return { device: defaultDevice(128, swap), swap };
      },
    ],
    [
      "an asynchronous device that fails now and then, with interruptions",
      true,
      () => {
        const swap = delayed(1024);
        return { device: defaultDevice(128, swap), swap };
      },
    ],
    [
      "a synchronous device that fails now and then, with interruptions",
      true,
      () => {
        const swap = new MapSwap({ slots: 1024 });
        return { device: defaultDevice(128, swap), swap };
      },
    ],
    [
      "a file",
      false,
      () => ({
        device: createDeviceSync({ memory: "512 KiB", swap: fileSwap({ size: "4 MiB" }) }),
      }),
    ],
  ];

  test.each(kinds)("never mix their bytes, on %s", (_, faults, create) =>
    seeded(async (random) => {
      const { device, swap } = create();
      if (swap) {
        swap.before = () => {
          device.check(); // every invariant holds in the middle of every transfer too
          if (faults && random.chance(0.05)) throw systemError("EIO");
        };
      }
      const bos = Array.from({ length: 12 }, () =>
        device.createBuffer((random.below(60) + 1) * PAGE_SIZE),
      );
      const tasks = Array.from({ length: 20 }, (_, index) =>
        useAtRandom(new Random(random.next()), bos, { index, of: 20, rounds: 40, faults }),
      );
      const ends = await Promise.allSettled(tasks);
      if (swap) swap.before = undefined;
      for (const end of ends) {
        if (end.status === "rejected") throw end.reason;
        for (const { bo, at, model } of end.value) {
          expectSame(await bo.read(at, new Uint8Array(model.length)), model, "at the end");
        }
      }
      expect(swap?.broken).toBeUndefined();
      for (const bo of bos) bo.destroy();
      expectAllFree(device);
      await device.close();
    }),
  );

  test.each([
    { much: "enough", pages: 256 },
    { much: "too little", pages: 64 },
  ])("take their turns on one buffer: the last write wins, in $much memory", ({ pages }) =>
    seeded(async (random) => {
      const device = defaultDevice(pages, delayed(1024));
      const bos = await Promise.all([0, 1, 2, 3].map((i) => filled(device, 30, i)));
      for (let round = 0; round < 15; round++) {
        const last = new Map<BufferObject, number>();
        const running: Promise<unknown>[] = [];
        for (let i = 0; i < 20; i++) {
          const bo = random.pick(bos);
          const value = random.below(256);
          last.set(bo, value);
          running.push(bo.write(0, new Uint8Array(bo.size).fill(value)));
        }
        await Promise.all(running);
        for (const [bo, value] of last) {
          expectSame(await content(bo), new Uint8Array(bo.size).fill(value), `round ${round}`);
        }
      }
      await device.close({ force: true });
    }),
  );
});

describe("restores that together need more than the memory", () => {
  test.each([2, 3, 10])("%i of them all finish", async (count) => {
    const device = defaultDevice(1024, delayed(1024 * (count + 1)));
    const bos: BufferObject[] = [];
    for (let i = 0; i < count; i++) bos.push(await filled(device, 700, i));
    await device.shrink();
    const read = await Promise.all(bos.map((bo) => content(bo)));
    read.forEach((bytes, i) => {
      expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
    });
    device.check();
    await device.close({ force: true });
  });

  test("each as large as the memory all finish", async () => {
    const device = defaultDevice(600, delayed(6000));
    const bos: BufferObject[] = [];
    for (let i = 0; i < 6; i++) bos.push(await filled(device, 600, i));
    const read = await Promise.all(bos.map((bo) => content(bo)));
    read.forEach((bytes, i) => {
      expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
    });
    device.check();
    await device.close({ force: true });
  });

  test("and first writes do as well, and all of it again", async () => {
    const device = defaultDevice(256, delayed(4096));
    const bos = await Promise.all(Array.from({ length: 20 }, (_, i) => filled(device, 100, i)));
    for (let round = 0; round < 3; round++) {
      const read = await Promise.all(bos.map((bo) => content(bo)));
      read.forEach((bytes, i) => {
        expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
      });
    }
    device.check();
    await device.close({ force: true });
  });

  test("wait for others outside, where they hold no pages", async () => {
    const gate = new Gate();
    gate.open();
    const device = defaultDevice(800, new MapSwap({ slots: 8192, delay: gate.pass }));
    const bos = [await filled(device, 500, 0), await filled(device, 500, 1)];
    await device.shrink();
    gate.close();
    const running = Promise.all(bos.map((bo) => content(bo)));
    await until(() => gate.waiting === 1);
    await turn();
    expect(gate.waiting).toBe(1);
    expect(bos.map((bo) => bo.residentPages)).toEqual([256, 0]);
    const pinned = device.createBuffer(300 * PAGE_SIZE); // what is left beside the first
    pinned.pinSync();
    gate.open();
    const read = await settles(running);
    read.forEach((bytes, i) => {
      expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
    });
    device.check();
    await device.close({ force: true });
  });

  test("all finish on two devices that share the memory, too", async () => {
    const device = defaultDevice(1024, delayed(8192));
    const sibling = device.createSibling();
    const bos = [await filled(device, 700, 0), await filled(sibling, 700, 1)];
    await device.shrink();
    for (let round = 0; round < 3; round++) {
      const read = await settles(Promise.all(bos.map((bo) => content(bo))));
      read.forEach((bytes, i) => {
        expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
      });
    }
    device.check();
    await sibling.close({ force: true });
    await device.close({ force: true });
  });

  test("fail with ENOMEM, and do not wait for ever, when pins are in their way", async () => {
    const device = defaultDevice(128, delayed(1024));
    const pinned = await filled(device, 60, 0);
    await pinned.pin();
    const bos = await Promise.all([1, 2, 3].map((i) => filled(device, 60, i)));
    const large = [device.createBuffer(100 * PAGE_SIZE), device.createBuffer(100 * PAGE_SIZE)];
    const ends = Promise.allSettled([
      ...large.map((bo) => bo.populate()),
      ...bos.map((bo) => bo.populate()),
    ]);
    const settled = await settles(ends);
    expect(settled.slice(0, 2)).toMatchObject([
      { status: "rejected", reason: { code: "ENOMEM" } },
      { status: "rejected", reason: { code: "ENOMEM" } },
    ]);
    expect(settled.slice(2).map(({ status }) => status)).toEqual(bos.map(() => "fulfilled"));
    for (const [i, bo] of bos.entries()) {
      expectSame(await content(bo), pattern(i + 1, bo.size), `buffer ${i}`);
    }
    device.check();
    await device.close({ force: true });
  });

  test("fail with ENOMEM when all that is in flight is queued behind them", async () => {
    const device = defaultDevice(128, delayed(1024));
    const pinned = await filled(device, 60, 0);
    const bo = await filled(device, 100, 1);
    await device.shrink();
    await pinned.pin();
    const running = [bo.populate(), content(bo), bo.map(), bo.write(0, new Uint8Array(bo.size))];
    for (const one of await settles(Promise.allSettled(running))) {
      expect(one).toMatchObject({ status: "rejected", reason: { code: "ENOMEM" } });
    }
    pinned.unpin();
    expectSame(await content(bo), pattern(1, bo.size), "content");
    expectSame(await content(pinned), pattern(0, pinned.size), "pinned");
    device.check();
    await device.close({ force: true });
  });
});

describe("an operation waits for", () => {
  test("a shrink of the whole device that has its buffer", async () => {
    const device = defaultDevice(256, delayed(1024));
    const bos = await Promise.all([0, 1, 2, 3].map((i) => filled(device, 50, i)));
    const shrinking = device.shrink();
    await turn();
    const read = await Promise.all(bos.map((bo) => content(bo)));
    await shrinking;
    read.forEach((bytes, i) => {
      expectSame(bytes, pattern(i, bytes.length), `buffer ${i}`);
    });
    await device.close({ force: true });
  });

  test("the one before it on the same buffer, failed or not", async () => {
    const device = defaultDevice(64, delayed(1024));
    const bo = await filled(device, 20, 1);
    await bo.shrink();
    const controller = new AbortController();
    const { signal } = controller;
    const interrupted = bo.read(0, new Uint8Array(1), { signal });
    const written = bo.write(0, new Uint8Array([7]));
    const read = bo.read(0, new Uint8Array(2));
    controller.abort();
    await expect(interrupted).rejects.toMatchObject({ code: "EINTR" });
    await written;
    expect([...(await read)]).toEqual([7, pattern(1, 2)[1]]);
    await device.close({ force: true });
  });
});
