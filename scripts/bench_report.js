/**
 * Writes docs/performance.md, and the charts in it to bench/charts/, from what scripts/bench.js left in
 * build/bench, and bench/peers/run.mjs in peers.md there: `node scripts/bench_report.js [--results FOLDER] [--to FOLDER]`. `--to`: the folder that
 * docs/ and bench/ are in. What is said by hand comes from bench/notes.md.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { benchNames, figure, outDir, readResults } from "./bench.js";
import { costChart, latencyChart, ratioChart } from "./bench_charts.js";
import { isMain, root } from "./paths.js";

/** @typedef {import("../bench/harness.ts").Row} Row */

const RUNTIMES = ["node", "deno", "bun", "workerd"];

/**
 * A number that is promised, and how it is read from the rows.
 *
 * @typedef {object} Promised
 * @property {string} text
 * @property {string} bench
 * @property {RegExp} cases whose worst counts
 * @property {(row: Row) => number} value
 * @property {string} limit for people
 * @property {(value: number) => boolean} met
 */

/** @param {Row} row @returns {number} */
const ratioOf = (row) => row.ratio ?? Number.NaN;

/**
 * @param {string} text
 * @param {string} bench
 * @param {RegExp} cases
 * @param {number} least ratio
 * @param {string} limit
 * @returns {Promised}
 */
const atLeast = (text, bench, cases, least, limit = `≥ ${least.toFixed(2)}`) => ({
  text,
  bench,
  cases,
  value: ratioOf,
  limit,
  met: (value) => value >= least - 0.005,
});

/** @type {Promised[]} */
const PROMISED = [
  atLeast("shrink to RAM, of memory.copy", "shrink_restore", /^shrink, ram, [^,]+, order \d$/, 0.9),
  atLeast(
    "restore from RAM, of memory.copy",
    "shrink_restore",
    /^restore, ram, [^,]+, order \d$/,
    0.9,
  ),
  atLeast(
    "shrink to file, of writeSync",
    "shrink_restore",
    /^shrink, file, [^,]+, order \d$/,
    0.95,
  ),
  atLeast(
    "restore from file, of readSync",
    "shrink_restore",
    /^restore, file, [^,]+, order \d$/,
    0.95,
  ),
  atLeast(
    "shrink with checksums, of the same",
    "shrink_restore",
    /^shrink, \w+, [^,]+, order \d, checksums$/,
    0.85,
  ),
  atLeast(
    "restore with checksums, of the same",
    "shrink_restore",
    /^restore, \w+, [^,]+, order \d, checksums$/,
    0.85,
  ),
  atLeast(
    "small objects in bulk, of bare vectored writes",
    "small_objects",
    /^shrink in bulk to file(, checksums)?, vs vectored calls$/,
    0.8,
  ),
  ...["alloc and free", "alloc in runs of 16 and free"].map((what) =>
    atLeast(
      `slots: ${what}, 16 M at 99 % against 1 M at 50 %`,
      "slots",
      new RegExp(`^${what}, 16 M slots, 99 % full$`),
      0.25,
    ),
  ),
  atLeast(
    "restore interrupted at every chunk of 2 MiB",
    "resume",
    /^restore, interrupted, \w+, order 9, at every chunk of 2 MiB$/,
    1 / 1.05,
    "≥ 0.95",
  ),
  {
    text: "pages copied twice by it",
    bench: "resume",
    cases: /^pages copied twice/,
    value: (row) => row.max,
    limit: "0",
    met: (value) => value === 0,
  },
  atLeast(
    "many operations at once, of one at a time",
    "concurrency",
    /^(read|write) of .* at once$/,
    1 / 1.2,
  ),
  {
    text: "stall of the event loop, with many at once",
    bench: "concurrency",
    cases: /^stall of the event loop/,
    value: (row) => row.median,
    limit: "≤ 20 ms",
    met: (value) => value <= 20,
  },
  {
    text: "tries that failed, with many at once",
    bench: "concurrency",
    cases: /^tries that failed/,
    value: (row) => row.max,
    limit: "0",
    met: (value) => value === 0,
  },
  atLeast("metadata of a page frame, 16 bytes", "memory", /^metadata of a page frame/, 1, "≥ 1.00"),
  atLeast(
    "metadata of an object's page, 12 bytes",
    "memory",
    /^metadata of a page of/,
    1,
    "≥ 1.00",
  ),
  atLeast("metadata of a swap slot, 1 byte", "memory", /^metadata of a swap slot/, 1, "≥ 1.00"),
  {
    text: "import to first page written, on Node",
    bench: "latency",
    cases: /^import to first page written$/,
    value: (row) => (row.runtime === "node" ? row.median : Number.NaN),
    limit: "≤ 10 ms",
    met: (value) => value <= 10,
  },
  atLeast(
    "process up to the first page, of an empty one",
    "latency",
    /^process up to the first page$/,
    1 / 3,
    "≥ 0.33",
  ),
];

