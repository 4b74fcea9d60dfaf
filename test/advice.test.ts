/*
 * The whole table: what a buffer is like when it is advised, times what is done to it then. The model beside it
 * says what must have become of content, of the advice, and of the answer to `willneed`.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, expectZeros, pattern } from "./support/bytes.ts";
import { Gate, until } from "./support/delays.ts";
import { blockDevice, expectAllFree } from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { CountingSignal } from "./support/signals.ts";

const PAGES = 6;
const SIZE = PAGES * PAGE_SIZE;

/** What a buffer must be like. */
class Model {
  place: "nowhere" | "memory" | "swap" | "both" = "nowhere";
  content: Uint8Array = new Uint8Array(SIZE);
  advised = false;
  purged = false;

  /** Its content may be thrown away; it is, where that needs no more than that. */
  dontneed(): void {
    this.advised = true;
    if (this.place === "swap") this.purge();
  }

  purge(): void {
    if (this.place === "nowhere") return;
    this.place = "nowhere";
    this.content = new Uint8Array(SIZE);
    this.purged = true;
  }

  write(offset: number, bytes: Uint8Array): void {
    this.advised = false;
    this.purged = false;
    this.place = "memory";
    this.content = this.content.slice();
    this.content.set(bytes, offset);
  }

  /** Somebody needs the memory. */
  pressure(): void {
    if (this.advised && this.place !== "swap") this.purge();
    else if (this.place !== "nowhere") this.place = "swap";
  }
}

/** A buffer, its model, and the forms that are tried on it. */
interface Subject {
  readonly device: Device;
  readonly bo: BufferObject;
  readonly model: Model;
  readonly sync: boolean;
  /** Ends a pin or a mapping. */
  release: (() => void) | undefined;
}

type Act = (s: Subject) => unknown;

const shrunken: Act = async ({ bo, model, sync }) => {
  if (sync) bo.shrinkSync();
  else await bo.shrink();
  model.place = "swap";
};

const written: Act = async ({ bo, model, sync }) => {
  if (sync) bo.writeSync(0, pattern(1, SIZE));
  else await bo.write(0, pattern(1, SIZE));
  model.write(0, pattern(1, SIZE));
};

/** Brings it in, in whichever way. */
const broughtIn =
  (bring: Act): Act =>
  async (s) => {
    await bring(s);
    s.model.place = "memory";
  };

/** Stops `act` on its way: part of the buffer is in memory then, or held for it. */
async function stopped(s: Subject, act: "shrink" | "populate"): Promise<void> {
  const signal = new CountingSignal(5);
  await Promise.resolve()
    .then(() => (s.sync ? s.bo[`${act}Sync`]({ signal }) : s.bo[act]({ signal })))
    .catch(() => {});
  const { residentPages } = s.bo;
  if (residentPages === 0 || residentPages === PAGES)
    throw new Error("it was not stopped on its way");
  s.model.place = "both";
}

const STATES: readonly [string, Act][] = [
  ["never written", () => {}],
  ["in memory", written],
  [
    "in memory and in swap",
    async (s) => {
      await written(s);
      await shrunken(s);
      await broughtIn(({ bo, sync }) => (sync ? bo.populateSync() : bo.populate()))(s);
    },
  ],
  ["in swap", (s) => Promise.resolve(written(s)).then(() => shrunken(s))],
  [
    "in swap in part",
    async (s) => {
      await written(s);
      await stopped(s, "shrink");
    },
  ],
  [
    "restored in part",
    async (s) => {
      await written(s);
      await shrunken(s);
      await stopped(s, "populate");
    },
  ],
  [
    "purged",
    async (s) => {
      await written(s);
      s.bo.advise("dontneed");
      s.model.dontneed();
      s.model.purge();
      expect(await (s.sync ? s.bo.shrinkSync() : s.bo.shrink())).toBe(PAGES);
    },
  ],
  [
    "pinned",
    async (s) => {
      await written(s);
      await (s.sync ? s.bo.pinSync() : s.bo.pin());
      s.release = () => s.bo.unpin();
    },
  ],
  [
    "mapped to read",
    async (s) => {
      await written(s);
      const mapping = await (s.sync ? s.bo.mapSync({ write: false }) : s.bo.map({ write: false }));
      s.release = () => mapping.unmap();
    },
  ],
];

