import { describe, expect, test } from "vitest";
import { type BufferObject, createDevice, createDeviceSync, PAGE_SIZE } from "../src/index.ts";
import type { Salvaged } from "../src/salvage.ts";
import { encryptedSwap } from "../src/swap/encrypted.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { filled } from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { openAsyncSwap, openSwap, type Pages } from "./support/open_swap.ts";
import { seeded } from "./support/random.ts";

const KIB = 1024;

/** Slots of the pages of a buffer that left alone: in order. */
function slotsOf(pages: Pages): number[] {
  return [...pages.keys()].sort((a, b) => a - b);
}

function spoil(pages: Pages, slot: number): void {
  const page = pages.of(slot);
  page[100] = (page[100] as number) ^ 0x10;
}

/** The pages that are holes; what is not has to be as it was, and all of it in order. */
function holesOf(found: readonly Salvaged[], all: Uint8Array, from = 0, to = all.length): number[] {
  const holes: number[] = [];
  let at = from;
  for (const { offset, length, bytes, error } of found) {
    expect(offset).toBe(at);
    expect(length).toBeGreaterThan(0);
    at += length;
    if (bytes) {
      expect(error).toBeUndefined();
      expectSame(bytes, all.subarray(offset, at), `bytes from ${offset} on`);
      continue;
    }
    expect(error?.code).toBe("EIO");
    for (let page = Math.floor(offset / PAGE_SIZE); page * PAGE_SIZE < at; page++) holes.push(page);
  }
  expect(at).toBe(to);
  return holes;
}

describe.each([
  ["a buffer of a page", 1000],
  ["a small buffer", 64 * KIB - 5],
  ["a window", 600 * KIB + 100],
  ["a buffer larger than the memory", 3000 * KIB],
])("%s", (_, size) => {
  const pages = Math.ceil(size / PAGE_SIZE);

  test("that is whole comes whole, in order, and so does what was never written", () => {
    using device = createDeviceSync({ memory: "1 MiB", swap: openSwap(1024) });
    const bo = device.createBuffer(size);
    expect(holesOf([...bo.salvageSync()], new Uint8Array(size))).toEqual([]);
    bo.writeSync(0, pattern(1, size));
    const found = [...bo.salvageSync()];
    expect(holesOf(found, pattern(1, size))).toEqual([]);
    expect(found.length).toBe(Math.ceil(size / (256 * KIB)));
  });

  test("lacks the pages that were changed, and no others; all is there when they are mended", () =>
    seeded(async (random) => {
      let order: number[] = [];
      for (const kind of ["async", "sync", "encrypted"] as const) {
        const swap = kind === "async" ? openAsyncSwap(1024) : openSwap(1024);
        const device = await createDevice({
          memory: "1 MiB",
          swap: kind === "encrypted" ? encryptedSwap(swap) : swap,
        });
        const bo = device.createBuffer(size);
        const all = pattern(1, size);
        for (let at = 0; at < size; at += 512 * KIB) {
          await bo.write(at, all.subarray(at, at + 512 * KIB));
          await device.shrink();
        }
        const slots = slotsOf(swap.pages);
        expect(slots.length).toBe(pages);
        // What is encrypted went where it goes without.
        if (kind !== "encrypted") order = orderOf(swap.pages, all);
        const bad = order.map((_, page) => page).filter(() => random.chance(0.1));
        if (bad.length === 0) bad.push(random.below(pages));
        for (const page of bad) spoil(swap.pages, order[page] as number);
        const read = async () => {
          if (kind !== "async") return [...bo.salvageSync()];
          const found: Salvaged[] = [];
          for await (const each of bo.salvage()) found.push(each);
          return found;
        };
        expect(holesOf(await read(), all)).toEqual(bad);
        await device.shrink();
        expect(holesOf(await read(), all)).toEqual(bad); // it tries again
        for (const page of bad) spoil(swap.pages, order[page] as number);
        expect(holesOf(await read(), all)).toEqual([]);
        device.check();
        await device.close({ force: true });
      }
    }));
});

