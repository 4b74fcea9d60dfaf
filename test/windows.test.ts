/* Buffers that are a row of windows: larger than the memory, used by many at once, leaving in parts. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import type { SwapDevice } from "../src/swap/types.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { expectRest } from "./support/crowd.ts";
import { Gate, settles, turn, until } from "./support/delays.ts";
import { expectAllFree } from "./support/devices.ts";
import { fails, failsSync, systemError } from "./support/errors.ts";
import { failAt, MapSwap } from "./support/map_swap.ts";
import { Random, seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";

/** Frames; a window of a large buffer has a quarter of them. */
const FRAMES = 64;
const WINDOW = 16;
const SLOTS = 1024;
/** Pages of a buffer many times as large as the memory. */
const LARGE = 300;

function create(swap: SwapDevice = new MapSwap({ slots: SLOTS }), frames = FRAMES): Device {
  return createDeviceSync({ memory: frames * PAGE_SIZE, swap });
}

/** `bytes`, and zeros up to `length`. */
function padded(bytes: Uint8Array, length: number): Uint8Array {
  const all = new Uint8Array(length);
  all.set(bytes);
  return all;
}

function pagesOf(bo: BufferObject, from: number, to: number): Uint8Array {
  return bo.readSync(from * PAGE_SIZE, new Uint8Array((to - from) * PAGE_SIZE));
}

const SWAPS: Record<string, () => SwapDevice> = {
  RAM: () => ramSwap({ size: SLOTS * PAGE_SIZE }),
  "a file": () => fileSwap({ size: SLOTS * PAGE_SIZE }),
  "a map": () => new MapSwap({ slots: SLOTS }),
  "a map that takes time": () => new MapSwap({ slots: SLOTS, delay: turn }),
};

describe.each(Object.entries(SWAPS))("a buffer larger than the memory, on %s", (name, swap) => {
  test("is written and read as a whole, time and again", async () => {
    const device = create(swap());
    const bo = device.createBuffer(LARGE * PAGE_SIZE - 100);
    expectZeros(await content(bo), "new");
    for (let round = 0; round < 3; round++) {
      const bytes = pattern(round, bo.size);
      await bo.write(0, bytes);
      expectSame(await content(bo), bytes, `round ${round}`);
      if (!name.includes("time")) expectSame(contentSync(bo), bytes, `round ${round}, sync`);
      expect(bo.residentPages).toBeLessThanOrEqual(FRAMES);
      device.check();
    }
    bo.destroy();
    expectAllFree(device);
    await device.close();
  });

  test("is mapped in parts, and shrunk", async () => {
    const device = create(swap());
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    const model = pattern(1, bo.size);
    for (let from = 0; from + 40 <= LARGE; from += 37) {
      const [offset, length] = [from * PAGE_SIZE + 5, 39 * PAGE_SIZE];
      using mapping = await bo.map({ offset, length });
      expect(bo.pinned).toBe(true);
      let at = offset;
      for (const segment of mapping.segments) {
        expectSame(segment, model.subarray(at, at + segment.length), `from byte ${at} on`);
        segment.fill(from);
        model.fill(from, at, at + segment.length);
        at += segment.length;
      }
      expect(at).toBe(offset + length);
    }
    const resident = bo.residentPages;
    expect(await bo.shrink()).toBe(resident);
    expect(bo.residentPages).toBe(0);
    expectSame(await content(bo), model, "in the end");
    device.check();
    await device.close({ force: true });
  });
});

