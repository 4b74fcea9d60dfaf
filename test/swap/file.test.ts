import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { describe, expect, test, vi } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../../src/index.ts";
import { type FileSwapOptions, fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { turn, until } from "../support/delays.ts";
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

  test("that there are none of is a TypeError that names those there are", () => {
    const wrong = { size: SIZE, filename: "swap" } as unknown as FileSwapOptions;
    expect(() => fileSwap(wrong)).toThrow(TypeError);
    expect(() => fileSwap(wrong)).toThrow(
      'fileSwap has no option "filename"; there are size, directory, path, overwrite',
    );
    expect(() => (fileSwap as unknown as () => void)()).toThrow(
      /^fileSwap needs at least a size: fileSwap\({/,
    );
    for (const none of [null, 5, "1 MiB"]) {
      const make = () => fileSwap(none as unknown as FileSwapOptions);
      expect(make).toThrow(TypeError);
      expect(make).toThrow("fileSwap takes an object of options, not ");
    }
    expect(() => fileSwap({ size: SIZE, path: "a", directory: "b" })).toThrow(/not both/);
    expect(() => fileSwap({ size: SIZE, directory: "" })).toThrow(/^fileSwap directory must be/);
    expect(() => ramSwap({ slots: 5 } as object)).toThrow(/ramSwap has no option "slots"/);
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

  test("leaves nothing after close, and can be opened again", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    for (let round = 0; round < 3; round++) {
      const device = open({ path });
      use(device);
      expect(existsSync(path)).toBe(HAS_PROC);
      device.closeSync({ force: true });
      expect(readdirSync(folder.path)).toEqual([]);
    }
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
    const device = open({ path, overwrite: true });
    use(device);
    device.closeSync({ force: true });
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test.each([0, 100])(
    "of a file of %i bytes does not use that one: who has it open, or may open it, would see all",
    (length) => {
      using folder = new TempFolder();
      const path = folder.file("there");
      const fd = openSync(path, "wx+", 0o666);
      writeSync(fd, new Uint8Array(length).fill(7));
      const device = open({ path, overwrite: length > 0 });
      use(device);
      expect(fstatSync(fd).size).toBe(length);
      expect(fstatSync(fd).nlink).toBe(0);
      if (HAS_PROC) expect(statSync(path).mode & 0o777).toBe(0o600);
      device.closeSync({ force: true });
      closeSync(fd);
      expect(readdirSync(folder.path)).toEqual([]);
    },
  );

  test("of a file with another name is not used: the other name would show what is in swap", () => {
    using folder = new TempFolder();
    writeFileSync(folder.file("other"), "");
    linkSync(folder.file("other"), folder.file("swap"));
    const device = open({ path: folder.file("swap") });
    use(device);
    device.closeSync({ force: true });
    expect(readdirSync(folder.path)).toEqual(["other"]);
    expect(statSync(folder.file("other")).size).toBe(0);
  });

  test("of a link to a file, there or not, is ELOOP: nobody is led to write elsewhere", () => {
    using folder = new TempFolder();
    const precious = folder.file("precious");
    writeFileSync(precious, "dear diary");
    for (const target of [precious, folder.file("nowhere"), "/proc/self/environ", "/proc/1"]) {
      const path = folder.file("link");
      symlinkSync(target, path);
      for (const overwrite of [false, true]) {
        const error = failsSync("ELOOP", () => open({ path, overwrite }));
        expect(error.message).toContain(`swap file ${path} is a link`);
      }
      rmSync(path);
    }
    expect(readFileSync(precious, "utf8")).toBe("dear diary");
    expect(readdirSync(folder.path)).toEqual(["precious"]);
  });

  test("that is too long is ENAMETOOLONG; a long one is not", () => {
    using folder = new TempFolder();
    const path = folder.file("x".repeat(256));
    const error = failsSync("ENAMETOOLONG", () => open({ path }));
    expect(error.message).toContain(`cannot open swap file ${path}: the name is too long`);
    for (const name of ["x".repeat(255), "\u20ac".repeat(85)]) {
      using device = open({ path: folder.file(name) });
      use(device);
    }
  });

  test("may be relative, and the folder be left", () => {
    using folder = new TempFolder();
    const before = process.cwd();
    try {
      process.chdir(folder.path);
      const device = open({ path: "swap" });
      process.chdir("/");
      use(device);
      device.closeSync({ force: true });
    } finally {
      process.chdir(before);
    }
    expect(readdirSync(folder.path)).toEqual([]);
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

  test.each(["a file", "a link to a file", "a link to nothing"])(
    "whose name is taken by %s is not made there, and nothing is written to that",
    (kind) => {
      using folder = new TempFolder();
      const precious = folder.file("precious");
      writeFileSync(precious, "dear diary");
      const uuid = "00000000-0000-4000-8000-000000000000";
      const name = folder.file(`ttm-swap-${uuid}`);
      if (kind === "a file") linkSync(precious, name);
      else symlinkSync(kind === "a link to a file" ? precious : folder.file("nothing"), name);
      const random = vi.spyOn(globalThis.crypto, "randomUUID").mockReturnValue(uuid);
      try {
        const error = failsSync("EEXIST", () => open({ directory: folder.path }));
        expect(error.message).toContain(`cannot open swap file ${name}`);
      } finally {
        random.mockRestore();
      }
      expect(readFileSync(precious, "utf8")).toBe("dear diary");
      expect(existsSync(folder.file("nothing"))).toBe(false);
    },
  );

  test.skipIf(!HAS_PROC)("is not handed on to processes that are started (needs /proc)", () => {
    using folder = new TempFolder();
    using _device = open({ directory: folder.path });
    const { stdout } = spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" });
    expect(stdout).toContain("->");
    expect(stdout).not.toContain(folder.path);
  });

  test("can be in a folder of its own", () => {
    using folder = new TempFolder();
    const before = openFiles().length;
    using device = open({ directory: folder.path });
    use(device);
    const mine = openFiles().filter(({ target }) => target.startsWith(folder.path));
    expect(mine.map(({ target }) => target.endsWith(" (deleted)"))).toEqual(HAS_PROC ? [true] : []);
    expect(openFiles().length).toBe(before + mine.length);
    expect(readdirSync(folder.path)).toEqual([]);
    const missing = folder.file("missing");
    const error = failsSync("ENOENT", () => open({ directory: missing }));
    expect(error.message).toContain(`cannot open swap file ${missing}/ttm-swap-`);
  });

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
    expect(again).toThrow("swap device file is in use by another device");
    use(first);
    first.closeSync({ force: true });
    const second = again();
    use(second);
    second.closeSync({ force: true });
  });

  test.skipIf(!HAS_PROC)(
    "cannot serve two devices at once: two fileSwaps of one path are EBUSY (needs /proc)",
    () => {
      using folder = new TempFolder();
      const path = folder.file("swap");
      const first = open({ path });
      const bo = filled(first, 30, 1);
      bo.shrinkSync();
      for (const overwrite of [false, true]) {
        const error = failsSync("EBUSY", () => open({ path, overwrite }));
        expect(error.message).toContain(`swap file ${path} is in use by process ${process.pid}`);
        expect(error.message).toMatch(/name another one, or a directory for a private file/);
      }
      expectSame(contentSync(bo), pattern(1, bo.size), "content");
      first.closeSync({ force: true });
      open({ path }).closeSync();
    },
  );
});

describe.skipIf(!HAS_PROC)("a file that gets shorter (needs /proc)", () => {
  test("does so with what is in it: at once when that is nothing", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    using device = createDeviceSync({ memory: "1 MiB", swap: fileSwap({ size: "64 MiB", path }) });
    for (let round = 0; round < 3; round++) {
      const bos = Array.from({ length: 20 }, (_, i) => filled(device, 128, i));
      device.shrinkSync();
      expect(statSync(path).size).toBe(20 * 128 * PAGE_SIZE);
      for (const bo of bos.splice(2)) bo.destroy();
      expect(statSync(path).size).toBeLessThanOrEqual(2 * (2 * 128 + 256) * PAGE_SIZE);
      bos.forEach((bo, i) => {
        expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
        bo.destroy();
      });
      expect(statSync(path).size).toBe(0);
      expectAllFree(device);
    }
  });

  test("by much does so in steps, and keeps what is written meanwhile", async () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const swap = fileSwap({ size: "1 GiB", path });
    const page = pattern(1, PAGE_SIZE);
    for (let round = 0; round < 2; round++) {
      await swap.open?.();
      const last = { slot: swap.slots, views: [page] };
      swap.writeSync([last]);
      void swap.discard?.([{ slot: 1, pages: swap.slots }], 0);
      const left = statSync(path).size;
      expect(left).toBeGreaterThan(512 * 2 ** 20);
      expect(left).toBeLessThan(2 ** 30);
      swap.writeSync([{ slot: 50_000, views: [page] }]); // in what is still to be cut off
      await until(() => statSync(path).size === 50_000 * PAGE_SIZE);
      const view = new Uint8Array(PAGE_SIZE);
      swap.readSync([{ slot: 50_000, views: [view] }]);
      expectSame(view, page, "what was written meanwhile");
      void swap.discard?.([{ slot: 101, pages: swap.slots - 100 }], 100);
      // The next use of it is not cut off by what was left to do.
      swap.writeSync([last]);
      void swap.discard?.([{ slot: 1, pages: swap.slots }], 0);
      await swap.close?.();
    }
    await swap.open?.();
    swap.writeSync([{ slot: 1000, views: [page] }]);
    for (let i = 0; i < 20; i++) await turn();
    expect(statSync(path).size).toBe(1000 * PAGE_SIZE);
    await swap.close?.();
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
    await swap.open?.();
    try {
      const slots = [1, 2 ** 19, 2 ** 19 + 1, 2 ** 20, 2 ** 20 + 1, 2 ** 20 + 2, swap.slots - 9];
      const pages = (seed: number) => [pattern(seed, PAGE_SIZE), pattern(-seed, 2 * PAGE_SIZE)];
      swap.writeSync(slots.map((slot) => ({ slot, views: pages(slot).slice(0, 1) })));
      swap.writeSync([{ slot: swap.slots - 2, views: pages(7) }]);
      for (const slot of slots) {
        const view = new Uint8Array(PAGE_SIZE);
        swap.readSync([{ slot, views: [view] }]);
        expectSame(view, pages(slot)[0] as Uint8Array, `slot ${slot}`);
      }
      const views = [new Uint8Array(2 * PAGE_SIZE), new Uint8Array(PAGE_SIZE)];
      swap.readSync([{ slot: swap.slots - 2, views }]);
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