/** The slot of each page, by what is stored. */
function orderOf(stored: Pages, all: Uint8Array): number[] {
  const key = (bytes: Uint8Array) => bytes.subarray(0, 16).join();
  const slots = new Map([...stored].map(([slot, page]) => [key(page), slot]));
  const pages = Math.ceil(all.length / PAGE_SIZE);
  return Array.from({ length: pages }, (_, i) => {
    return slots.get(key(all.subarray(i * PAGE_SIZE))) as number;
  });
}

test("a range of bytes: it begins and ends with them, not with pages", () => {
  const { pages, ...swap } = openSwap(256);
  using device = createDeviceSync({ memory: "1 MiB", swap });
  const bo = filled(device, 100, 1);
  bo.shrinkSync();
  for (const index of [10, 11, 12]) spoil(pages, slotsOf(pages)[index] as number);
  const [offset, length] = [10 * PAGE_SIZE + 5, 3 * PAGE_SIZE];
  const found = [...bo.salvageSync({ offset, length })];
  expect(holesOf(found, pattern(1, bo.size), offset, offset + length)).toEqual([10, 11, 12]);
  expect(found.map(({ length }) => length)).toEqual([3 * PAGE_SIZE - 5, 5]); // one hole, and what follows
  expect(found[0]?.error?.message).toContain(`checksum mismatch: page 10 of buffer ${bo.id}`);
});

test("what fails for another reason is thrown, and another call goes on from there", async () => {
  const { pages, ...swap } = openAsyncSwap(256);
  const device = await createDevice({ memory: "1 MiB", swap });
  const bo = device.createBuffer(200 * PAGE_SIZE);
  await bo.write(0, pattern(1, bo.size));
  await bo.shrink();
  spoil(pages, slotsOf(pages)[150] as number);
  failsSync("EWOULDBLOCK", () => [...bo.salvageSync()]);
  const controller = new AbortController();
  const found: Salvaged[] = [];
  const run = async (from: number, signal?: AbortSignal) => {
    const options = { offset: from, ...(signal && { signal }) };
    for await (const each of bo.salvage(options)) {
      found.push(each);
      controller.abort();
    }
  };
  await fails("EINTR", run(0, controller.signal));
  const last = found.at(-1) as Salvaged;
  await run(last.offset + last.length);
  expect(holesOf(found, pattern(1, bo.size))).toEqual([150]);
  bo.destroy();
  await expect(run(0)).rejects.toThrow("this buffer is destroyed");
  await device.close();
});

test("a write that fails to make room is no hole", () => {
  const swap = openSwap(256);
  using device = createDeviceSync({ memory: "256 KiB", swap });
  const bo = filled(device, 40, 1);
  bo.shrinkSync();
  const others = [filled(device, 30, 2), filled(device, 30, 3)];
  swap.writeSync = () => {
    throw new Error("a bad block");
  };
  failsSync("EIO", () => [...bo.salvageSync()]);
  expectSame(contentSync(others[1] as BufferObject), pattern(3, 30 * PAGE_SIZE), "another buffer");
});

test("a store that is gone is one hole of its own code, but what is in memory is there", () => {
  const swap = openSwap(256);
  using device = createDeviceSync({ memory: "1 MiB", swap });
  const bo = filled(device, 100, 1);
  bo.shrinkSync();
  bo.readSync(50 * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
  swap.readSync = () => {
    throw Object.assign(new Error("unplugged"), { code: "ENODEV" });
  };
  const found = [...bo.salvageSync()].map(({ offset, length, error }) => [
    offset / PAGE_SIZE,
    length / PAGE_SIZE,
    error?.code,
  ]);
  const there = found.filter(([, , code]) => code === undefined);
  expect(there.reduce((sum, [, length]) => sum + (length as number), 0)).toBe(bo.residentPages);
  expect(found.filter(([, , code]) => code === "ENODEV").length).toBe(2);
});

test("arguments that cannot be meant are refused by name", () => {
  using device = createDeviceSync({ memory: "1 MiB" });
  const bo = device.createBuffer(10);
  const next = (options: object) => bo.salvageSync(options).next();
  expect(() => next({ offset: 11 })).toThrow(/^offset must be/);
  expect(() => next({ length: 11 })).toThrow(/^length must be/);
  expect(() => next({ start: 1 })).toThrow(/has no option "start"/);
});