test("more than fits is not mapped, pinned or populated, and says why before it moves anything", async () => {
  const swap = new MapSwap({ slots: SLOTS });
  const device = create(swap);
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  const before = swap.calls.length;
  for (const error of [
    failsSync("ENOMEM", () => bo.mapSync()),
    failsSync("ENOMEM", () => bo.pinSync()),
    failsSync("ENOMEM", () => bo.populateSync()),
    await fails("ENOMEM", bo.map()),
    await fails("ENOMEM", bo.pin()),
    await fails("ENOMEM", bo.populate()),
  ]) {
    expect(error.message).toMatch(/1\.17 MiB do not fit the memory of 256 KiB at the same time/);
    expect(error.message).toMatch(/read and write, or map a part/);
  }
  expect(swap.calls).toHaveLength(before);
  expect(bo.pinned).toBe(false);
  await device.close({ force: true });
});

test("a buffer may be as large as memory and swap together but for a page, and no larger", () => {
  using device = create(new MapSwap({ slots: 200 }));
  const error = failsSync("ENOMEM", () => device.createBuffer((200 + FRAMES) * PAGE_SIZE));
  expect(error.message).toMatch(
    /fits neither the memory of 256 KiB nor that and the swap of 800 KiB/,
  );
  const bo = device.createBuffer((200 + FRAMES - 1) * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  for (let round = 0; round < 3; round++) expectSame(contentSync(bo), pattern(1, bo.size), "all");
  bo.destroy();
  using coherent = device.createSibling({ coherent: true });
  failsSync("ENOMEM", () => coherent.createBuffer((FRAMES + 1) * PAGE_SIZE));
});

describe("a map of several windows", () => {
  test("that fails half-way holds nothing", async () => {
    const swap = new MapSwap({ slots: SLOTS });
    const device = create(swap);
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    bo.writeSync(0, pattern(1, bo.size));
    bo.shrinkSync();
    const part = { offset: 0, length: 40 * PAGE_SIZE };
    for (const code of ["EIO", "EINTR"] as const) {
      for (const form of ["sync", "async"] as const) {
        bo.shrinkSync();
        let looks = 0;
        const signal = {
          get aborted() {
            return code === "EINTR" && ++looks > 5;
          },
        };
        if (code === "EIO") swap.before = failAt(false, 3, systemError("EIO"));
        if (form === "sync") failsSync(code, () => bo.mapSync({ ...part, signal }));
        else await fails(code, bo.map({ ...part, signal }));
        swap.before = undefined;
        expect(bo.pinned).toBe(false);
        expect(device.global.frames.stuck).toBe(0);
        expect(bo.residentPages).toBeGreaterThan(0);
      }
    }
    using mapping = bo.mapSync(part);
    expect(mapping.segments.reduce((sum, { length }) => sum + length, 0)).toBe(part.length);
    mapping.unmap();
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });

  test("does not wait for one that was stopped, and that the device keeps", async () => {
    const gate = new Gate();
    gate.open();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
    const kept = device.createBuffer(LARGE * PAGE_SIZE);
    await kept.write(0, pattern(1, 2 * WINDOW * PAGE_SIZE));
    await kept.shrink();
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    const range = { offset: 0, length: 2 * WINDOW * PAGE_SIZE };
    await bo.write(0, pattern(2, range.length));
    gate.close();
    const controller = new AbortController();
    const stopped = kept.map({ ...range, signal: controller.signal });
    await until(() => gate.waiting > 0);
    const mapping = bo.map(range);
    controller.abort();
    await fails("EINTR", settles(stopped));
    (await settles(mapping)).unmap();
    gate.open();
    expectSame(await content(bo), padded(pattern(2, range.length), bo.size), "content");
    await device.close({ force: true });
    expectRest(device);
  });

  test("waits for another one, and both come to their end though they do not fit together", async () => {
    const device = create(new MapSwap({ slots: SLOTS, delay: turn }));
    const bos = await Promise.all(
      [0, 1, 2].map(async (i) => {
        const bo = device.createBuffer(LARGE * PAGE_SIZE);
        await bo.write(0, pattern(i, bo.size));
        return bo;
      }),
    );
    for (let round = 0; round < 5; round++) {
      const used = bos.map(async (bo, i) => {
        const offset = round * 40 * PAGE_SIZE;
        const mapping = await bo.map({ offset, length: 40 * PAGE_SIZE });
        const first = mapping.segments[0] as Uint8Array;
        const bytes = pattern(i, bo.size);
        expectSame(first, bytes.subarray(offset, offset + first.length), `buffer ${i}`);
        mapping.unmap();
      });
      // Whoever comes when others hold what it lacks is told so; nobody is because of those who do not come to an end.
      const outcomes = await settles(Promise.allSettled(used));
      expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBeGreaterThan(0);
      for (const each of outcomes) {
        if (each.status === "rejected") expect(each.reason).toMatchObject({ code: "ENOMEM" });
      }
    }
    expectRest(device);
    await device.close({ force: true });
  });
});

test("nobody fails for want of what is held only until all of a populate is there", async () => {
  const gate = new Gate();
  gate.open();
  const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  const whole = device.createBuffer(FRAMES * PAGE_SIZE);
  await whole.write(0, pattern(2, whole.size));
  await device.shrink();
  await bo.populate({ length: WINDOW * PAGE_SIZE });
  gate.close();
  const before = bo.read(WINDOW * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
  await until(() => gate.waiting > 0);
  const populated = bo.populate({ length: 3 * WINDOW * PAGE_SIZE });
  const bytes = content(whole);
  gate.open();
  expectSame(await settles(bytes), pattern(2, whole.size), "whole");
  await settles(Promise.all([before, populated]));
  expectRest(device);
  await device.close({ force: true });
});

describe("operations on several windows", () => {
  test("take effect in the order of the calls", () =>
    seeded(async (random) => {
      const delays = new Random(random.next());
      const delay = async () => {
        for (let turns = delays.below(4); turns > 0; turns--) await turn();
      };
      const device = create(new MapSwap({ slots: SLOTS, delay }));
      const bo = device.createBuffer(LARGE * PAGE_SIZE);
      const model = new Uint8Array(bo.size);
      for (let round = 0; round < 10; round++) {
        const running: Promise<unknown>[] = [];
        for (let i = 0; i < 12; i++) {
          const length = 1 + random.below(random.pick([3, 60, LARGE]) * PAGE_SIZE);
          const offset = random.below(bo.size - length + 1);
          if (random.chance(0.5)) {
            const bytes = pattern(random.next(), length);
            running.push(bo.write(offset, bytes));
            model.set(bytes, offset);
          } else {
            const expected = model.slice(offset, offset + length);
            const check = (got: Uint8Array) => expectSame(got, expected, `round ${round}, ${i}`);
            running.push(bo.read(offset, new Uint8Array(length)).then(check));
          }
        }
        await settles(Promise.all(running));
        device.check();
      }
      expectSame(await content(bo), model, "in the end");
      expectRest(device);
      await device.close({ force: true });
    }));

  test("on other windows do not wait for each other", async () => {
    const gate = new Gate();
    gate.open();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    gate.close();
    const readers = [0, 5, 9, 3].map((window) =>
      bo.read(window * WINDOW * PAGE_SIZE, new Uint8Array(PAGE_SIZE)),
    );
    await until(() => gate.waiting === 4);
    gate.open();
    for (const [i, got] of (await settles(Promise.all(readers))).entries()) {
      const at = ([0, 5, 9, 3][i] as number) * WINDOW * PAGE_SIZE;
      expectSame(got, pattern(1, bo.size).subarray(at, at + PAGE_SIZE), `reader ${i}`);
    }
    await device.close({ force: true });
  });

  test("leave the windows to others that they do not come to, when they are stopped and the device keeps them", async () => {
    const gate = new Gate();
    gate.open();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, 3 * WINDOW * PAGE_SIZE));
    const last = { offset: 2 * WINDOW * PAGE_SIZE, length: WINDOW * PAGE_SIZE };
    for (const use of ["read", "write"] as const) {
      await bo.shrink();
      await bo.populate(last);
      gate.close();
      const controller = new AbortController();
      const bytes = new Uint8Array(3 * WINDOW * PAGE_SIZE - 100);
      const stopped: Promise<unknown> = bo[use](50, bytes, { signal: controller.signal });
      await until(() => gate.waiting > 0);
      const reading = bo.read(last.offset, new Uint8Array(last.length));
      controller.abort();
      await fails("EINTR", settles(stopped));
      const model = pattern(1, 3 * WINDOW * PAGE_SIZE).subarray(last.offset);
      expectSame(await settles(reading), model, "the last window");
      gate.open();
    }
    await device.close({ force: true });
    expectRest(device);
  });

  test("share what one of them brings in", async () => {
    const swap = new MapSwap({ slots: SLOTS, delay: turn });
    const device = create(swap);
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    swap.forget();
    const [offset, length] = [PAGE_SIZE, 40 * PAGE_SIZE];
    const all = Array.from({ length: 10 }, () => bo.read(offset, new Uint8Array(length)));
    for (const got of await settles(Promise.all(all))) {
      expectSame(got, pattern(1, bo.size).subarray(offset, offset + length), "read");
    }
    expect(Math.max(...swap.reads.values())).toBe(1);
    await device.close({ force: true });
  });

  test("a Sync call is refused while an async one is at any of them, and does nothing", async () => {
    const gate = new Gate();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    gate.open();
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    gate.close();
    const last = bo.read(bo.size - 1, new Uint8Array(1));
    await until(() => gate.waiting === 1);
    failsSync("EBUSY", () => bo.writeSync(0, new Uint8Array(bo.size)));
    gate.open();
    await settles(last);
    expectSame(await content(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });

  test("stop for their signal where they are, and the same call goes on there", async () => {
    const swap = new MapSwap({ slots: SLOTS, delay: turn });
    const device = create(swap);
    const bo = device.createBuffer(50 * PAGE_SIZE * 2);
    await bo.write(0, pattern(1, bo.size));
    for (let looks = 1, stops = 1; stops > 0; looks += 3) {
      await bo.shrink();
      stops = 0;
      try {
        expectSame(
          await content(bo, { signal: new CountingSignal(looks) }),
          pattern(1, bo.size),
          "read",
        );
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
        stops++;
      }
      expectSame(await content(bo), pattern(1, bo.size), `stopped at look ${looks}`);
      expectRest(device);
    }
    await device.close({ force: true });
  });

  test("a shrink that is stopped between two of them tells what left", async () => {
    const device = create();
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    for (const form of ["sync", "async"] as const) {
      let stopped = 0;
      for (let looks = 1; looks < 60; looks++) {
        bo.writeSync(0, pattern(looks, bo.size));
        const { residentPages } = bo;
        const signal = new CountingSignal(looks);
        const shrink = async () =>
          form === "sync" ? bo.shrinkSync({ signal }) : bo.shrink({ signal });
        const released = await shrink().catch(() => 0);
        expect(released).toBe(residentPages - bo.residentPages);
        if (released > 0 && bo.residentPages > 0) stopped++;
      }
      expect(stopped).toBeGreaterThan(0);
    }
    await device.close({ force: true });
  });

  test("of a buffer that is destroyed meanwhile fail, and leave nothing", async () => {
    const gate = new Gate();
    const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
    gate.open();
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    gate.close();
    const running = [
      content(bo),
      bo.write(0, pattern(2, bo.size)),
      bo.map({ length: 40 * PAGE_SIZE }),
    ];
    const outcomes = Promise.allSettled(running);
    await until(() => gate.waiting > 0);
    bo.destroy();
    gate.open();
    for (const { status } of await settles(outcomes)) expect(status).toBe("rejected");
    await turn();
    expectAllFree(device);
    expectRest(device);
    await device.close();
  });
});

test("the parts that are not used leave first", () => {
  using device = create(new MapSwap({ slots: SLOTS }), 4 * FRAMES);
  const bo = device.createBuffer(600 * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  bo.shrinkSync();
  const { pagesIn } = device.stats();
  const hot = pagesOf(bo, 0, 10);
  // A scan of the rest in small pieces, and the hot part again and again.
  bo.advise("random");
  for (let page = 64; page < 600; page++) {
    pagesOf(bo, page, page + 1);
    if (page % 8 === 0) expectSame(pagesOf(bo, 0, 10), hot, "hot");
  }
  expect(device.stats().pagesIn - pagesIn).toBe(10 + 536);
});

test("pages of a window that is mapped stay, the others leave", async () => {
  const device = create();
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  const mapping = bo.mapSync({ offset: 20 * PAGE_SIZE, length: PAGE_SIZE });
  const kept = bo.windows[1]?.tt.resident as number;
  expect(kept).toBeGreaterThan(0);
  await bo.shrink();
  expect(bo.residentPages).toBe(kept);
  await fails("EBUSY", bo.shrink());
  failsSync("EBUSY", () => bo.destroy());
  const [first] = mapping.segments;
  expectSame(
    first as Uint8Array,
    pattern(1, bo.size).subarray(20 * PAGE_SIZE, 21 * PAGE_SIZE),
    "view",
  );
  mapping.unmap();
  expect(await bo.shrink()).toBe(kept);
  await device.close({ force: true });
});

describe.each(["populate", "map", "pin"] as const)(
  "destroy during a %s of several windows",
  (name) => {
    test("lets go of those that it has already", async () => {
      const gate = new Gate();
      gate.open();
      const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }), 1024);
      const bo = device.createBuffer(600 * PAGE_SIZE);
      await bo.write(0, pattern(1, bo.size));
      await bo.shrink();
      // The first window is there, others are to come.
      await bo.populate({ offset: 0, length: bo.windows[0]?.size as number });
      gate.close();
      const taking = bo[name]();
      await until(() => gate.waiting > 0);
      expect(bo.pinned).toBe(true);
      bo.destroy();
      gate.open();
      await expect(taking).rejects.toThrow("destroyed");
      await until(() => device.stats().pages.free === 1024);
      device.check();
      expectAllFree(device);
      await device.close();
    });
  },
);