/**
 * @param {string[]} cells
 * @returns {string} a line of a table
 */
const line = (cells) => `| ${cells.join(" | ")} |`;

/**
 * @param {string[]} titles
 * @param {string[][]} lines
 * @returns {string}
 */
const table = (titles, lines) =>
  [line(titles), line(titles.map(() => "---")), ...lines.map(line)].join("\n");

/**
 * Cost per page past the caches: how much the dearest size costs more than the cheapest.
 *
 * @param {Row[]} rows
 * @param {string} runtime
 * @param {string} what
 * @returns {number}
 */
function spread(rows, runtime, what) {
  const found = rows.filter(
    (row) =>
      row.bench === "growth" &&
      row.runtime === runtime &&
      new RegExp(`^${what}, (64|256) MiB$|^${what}, [12] GiB$`).test(row.case),
  );
  const costs = found.map((row) => row.median);
  return costs.length > 1 ? Math.max(...costs) / Math.min(...costs) : Number.NaN;
}

/**
 * @param {Row[]} rows
 * @param {string[]} runtimes
 * @returns {string} what was promised against what was found
 */
function promises(rows, runtimes) {
  const lines = PROMISED.map(({ text, bench, cases, value, limit, met }) => {
    const cells = runtimes.map((runtime) => {
      const own = rows.filter(
        (row) => row.bench === bench && row.runtime === runtime && cases.test(row.case),
      );
      const values = own.map(value).filter((each) => !Number.isNaN(each));
      if (values.length === 0) return "";
      const worst = values.find((each) => !met(each)) === undefined;
      const least = limit.startsWith("≥") ? Math.min(...values) : Math.max(...values);
      const shown = limit.startsWith("≥") ? least.toFixed(2) : figure(least);
      return worst ? shown : `**${shown}, missed**`;
    });
    return [text, limit, ...cells];
  });
  for (const what of ["shrink", "restore"]) {
    const cells = runtimes.map((runtime) => {
      const value = spread(rows, runtime, what);
      if (Number.isNaN(value)) return "";
      return value <= 1.15 ? value.toFixed(2) : `**${value.toFixed(2)}, missed**`;
    });
    lines.push([`${what}: cost of a page from 64 MiB to 2 GiB`, "≤ 1.15", ...cells]);
  }
  return table(["promised", "limit", ...runtimes], lines);
}

/**
 * @param {Row} row
 * @returns {string}
 */
function cell(row) {
  const { median, min, max, rounds, ratio } = row;
  const range = rounds > 1 && max > min ? ` (${figure(min)}–${figure(max)})` : "";
  return `${figure(median)}${range}${ratio === null ? "" : ` · ${ratio.toFixed(2)}`}`;
}

/**
 * @param {Row[]} rows of one benchmark
 * @param {string[]} runtimes
 * @returns {string}
 */
function rowsTable(rows, runtimes) {
  const used = runtimes.filter((runtime) => rows.some((row) => row.runtime === runtime));
  const cases = [...new Set(rows.map((row) => row.case))];
  const lines = cases.map((text) => {
    const own = rows.filter((row) => row.case === text);
    const cells = used.map((runtime) => {
      const row = own.find((each) => each.runtime === runtime);
      return row ? cell(row) : "";
    });
    return [text, own[0]?.unit ?? "", ...cells, own[0]?.against ?? ""];
  });
  return table(["case", "unit", ...used, "held against"], lines);
}

/**
 * @param {string} bench
 * @returns {string} the question its file asks: the comment at its head
 */
