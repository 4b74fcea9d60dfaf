import { describe, expect, test, vi } from "vitest";
import {
  type AsyncSwapDevice,
  type BlockSwapDevice,
  createDevice,
  createDeviceSync,
  PAGE_SIZE,
  ramSwap,
  type ShortWrite,
  type SwapDevice,
  type SwapRun,
  type SyncSwapDevice,
} from "../../src/index.ts";
import { type Ciphers, hostCiphers } from "../../src/swap/aes.ts";
import { compressedSwap } from "../../src/swap/compressed.ts";
import { encryptedSwap } from "../../src/swap/encrypted.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { SealedStore } from "../../src/swap/sealed.ts";
import { sealedDevice } from "../../src/swap/sealed_device.ts";
import { Seals } from "../../src/swap/seals.ts";
import { adopt } from "../../src/swap/store.ts";
import { swapDeviceTests } from "../../src/testing.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { expectAllFree, filled } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { HARMS, openAsyncSwap, openSwap, type Pages } from "../support/open_swap.ts";
import { seeded } from "../support/random.ts";

const { now, later } = hostCiphers();
/** What hosts have: this one, and those without `node:crypto`. */
const HOSTS: Readonly<Record<string, Ciphers>> = {
  "node:crypto": { now, later },
  "crypto.subtle": { now: undefined, later },
};

type Any = Partial<SyncSwapDevice & AsyncSwapDevice>;

/** A device of the first edition of the contract. */
function blockSwap(slots: number): BlockSwapDevice & { readonly pages: Pages } {
  const { pages, name } = openSwap(slots);
  return {
    name,
    slots,
    pages,
    read: (slot, views) => pages.read([{ slot, views }]),
    write: (slot, views) => pages.write([{ slot, views }]),
    close: () => pages.clear(),
  };
}

const INNER: Readonly<Record<string, (slots: number) => SwapDevice>> = {
  ramSwap: (slots) => ramSwap({ size: slots * PAGE_SIZE }),
  fileSwap: (slots) => fileSwap({ size: slots * PAGE_SIZE }),
  "a synchronous device": openSwap,
  "an asynchronous device": openAsyncSwap,
  "a device of the first edition": blockSwap,
};

/** Each device on each host. */
const ALL = Object.entries(HOSTS).flatMap(([host, ciphers]) =>
  Object.entries(INNER).map(([inner, create]) => ({ host, ciphers, inner, create })),
);

test("this host has both kinds of ciphers", () => {
  expect([typeof now, typeof later]).toEqual(["function", "function"]);
});

describe.each(ALL)("$inner, encrypted by $host, keeps the contract:", ({ ciphers, create }) => {
  const tests = swapDeviceTests({
    create: ({ slots }) => ({ device: sealedDevice(create(slots), ciphers) }),
  });
  for (const { name, run } of tests) test(name, run);
});

describe.each(Object.entries(HOSTS))("a store that gets full, encrypted by %s", (_, ciphers) => {
  const tests = swapDeviceTests({
    create: ({ slots }) => ({ device: sealedDevice(openSwap(slots), ciphers) }),
    createSmall: ({ slots, pages }) => {
      const inner = openSwap(slots);
      const { writeSync } = inner;
      const room = (runs: readonly SwapRun[]): void | ShortWrite => {
        const wanted = runs.flatMap(({ slot, views }) =>
          views.flatMap((view) =>
            Array.from({ length: view.length / PAGE_SIZE }, (_, i) => ({
              slot: slot++,
              views: [view.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE)],
            })),
          ),
        );
        for (const [done, run] of wanted.entries()) {
          if (!inner.pages.has(run.slot) && inner.pages.size >= pages) {
            const error = Object.assign(new Error("full"), { code: "ENOSPC" });
            if (done === 0) throw error;
            return { pages: done, error };
          }
          writeSync([run]);
        }
      };
      return { device: sealedDevice({ ...inner, writeSync: room }, ciphers) };
    },
  });
  for (const { name, run } of tests) test(name, run);
});

