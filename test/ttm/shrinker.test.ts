/*
 * Shrinkers of users: refused at the door when they are none, and named when what they do cannot be. What
 * they throw is a failure, never something that a promise waits for.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE, TtmError } from "../../src/index.ts";
import type { Shrinker } from "../../src/ttm.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";
import { settles } from "../support/delays.ts";
import { filled, ramDevice } from "../support/devices.ts";

/** A device whose frames are all pinned, one of them to be had if a shrinker lets go of it. */
function full(): { device: Device; held: BufferObject; fresh: BufferObject } {
  const device = ramDevice({ memory: 16, swap: 16 });
  filled(device, 15, 1).pinSync();
  const held = filled(device, 1, 2);
  held.pinSync();
  return { device, held, fresh: device.createBuffer(PAGE_SIZE) };
}

function shrinker(part: object): Shrinker {
  return { name: "cache", countObjects: () => 1, scanObjects: () => -1, ...part } as Shrinker;
}

const OPERATIONS: readonly [string, (bo: BufferObject) => Promise<unknown>][] = [
  ["write", (bo) => bo.write(0, new Uint8Array(1))],
  ["populate", (bo) => bo.populate()],
  ["map", (bo) => bo.map()],
  ["writeSync", async (bo) => bo.writeSync(0, new Uint8Array(1))],
];

/** What a call comes to that needs a frame which nobody gives up. */
async function failureOf(call: Promise<unknown>): Promise<TtmError> {
  const error = await settles(
    call.then(
      () => undefined,
      (failure: unknown) => ({ failure }),
    ),
  );
  expect(error?.failure).toBeInstanceOf(TtmError);
  return error?.failure as TtmError;
}

/** What a promise would wait for, instead of passing it on. */
function withThen<T extends object>(
  value: T,
  then: (done: (value: unknown) => void) => void = () => {},
): T {
  // biome-ignore lint/suspicious/noThenProperty: what it is about
  return Object.defineProperty(value, "then", { value: then });
}

const THENABLES: readonly [string, () => unknown][] = [
  ["a promise that never settles", () => new Promise(() => {})],
  ["a promise", () => Promise.resolve()],
  [
    "a rejected promise",
    () => {
      const rejected = Promise.reject(new Error("later"));
      rejected.catch(() => {});
      return rejected;
    },
  ],
  [
    "a thenable that gives itself",
    () => {
      const self: object = withThen({}, (done) => done(self));
      return self;
    },
  ],
  ["an error with a then", () => withThen(new Error("odd"))],
  ["an error of ours with a then", () => withThen(new TtmError("EIO", "open", "odd"))],
  ["a function with a then", () => withThen(() => {})],
];

describe.each(OPERATIONS)("%s", (_op, call) => {
  test.each(THENABLES)("ends when a shrinker throws %s", async (_what, make) => {
    const { device, fresh } = full();
    let scans = 0;
    device.global.shrinkers.register(
      shrinker({
        scanObjects() {
          if (++scans > 100) throw new Error("asked for ever");
          throw make();
        },
      }),
    );
    const error = await failureOf(call(fresh));
    expect(error.message).toMatch(/shrinker cache failed/);
    expect(fresh.residentPages).toBe(0);
    device.check();
  });

  test.each<[string, object]>([
    ["returns NaN", { scanObjects: () => Number.NaN }],
    ["returns half a page", { scanObjects: () => 0.5 }],
    ["returns nothing", { scanObjects: () => {} }],
    ["returns null", { scanObjects: () => null }],
    ["returns a string", { scanObjects: () => "5" }],
    ["is an async function", { scanObjects: async () => 1 }],
    [
      "is an async function that fails",
      { scanObjects: async () => Promise.reject(new Error("x")) },
    ],
    ["is an async generator", { async *scanObjects() {} }],
    [
      "returns a symbol at the end of a generator",
      {
        *scanObjects() {
          yield;
          return Symbol("pages");
        },
      },
    ],
    [
      "yields what is no step",
      {
        *scanObjects() {
          yield Promise.resolve();
          return 1;
        },
      },
    ],
    [
      "throws in a generator",
      {
        *scanObjects() {
          yield;
          throw new Error("x");
        },
      },
    ],
    ["counts with a promise", { countObjects: async () => 1 }],
    ["counts NaN", { countObjects: () => Number.NaN }],
    [
      "throws when it counts",
      {
        countObjects: () => {
          throw null;
        },
      },
    ],
    [
      "says it was stopped, by a promise",
      {
        scanObjects(control: { failure: unknown }) {
          control.failure = new Promise(() => {});
          return 0;
        },
      },
    ],
  ])("names a shrinker that %s", async (_what, part) => {
    const { device, fresh } = full();
    device.global.shrinkers.register(shrinker(part));
    const error = await failureOf(call(fresh));
    expect(error).toMatchObject({ code: "EIO", op: "shrink" });
    expect(error.message).toMatch(/^EIO: shrinker cache failed/);
    device.check();
  });

  test("is helped by those behind one that fails", async () => {
    const { device, held, fresh } = full();
    device.global.shrinkers.register(
      shrinker({
        name: "broken",
        scanObjects: () => {
          throw new Error("x");
        },
      }),
    );
    device.global.shrinkers.register(
      shrinker({
        scanObjects() {
          held.unpin();
          held.destroy();
          return 1;
        },
        countObjects: () => (held.destroyed ? 0 : 1),
      }),
    );
    await call(fresh);
    expect(fresh.residentPages).toBe(1);
    device.check();
  });
});

