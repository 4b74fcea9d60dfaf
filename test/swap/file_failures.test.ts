/*
 * Disks that are full, and files that somebody else cuts short or changes. Real ones: a small tmpfs,
 * and a second descriptor.
 */
import {
  closeSync,
  openSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { expectAllFree, expectScattered, filled, scatterFrames } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { CAN_MOUNT, SmallDisk, TempFolder } from "../support/files.ts";

function open(memory: string, path: string): Device {
  return createDeviceSync({ memory, swap: fileSwap({ size: "64 MiB", path }) });
}

function expectContents(bos: readonly BufferObject[]): void {
  bos.forEach((bo, i) => {
    expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
  });
}

describe.skipIf(!CAN_MOUNT)("a disk that is full (needs root, to mount a small one)", () => {
  test("is ENOSPC for a shrink; nothing is lost, and it goes on when there is space", () => {
    using disk = new SmallDisk("4m");
    writeFileSync(disk.file("ballast"), new Uint8Array(2 * 2 ** 20));
    const device = open("8 MiB", disk.file("swap"));
    const bos = Array.from({ length: 20 }, (_, i) => filled(device, 100, i)); // 7.8 MiB
    const released = device.shrinkSync();
    expect(released).toBeGreaterThan(0);
    expect(released).toBeLessThanOrEqual(512);
    device.check();
    // Where the host does not tell how far a write came, some of what failed fits when it is tried again.
    const error = failsSync("ENOSPC", () => {
      for (let tries = 0; tries < 1000; tries++) device.shrinkSync();
    });
    expect(error).toMatchObject({ op: "shrink", errno: -28, cause: { code: "ENOSPC" } });
    expect(error.message).toMatch(/swap device file failed to write/);
    // What is small enough may still fit: until nothing does, all of a buffer moves or none of it.
    let left = 0;
    for (const bo of bos.filter((one) => one.residentPages === 100)) {
      try {
        expect(bo.shrinkSync()).toBe(100);
      } catch (full) {
        expect(full).toMatchObject({ code: "ENOSPC" });
        expect(bo.residentPages).toBe(100);
        left++;
      }
    }
    expect(left).toBeGreaterThan(10);
    expectContents(bos);
    device.check();
    unlinkSync(disk.file("ballast"));
    expect(device.shrinkSync()).toBeGreaterThan(released);
    expectContents(bos);
    for (const bo of bos) bo.destroy();
    expectAllFree(device);
    device.closeSync();
  });

  test("is ENOSPC for a first write; each buffer that was written still reads back right", () => {
    using disk = new SmallDisk("4m");
    const device = open("4 MiB", disk.file("swap"));
    const bos: BufferObject[] = [];
    const error = failsSync("ENOSPC", () => {
      for (;;) bos.push(filled(device, 64, bos.length));
    });
    expect(error.cause).toMatchObject({ code: "ENOSPC" });
    expect(bos.length).toBeGreaterThanOrEqual(20);
    device.check();
    const inMemory = bos.filter((bo) => bo.residentPages === 64);
    for (const bo of inMemory) {
      expectSame(contentSync(bo), pattern(bos.indexOf(bo), bo.size), "in memory");
    }
    // What is in memory can be given up, then the rest comes back.
    for (const bo of inMemory) bo.destroy();
    for (const bo of bos.filter((one) => !one.destroyed)) {
      expectSame(contentSync(bo), pattern(bos.indexOf(bo), bo.size), "in swap");
    }
    device.closeSync({ force: true });
  });

  test("fails scattered pages in the middle of a vectored write just as well", async () => {
    using disk = new SmallDisk("1m");
    const device = open("2 MiB", disk.file("swap"));
    const kept = scatterFrames(device);
    const bos = Array.from({ length: 6 }, (_, i) => filled(device, 40, i));
    writeFileSync(disk.file("ballast"), new Uint8Array(700 * 1024 + 1));
    // 256 pages, less those of the ballast: all of them are used.
    expect(await device.shrink()).toBe(80);
    device.check();
    await fails("ENOSPC", device.shrink());
    failsSync("ENOSPC", () => device.shrinkSync());
    device.check();
    for (const [i, bo] of bos.entries()) {
      expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
    }
    unlinkSync(disk.file("ballast"));
    expect(device.shrinkSync()).toBe(240);
    expectContents(bos);
    for (const other of kept) other.unpin();
    expectScattered(device, kept, 2e6);
    device.closeSync({ force: true });
  });
});

// Deno's calls go on by themselves until a write fails, and do not tell how far it came.
describe.skipIf(!CAN_MOUNT || "Deno" in globalThis)(
  "a write that a disk has no room for (needs root, to mount one)",
  () => {
    const pages = (...seeds: number[]) => seeds.map((seed) => pattern(seed, PAGE_SIZE));

    test.each<[string, (seeds: number[]) => { slot: number; views: Uint8Array<ArrayBuffer>[] }[]]>([
      ["one view", (seeds) => [{ slot: 1, views: [wholeOf(pages(...seeds))] }]],
      ["views side by side", (seeds) => [{ slot: 1, views: pages(...seeds) }]],
      ["runs", (seeds) => seeds.map((seed, i) => ({ slot: 2 * i + 1, views: pages(seed) }))],
    ])("says how many pages of %s it stored, in order; these can be read", async (_, runsOf) => {
      using disk = new SmallDisk("256k");
      const swap = fileSwap({ size: "64 MiB", path: disk.file("swap") });
      await swap.open?.();
      const seeds = Array.from({ length: 100 }, (_, i) => i);
      const short = swap.writeSync(runsOf(seeds));
      expect(short).toMatchObject({ pages: 64, error: { code: "ENOSPC" } });
      expect(() => swap.writeSync([{ slot: 500, views: pages(1) }])).toThrow(/ENOSPC/);
      const read = runsOf(seeds.slice(0, 64));
      for (const { views } of read) for (const view of views) view.fill(0);
      swap.readSync(read);
      const bytes = wholeOf(read.flatMap(({ views }) => views));
      expectSame(bytes, wholeOf(pages(...seeds.slice(0, 64))), "what was stored");
      await swap.close?.();
    });

    function wholeOf(views: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
      const bytes = new Uint8Array(views.reduce((sum, view) => sum + view.length, 0));
      let at = 0;
      for (const view of views) {
        bytes.set(view, at);
        at += view.length;
      }
      return bytes;
    }
  },
);

describe("a file that was cut short by somebody else", () => {
  test("is EIO for what was behind the cut; all the rest is still there", async () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const device = open("2 MiB", path);
    const bos = Array.from({ length: 8 }, (_, i) => filled(device, 40, i));
    expect(device.shrinkSync()).toBe(320);
    const { size } = statSync(path);
    expect(size).toBe(320 * PAGE_SIZE);
    truncateSync(path, size - 60 * PAGE_SIZE);
    const lost: number[] = [];
    for (const [i, bo] of bos.entries()) {
      try {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      } catch (error) {
        expect(error).toMatchObject({ code: "EIO", op: "restore" });
        expect((error as Error).message).toMatch(/swap file is shorter than what was written/);
        lost.push(i);
      }
      device.check();
    }
    expect(lost).toEqual([6, 7]);
    for (const i of lost) {
      await fails("EIO", content(bos[i] as BufferObject));
      failsSync("EIO", () => (bos[i] as BufferObject).mapSync());
      (bos[i] as BufferObject).destroy();
    }
    const next = filled(device, 40, 100);
    device.shrinkSync();
    expectSame(contentSync(next), pattern(100, next.size), "a new buffer");
    expectContents(bos.slice(0, 6));
    for (const bo of [next, ...bos.slice(0, 6)]) bo.destroy();
    expectAllFree(device);
    device.closeSync();
  });

  test("in the middle of a page is EIO too, for contiguous and for scattered pages", () => {
    using folder = new TempFolder();
    for (const scattered of [false, true]) {
      const path = folder.file(`swap-${scattered}`);
      const device = open("512 KiB", path);
      if (scattered) scatterFrames(device);
      const bo = filled(device, 40, 1);
      bo.shrinkSync();
      truncateSync(path, 20 * PAGE_SIZE + 100);
      for (let i = 0; i < 2; i++) {
        failsSync("EIO", () => contentSync(bo));
        device.check();
      }
      bo.destroy();
      const next = filled(device, 40, 2);
      next.shrinkSync();
      expectSame(contentSync(next), pattern(2, next.size), "a new buffer");
      device.closeSync({ force: true });
    }
  });

  test("and whole again gives its content back", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const device = open("512 KiB", path);
    const bo = filled(device, 40, 1);
    bo.shrinkSync();
    truncateSync(path, 0);
    failsSync("EIO", () => contentSync(bo));
    writeFileSync(path, pattern(1, bo.size));
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.closeSync({ force: true });
  });
});