const PART = pattern(2, 5000);
const ABORTED = new CountingSignal(1);

const ACTIONS: readonly [string, Act][] = [
  ["nothing", () => {}],
  [
    "a read",
    async ({ bo, model, sync }) => {
      expectSame(sync ? contentSync(bo) : await content(bo), model.content, "what is read");
      if (model.place !== "nowhere") model.place = "memory";
    },
  ],
  [
    "a read of no bytes",
    ({ bo, sync }) => (sync ? bo.readSync(9, new Uint8Array(0)) : bo.read(9, new Uint8Array(0))),
  ],
  [
    "a write of all",
    async ({ bo, model, sync }) => {
      await (sync ? bo.writeSync(0, pattern(3, SIZE)) : bo.write(0, pattern(3, SIZE)));
      model.write(0, pattern(3, SIZE));
    },
  ],
  [
    "a write of a part",
    async ({ bo, model, sync }) => {
      await (sync ? bo.writeSync(100, PART) : bo.write(100, PART));
      model.write(100, PART);
    },
  ],
  [
    "a write of no bytes",
    ({ bo, sync }) => (sync ? bo.writeSync(9, new Uint8Array(0)) : bo.write(9, new Uint8Array(0))),
  ],
  [
    "a write that is stopped at once",
    async ({ bo, model, sync }) => {
      const options = { signal: ABORTED };
      if (sync) failsSync("EINTR", () => bo.writeSync(100, PART, options));
      else await fails("EINTR", bo.write(100, PART, options));
      model.advised = false; // it was meant to be written
    },
  ],
  [
    "a map to write",
    async ({ bo, model, sync }) => {
      const mapping = await (sync ? bo.mapSync() : bo.map());
      (mapping.segments[0] as Uint8Array)[7] = 77;
      mapping.unmap();
      model.write(7, new Uint8Array([77]));
    },
  ],
  [
    "a map to read",
    broughtIn(async ({ bo, sync }) => {
      (await (sync ? bo.mapSync({ write: false }) : bo.map({ write: false }))).unmap();
    }),
  ],
  [
    "a pin and an unpin",
    broughtIn(async ({ bo, sync }) => {
      await (sync ? bo.pinSync() : bo.pin());
      bo.unpin();
    }),
  ],
  ["a populate", broughtIn(({ bo, sync }) => (sync ? bo.populateSync() : bo.populate()))],
  [
    "a shrink",
    async ({ bo, model, sync, release }) => {
      if (release && sync) failsSync("EBUSY", () => bo.shrinkSync());
      else if (release) await fails("EBUSY", bo.shrink());
      else {
        await (sync ? bo.shrinkSync() : bo.shrink());
        model.pressure();
      }
    },
  ],
  [
    "willneed",
    ({ bo, model }) => {
      expect(bo.advise("willneed")).toBe(!model.purged);
      model.advised = false;
    },
  ],
  [
    "dontneed",
    ({ bo, model }) => {
      model.dontneed();
      expect(bo.advise("dontneed")).toBe(!model.purged);
    },
  ],
];

const FORMS = [
  { form: "sync", sync: true, delay: undefined },
  { form: "async", sync: false, delay: undefined },
  { form: "async, on an asynchronous device", sync: false, delay: () => Promise.resolve() },
];

const TABLE = FORMS.flatMap((form) =>
  STATES.flatMap(([state, bring]) =>
    [true, false].map((advised) => ({ ...form, state, bring, advised })),
  ),
);