/** A device at work, by the pair that it has. */
function atWork(device: SyncSwapDevice | AsyncSwapDevice) {
  const given = device as Any;
  return {
    write: async (runs: readonly SwapRun[]) => given.writeSync?.(runs) ?? given.write?.(runs),
    read: async (runs: readonly SwapRun[]) => given.readSync?.(runs) ?? given.read?.(runs),
  };
}

/** Slots 1 to `count` on an open store, written with `pattern(slot)`, encrypted. */
async function sealed(ciphers: Ciphers, count: number) {
  const inner = openSwap(1024);
  const device = sealedDevice(inner, ciphers);
  await device.open?.();
  const { read, write } = atWork(device);
  for (let slot = 1; slot <= count; slot++) await write([{ slot, views: [page(slot)] }]);
  /** The page of a slot, as it comes back. */
  const back = async (slot: number) => {
    const view = new Uint8Array(PAGE_SIZE);
    await read([{ slot, views: [view] }]);
    return view;
  };
  return { device, pages: inner.pages, write, read, back };
}

function page(seed: number): Uint8Array<ArrayBuffer> {
  return pattern(seed, PAGE_SIZE);
}

describe.each(Object.entries(HOSTS))("by %s,", (_, ciphers) => {
  test("what is stored shows nothing of the pages, and is other bytes each time", async () => {
    const { pages, write, back } = await sealed(ciphers, 0);
    const seen = new Set<string>();
    const zeros = new Uint8Array(PAGE_SIZE);
    for (let round = 0; round < 20; round++) {
      for (const slot of [1, 2]) {
        await write([{ slot, views: [zeros] }]);
        const stored = pages.of(slot);
        const kinds = new Set(stored).size;
        expect(kinds).toBeGreaterThan(200); // noise: a page of it has nearly all of the 256
        seen.add(String(stored));
      }
    }
    expect(seen.size).toBe(40);
    expectSame(await back(1), zeros, "slot 1");
  });

  test.each(Object.entries(HARMS))("%s is refused, and all other slots can be read", (_, harm) =>
    seeded(async (random) => {
      const COUNT = 64;
      const { pages, read, back } = await sealed(ciphers, COUNT);
      for (let round = 0; round < 50; round++) {
        const slot = 1 + random.below(COUNT);
        const kept = pages.of(slot).slice();
        harm(random, pages.of(slot));
        const error = await fails("EIO", back(slot));
        expect(error.message).toContain(`slot ${slot} of swap device open is not what was sealed`);
        const views = [new Uint8Array(COUNT * PAGE_SIZE)];
        await fails("EIO", read([{ slot: 1, views }]));
        for (const other of [1 + random.below(COUNT), 1 + (slot % COUNT)]) {
          if (other !== slot) expectSame(await back(other), page(other), `slot ${other}`);
        }
        pages.set(slot, kept);
        expectSame(await back(slot), page(slot), "when it is read again");
      }
    }),
  );

  test("slots that were swapped, or copied, are refused", async () => {
    const { pages, back } = await sealed(ciphers, 3);
    const [one, two] = [pages.of(1), pages.of(2)];
    pages.set(1, two).set(2, one);
    for (const slot of [1, 2]) await fails("EIO", back(slot));
    expectSame(await back(3), page(3), "slot 3");
    pages.set(1, one).set(2, two);
    expectSame(await back(1), page(1), "slot 1");
  });

  test("what a slot held before is refused, and so is what it holds after a discard", async () => {
    const { device, pages, write, back } = await sealed(ciphers, 2);
    const stale = pages.of(1).slice();
    await write([{ slot: 1, views: [page(1)] }]); // the same page once more
    const fresh = pages.of(1);
    pages.set(1, stale);
    await fails("EIO", back(1));
    pages.set(1, fresh);
    expectSame(await back(1), page(1), "slot 1");
    await device.discard?.([{ slot: 1, pages: 1 }], 2);
    pages.set(1, fresh);
    const error = await fails("EIO", back(1));
    expect(error.message).toContain("slot 1 of swap device open holds no page");
    expectSame(await back(2), page(2), "slot 2");
  });

  test("no device opens what another one sealed, or itself when it was open before", async () => {
    const inner = openSwap(16);
    const first = sealedDevice(inner, ciphers);
    await first.open?.();
    await atWork(first).write([{ slot: 1, views: [page(1)] }]);
    const kept = inner.pages.of(1).slice();
    await first.close?.();
    for (const device of [sealedDevice(inner, ciphers), first]) {
      await device.open?.();
      inner.pages.set(1, kept);
      const views = [new Uint8Array(PAGE_SIZE)];
      await fails("EIO", atWork(device).read([{ slot: 1, views }]));
      await atWork(device).write([{ slot: 1, views: [page(1)] }]);
      inner.pages.set(1, kept);
      await fails("EIO", atWork(device).read([{ slot: 1, views }]));
      expect(views[0]?.every((byte) => byte === 0)).toBe(true); // nothing unproven is shown
      await device.close?.();
    }
  });

  test("what a write that failed has left is refused", async () => {
    const inner = openSwap(16);
    let broken = false;
    const writeSync = (runs: readonly SwapRun[]) => {
      inner.writeSync(runs);
      if (broken) throw new Error("a bad block");
    };
    const device = sealedDevice({ ...inner, writeSync }, ciphers);
    await device.open?.();
    const { write, read } = atWork(device);
    await write([{ slot: 1, views: [page(1), page(2)] }]);
    broken = true;
    await expect(write([{ slot: 2, views: [page(3)] }])).rejects.toThrow("a bad block");
    const views = [new Uint8Array(PAGE_SIZE)];
    const error = await fails("EIO", read([{ slot: 2, views }]));
    expect(error.message).toContain("or one whose write failed");
    await read([{ slot: 1, views }]);
    expectSame(views[0] as Uint8Array, page(1), "slot 1");
  });

  test("it is closed: its calls are ENODEV, until it is opened again", async () => {
    const { device, back, write } = await sealed(ciphers, 1);
    await device.close?.();
    await fails("ENODEV", back(1));
    await fails("ENODEV", write([{ slot: 1, views: [page(1)] }]));
    await device.open?.();
    await write([{ slot: 1, views: [page(1)] }]);
    expectSame(await back(1), page(1), "slot 1");
  });

  test("a nonce is never used twice; when all are used up writes fail, and reads do not", async () => {
    const inner = openSwap(16);
    const store = new SealedStore(adopt(inner), ciphers, new Seals(2 ** 48 - 4));
    const views = [new Uint8Array(PAGE_SIZE)];
    await store.write([{ slot: 1, views: [page(1), page(2)] }]);
    await store.write([{ slot: 3, views: [page(3)] }]);
    const error = await fails("EIO", store.write([{ slot: 4, views: [page(4)] }]));
    expect(error.message).toContain("all of the key's 2^48 nonces are used up");
    for (const slot of [1, 2, 3]) {
      await store.read([{ slot, views }]);
      expectSame(views[0] as Uint8Array, page(slot), `slot ${slot}`);
    }
    const seals = new Seals();
    const nonces = new Set<string>();
    for (let i = 0; i < 1000; i++) {
      const nonce = new Uint8Array(12);
      seals.nonce(seals.next(), nonce);
      nonces.add(String(nonce));
    }
    expect(nonces.size).toBe(1000);
  });
});

