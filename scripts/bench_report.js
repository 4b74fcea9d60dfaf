/**
 * Writes docs/performance.md, and the charts in it to bench/charts/, from what scripts/bench.js left in
 * build/bench, and bench/peers/run.mjs in peers.md there:
 * `node scripts/bench_report.js [--results FOLDER] [--to FOLDER]`. `--to`: the folder that docs/ and bench/ are in.
 * What is said by hand comes from bench/notes.md; what is promised, and whether it was kept, from the benchmarks.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { benchNames, figure, outDir, readResults } from "./bench.js";
import { costChart, latencyChart, ratioChart } from "./bench_charts.js";
import { isMain, root } from "./paths.js";

/** @typedef {import("../bench/harness.ts").Row} Row */
/** @typedef {import("../bench/harness.ts").Kept} Kept */

const RUNTIMES = ["node", "deno", "bun", "workerd"];

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
 * Promises in the order of the benchmarks. A cell is empty where a benchmark did not run, or where the promise is
 * about another runtime.
 *
 * @param {Kept[]} promises
 * @param {Row[]} rows
 * @param {string[]} runtimes
 * @returns {string} what was promised against what was found
 * @throws Error when a benchmark ran somewhere without a promise that it made elsewhere
 */
function promised(promises, rows, runtimes) {
  const known = benchNames();
  const order = (/** @type {Kept} */ { bench }) => known.indexOf(bench);
  const texts = new Map([...promises].sort((a, b) => order(a) - order(b)).map((p) => [p.text, p]));
  const lines = [...texts.values()].map(({ text, bench, on, limit }) => {
    const cells = runtimes.map((runtime) => {
      const kept = promises.find((each) => each.text === text && each.runtime === runtime);
      if (kept) {
        const shown = limit.startsWith("≥") ? kept.worst.toFixed(2) : figure(kept.worst);
        return kept.met ? shown : `**${shown}, missed**`;
      }
      const ran = rows.some((row) => row.bench === bench && row.runtime === runtime);
      if (!ran || runtime === "workerd" || (on !== null && on !== runtime)) return "";
      throw new Error(`${bench} ran on ${runtime} and did not promise "${text}": run it again`);
    });
    return [text, limit, ...cells];
  });
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
        const ratios = own.filter((row) => row.case === text).map((row) => row.ratio ?? Number.NaN);
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
 * @returns {Chart[]} its charts
 * @throws Error when one of them has nothing to show: its cases have other names now
 */
function chartsOf(rows) {
  return CHARTS.filter(({ bench }) => bench === rows[0]?.bench).map(({ name, text, draw }) => {
    const svg = draw(rows);
    if (svg === undefined) throw new Error(`no case of ${rows[0]?.bench} is for the chart ${name}`);
    return { name, text, svg };
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
 * @param {ReturnType<typeof readResults>} results
 * @param {string} folder of them
 * @returns {string}
 */
function report({ rows, promises, about }, folder) {
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
    promised(promises, rows, runtimes),
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
        ...(known.includes(bench) ? [question(bench), "", notes(bench), ""] : []),
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
  const results = readResults(values.results);
  const { rows } = results;
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
  writeFileSync(join(values.to, "docs", "performance.md"), report(results, values.results));
  console.log("bench_report: wrote docs/performance.md and bench/charts/");
  return 0;
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = main();
  } catch (error) {
    console.error(`bench_report: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
