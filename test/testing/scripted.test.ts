/* The scripted device: it does what it is told, and sees what a pool may not do. */
import { describe, expect, test } from "vitest";
import { createDevice, PAGE_SIZE, type SwapRun, type TtmError } from "../../src/index.ts";
import { type ScriptedSwap, type ScriptedSwapOptions, scriptedSwap } from "../../src/testing.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { settles, turn, until } from "../support/delays.ts";
import { fails } from "../support/errors.ts";

function opened(options: Partial<ScriptedSwapOptions> = {}): ScriptedSwap {
  const swap = scriptedSwap({ slots: 16, ...options });
  void swap.open?.();
  return swap;
}

function run(slot: number, ...seeds: number[]): SwapRun {
  return { slot, views: seeds.map((seed) => pattern(seed, PAGE_SIZE)) };
}

function expectPage(swap: ScriptedSwap, slot: number, seed: number): void {
  const view = new Uint8Array(PAGE_SIZE);
  swap.readSync([{ slot, views: [view] }]);
  expectSame(view, pattern(seed, PAGE_SIZE), `slot ${slot}`);
}

describe("a script", () => {
  test("says when calls end, in whatever order", async () => {
    const ends: number[] = [];
    const swap = opened({ script: ({ index }) => ({ wait: index === 1 ? 20 : turn() }) });
    const first = swap.write([run(1, 1)]).then(() => ends.push(1));
    const second = swap.write([run(2, 2)]).then(() => ends.push(2));
    await Promise.all([first, second]);
    expect(ends).toEqual([2, 1]);
    swap.script = undefined;
    expectPage(swap, 1, 1);
    expectPage(swap, 2, 2);
    expect(swap.calls.map(({ kind, sync, pages }) => `${kind} ${sync} ${pages}`)).toEqual([
      "write false 1",
      "write false 1",
      "read true 1",
      "read true 1",
    ]);
    expect(swap.mostInFlight).toBe(2);
  });

  test("makes writes short, with what they store and why they stop", async () => {
    const swap = opened({ script: ({ index }) => ({ take: index - 1 }) });
    expect(swap.writeSync([run(1, 1, 2)])).toMatchObject({ pages: 0, error: { code: "ENOSPC" } });
    expect(await swap.write([run(1, 1, 2)])).toMatchObject({ pages: 1 });
    expectPage(swap, 1, 1);
    swap.script = () => ({ take: 1, error: "why" });
    expect(swap.writeSync([run(1, 3), run(5, 4)])).toEqual({ pages: 1, error: "why" });
    expect(swap.broken).toBeUndefined();
  });

  test("makes calls fail as badly as they may, and what it throws itself counts as that", async () => {
    const swap = opened();
    swap.writeSync([run(1, 1)]);
    swap.script = () => ({ error: new Error("a script's") });
    const view = new Uint8Array(PAGE_SIZE);
    expect(() => swap.readSync([{ slot: 1, views: [view] }])).toThrow("a script's");
    expect(view.every((byte) => byte === 0xbd)).toBe(true);
    await expect(swap.write([run(1, 2)])).rejects.toThrow("a script's");
    swap.script = () => {
      throw new Error("thrown");
    };
    expect(() => swap.writeSync([run(2, 2)])).toThrow("thrown");
    swap.script = undefined;
    expect(() => expectPage(swap, 1, 1)).toThrow(/slot 1 is read, and was never written/);
  });

  test("lets calls go unanswered, until the signal is heeded", async () => {
    const never = new Promise<never>(() => {});
    const swap = opened({ script: ({ index }) => ({ wait: never, heeds: index === 2 }) });
    const abort = new AbortController();
    let settled = 0;
    for (const slot of [1, 2]) {
      const end = () => settled++;
      void swap.write([run(slot, 1)], abort.signal).then(end, end);
    }
    abort.abort();
    await until(() => settled > 0);
    await turn();
    expect(settled).toBe(1);
    expect(swap.pages.size).toBe(0);
    // The other one has its slot still.
    await expect(swap.write([run(1, 1)])).rejects.toThrow(/overlap on slot 1/);
  });

  test("cannot make a Sync call wait", () => {
    const swap = opened({ script: () => ({ wait: 1 }) });
    expect(() => swap.writeSync([run(1, 1)])).toThrow(/^EWOULDBLOCK/);
  });
});

