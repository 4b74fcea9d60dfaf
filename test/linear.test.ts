/*
 * What is done to n buffers, or by n operations, takes n times the work, not its square: the steps are counted, for
 * n and for four times as many. A step is an element that a list is walked over by, a try of a lock, a look at
 * the room there is.
 */
import { setMaxListeners } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { Lock } from "../src/lock.ts";
import { Lru } from "../src/lru.ts";
import { AsyncTask } from "../src/ttm/task.ts";
import { WaitQueue } from "../src/wait_queue.ts";
import { crowd } from "./support/crowd.ts";
import { Gate, settles, until } from "./support/delays.ts";
import { MapSwap } from "./support/map_swap.ts";

/** Counts steps while it is on. */
class Steps {
  #count = 0;
  readonly #undo: (() => void)[] = [];

  constructor() {
    // What goes over a list counts as many as that has.
    for (const name of [
      "shift",
      "unshift",
      "splice",
      "indexOf",
      "includes",
      "filter",
      "find",
    ] as const) {
      this.#watch(Array.prototype, name, (list) => (list as unknown[]).length);
    }
    for (const prototype of [Set.prototype, Map.prototype]) {
      this.#watch(prototype, "forEach", (all) => (all as Set<unknown>).size);
    }
    this.#iterated(Set.prototype);
    this.#iterated(Array.prototype);
    for (const name of ["tryLock", "unlock"] as const) this.#watch(Lock.prototype, name, () => 1);
    for (const name of ["touch", "remove", "after"] as const)
      this.#watch(Lru.prototype, name, () => 1);
    for (const name of ["push", "unshift", "remove", "shift"] as const) {
      this.#watch(WaitQueue.prototype, name, () => 1);
    }
    this.#watch(AsyncTask.prototype, "wait", () => 1);
  }

  #watch(prototype: object, name: string, steps: (target: unknown) => number): void {
    const counted = this;
    const method = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
    const watched = function (this: unknown, ...args: unknown[]): unknown {
      counted.#count += steps(this);
      return Reflect.apply(method, this, args);
    };
    Object.defineProperty(prototype, name, { value: watched, configurable: true, writable: true });
    this.#undo.push(() => {
      Object.defineProperty(prototype, name, { value: method, configurable: true, writable: true });
    });
  }

  /** Counts the members that are gone over, one by one. */
  #iterated(prototype: object): void {
    const counted = this;
    const method = Reflect.get(prototype, Symbol.iterator) as () => Iterator<unknown>;
    const next = Object.getPrototypeOf(
      Reflect.apply(method, Array.isArray(prototype) ? [] : new Set(), []),
    ) as {
      next(): IteratorResult<unknown>;
    };
    const original = next.next;
    next.next = function (this: unknown) {
      counted.#count++;
      return Reflect.apply(original, this, []);
    };
    this.#undo.push(() => {
      next.next = original;
    });
  }

  /** Steps so far; ends the count. */
  end(): number {
    const count = this.#count;
    for (const undo of this.#undo.splice(0)) undo();
    return count;
  }
}

let counting: Steps | undefined;

afterEach(() => {
  counting?.end();
});

async function stepsOf(work: () => unknown): Promise<number> {
  counting = new Steps();
  await work();
  const steps = counting.end();
  counting = undefined;
  return steps;
}

const ONE = Uint8Array.of(1);

interface Many {
  readonly device: Device;
  readonly bos: readonly BufferObject[];
}

/** `n` buffers of a page, all in memory. */
function many(n: number, delay?: () => Promise<void>): Many {
  const swap = new MapSwap({ slots: 2 * n, ...(delay ? { delay } : {}) });
  const device = createDeviceSync({ memory: Math.max(n, 16) * PAGE_SIZE, swap });
  const bos = Array.from({ length: n }, () => device.createBuffer(PAGE_SIZE));
  for (const bo of bos) bo.writeSync(0, ONE);
  return { device, bos };
}

const each =
  (use: (bo: BufferObject, device: Device) => unknown) =>
  ({ device, bos }: Many) => {
    for (const bo of bos) use(bo, device);
  };

type Work = (many: Many) => unknown;

