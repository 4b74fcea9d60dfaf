import { appendFileSync, mkdirSync, rmSync, symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CommandError } from "../../src/cli/errors.ts";
import { listFiles, partsUpTo, plan, type SourceFile, swapFor } from "../../src/cli/files.ts";
import { type JobInput, runJob } from "../../src/cli/job.ts";
import { spread } from "../../src/cli/measure.ts";
import { ChangedError, loadFile, Objects } from "../../src/cli/objects.ts";
import { Rss } from "../../src/cli/rss.ts";
import { createDeviceSync } from "../../src/index.ts";
import { tempFolder, writeNoise } from "./folder.ts";

const folder = tempFolder();
const KIB = 1024;
const MIB = 2 ** 20;

describe("listFiles", () => {
  const tree = join(folder, "tree");
  writeNoise(join(tree, "b"), 300);
  writeNoise(join(tree, "deep", "er", "a"), 300);
  writeNoise(join(tree, "large"), 5000);
  writeNoise(join(tree, "empty"), 0);
  writeNoise(join(folder, "outside", "far"), 10);
  symlinkSync(join(folder, "outside"), join(tree, "link-to-folder"));
  symlinkSync(join(folder, "outside", "far"), join(tree, "link-to-file"));

  test("lists a tree smallest first, without links and empty files", () => {
    expect(listFiles([tree])).toEqual([
      { path: join(tree, "b"), size: 300 },
      { path: join(tree, "deep", "er", "a"), size: 300 },
      { path: join(tree, "large"), size: 5000 },
    ]);
  });

  test("lists a file once, however many paths lead to it; a named link is followed", () => {
    const paths = [tree, join(tree, "b"), join(tree, "deep"), join(tree, "link-to-file")];
    expect(listFiles(paths).map(({ size }) => size)).toEqual([10, 300, 300, 5000]);
  });

  test("names what cannot be read, and what to do", () => {
    const missing = join(folder, "missing");
    expect(() => listFiles([missing])).toThrow(CommandError);
    expect(() => listFiles([missing])).toThrow(`cannot read ${missing}: no such file or folder`);
    symlinkSync("loop", join(folder, "loop"));
    expect(() => listFiles([join(folder, "loop")])).toThrow(/cannot read .*loop: .*; make it/);
    expect(() => listFiles(["/dev/null"])).toThrow("/dev/null is neither a file nor a folder");
  });

  test("has nothing to load in an empty tree", () => {
    const empty = join(folder, "nothing");
    mkdirSync(empty);
    expect(() => listFiles([empty])).toThrow(`nothing to load in ${empty}`);
    expect(() => listFiles([join(tree, "empty")])).toThrow("nothing to load");
  });
});

describe("plan", () => {
  const files = [
    { path: "a", size: 100 },
    { path: "b", size: 10_000 },
  ];

  test("cuts files into objects and takes them again until the size is reached", () => {
    const parts = [...partsUpTo(files, 4096, 15_000)];
    expect(parts.map(({ size }) => size)).toEqual([100, 4096, 4096, 1808, 100, 4096, 4096]);
    expect(plan(files, 4096, 15_000)).toEqual({ objects: 7, bytes: 18_392, pages: 7, files: 2 });
    expect(plan(files, 4096, 50)).toEqual({ objects: 1, bytes: 100, pages: 1, files: 1 });
  });

  test("swap holds all of it and some more", () => {
    expect(swapFor(plan(files, 4096, 15_000))).toBe(8 * 4096);
  });

  test("refuses more objects than it can keep track of", () => {
    expect(() => plan(files, 4096, 2 ** 40)).toThrow(/--size 1 TiB .* lower --size/);
  });
});

describe("spread", () => {
  const sizes = Array.from({ length: 1000 }, (_, index) => (index + 1) * 40);

  test("takes from all over the list and fills the budget, never more", () => {
    const chosen = spread(sizes, 300);
    const pages = chosen.reduce((sum, i) => sum + Math.ceil((sizes[i] as number) / 4096), 0);
    expect(pages).toBeLessThanOrEqual(300);
    expect(pages).toBeGreaterThan(250);
    for (let part = 0; part < 4; part++) {
      const within = chosen.filter((index) => Math.floor(index / 250) === part).length;
      expect(Math.abs(within - chosen.length / 4)).toBeLessThan(3);
    }
  });

  test("takes nothing when nothing fits, all when all does", () => {
    expect(spread([8192, 8192], 1)).toEqual([]);
    expect(spread([8192, 8192], 100)).toEqual([0, 1]);
    expect(spread([], 100)).toEqual([]);
  });
});

