/* What the command prints of what the runtimes did: a table, or JSON. */
import { describe, expect, test } from "vitest";
import { parseCommand, type RunOptions } from "../../src/cli/args.ts";
import { type JobReport, type Measured, toJson } from "../../src/cli/report.ts";
import { table } from "../../src/cli/table.ts";

const MIB = 2 ** 20;

function optionsOf(...argv: string[]): RunOptions {
  const command = parseCommand(["run", ...argv]);
  if (command.name !== "run") throw new Error(`parsed as ${command.name}`);
  return command.options;
}

const FAST: Measured = { bytesPerSecond: 2.345e9, ratio: 0.98765, ratioMin: 0.9, ratioMax: 1.1 };

function reportOf(more: Partial<JobReport> = {}): JobReport {
  return {
    runtime: "node",
    version: "20.19.0",
    objects: 1234,
    bytes: 512 * MIB,
    memoryBytes: 64 * MIB,
    accesses: 20_000,
    mismatches: 0,
    interrupted: 1000,
    resumed: 999,
    pagesOut: 1_234_567,
    pagesIn: 0,
    pagesClean: 12,
    faults: 7,
    p50us: 1.5,
    p99us: null,
    rssIdleBytes: 40 * MIB,
    rssPeakBytes: 120 * MIB,
    rssSource: "VmHWM",
    measured: { populate: FAST, ramShrink: FAST },
    ...more,
  };
}

function linesOf(options: RunOptions, ...reports: JobReport[]): string[] {
  const plan = { objects: 1234, bytes: 512 * MIB, pages: 131072, files: 3 };
  const setting = { options, paths: ["a", "b"], plan, filesListed: 1000, swapSize: 576 * MIB };
  return table(setting, reports).split("\n");
}

/** The cells of the row with that label. */
function cells(lines: readonly string[], label: string): string[] | undefined {
  const row = lines.find((line) => line.startsWith(`${label}   `));
  return row?.slice(label.length).trim().split(/ {3,}/);
}

describe("the table", () => {
  test("says what was done, and where", () => {
    const lines = linesOf(optionsOf("a", "b", "--interrupt", "0.125"), reportOf());
    expect(lines[0]).toBe("files    3 of 1,000 in a, b");
    expect(lines[1]).toBe("objects  512 MiB in pieces of 2 MiB at most");
    expect(lines[2]).toBe("memory   64 MiB of cached pages; swap: file (private file), 576 MiB");
    expect(lines[3]).toContain("20,000 in zipf order, seed 1; 12.5 % of restores interrupted");
    expect(lines[4]).toMatch(/^machine {2}.+, \d+ cores, .+/);
  });

  test("has a column for each runtime, and a dash for what was not measured", () => {
    const deno = reportOf({ runtime: "deno", version: "2.9.5", objects: 5, p99us: 12.34 });
    const lines = linesOf(optionsOf(), reportOf(), deno);
    expect(lines[6]?.trim().split(/ {3,}/)).toEqual(["node 20.19.0", "deno 2.9.5"]);
    expect(cells(lines, "objects")).toEqual(["1,234", "5"]);
    expect(cells(lines, "pages out")).toEqual(["1,234,567", "1,234,567"]);
    expect(cells(lines, "access p50")).toEqual(["1.5 us", "1.5 us"]);
    expect(cells(lines, "access p99")).toEqual(["-", "12.3 us"]);
    expect(cells(lines, "populate")).toEqual(["2.35 GB/s", "2.35 GB/s"]);
    const at = lines.findIndex((line) => line.startsWith("populate   "));
    expect(lines[at + 1]).toMatch(/^ {2}of the roof +0\.99 \(0\.90-1\.10\) {3}0\.99/);
    expect(cells(lines, "shrink to file")).toEqual(["-", "-"]);
    const widths = new Set(lines.slice(6, at).map((line) => line.length));
    expect(widths.size).toBe(1);
  });

  test("speaks of faults and of files only where there are some", () => {
    const file = linesOf(optionsOf("--fault", "0.1", "--swap", "file:/swap"), reportOf());
    expect(cells(file, "faults injected")).toEqual(["7"]);
    expect(file[2]).toContain("swap: file (/swap)");
    expect(file.join("\n")).toContain("roof, file:");
    const ram = linesOf(optionsOf("--swap", "ram"), reportOf());
    expect(ram[2]).toContain("swap: ram (in linear memory)");
    expect(cells(ram, "faults injected")).toBeUndefined();
    expect(cells(ram, "shrink to file")).toBeUndefined();
    expect(ram.join("\n")).not.toContain("roof, file:");
  });

  test("says where the peak comes from", () => {
    const last = (report: JobReport) => linesOf(optionsOf(), report).at(-2);
    expect(last(reportOf())).toBe("peak RSS: the kernel's mark (VmHWM)");
    expect(last(reportOf({ rssSource: "samples" }))).toBe("peak RSS: highest of samples");
  });
});

test("the JSON has four digits of what was measured, and null for what was not", () => {
  const { measured: _, ...counts } = reportOf();
  const names = ["shrink", "restore", "shrinkSums", "restoreSums", "ramRestore"];
  const none = Object.fromEntries(names.map((name) => [name, null]));
  expect(toJson([reportOf()])).toEqual({
    runtimes: [
      {
        ...counts,
        ratio: { ...none, populate: 0.9877, ramShrink: 0.9877 },
        bytesPerSecond: { ...none, populate: 2_345_000_000, ramShrink: 2_345_000_000 },
      },
    ],
  });
});