function question(bench) {
  const source = readFileSync(join(root, "bench", `${bench}.bench.ts`), "utf8");
  const comment = /^\/\*\n([\s\S]*?)\n \*\//.exec(source)?.[1] ?? "";
  return comment.replace(/^ \* ?/gm, "").trim();
}

/**
 * @param {Row[]} rows
 * @returns {string} the worst of what is slower than what it is held against
 */
function losses(rows) {
  const NOT_LOSSES = /^(C |Uint8Array|copyWithin|first touch)/;
  const lost = rows
    .filter((row) => row.ratio !== null && row.ratio < 0.9 && !NOT_LOSSES.test(row.case))
    .filter((row) => !["buddy", "entries", "latency", "memory", "slots"].includes(row.bench));
  const lines = [];
  for (const bench of new Set(lost.map((row) => row.bench))) {
    const own = lost.filter((row) => row.bench === bench);
    const cases = [...new Set(own.map((row) => row.case))]
      .map((text) => {
        const ratios = own.filter((row) => row.case === text).map(ratioOf);
        return { text, worst: Math.min(...ratios), row: own.find((row) => row.case === text) };
      })
      .sort((a, b) => a.worst - b.worst)
      .slice(0, 6);
    for (const { text, worst, row } of cases) {
      lines.push([bench, text, worst.toFixed(2), row?.against ?? ""]);
    }
  }
  return table(["benchmark", "case", "worst ratio", "of"], lines);
}

/**
 * @param {string} name of a section of bench/notes.md
 * @returns {string} its text, or nothing
 */