test("destroy during a map of several windows leaves what else is mapped", async () => {
  const gate = new Gate();
  gate.open();
  const device = create(new MapSwap({ slots: SLOTS, delay: gate.pass }));
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  await bo.shrink();
  const kept = await bo.map({ offset: 0, length: PAGE_SIZE });
  gate.close();
  const taking = bo.map({ offset: 0, length: 2 * WINDOW * PAGE_SIZE });
  await until(() => gate.waiting > 0);
  failsSync("EBUSY", () => bo.destroy());
  gate.open();
  const mapping = await taking;
  expectSame(kept.segments[0] as Uint8Array, pattern(1, PAGE_SIZE), "view");
  kept.unmap();
  failsSync("EBUSY", () => bo.destroy());
  mapping.unmap();
  bo.destroy();
  expectAllFree(device);
  await device.close();
});

test.each(["write", "map"] as const)(
  "advice that is given while a %s is under way comes later",
  async (name) => {
    const device = create(new MapSwap({ slots: SLOTS, delay: turn }));
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    const length = 3 * WINDOW * PAGE_SIZE;
    const used =
      name === "write"
        ? bo.write(0, pattern(2, length))
        : bo.map({ offset: 0, length }).then((mapping) => mapping.unmap());
    bo.advise("dontneed");
    await settles(used);
    await device.shrink();
    expectZeros(await content(bo), "thrown away");
    await device.close({ force: true });
  },
);