describe("a file whose bytes were changed by somebody else", () => {
  function change(path: string, page: number, bytes: Uint8Array): void {
    const fd = openSync(path, "r+");
    writeSync(fd, bytes, 0, bytes.length, page * PAGE_SIZE + 1000);
    closeSync(fd);
  }

  test("is EIO for that page, time and again; all the rest is still there", async () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const device = open("2 MiB", path);
    const bos = Array.from({ length: 8 }, (_, i) => filled(device, 40, i));
    device.shrinkSync();
    const original = pattern(2, 40 * PAGE_SIZE)
      .subarray(20 * PAGE_SIZE + 1000)
      .slice(0, 1);
    change(path, 2 * 40 + 20, Uint8Array.of((original[0] as number) ^ 1)); // page 20 of buffer 2
    for (let round = 0; round < 3; round++) {
      for (const [i, bo] of bos.entries()) {
        if (i !== 2) {
          expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
          continue;
        }
        const error = round
          ? failsSync("EIO", () => contentSync(bo))
          : await fails("EIO", content(bo));
        expect(error.op).toBe("restore");
        expect(error.message).toMatch(/page 20 .*swap device file/);
      }
      device.check();
    }
    change(path, 2 * 40 + 20, original);
    expectContents(bos);
    for (const bo of bos) bo.destroy();
    expectAllFree(device);
    device.closeSync();
  });

  test("to zeros, by cutting it short and growing it again, is EIO and not a page of zeros", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const device = open("2 MiB", path);
    const bos = [filled(device, 40, 0), filled(device, 40, 1)];
    device.shrinkSync();
    truncateSync(path, 60 * PAGE_SIZE);
    truncateSync(path, 80 * PAGE_SIZE);
    failsSync("EIO", () => contentSync(bos[1] as BufferObject));
    expectContents(bos.slice(0, 1));
    device.check();
    device.closeSync({ force: true });
  });
});