describe("loadFile", () => {
  /** Loads `size` bytes in objects of 64 KiB, with `hook` called after each. */
  function load(name: string, size: number, hook: (path: string, objects: number) => void) {
    const path = writeNoise(join(folder, name), size);
    const device = createDeviceSync({ memory: "1 MiB" });
    const objects = new Objects();
    const before = writeNoise(join(folder, `${name}-before`), 100);
    loadFile({ device }, { path: before, size: 100 }, 65536, 1e9, objects, () => {});
    const file: SourceFile = { path, size };
    const run = () =>
      loadFile({ device }, file, 65536, 1e9, objects, () => hook(path, objects.count));
    return { device, objects, path, run };
  }

  test("loads a file of several objects", () => {
    const { device, objects, run } = load("whole", 200 * KIB, () => {});
    run();
    expect(objects.buffers.map(({ size }) => size)).toEqual([100, 65536, 65536, 65536, 8192]);
    expect(objects.bytes).toBe(100 + 200 * KIB);
    device.closeSync({ force: true });
  });

  test.each([
    ["grows", (path: string) => appendFileSync(path, "more"), /had 204800 bytes .* 204804 now/],
    ["shrinks", (path: string) => truncateSync(path, 70_000), /became shorter while it was read/],
    ["is emptied", (path: string) => truncateSync(path, 0), /became shorter while it was read/],
  ])("a file that %s while it is read leaves nothing behind", (name, change, message) => {
    const { device, objects, run } = load(name.replace(" ", "-"), 200 * KIB, (path, count) => {
      if (count === 2) change(path);
    });
    let thrown: unknown;
    try {
      run();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ChangedError);
    expect((thrown as Error).message).toMatch(message);
    expect(objects.count).toBe(1);
    expect(objects.bytes).toBe(100);
    const { buffers, pages } = device.stats();
    expect(buffers).toBe(1);
    expect(pages.free).toBe(pages.total - 1);
    device.check();
    device.closeSync({ force: true });
  });

  test("a file that has gone is told from one that cannot be read", () => {
    const { device, path, run } = load("gone", KIB, () => {});
    rmSync(path);
    expect(run).toThrow(ChangedError);
    expect(run).toThrow(`${path} has gone`);
    mkdirSync(path);
    expect(run).toThrow(`${path} is no longer a file`);
    device.closeSync({ force: true });
  });
});

describe("runJob", () => {
  function jobOf(files: readonly SourceFile[]): JobInput {
    return {
      files,
      size: 3 * MIB,
      objectSize: 256 * KIB,
      memory: MIB,
      accesses: 200,
      seed: 5,
      interrupt: 0.5,
      swap: { kind: "file" },
      swapSize: 8 * MIB,
      overwrite: false,
      caching: "cached",
      poolSize: undefined,
      fault: 0,
      trim: false,
    };
  }

  test("warns of files that changed, leaves them out and goes on", async () => {
    const stays = writeNoise(join(folder, "stays"), 500 * KIB);
    const grew = writeNoise(join(folder, "grew"), 300 * KIB);
    const files = [
      { path: join(folder, "vanished"), size: 10 },
      { path: grew, size: 100 },
      { path: stays, size: 500 * KIB },
    ];
    const warnings: string[] = [];
    const phases = new Set<string>();
    const report = await runJob(jobOf(files), new Rss(), 0, {
      progress: (phase) => phases.add(phase),
      warning: (text) => warnings.push(text),
    });
    expect(warnings).toEqual([
      `${files[0]?.path} has gone; it is left out`,
      `${grew} had 100 bytes when it was listed and has 307200 now; it is left out`,
    ]);
    expect([...phases]).toEqual(["load", "sequential", "zipf", "measure"]);
    // 500 KiB are two objects, and seven times that reach 3 MiB (the last time in part).
    expect(report.objects).toBe(13);
    expect(report.bytes).toBeGreaterThanOrEqual(3 * MIB);
    expect(report.mismatches).toBe(0);
    expect(report.interrupted).toBeGreaterThan(0);
    expect(report.resumed).toBe(report.interrupted);
    expect(report.pagesIn).toBeGreaterThan(0);
  });

  test("is an error when no file is as it was", async () => {
    const files = [{ path: join(folder, "vanished"), size: 10 }];
    const events = { progress: () => {}, warning: () => {} };
    const run = runJob(jobOf(files), new Rss(), 0, events);
    await expect(run).rejects.toThrow("every file changed");
  });
});