test("what a shrinker threw is the cause, with its code", async () => {
  const { device, fresh } = full();
  const thrown = Object.assign(new Error("no more"), { code: "ENOSPC" });
  device.global.shrinkers.register(
    shrinker({
      scanObjects: () => {
        throw thrown;
      },
    }),
  );
  const error = await failureOf(fresh.write(0, new Uint8Array(1)));
  expect(error).toMatchObject({ code: "ENOSPC", cause: thrown });
});

test("a shrinker that counts wrong does not spoil what others are told", () => {
  const device = ramDevice({ memory: 16, swap: 16 });
  const bo = filled(device, 8, 1);
  device.global.shrinkers.register(
    shrinker({
      scanObjects(control: { nrScanned: number }) {
        control.nrScanned = Number.NaN;
        return 0;
      },
    }),
  );
  const { released, scanned } = device.global.shrinkers.shrinkSync(device.global, 100, false);
  expect([released, scanned]).toEqual([8, 8]);
  expectSame(contentSync(bo), pattern(1, bo.size), "content");
});

test.each<[unknown, RegExp]>([
  [undefined, /a shrinker must be an object, not undefined/],
  [null, /a shrinker must be an object, not null/],
  [() => 1, /a shrinker must be an object/],
  [{}, /name of a shrinker must be a string/],
  [shrinker({ name: Symbol("x") }), /name of a shrinker .* Symbol\(x\)/],
  [shrinker({ name: "" }), /name of a shrinker .* ""/],
  [shrinker({ countObjects: 5 }), /countObjects of shrinker cache must be a function, not 5/],
  [shrinker({ scanObjects: undefined }), /scanObjects of shrinker cache must be a function/],
  [shrinker({ batch: 0 }), /batch of shrinker cache must be a whole number from 1 on, not 0/],
  [shrinker({ batch: "many" }), /batch of shrinker cache .* "many"/],
  [shrinker({ seeks: -1 }), /seeks of shrinker cache must be a whole number from 0 on, not -1/],
  [shrinker({ seeks: Number.NaN }), /seeks of shrinker cache .* NaN/],
])("%o is no shrinker", (value, message) => {
  const device = ramDevice({ memory: 16, swap: 16 });
  const { length } = device.global.shrinkers.list;
  expect(() => device.global.shrinkers.register(value as Shrinker)).toThrow(message);
  expect(device.global.shrinkers.list).toHaveLength(length);
});

test("a shrinker is told by the name it had when it was registered", async () => {
  const { device, fresh } = full();
  const odd = {
    ...shrinker({
      scanObjects: () => {
        throw new Error("x");
      },
    }),
  } as { name: unknown };
  device.global.shrinkers.register(odd as Shrinker);
  odd.name = Object.create(null);
  expect((await failureOf(fresh.populate())).message).toMatch(/shrinker cache failed: x/);
});

describe("the registry", () => {
  /** A shrinker of so many pages, which are buffers that it unpins; it notes what it is asked for. */
  function cache(device: Device, name: string, pages: number, part: object = {}) {
    const asked: number[] = [];
    const bos = Array.from({ length: pages }, (_, i) => filled(device, 1, i));
    for (const bo of bos) bo.pinSync();
    const made = shrinker({
      name,
      countObjects: () => bos.length,
      scanObjects: (control: { nrToScan: number }) => {
        asked.push(control.nrToScan);
        const some = bos.splice(0, control.nrToScan);
        for (const bo of some) {
          bo.unpin();
          bo.destroy();
        }
        return some.length > 0 ? some.length : -1;
      },
      ...part,
    });
    device.global.shrinkers.register(made);
    return { made, asked, left: () => bos.length };
  }

  test("has them in the order of registration, the pools' first, each as often as it was registered", () => {
    const { shrinkers, poolShrinker } = ramDevice({ memory: 16, swap: 16 }).global;
    const [one, other] = [shrinker({ name: "one" }), shrinker({ name: "other" })];
    const before = shrinkers.list;
    expect(before[0]).toBe(poolShrinker);
    shrinkers.register(one);
    shrinkers.register(other);
    expect(shrinkers.list).toEqual([...before, one, other]);
    shrinkers.unregister(one);
    shrinkers.unregister(one);
    expect(shrinkers.list).toEqual([...before, other]);
    expect(before.length).toBe(shrinkers.list.length - 1);
  });

  test("asks the next one only for what the one before did not free", () => {
    const device = ramDevice({ memory: 16, swap: 16 });
    const one = cache(device, "one", 6);
    const other = cache(device, "other", 10);
    device.createBuffer(8 * PAGE_SIZE).populateSync();
    expect([one.left(), other.left()]).toEqual([0, 8]);
    expect(other.asked).toEqual([2]);
    device.check();
  });

  test.each([
    ["its batch", { batch: 2 }, [2, 2, 1]],
    ["fewer, the dearer a page of it is", { batch: 4, seeks: 4 }, [2, 2, 1]],
    ["one at least", { batch: 1, seeks: 100 }, [1, 1, 1, 1, 1]],
  ])("asks for %s at a time", (_, part, asked) => {
    const device = ramDevice({ memory: 16, swap: 16 });
    const one = cache(device, "one", 16, part);
    device.createBuffer(5 * PAGE_SIZE).populateSync();
    expect(one.asked).toEqual(asked);
    expect(one.left()).toBe(11);
  });

  test("does not ask who was taken out", () => {
    const device = ramDevice({ memory: 16, swap: 16 });
    const one = cache(device, "one", 8);
    const other = cache(device, "other", 8);
    device.global.shrinkers.unregister(one.made);
    device.createBuffer(4 * PAGE_SIZE).populateSync();
    expect([one.asked, other.asked]).toEqual([[], [4]]);
  });
});
