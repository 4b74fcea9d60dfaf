/**
 * Draws bench/charts/memory.svg of what bench/rss/run.mjs left in build/bench/rss.json: `node scripts/memory_chart.js`. A panel a
 * runtime: what the process has of the host's memory above idle, over time, for each of those who hold the same blocks.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

/** @typedef {[ms: number, mib: number, phase: string]} Sample */
/** @typedef {{ name: string, runtime: string, version: string, idle: number, pinned?: boolean, samples: Sample[] }} Row */

/** @type {Record<string, string>} what a row's name has behind its runtime, and its colour */
const LINES = { "in place": "#2f7d32", moving: "#1f5fbf", Map: "#c2600a", "lru-cache": "#9b59b6" };
const PHASES = ["idle", "fill", "shrink", "trim", "rest", "restore", "end"];
const FONT = 'font-family="system-ui, sans-serif" font-size="12" fill="#222"';
const [WIDTH, PANEL, LEFT, TOP] = [960, 190, 60, 50];

/**
 * Phases last as long as they do; each is as wide in every panel, so that lines can be compared.
 *
 * @param {Sample[]} samples
 * @returns {[x: number, mib: number][]} x: 0 to 1, over all phases but the end
 */
function placed(samples) {
  const shown = PHASES.slice(0, -1);
  return shown.flatMap((phase, i) => {
    const own = samples.filter(([, , name]) => name === phase);
    const [first, last] = [own[0]?.[0] ?? 0, own[own.length - 1]?.[0] ?? 0];
    return own.map(([ms, mib]) => {
      const share = last > first ? (ms - first) / (last - first) : 0;
      return /** @type {[number, number]} */ ([(i + share) / shown.length, mib]);
    });
  });
}

/**
 * @param {Row[]} rows of one runtime
 * @param {number} top
 * @param {number} most MiB
 * @returns {string[]}
 */
function panel(rows, top, most) {
  const x = (/** @type {number} */ share) => LEFT + share * (WIDTH - LEFT - 20);
  const y = (/** @type {number} */ mib) =>
    top + PANEL - 40 - (Math.max(mib, 0) / most) * (PANEL - 70);
  const shown = PHASES.slice(0, -1);
  const [first] = rows;
  const parts = [
    `<text x="${LEFT}" y="${top + 14}" font-weight="600" ${FONT}>${first?.runtime} ${first?.version}</text>`,
  ];
  for (const mib of [0, most / 2, most]) {
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - 20}" y1="${y(mib)}" y2="${y(mib)}" stroke="#ddd"/>`,
      `<text x="${LEFT - 8}" y="${y(mib) + 4}" text-anchor="end" ${FONT}>${mib}</text>`,
    );
  }
  for (const [i, phase] of shown.entries()) {
    const at = x(i / shown.length).toFixed(1);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${y(most)}" y2="${y(0)}" stroke="#ddd"/>`,
      `<text x="${x((i + 0.5) / shown.length).toFixed(1)}" y="${y(0) + 16}" text-anchor="middle" ${FONT}>${phase}</text>`,
    );
  }
  for (const { name, runtime, idle, samples } of rows) {
    const points = placed(samples).map(([at, mib]) => {
      return `${x(at).toFixed(1)},${y(mib - idle / 2 ** 20).toFixed(1)}`;
    });
    const color = LINES[name.slice(runtime.length + 1)];
    parts.push(
      `<polyline points="${points.join(" ")}" fill="none" stroke="${color}" stroke-width="1.8"/>`,
    );
  }
  return parts;
}

/**
 * @param {{ rows: Row[] }} results
 * @returns {string}
 */
export function memoryChart({ rows }) {
  const lines = rows.filter(({ name, runtime }) => name.slice(runtime.length + 1) in LINES);
  const runtimes = [...new Set(lines.map(({ runtime }) => runtime))];
  const peaks = lines.flatMap(({ idle, samples }) =>
    samples.map(([, mib]) => mib - idle / 2 ** 20),
  );
  const most = Math.ceil(Math.max(...peaks) / 100) * 100;
  const height = TOP + runtimes.length * PANEL;
  const legend = Object.entries(LINES).map(([name, color], i) => {
    const at = 430 + i * 130;
    return `<rect x="${at}" y="14" width="12" height="12" fill="${color}"/><text x="${at + 17}" y="24" ${FONT}>${name}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    "<title>Resident memory above idle, MiB</title>",
    `<text x="12" y="24" font-weight="600" ${FONT}>Resident memory above idle, MiB</text>`,
    ...legend,
    ...runtimes.flatMap((runtime, i) => {
      return panel(
        lines.filter((row) => row.runtime === runtime),
        TOP + i * PANEL,
        most,
      );
    }),
    "</svg>",
    "",
  ].join("\n");
}

if (isMain(import.meta.url)) {
  const results = JSON.parse(readFileSync(join(root, "build", "bench", "rss.json"), "utf8"));
  writeFileSync(join(root, "bench", "charts", "memory.svg"), memoryChart(results));
  process.stdout.write("memory_chart: wrote bench/charts/memory.svg\n");
}
