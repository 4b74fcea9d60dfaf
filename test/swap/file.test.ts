import {
  chmodSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../../src/index.ts";
import { type FileSwapOptions, fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { expectAllFree, expectScattered, filled, scatterFrames } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { HAS_PROC, openFiles, ROOT, TempFolder } from "../support/files.ts";
import { seeded } from "../support/random.ts";

const SIZE = "1 MiB";

function open(options: Omit<FileSwapOptions, "size">): Device {
  return createDeviceSync({ memory: "256 KiB", swap: fileSwap({ size: SIZE, ...options }) });
}

/** Swaps something out and in again. */
function use(device: Device): void {
  const bos = Array.from({ length: 5 }, (_, i) => filled(device, 30, i));
  bos.forEach((bo, i) => {
    expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
  });
  device.check();
}

describe("options", () => {
  test.each([undefined, 0, "large", -1])("a size of %j is refused by name", (size) => {
    expect(() => fileSwap({ size: size as number })).toThrow(/^fileSwap size /);
  });

  test.each(["", 5, null, {}, ["x"]])("a path of %j is a TypeError", (path) => {
    const make = () => fileSwap({ size: SIZE, path: path as string });
    expect(make).toThrow(TypeError);
    expect(make).toThrow("fileSwap path must be the path of a file");
  });

  test("the size is rounded up to pages", () => {
    expect(fileSwap({ size: 1 }).slots).toBe(1);
    expect(fileSwap({ size: 4097 }).slots).toBe(2);
    expect(fileSwap({ size: "4 GiB" }).slots).toBe(2 ** 20);
  });
});

describe("a path", () => {
  test("of a new file creates it, for its owner only", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    using device = open({ path });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    use(device);
    expect(statSync(path).size).toBeGreaterThan(0);
    expect(statSync(path).size).toBeLessThanOrEqual(2 ** 20);
  });

  test("stays after close: its file is the user's", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const device = open({ path });
    use(device);
    device.closeSync({ force: true });
    expect(existsSync(path)).toBe(true);
  });

  test("in a missing folder is ENOENT", () => {
    using folder = new TempFolder();
    const path = folder.file("missing/swap");
    const error = failsSync("ENOENT", () => open({ path }));
    expect(error).toMatchObject({ op: "open", errno: -2, cause: { code: "ENOENT" } });
    expect(error.message).toContain(`cannot open swap file ${path}: its folder does not exist`);
  });

  test("below a file is ENOTDIR", () => {
    using folder = new TempFolder();
    writeFileSync(folder.file("file"), "text");
    const error = failsSync("ENOTDIR", () => open({ path: folder.file("file/swap") }));
    expect(error.message).toMatch(/a part of the path is not a folder/);
  });

  test("of a folder is EISDIR", () => {
    using folder = new TempFolder();
    for (const overwrite of [false, true]) {
      const error = failsSync("EISDIR", () => open({ path: folder.path, overwrite }));
      expect(error.op).toBe("open");
      expect(error.message).toContain(`${folder.path}: it is a folder; name a file in it`);
    }
  });

  test("of something else than a plain file is EINVAL", () => {
    const error = failsSync("EINVAL", () => open({ path: "/dev/null", overwrite: true }));
    expect(error.message).toMatch(/swap file \/dev\/null is not a plain file/);
  });

  test("without permission is EACCES", () => {
    using folder = new TempFolder();
    mkdirSync(folder.file("locked"));
    chmodSync(folder.path, 0o755);
    chmodSync(folder.file("locked"), ROOT ? 0o700 : 0o500);
    if (ROOT) process.seteuid?.(65_534); // nobody: root may do anything
    try {
      const path = folder.file("locked/swap");
      const error = failsSync("EACCES", () => open({ path }));
      expect(error).toMatchObject({ op: "open", errno: -13 });
      expect(error.message).toContain(`cannot open swap file ${path}: no permission to write it`);
    } finally {
      if (ROOT) process.seteuid?.(0);
      chmodSync(folder.file("locked"), 0o700);
    }
  });

  test("of a file that is not empty is EEXIST, and the file stays as it was", () => {
    using folder = new TempFolder();
    const path = folder.file("diary");
    writeFileSync(path, "dear diary");
    const error = failsSync("EEXIST", () => open({ path }));
    expect(error).toMatchObject({ op: "open", errno: -17 });
    expect(error.message).toContain(path);
    expect(error.message).toMatch(/not empty; name another one, or pass overwrite: true/);
    failsSync("EEXIST", () => open({ path, overwrite: false }));
    expect(readFileSync(path, "utf8")).toBe("dear diary");
  });

  test("of a file that is not empty can be used with overwrite: true", () => {
    using folder = new TempFolder();
    const path = folder.file("old");
    writeFileSync(path, new Uint8Array(100_001).fill(0xaa));
    using device = open({ path, overwrite: true });
    use(device);
  });

  test("of an empty file, and of a link to one, can be used", () => {
    using folder = new TempFolder();
    writeFileSync(folder.file("empty"), "");
    symlinkSync(folder.file("empty"), folder.file("link"));
    for (const name of ["empty", "link"]) {
      using device = open({ path: folder.file(name), overwrite: name === "link" });
      use(device);
    }
  });

  test.skipIf(!HAS_PROC)("that is refused leaves no file open (needs /proc)", () => {
    using folder = new TempFolder();
    writeFileSync(folder.file("full"), "text");
    for (let i = 0; i < 5; i++) failsSync("EEXIST", () => open({ path: folder.file("full") }));
    failsSync("EISDIR", () => open({ path: folder.path }));
    failsSync("EINVAL", () => open({ path: "/dev/null" }));
    const left = openFiles().filter(({ target }) => target.startsWith(folder.path));
    expect(left).toEqual([]);
  });
});

