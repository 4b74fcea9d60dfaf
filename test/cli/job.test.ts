/* The job of one runtime, in this process: what it counts and measures, by where pages go, and what it says of errors. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CommandError } from "../../src/cli/errors.ts";
import { type JobInput, runJob } from "../../src/cli/job.ts";
import type { JobReport } from "../../src/cli/report.ts";
import { Rss } from "../../src/cli/rss.ts";
import { tempFolder, writeNoise } from "./folder.ts";

const KIB = 1024;
const MIB = 2 ** 20;

const folder = tempFolder();
const path = writeNoise(join(folder, "noise"), 700 * KIB);

function run(more: Partial<JobInput> = {}): Promise<JobReport> {
  const input: JobInput = {
    files: [{ path, size: 700 * KIB }],
    size: 3 * MIB,
    objectSize: 128 * KIB,
    memory: MIB,
    accesses: 100,
    seed: 7,
    interrupt: 0.2,
    swap: { kind: "file" },
    swapSize: 8 * MIB,
    caching: "cached",
    poolSize: undefined,
    fault: 0,
    trim: false,
    overwrite: false,
    ...more,
  };
  return runJob(input, new Rss(), 0, { progress: () => {}, warning: () => {} });
}

/** What it fails with. */
async function failureOf(more: Partial<JobInput>): Promise<string> {
  try {
    await run(more);
  } catch (error) {
    expect(error).toBeInstanceOf(CommandError);
    return (error as CommandError).message;
  }
  throw new Error("nothing failed");
}

describe("a job", () => {
  test("measures a file with and without checksums, and RAM elsewhere", async () => {
    const { measured, mismatches, pagesOut } = await run();
    expect(Object.keys(measured).sort()).toEqual([
      "restore",
      "restoreSums",
      "shrink",
      "shrinkSums",
    ]);
    for (const one of Object.values(measured)) {
      expect(one.ratioMin).toBeGreaterThan(0);
      expect(one.ratioMin).toBeLessThanOrEqual(one.ratio);
      expect(one.ratio).toBeLessThanOrEqual(one.ratioMax);
    }
    expect(mismatches).toBe(0);
    expect(pagesOut).toBeGreaterThan(0);
  });

  test("measures RAM swap, and new pages, against memory.copy", async () => {
    const { measured, pagesIn, p50us, p99us } = await run({ swap: { kind: "ram" } });
    const { populate, ramShrink, ramRestore } = measured;
    for (const one of [populate, ramShrink, ramRestore]) expect(one?.ratio).toBeGreaterThan(0);
    expect(measured.shrink).toBe(ramShrink);
    expect(measured.restore).toBe(ramRestore);
    expect(pagesIn).toBeGreaterThan(0);
    expect(p50us).toBeLessThanOrEqual(p99us as number);
  });

  test("loses nothing in compressed swap", async () => {
    const { measured, mismatches, pagesIn } = await run({ swap: { kind: "compressed" } });
    expect(measured).toEqual({});
    expect(pagesIn).toBeGreaterThan(0);
    expect(mismatches).toBe(0);
  });

  test("knows no times without accesses", async () => {
    expect(await run({ accesses: 0 })).toMatchObject({ p50us: null, p99us: null, accesses: 0 });
  });

  test("does again what fails on purpose, and loses nothing", async () => {
    const { faults, mismatches } = await run({ fault: 0.05, caching: "wc", poolSize: 64 * KIB });
    expect(faults).toBeGreaterThan(0);
    expect(mismatches).toBe(0);
  });

  test("uses the file that it is told, and leaves nothing of it", async () => {
    const swap = join(folder, "swap");
    expect((await run({ swap: { kind: "file", path: swap } })).mismatches).toBe(0);
    expect(() => statSync(swap)).toThrow("ENOENT");
  });

  test("says what to do when swap is too small, and that all is there", async () => {
    const text = await failureOf({ swapSize: MIB });
    expect(text).toMatch(/^ENOSPC.*; raise --swap-size \(now 1 MiB\); all \d+ objects/);
    expect(text).toContain("were read back and are intact");
  });

  test("says which option is to blame when it cannot begin", async () => {
    const nowhere = { kind: "file", path: join(folder, "none", "swap") } as const;
    expect(await failureOf({ swap: nowhere })).toMatch(/^--swap: ENOENT/);
    expect(await failureOf({ memory: 1 })).toMatch(/^--memory and --swap-size: memory/);
  });
});