describe.each(TABLE)("$form, $state, advised: $advised,", ({ sync, delay, bring, advised }) => {
  test.each(ACTIONS)("after %s", async (_, act) => {
    const swap = new MapSwap({ slots: 64, ...(delay ? { delay } : {}) });
    const device = createDeviceSync({ memory: 32 * PAGE_SIZE, swap, transferPages: 1 });
    const bo = device.createBuffer(SIZE);
    const s: Subject = { device, bo, model: new Model(), sync, release: undefined };
    const { model } = s;
    await bring(s);
    if (advised) {
      model.dontneed();
      expect(bo.advise("dontneed")).toBe(!model.purged);
    }
    await act(s);
    if (s.release) {
      expect(await device.shrink()).toBe(0);
      s.release();
    }
    const { pagesPurged } = device.stats();
    const resident = bo.residentPages;
    const goes = model.advised ? resident : 0;
    model.pressure();
    await device.shrink();
    expect(device.stats().pagesPurged - pagesPurged).toBe(goes);
    expect(bo.advise("willneed")).toBe(!model.purged);
    expectSame(await content(bo), model.content, "at last");
    expect(bo.advise("willneed")).toBe(!model.purged); // a read brings nothing back
    device.check();
    bo.destroy();
    expectAllFree(device);
    await device.close();
  });
});

/* Advice while an operation is under way holds, whatever the operation does when it ends. */
describe("advice given while the device is at work on", () => {
  type Start = (bo: BufferObject) => Promise<unknown>;
  const restores: [string, Start][] = [
    ["a read", (bo) => content(bo)],
    ["a write of a part", (bo) => bo.write(100, PART)],
    ["a map to write", (bo) => bo.map().then((mapping) => mapping.unmap())],
    ["a map to read", (bo) => bo.map({ write: false }).then((mapping) => mapping.unmap())],
    ["a pin", (bo) => bo.pin().then(() => bo.unpin())],
    ["a populate", (bo) => bo.populate()],
  ];

  async function gated(inSwap: boolean) {
    const gate = new Gate();
    gate.open();
    const device = blockDevice(32, new MapSwap({ slots: 64, delay: gate.pass }));
    const bo = device.createBuffer(SIZE);
    await bo.write(0, pattern(1, SIZE));
    if (inSwap) await bo.shrink();
    gate.close();
    return { gate, device, bo };
  }

  test.each(restores)(
    "%s holds: the content goes under pressure, and not before",
    async (_, start) => {
      const { gate, device, bo } = await gated(true);
      const running = start(bo);
      await until(() => gate.waiting > 0);
      expect(bo.advise("dontneed")).toBe(true);
      gate.open();
      await running;
      expect(bo.residentPages).toBe(PAGES);
      expect(await device.shrink()).toBe(PAGES);
      expect(device.stats()).toMatchObject({ pagesPurged: PAGES, pagesOut: PAGES });
      expect(bo.advise("willneed")).toBe(false);
      expectZeros(await content(bo), "content");
      await device.close({ force: true });
    },
  );

  test.each(restores)("%s and taken back changes nothing", async (_, start) => {
    const { gate, device, bo } = await gated(true);
    const running = start(bo);
    await until(() => gate.waiting > 0);
    expect(bo.advise("dontneed")).toBe(true);
    expect(bo.advise("willneed")).toBe(true);
    gate.open();
    await running;
    expect(await device.shrink()).toBe(PAGES);
    expect(device.stats().pagesPurged).toBe(0);
    expect(bo.advise("willneed")).toBe(true);
    await device.close({ force: true });
  });

  test("a shrink, its own or the device's, holds: all is thrown away when it ends", async () => {
    for (const start of [
      (bo: BufferObject) => bo.shrink(),
      (_: unknown, d: Device) => d.shrink(),
    ]) {
      const { gate, device, bo } = await gated(false);
      const running = start(bo, device);
      await until(() => gate.waiting > 0);
      expect(bo.advise("dontneed")).toBe(true);
      gate.open();
      await running;
      expect(bo.advise("willneed")).toBe(false);
      expectAllFree(device);
      expectZeros(await content(bo), "content");
      await device.close({ force: true });
    }
  });

  test("the one before it: a write that still waits for its turn needs the buffer from its call on", async () => {
    const { gate, device, bo } = await gated(true);
    const reading = content(bo);
    await until(() => gate.waiting > 0);
    bo.advise("dontneed");
    const writing = bo.write(100, PART);
    gate.open();
    await Promise.all([reading, writing]);
    await device.shrink();
    expect(device.stats().pagesPurged).toBe(0);
    const expected = pattern(1, SIZE);
    expected.set(PART, 100);
    expectSame(await content(bo), expected, "content");
    await device.close({ force: true });
  });
});