describe("a private file", () => {
  test.skipIf(!HAS_PROC)(
    "is for its owner only, deleted while open, gone at close (needs /proc)",
    () => {
      const known = new Set(openFiles().map(({ target }) => target));
      const device = open({});
      const mine = () =>
        openFiles().filter(({ target }) => target.includes("/ttm-swap-") && !known.has(target));
      expect(mine().length).toBe(1);
      const { fd, target } = mine()[0] as { fd: number; target: string };
      expect(target.endsWith(" (deleted)")).toBe(true);
      const path = target.slice(0, -" (deleted)".length);
      expect(path.startsWith(tmpdir())).toBe(true);
      expect(existsSync(path)).toBe(false);
      expect(fstatSync(fd).mode & 0o777).toBe(0o600);
      expect(fstatSync(fd).nlink).toBe(0);
      use(device);
      expect(fstatSync(fd).size).toBeGreaterThan(0);
      device.closeSync({ force: true });
      expect(mine()).toEqual([]);
      expect(existsSync(path)).toBe(false);
    },
  );

  test("that cannot be made says where it was to be", () => {
    const before = process.env.TMPDIR;
    process.env.TMPDIR = "/nowhere/at/all";
    try {
      const error = failsSync("ENOENT", () => open({}));
      expect(error.message).toMatch(/cannot open swap file \/nowhere\/at\/all\/ttm-swap-/);
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
    }
  });

  test("is another one for each device", () => {
    using a = open({});
    using b = open({});
    const [boA, boB] = [filled(a, 30, 1), filled(b, 30, 2)];
    a.shrinkSync();
    b.shrinkSync();
    expectSame(contentSync(boA), pattern(1, boA.size), "a");
    expectSame(contentSync(boB), pattern(2, boB.size), "b");
  });
});