describe("what it knows of slots", () => {
  test("takes 24 bytes each, and none for slots that hold nothing", () => {
    const seals = new Seals();
    const tag = new Uint8Array(16).fill(7);
    expect(seals.bytes).toBe(0);
    for (let slot = 1; slot <= 100_000; slot++) seals.set(slot, seals.next(), tag);
    expect(seals.bytes).toBeGreaterThanOrEqual(24 * 100_000);
    expect(seals.bytes).toBeLessThanOrEqual(28 * 100_000);
    seals.set(2 ** 31 - 1, seals.next(), tag);
    expect(seals.numberOf(2 ** 31 - 1)).toBe(100_001);
    seals.forget([
      { slot: 1, pages: 50_000 },
      { slot: 50_002, pages: 2 ** 31 - 50_002 },
    ]);
    expect(seals.bytes).toBe(24 * 1024);
    expect(seals.numberOf(50_001)).toBe(50_001);
    expect([...seals.tagOf(50_001)]).toEqual([...tag]);
    expect([seals.numberOf(50_000), seals.numberOf(50_002), seals.numberOf(5)]).toEqual([0, 0, 0]);
  });
});

describe("what the inner device has, the encrypted one has", () => {
  const shape = (device: SwapDevice) => {
    const { slots, queueDepth, readSync, read } = device as Any;
    return { slots, queueDepth, sync: readSync !== undefined, async: read !== undefined };
  };

  test("pairs, where this host can do both; queue depth, slots", () => {
    const { "node:crypto": node, "crypto.subtle": subtle } = HOSTS as Record<string, Ciphers>;
    const both = { ...openSwap(9), ...openAsyncSwap(9), queueDepth: 7 };
    const table: [SwapDevice, Ciphers | undefined, object][] = [
      [openSwap(9), node, { slots: 9, queueDepth: undefined, sync: true, async: false }],
      [openSwap(9), subtle, { slots: 9, queueDepth: 4, sync: false, async: true }],
      [
        { ...openAsyncSwap(9), queueDepth: 3 },
        node,
        { slots: 9, queueDepth: 3, sync: false, async: true },
      ],
      [
        { ...openAsyncSwap(9), queueDepth: 3 },
        subtle,
        { slots: 9, queueDepth: 3, sync: false, async: true },
      ],
      [both, node, { slots: 9, queueDepth: 7, sync: true, async: true }],
      [both, subtle, { slots: 9, queueDepth: 7, sync: false, async: true }],
      [blockSwap(9), node, { slots: 9, queueDepth: undefined, sync: true, async: false }],
    ];
    for (const [device, ciphers, expected] of table) {
      expect(shape(sealedDevice(device, ciphers as Ciphers))).toEqual(expected);
    }
    expect(encryptedSwap(openSwap(9)).name).toBe("encrypted open");
  });

  test("what it has of the host's memory, and gives back", () => {
    const inner = compressedSwap({ size: "4 MiB" });
    const swap = encryptedSwap(inner);
    const device = createDeviceSync({ memory: "2 MiB", swap });
    const bo = device.createBuffer("1 MiB");
    bo.writeSync(0, new Uint8Array(bo.size).fill(7));
    device.shrinkSync();
    expect(inner.memoryBytes).toBeGreaterThanOrEqual(bo.size);
    expect(device.rss().swap).toBe(inner.memoryBytes);
    const before = inner.memoryBytes;
    bo.destroy();
    const { swapBytes } = device.trimSync({ means: [] });
    expect(device.rss().swap).toBe(inner.memoryBytes);
    expect(inner.memoryBytes).toBeLessThan(before);
    expect(swapBytes).toBeGreaterThanOrEqual(0);
    device.closeSync();
    const given = { ...openSwap(9), trim: () => 4096 };
    expect(encryptedSwap(given).trim?.()).toBe(4096);
    for (const field of ["trim", "memoryBytes"])
      expect(field in encryptedSwap(openSwap(9))).toBe(false);
  });

  test("signals, discards, open and close", async () => {
    const calls: unknown[] = [];
    const note =
      (name: string) =>
      async (...args: unknown[]) =>
        void calls.push([name, ...args]);
    const noted: AsyncSwapDevice = {
      name: "noted",
      slots: 9,
      queueDepth: 1,
      open: note("open"),
      async read(runs, signal) {
        for (const { views } of runs) for (const view of views) view.fill(1);
        await note("read")(signal);
      },
      write: (_, signal) => note("write")(signal),
      discard: note("discard"),
      close: note("close"),
    };
    const device = encryptedSwap(noted) as AsyncSwapDevice;
    const { signal } = new AbortController();
    const views = [page(1)];
    await device.open?.();
    await device.write([{ slot: 1, views }], signal);
    await fails("EIO", device.read([{ slot: 1, views }], signal));
    await device.discard?.([{ slot: 1, pages: 1 }], 0);
    await device.close?.();
    expect(calls).toEqual([
      ["open"],
      ["write", signal],
      ["read", signal],
      ["discard", [{ slot: 1, pages: 1 }], 0],
      ["close"],
    ]);
  });

  test("it is in use while the encrypted one is open, by that one alone", () => {
    const inner = openSwap(64);
    using _device = createDeviceSync({ memory: "64 KiB", swap: encryptedSwap(inner) });
    const text = "swap device open is in use by another device";
    expect(() => createDeviceSync({ memory: "64 KiB", swap: inner })).toThrow(text);
    expect(() => createDeviceSync({ memory: "64 KiB", swap: encryptedSwap(inner) })).toThrow(text);
  });

  test("ramSwap needs a size; what is no device is refused; so is a host without ciphers", () => {
    expect(() => encryptedSwap(ramSwap())).toThrow(/encryptedSwap needs a size of ramSwap/);
    expect(() => encryptedSwap({} as SwapDevice)).toThrow(/^swap must be a swap device/);
    const none = { now: undefined, later: undefined };
    const error = failsSync("ENOSYS", () => sealedDevice(openSwap(9), none));
    expect(error.message).toMatch(/needs node:crypto or crypto.subtle/);
    const { crypto } = globalThis;
    for (const less of [undefined, {}, { subtle: crypto.subtle }]) {
      vi.stubGlobal("crypto", less);
      try {
        failsSync("ENOSYS", () => encryptedSwap(openSwap(9)));
      } finally {
        vi.unstubAllGlobals();
      }
    }
  });
});