function notes(name) {
  const path = join(root, "bench", "notes.md");
  if (!existsSync(path)) return "";
  const sections = readFileSync(path, "utf8").split(/^## /m);
  const section = sections.find((text) => text.startsWith(`${name}\n`));
  return section?.slice(name.length + 1).trim() ?? "";
}

/**
 * A chart of a benchmark's rows.
 *
 * @typedef {object} Chart
 * @property {string} name of the file
 * @property {string} svg
 * @property {string} text that stands for it
 */

/** @type {{ bench: string, name: string, text: string, draw: (rows: Row[]) => string | undefined }[]} */
const CHARTS = [
  {
    bench: "copy",
    name: "copy",
    text: "ratios of copies",
    draw: (rows) => ratioChart(rows, "Copy of pages, of memory.copy", /64 MiB$/),
  },
  {
    bench: "shrink_restore",
    name: "shrink_restore_ram",
    text: "ratios of shrink and restore to RAM",
    draw: (rows) => ratioChart(rows, "Shrink and restore to RAM, of memory.copy", /, ram, /),
  },
  {
    bench: "shrink_restore",
    name: "shrink_restore_file",
    text: "ratios of shrink and restore to file",
    draw: (rows) =>
      ratioChart(rows, "Shrink and restore to file, of writeSync and readSync", /, file, /),
  },
  {
    bench: "small_objects",
    name: "small_objects",
    text: "ratios of small objects",
    draw: (rows) => ratioChart(rows, "Small objects, of bare calls", /./),
  },
  {
    bench: "clean_pages",
    name: "clean_pages",
    text: "ratios of a workload with clean pages",
    draw: (rows) => ratioChart(rows, "Clean pages, of dirty ones", /^Zipf/),
  },
  {
    bench: "growth",
    name: "growth_pages",
    text: "cost of a page against the size",
    draw: (rows) => costChart(rows, "Cost of a page (ns)", /^(shrink|restore), ([\d.]+ [KMG]iB)$/),
  },
  {
    bench: "growth",
    name: "growth_objects",
    text: "cost of an object against their number",
    draw: (rows) =>
      costChart(rows, "Cost of an object (ns)", /^(make|shrink and read back).*, (\d+) objects$/),
  },
  {
    bench: "fault_path",
    name: "fault_path",
    text: "latency distribution of a read",
    draw: (rows) => latencyChart(rows, "One readSync of 4 KiB (µs)"),
  },
  {
    bench: "latency",
    name: "event_loop",
    text: "event-loop delay",
    draw: (rows) =>
      latencyChart(
        rows.filter((row) => row.case.startsWith("event-loop")),
        "Event-loop delay (ms)",
      ),
  },
];

/**
 * @param {Row[]} rows of one benchmark
 * @returns {Chart[]} those of its charts that have something to show
 */
function chartsOf(rows) {
  return CHARTS.filter(({ bench }) => bench === rows[0]?.bench).flatMap(({ name, text, draw }) => {
    const svg = draw(rows);
    return svg === undefined ? [] : [{ name, text, svg }];
  });
}

/**
 * @param {Record<string, { date: string, command: string }>} runs by benchmark and runtime
 * @param {Row[]} rows
 * @returns {string[]} a line for each command that rows come from
 */
function commands(runs, rows) {
  const used = rows.flatMap(({ bench, runtime }) => {
    const run = runs[`${bench} ${runtime}`];
    return run ? [`- ${run.date}: \`${run.command}\``] : [];
  });
  return [...new Set(used)].sort();
}

/**
 * @param {string} folder of results
 * @returns {string[]} what bench/peers/run.mjs left there
 */
function peers(folder) {
  const file = join(folder, "peers.md");
  if (!existsSync(file)) return [];
  return ["## Peers", "", notes("Peers"), "", readFileSync(file, "utf8")];
}

/**
 * @param {Row[]} rows
 * @param {import("./bench.js").About} about
 * @param {string} folder of results
 * @returns {string}
 */
function report(rows, about, folder) {
  const runtimes = RUNTIMES.filter((runtime) => rows.some((row) => row.runtime === runtime));
  const known = benchNames();
  const benches = [...new Set(rows.map((row) => row.bench))];
  const order = [...known.filter((name) => benches.includes(name))];
  order.push(...benches.filter((name) => !known.includes(name)));
  const versions = Object.entries(about.versions).map(([name, version]) =>
    version.startsWith(name) ? version : `${name} ${version}`,
  );
  return [
    "# Performance",
    "",
    "<!-- Generated by `npm run bench:report`; what is said by hand lies in bench/notes.md. -->",
    "",
    `Measured on ${about.cpu}, ${about.memory}, ${about.system}; ${versions.join("; ")}.`,
    "",
    ...commands(about.runs, rows),
    "",
    "Contenders take turns in one process, in alternating order, after a warm-up, on pages that were",
    "touched before. A cell is the median (min–max) of the rounds, then the median of the rounds' ratios:",
    "above 1 is faster than what it is held against.",
    "",
    notes("How to read it"),
    "",
    "## What is promised",
    "",
    "The worst of all cases that a promise is about.",
    "",
    promises(rows, runtimes),
    "",
    "## What we lose at",
    "",
    notes("What we lose at"),
    "",
    losses(rows),
    "",
    "## Where a number is missed",
    "",
    notes("Where a number is missed"),
    "",
    ...peers(folder),
    "",
    ...order.flatMap((bench) => {
      const own = rows.filter((row) => row.bench === bench);
      return [
        `## ${bench}`,
        "",
        ...(known.includes(bench) ? [question(bench), ""] : []),
        ...chartsOf(own).flatMap(({ name, text }) => [
          `![${text}](../bench/charts/${name}.svg)`,
          "",
        ]),
        rowsTable(own, runtimes),
        "",
      ];
    }),
  ]
    .join("\n")
    .replace(/\n{3,}/g, "\n\n");
}

/** @returns {number} exit code */
function main() {
  const { values } = parseArgs({
    options: {
      results: { type: "string", default: outDir },
      to: { type: "string", default: root },
    },
  });
  const { rows, about } = readResults(values.results);
  if (rows.length === 0) {
    console.error("bench_report: there are no results; run npm run bench:all first");
    return 1;
  }
  const chartDir = join(values.to, "bench", "charts");
  rmSync(chartDir, { recursive: true, force: true });
  mkdirSync(chartDir, { recursive: true });
  mkdirSync(join(values.to, "docs"), { recursive: true });
  for (const bench of new Set(rows.map((row) => row.bench))) {
    for (const { name, svg } of chartsOf(rows.filter((row) => row.bench === bench))) {
      writeFileSync(join(chartDir, `${name}.svg`), svg);
    }
  }
  writeFileSync(join(values.to, "docs", "performance.md"), report(rows, about, values.results));
  console.log("bench_report: wrote docs/performance.md and bench/charts/");
  return 0;
}

if (isMain(import.meta.url)) process.exitCode = main();