describe("one file", () => {
  test("cannot serve two devices at once: the same fileSwap is a TypeError", () => {
    const swap = fileSwap({ size: SIZE });
    const first = createDeviceSync({ memory: "256 KiB", swap });
    const again = () => createDeviceSync({ memory: "256 KiB", swap });
    expect(again).toThrow(TypeError);
    expect(again).toThrow("this fileSwap is in use by another device");
    use(first);
    first.closeSync({ force: true });
    const second = again();
    use(second);
    second.closeSync({ force: true });
  });

  test("cannot serve two devices at once: two fileSwaps of one path are EBUSY or EEXIST", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const first = open({ path });
    const bo = filled(first, 30, 1);
    let second: Device | undefined;
    try {
      second = open({ path });
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/EBUSY|EEXIST/) });
    }
    bo.shrinkSync();
    if (second) filled(second, 30, 2).shrinkSync();
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    first.closeSync({ force: true });
    second?.closeSync({ force: true });
    expect(second).toBeUndefined();
  });
});

describe("content", () => {
  test("of scattered pages comes back, whatever way the runtime writes them", () => {
    using device = createDeviceSync({ memory: "1 MiB", swap: fileSwap({ size: "4 MiB" }) });
    const kept = scatterFrames(device);
    for (let round = 0; round < 3; round++) {
      const bos = Array.from({ length: 12 }, (_, i) => filled(device, 40, 10 * round + i));
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(10 * round + i, bo.size), `buffer ${i}`);
      });
      for (const bo of bos) bo.destroy();
      device.check();
    }
    expectScattered(device, kept, 2e6);
  });

  test("of runs of all lengths comes back, sync and async", () =>
    seeded(async (random) => {
      using device = createDeviceSync({ memory: "8 MiB", swap: fileSwap({ size: "64 MiB" }) });
      const bos: [BufferObject, number][] = [];
      for (let i = 0; i < 150; i++) {
        const pages = random.below(random.pick([2, 20, 100, 600])) + 1;
        bos.push([filled(device, pages, i), i]);
        if (random.chance(0.3)) {
          const at = random.below(bos.length);
          bos[at]?.[0].destroy();
          bos.splice(at, 1);
        }
      }
      for (const [bo, seed] of random.shuffle(bos)) {
        const bytes = random.chance(0.5) ? contentSync(bo) : await content(bo);
        expectSame(bytes, pattern(seed, bo.size), `buffer ${seed}`);
        bo.destroy();
      }
      expectAllFree(device);
    }));

  test("beyond 4 GiB is where it belongs (a sparse file)", async () => {
    using folder = new TempFolder();
    const path = folder.file("sparse");
    const swap = fileSwap({ size: "6 GiB", path });
    swap.open?.();
    try {
      const slots = [1, 2 ** 19, 2 ** 19 + 1, 2 ** 20, 2 ** 20 + 1, 2 ** 20 + 2, swap.slots - 9];
      const pages = (seed: number) => [pattern(seed, PAGE_SIZE), pattern(-seed, 2 * PAGE_SIZE)];
      for (const slot of slots) await swap.write(slot, pages(slot).slice(0, 1));
      await swap.write(swap.slots - 2, pages(7));
      for (const slot of slots) {
        const view = new Uint8Array(PAGE_SIZE);
        await swap.read(slot, [view]);
        expectSame(view, pages(slot)[0] as Uint8Array, `slot ${slot}`);
      }
      const views = [new Uint8Array(2 * PAGE_SIZE), new Uint8Array(PAGE_SIZE)];
      await swap.read(swap.slots - 2, views);
      const whole = new Uint8Array(3 * PAGE_SIZE);
      whole.set(views[0] as Uint8Array);
      whole.set(views[1] as Uint8Array, 2 * PAGE_SIZE);
      expectSame(whole.subarray(0, PAGE_SIZE), pages(7)[0] as Uint8Array, "first view");
      expectSame(whole.subarray(PAGE_SIZE), pages(7)[1] as Uint8Array, "second view");
      expect(statSync(path).size).toBe(6 * 2 ** 30);
    } finally {
      await swap.close?.();
    }
  });
});