test("room and bad blocks are found in the middle of a write", () => {
  const swap = opened({ capacity: 3, bad: [7] });
  expect(swap.writeSync([run(1, 1, 2, 3, 4)])).toMatchObject({
    pages: 3,
    error: { code: "ENOSPC" },
  });
  expect(() => swap.writeSync([run(9, 1)])).toThrow("no space left");
  expect(swap.writeSync([run(3, 5), run(1, 6)])).toBeUndefined();
  swap.capacity = 16;
  expect(swap.writeSync([run(6, 7, 8)])).toMatchObject({ pages: 1, error: { code: "EIO" } });
  expectPage(swap, 6, 7);
  void swap.discard?.([{ slot: 1, pages: 16 }], 0);
  expect(swap.pages.size).toBe(0);
});

describe("a pool that breaks a rule is told, and remembered", () => {
  const page = new Uint8Array(PAGE_SIZE);
  const wait = () => ({ wait: new Promise<never>(() => {}) });
  const held = (script?: ScriptedSwapOptions["script"]) => {
    const swap = opened({ queueDepth: 2 });
    swap.writeSync([run(1, 1, 2, 3)]);
    swap.script = script;
    return swap;
  };
  const CASES: [string, RegExp, (swap: ScriptedSwap) => unknown, () => ScriptedSwap][] = [
    [
      "a call before open",
      /not open/,
      (s) => s.writeSync([run(1, 1)]),
      () => scriptedSwap({ slots: 9 }),
    ],
    ["a call after close", /not open/, (s) => [s.close?.(), s.writeSync([run(1, 1)])], held],
    ["a second open", /open is called once/, (s) => s.open?.(), held],
    ["a second close", /close is called once/, (s) => [s.close?.(), s.close?.()], held],
    ["no runs", /without runs/, (s) => s.writeSync([]), held],
    ["no views", /without views/, (s) => s.writeSync([{ slot: 1, views: [] }]), held],
    [
      "half a page",
      /whole pages/,
      (s) => s.writeSync([{ slot: 1, views: [page.subarray(1)] }]),
      held,
    ],
    ["slot 0", /slot 0 of 16/, (s) => s.writeSync([run(0, 1)]), held],
    ["a slot behind the last", /slot 17 of 16/, (s) => s.writeSync([run(16, 1, 2)]), held],
    ["a slot twice", /a slot twice/, (s) => s.writeSync([run(1, 1, 2), run(2, 3)]), held],
    [
      "257 pages",
      /257 pages/,
      (s) => s.writeSync([{ slot: 1, views: [new Uint8Array(257 * PAGE_SIZE)] }]),
      () => opened({ slots: 500 }),
    ],
    ["a slot that holds nothing", /slot 4 is read/, (s) => s.readSync([run(3, 0, 0)]), held],
    [
      "an overlap",
      /overlap on slot 2/,
      (s) => [s.read([run(2, 0)]), s.write([run(1, 1, 2)])],
      () => held(wait),
    ],
    [
      "a discard of what is in flight",
      /overlap on slot 3/,
      (s) => [s.read([run(3, 0)]), s.discard?.([{ slot: 2, pages: 5 }], 1)],
      () => held(wait),
    ],
    [
      "a write during a discard",
      /a write during a discard/,
      (s) => [s.discard?.([{ slot: 3, pages: 1 }], 2), s.write([run(9, 1)])],
      () => held(wait),
    ],
    [
      "more calls than queueDepth",
      /more than queueDepth \(2\)/,
      (s) => [1, 2, 3].map((slot) => s.read([run(slot, 0)])),
      () => held(wait),
    ],
    [
      "a close with calls in flight",
      /close with 1 calls in flight/,
      (s) => [s.read([run(1, 0)]), s.close?.()],
      () => held(wait),
    ],
    [
      "ranges that do not ascend",
      /ascend/,
      (s) =>
        s.discard?.(
          [
            { slot: 5, pages: 2 },
            { slot: 6, pages: 1 },
          ],
          1,
        ),
      held,
    ],
    ["a discard of its end", /its own end/, (s) => s.discard?.([{ slot: 1, pages: 3 }], 2), held],
    [
      "a discard behind the last slot",
      /slot 17/,
      (s) => s.discard?.([{ slot: 9, pages: 9 }], 1),
      held,
    ],
  ];

  test.each(CASES)("%s", async (_, text, work, make) => {
    const swap = make();
    expect(swap.broken).toBeUndefined();
    try {
      const pending = [work(swap)].flat(2);
      // Calls that never end are none of ours.
      for (const each of pending) void Promise.resolve(each).catch(() => {});
      await turn();
    } catch {
      // told
    }
    expect(swap.broken).toMatch(text);
  });
});