const WORKS: readonly [string, Work, Work?][] = [
  ["hibernating", ({ device }) => device.hibernateSync()],
  ["hibernating, async", ({ device }) => device.hibernate()],
  ["resuming", ({ device }) => device.resumeSync(), ({ device }) => device.hibernateSync()],
  ["resuming, async", ({ device }) => device.resume(), ({ device }) => device.hibernateSync()],
  ["shrinking one by one", each((bo) => bo.shrinkSync())],
  [
    "shrinking the device, a few pages at a time",
    each((_, device) => device.shrinkSync({ pages: 1 })),
  ],
  [
    "shrinking a few pages at a time, beside as many that are pinned",
    ({ device, bos }) => {
      for (let i = 0; i < bos.length / 2; i += 16) device.shrinkSync({ pages: 16 });
    },
    ({ bos }) => {
      for (const bo of bos.slice(0, bos.length / 2)) bo.pinSync();
    },
  ],
  ["advising", each((bo) => bo.advise("dontneed"))],
  ["purging", ({ device }) => device.shrinkSync(), each((bo) => bo.advise("dontneed"))],
  ["destroying", each((bo) => bo.destroy())],
  [
    "destroying what hibernates",
    each((bo) => bo.destroy()),
    ({ device }) => device.hibernateSync(),
  ],
  ["reading", each((bo) => bo.readSync(0, ONE))],
  ["closing", ({ device }) => device.closeSync({ force: true })],
  ["reading at once", ({ bos }) => Promise.all(bos.map((bo) => bo.read(0, ONE)))],
  [
    "restoring at once",
    ({ bos }) => Promise.all(bos.map((bo) => bo.read(0, ONE))),
    ({ device }) => device.shrinkSync(),
  ],
  [
    "aborting what was begun at once",
    async ({ bos }) => {
      const controller = new AbortController();
      setMaxListeners(0, controller.signal);
      const running = bos.map((bo) => bo.read(0, ONE, controller).catch(() => {}));
      controller.abort();
      await Promise.all(running);
    },
    ({ device }) => device.shrinkSync(),
  ],
];

const N = 256;

/** Four times as many take at most so many times the work: 4 if it is linear, 16 if it is a square. */
const LIMIT = 7;

describe("as many times the steps as there are buffers:", () => {
  test.each(WORKS)("%s", async (_, work, before) => {
    const steps: number[] = [];
    for (const n of [N, 4 * N]) {
      const subject = many(n);
      await before?.(subject);
      steps.push(await stepsOf(() => work(subject)));
    }
    const [few, more] = steps as [number, number];
    expect(few).toBeGreaterThan(0);
    expect(more / few).toBeLessThan(LIMIT);
  });
});

describe("as many times the steps as there are operations:", () => {
  const QUEUES: readonly [string, (bo: BufferObject, i: number) => Promise<unknown>][] = [
    ["reads", (bo) => bo.read(0, ONE)],
    ["writes", (bo) => bo.write(0, ONE)],
    ["all kinds", (bo, i) => (i % 3 ? bo.read(0, ONE) : i % 2 ? bo.populate() : bo.write(1, ONE))],
  ];

  test.each(QUEUES)("%s that queue on one buffer", async (_, start) => {
    const steps: number[] = [];
    for (const n of [N, 4 * N]) {
      const gate = new Gate();
      gate.open();
      const { device, bos } = many(16, gate.pass);
      const bo = bos[0] as BufferObject;
      await bo.shrink();
      gate.close();
      steps.push(
        await stepsOf(async () => {
          const running = Array.from({ length: n }, (_, i) => start(bo, i));
          await until(() => gate.waiting > 0);
          gate.open();
          await settles(Promise.all(running));
        }),
      );
      await device.close({ force: true });
    }
    const [few, more] = steps as [number, number];
    expect(more / few).toBeLessThan(LIMIT);
  });

  const CROWDS: readonly [string, (bo: BufferObject) => Promise<unknown>][] = [
    ["reads", (bo) => bo.read(0, ONE)],
    ["writes", (bo) => bo.write(0, ONE)],
    ["maps", (bo) => bo.map().then((mapping) => mapping.unmap())],
  ];

  test.each(CROWDS)("%s at once, on an asynchronous device, in the same memory", async (_, use) => {
    const steps: number[] = [];
    for (const n of [N, 4 * N]) {
      const delay = () => new Promise<void>((resolve) => setImmediate(resolve));
      const swap = new MapSwap({ slots: 4 * n, delay });
      const device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap });
      const bos = Array.from({ length: n }, () => device.createBuffer(PAGE_SIZE));
      for (const bo of bos) await bo.write(0, ONE);
      steps.push(await stepsOf(() => crowd(bos, n, use)));
      await device.close({ force: true });
    }
    const [few, more] = steps as [number, number];
    expect(more / few).toBeLessThan(LIMIT);
  });
});