test("advice is for all of it; what was thrown away reads as zeros", () => {
  using device = create();
  const bo = device.createBuffer(100 * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  expect(bo.advise("dontneed")).toBe(false); // what is in swap goes at once
  device.shrinkSync();
  expect(bo.advise("willneed")).toBe(false);
  expectZeros(contentSync(bo), "purged");
  expectAllFree(device);
});

test("a hibernated one comes back with the parts that were in memory", async () => {
  const device = create();
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  const resident = bo.windows.map(({ tt }) => tt.resident);
  const before = bo.residentPages;
  expect(await device.hibernate()).toBe(before);
  await device.resume();
  expect(bo.windows.map(({ tt }) => tt.resident)).toEqual(resident);
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
  await device.close({ force: true });
});

test("advice brings a range in ahead of its use", async () => {
  for (const delay of [undefined, turn]) {
    const swap = new MapSwap({ slots: SLOTS, ...(delay && { delay }) });
    const device = create(swap);
    const bo = device.createBuffer(LARGE * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    await bo.shrink();
    expect(bo.advise("willneed", { offset: 30 * PAGE_SIZE, length: 30 * PAGE_SIZE })).toBe(true);
    await until(() => device.tasks.inFlight() === 0 && bo.residentPages >= 30);
    swap.forget();
    expectSame(
      pagesOf(bo, 30, 60),
      pattern(1, bo.size).subarray(30 * PAGE_SIZE, 60 * PAGE_SIZE),
      "in",
    );
    expect(swap.calls).toEqual([]);
    await device.close({ force: true });
  }
});

test("what advice brings in ahead may fail, and nobody hears of it", async () => {
  const swap = new MapSwap({ slots: SLOTS });
  using device = create(swap);
  const bo = device.createBuffer(LARGE * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  bo.shrinkSync();
  swap.before = failAt(false, 1, systemError("EIO"));
  bo.advise("willneed", {});
  await turn();
  swap.before = undefined;
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
});

test("advice on a range that there is not is refused by name", () => {
  using device = create();
  const bo = device.createBuffer(10 * PAGE_SIZE);
  expect(() => bo.advise("dontneed", { offset: 0 })).toThrow(/"dontneed" is for all of the buffer/);
  expect(() => bo.advise("willneed", { offset: 10 * PAGE_SIZE })).toThrow(/offset must be a whole/);
  expect(() => bo.advise("willneed", { length: 0 })).toThrow(/length must be a whole number/);
  expect(() => bo.advise("willneed", { size: 1 } as never)).toThrow(/advise has no option "size"/);
});

test("what is read in a row, as was advised, leaves before what was used before it", () => {
  using device = create(new MapSwap({ slots: SLOTS }), 4 * FRAMES);
  const other = device.createBuffer(80 * PAGE_SIZE);
  const bo = device.createBuffer(600 * PAGE_SIZE);
  bo.writeSync(0, pattern(1, bo.size));
  other.writeSync(0, pattern(2, other.size));
  for (const advice of ["normal", "sequential"] as const) {
    bo.shrinkSync();
    contentSync(other);
    bo.advise(advice);
    for (let page = 0; page < 600; page += 4) pagesOf(bo, page, page + 4);
    expect(other.residentPages).toBe(advice === "normal" ? 0 : 80);
  }
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
  expectSame(contentSync(other), pattern(2, other.size), "the other");
});

test("a shrink that finds nothing is not told to unpin what somebody only brings in", async () => {
  const gate = new Gate();
  gate.open();
  const swap = new MapSwap({ slots: 64, delay: gate.pass });
  const device = createDeviceSync({ memory: 16 * PAGE_SIZE, swap, keepClean: false });
  const bo = device.createBuffer(28 * PAGE_SIZE); // 7 windows
  await bo.write(4 * PAGE_SIZE, pattern(1, 4 * PAGE_SIZE));
  await bo.shrink();
  gate.close();
  const shrinking = bo.shrink();
  const populating = bo.populate({ offset: 0, length: 8 * PAGE_SIZE });
  expect(await settles(shrinking)).toBe(0);
  gate.open();
  await settles(populating);
  expect(bo.pinned).toBe(false);
});