describe("options", () => {
  test.each<[string, object | undefined]>([
    ["slots must be", undefined],
    ["slots", { slots: 0 }],
    ["queueDepth", { slots: 5, queueDepth: 2000 }],
    ["pairs", { slots: 5, pairs: "none" }],
    ["scriptedSwap has no option", { slots: 5, delay: 1 }],
  ])("%s is refused by name", (text, options) => {
    expect(() => scriptedSwap(options as ScriptedSwapOptions)).toThrow(text);
  });

  test("say which calls there are", () => {
    const has = (swap: ScriptedSwap) =>
      ["readSync", "writeSync", "read", "write", "queueDepth", "discard"].filter(
        (name) => swap[name as keyof ScriptedSwap] !== undefined,
      );
    expect(has(scriptedSwap({ slots: 5, pairs: "sync" }))).toEqual([
      ...["readSync", "writeSync", "discard"],
    ]);
    expect(has(scriptedSwap({ slots: 5, pairs: "async", discards: false }))).toEqual([
      ...["read", "write", "queueDepth"],
    ]);
  });
});

describe("a pool on it", () => {
  test("gets its bytes back from a device that fails, is slow and is full", async () => {
    let n = 0;
    const swap = scriptedSwap({ slots: 256, pairs: "async", capacity: 100 });
    swap.script = ({ kind }) => ({
      wait: n % 3,
      ...(++n % 5 === 0 && kind !== "discard" && { error: new Error("now and then") }),
    });
    const device = await createDevice({ memory: "256 KiB", swap });
    const buffers = Array.from({ length: 8 }, () => device.createBuffer(12 * PAGE_SIZE));
    const again = async <T>(work: () => Promise<T>): Promise<T> => {
      for (let tries = 0; ; tries++) {
        try {
          return await work();
        } catch (error) {
          if ((error as TtmError).code !== "EIO" || tries > 50) throw error;
        }
      }
    };
    for (const [i, bo] of buffers.entries()) await again(() => bo.write(0, pattern(i, bo.size)));
    for (let round = 0; round < 2; round++) {
      for (const [i, bo] of buffers.entries()) {
        expectSame(await again(() => content(bo)), pattern(i, bo.size), `buffer ${i}`);
      }
    }
    device.check();
    expect(swap.broken).toBeUndefined();
    await device.close({ force: true });
    expect([swap.opened, swap.closed, swap.pages.size]).toEqual([1, 1, 0]);
  });

  test("is not held up for good by a device that never answers", async () => {
    const swap = scriptedSwap({ slots: 256, pairs: "async" });
    swap.script = () => ({ wait: new Promise<never>(() => {}) });
    const device = await createDevice({ memory: "64 KiB", swap });
    const bo = device.createBuffer(8 * PAGE_SIZE);
    await bo.write(0, pattern(1, bo.size));
    const abort = new AbortController();
    const shrunk = bo.shrink({ signal: abort.signal });
    await until(() => swap.calls.length > 0);
    abort.abort();
    await fails("EINTR", settles(shrunk));
  });
});
