/* The benchmarks' scripts: what they write has the promised shape. No figure of theirs is looked at. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Bench } from "../../bench/harness.ts";

const FIELDS = "bench case runtime unit median min max rounds ratio against".split(" ");

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ttm-bench-test-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function script(name: string, ...args: string[]): string {
  const run = spawnSync(process.execPath, [`scripts/${name}.js`, ...args], { encoding: "utf8" });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout;
}

/** A row as scripts/bench.js writes it. */
function row(bench: string, text: string, runtime: string, median: number, ratio: number | null) {
  const against = ratio === null ? null : "a bare call";
  const spread = { median, min: median / 2, max: median * 2, rounds: 3 };
  return { bench, case: text, runtime, unit: "ns/page", ...spread, ratio, against };
}

/** What became of a promise, as a benchmark says it. */
function promise(bench: string, text: string, runtime: string, worst: number, met: boolean) {
  return { bench, text, runtime, on: null, limit: "≥ 0.90", worst, met };
}

// The scripts run on Node; inside another runtime `process.execPath` is that one.
describe.skipIf(process.env.TTM_TEST_RUNTIME)("benchmarks", () => {
  test("bench.js writes a row a case, with every field", () => {
    const json = join(folder, "rows.json");
    const table = script(
      "bench",
      ...["--quick", "--only", "buddy,entries", "--results", folder, "--json", json],
    );
    const rows = JSON.parse(readFileSync(json, "utf8"));
    expect(new Set(rows.map((each: { bench: string }) => each.bench))).toEqual(
      new Set(["buddy", "entries"]),
    );
    for (const each of rows) {
      expect(Object.keys(each)).toEqual(FIELDS);
      const { median, min, max, rounds, ratio, against } = each;
      expect(each.runtime).toBe("node");
      expect(Math.min(min, median - min, max - median)).toBeGreaterThanOrEqual(0);
      expect(rounds).toBeGreaterThan(0);
      expect(ratio === null ? against : typeof against).toBe(ratio === null ? null : "string");
      if (ratio !== null) expect(ratio).toBeGreaterThan(0);
      expect(table).toContain(each.case);
    }
    expect(JSON.parse(readFileSync(join(folder, "results.json"), "utf8"))).toEqual(rows);
  });

  test("bench.js --help names options and benchmarks, and measures nothing", () => {
    const help = script("bench", "--help");
    for (const word of ["--runtime", "--only", "--json", "shrink_restore", "latency"]) {
      expect(help).toContain(word);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test("bench.js names the benchmarks there are when it is asked for another", () => {
    const args = ["scripts/bench.js", "--only", "nothing", "--results", folder];
    const run = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/^bench: --only nothing: there is only buddy, .*slots/);
  });

  test("bench_report.js makes a page and charts of rows", () => {
    const rows = [
      row("shrink_restore", "shrink, ram, 64 MiB, order 9", "node", 400, 0.96),
      row("shrink_restore", "shrink, ram, 64 MiB, order 9", "bun", 500, 0.71),
      row("shrink_restore", "shrink, file, 64 MiB, order 9", "node", 400, 0.96),
      row("growth", "shrink, 64 MiB", "node", 100, null),
      row("growth", "shrink, 1 GiB", "node", 110, null),
      row("growth", "make and destroy, 10 objects", "node", 110, null),
      row("growth", "make and destroy, 1000 objects", "node", 110, null),
      row("fault_path", "page in memory, p50", "node", 1, 0.8),
      row("fault_path", "page in memory, p99", "node", 30, 0.8),
    ];
    const promises = [
      promise("shrink_restore", "shrink to RAM", "node", 0.958, true),
      promise("shrink_restore", "shrink to RAM", "bun", 0.71, false),
      { ...promise("growth", "dearest size", "node", 1.1, true), limit: "≤ 1.15" },
    ];
    const about = {
      cpu: "2 x Some Processor",
      memory: "4 GiB",
      system: "Linux",
      versions: { node: "v20.19.0" },
      runs: { "growth node": { date: "2026-01-02", command: "node scripts/bench.js --cpu" } },
    };
    const results = join(folder, "results");
    mkdirSync(results);
    writeFileSync(join(results, "results.json"), JSON.stringify(rows));
    writeFileSync(join(results, "promises.json"), JSON.stringify(promises));
    writeFileSync(join(results, "about.json"), JSON.stringify(about));

    script("bench_report", "--results", results, "--to", folder);

    const page = readFileSync(join(folder, "docs", "performance.md"), "utf8");
    expect(page).toContain("2 x Some Processor, 4 GiB, Linux; node v20.19.0");
    expect(page).toContain("- 2026-01-02: `node scripts/bench.js --cpu`");
    expect(page).toContain("| shrink to RAM | ≥ 0.90 | 0.96 | **0.71, missed** |");
    expect(page).toContain("| dearest size | ≤ 1.15 | 1.1 |  |");
    expect(page).toContain("| 400 (200–800) · 0.96 | 500 (250–1000) · 0.71 | a bare call |");
    const charts = join(folder, "bench", "charts");
    const names = [
      ...["fault_path.svg", "growth_objects.svg", "growth_pages.svg"],
      ...["shrink_restore_file.svg", "shrink_restore_ram.svg"],
    ];
    expect(readdirSync(charts).sort()).toEqual(names);
    for (const name of names) {
      expect(page).toContain(`(../bench/charts/${name})`);
      const svg = readFileSync(join(charts, name), "utf8");
      expect(svg).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    }
  });

  test.each([
    [
      "a promise that was not looked at on a runtime",
      [row("copy", "engine, 64 MiB", "node", 1, 1), row("copy", "engine, 64 MiB", "bun", 1, 1)],
      /copy ran on bun and did not promise "as fast"/,
    ],
    [
      "a chart that no case is for",
      [row("copy", "renamed", "node", 1, 1)],
      /no case of copy is for the chart copy/,
    ],
  ])("bench_report.js fails for %s", (_, rows, message) => {
    const promises = [promise("copy", "as fast", "node", 1, true)];
    writeFileSync(join(folder, "results.json"), JSON.stringify(rows));
    writeFileSync(join(folder, "promises.json"), JSON.stringify(promises));
    const args = ["scripts/bench_report.js", "--results", folder, "--to", folder];
    const run = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(message);
  });
});

describe("what a benchmark promises", () => {
  const bench = () => {
    const made = new Bench("one");
    made.value("read, 1 MiB", [3], { unit: "us", ratio: 0.896, against: "a bare read" });
    made.value("read, 2 MiB", [4, 5], { unit: "us", ratio: 1.2, against: "a bare read" });
    made.value("stall", [21], { unit: "ms" });
    return made;
  };

  test("is held against the worst of the cases that it is about", () => {
    const one = bench();
    one.promise("as fast", "ratio", /^read/, { atLeast: 0.9 });
    one.promise("nearly as fast", "ratio", /^read/, { atLeast: 0.91 });
    one.promise("no stall", "median", /^stall$/, { atMost: 20, unit: "ms" });
    one.promise("short", "max", /^read/, { atMost: 5 });
    one.keep("elsewhere", [100], { atMost: 0 }, "node", "nowhere");
    expect(one.promises.map(({ limit, worst, met }) => [limit, worst, met])).toEqual([
      ["≥ 0.90", 0.896, true],
      ["≥ 0.91", 0.896, false],
      ["≤ 20 ms", 21, false],
      ["≤ 5", 5, true],
    ]);
  });

  test("is an error when no case has that name, or one has no ratio", () => {
    const one = bench();
    const limit = { atLeast: 0.9 };
    expect(() => one.promise("as fast", "ratio", /^write/, limit)).toThrow("no case is called");
    expect(() => one.promise("as fast", "ratio", /^stall/, limit)).toThrow("held against nothing");
    expect(() => one.medians(/^write/)).toThrow("no case is called");
  });
});