describe.each(ALL)("a pool on $inner, encrypted by $host,", ({ ciphers, create }) => {
  test("keeps what buffers hold", async () => {
    const device = await createDevice({
      memory: 64 * PAGE_SIZE,
      swap: sealedDevice(create(1024), ciphers),
    });
    const bos = [];
    for (let i = 0; i < 8; i++) {
      const bo = device.createBuffer(30 * PAGE_SIZE);
      await bo.write(0, pattern(i, bo.size));
      bos.push(bo);
    }
    for (let round = 0; round < 2; round++) {
      for (const [i, bo] of bos.entries()) {
        expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
      }
    }
    for (const bo of bos) bo.destroy();
    expectAllFree(device);
    await device.close();
  });
});

describe("in a pool", () => {
  test("a page that was changed is an EIO that names its slot, and the others are there", () => {
    const inner = openSwap(256);
    using device = createDeviceSync({ memory: "256 KiB", swap: encryptedSwap(inner) });
    const bo = filled(device, 40, 1);
    const other = filled(device, 20, 2);
    bo.shrinkSync();
    const slot = [...inner.pages.keys()][17] as number;
    const kept = inner.pages.of(slot).slice();
    inner.pages.of(slot).fill(0);
    const error = failsSync("EIO", () => contentSync(bo));
    expect(error.message).toContain(`slot ${slot} of swap device open is not what was sealed`);
    expectSame(contentSync(other), pattern(2, other.size), "another buffer");
    const there = bo.readSync(0, new Uint8Array(17 * PAGE_SIZE));
    expectSame(there, pattern(1, bo.size).subarray(0, there.length), "pages before it");
    inner.pages.set(slot, kept);
    expectSame(contentSync(bo), pattern(1, bo.size), "when it is read again");
  });
});
