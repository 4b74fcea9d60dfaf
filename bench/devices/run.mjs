/**
 * Swap devices in the places they are for, beside the same store used by hand with lru-cache in front:
 * `node bench/devices/run.mjs [--only TEXT[,TEXT]] [--quick] [--json FILE]`, after a build and
 * `npm ci --prefix bench/peers`. A file of rows/ for each device; the programs lie in programs/.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { root } from "../../scripts/paths.js";

/**
 * What a bench gets: `bundle(files of the project, options of esbuild's)` puts programs, with the built package
 * and what is in bench/peers, into `folder`; `quick`.
 */
function toolsOf(folder, quick) {
  return {
    folder,
    quick,
    bundle: (entryPoints, options = {}) =>
      build({
        absWorkingDir: root,
        entryPoints,
        outdir: folder,
        bundle: true,
        format: "esm",
        target: "esnext",
        loader: { ".wasm": "copy" },
        assetNames: "[name]",
        nodePaths: [join(root, "bench", "peers", "node_modules")],
        // The project's own configuration would lead "ttm-wasm" to the sources.
        tsconfigRaw: {},
        logLevel: "warning",
        ...options,
      }),
  };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

function spread(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Samples of a case as figures: MiB/s, and the ratio within the rounds. */
function figuresOf({ case: text, ours, peer }) {
  const ratios = ours.map((value, i) => value / peer[i]);
  return { case: text, ours: spread(ours), peer: spread(peer), ratio: spread(ratios) };
}

function show({ median, min, max }, digits = 0) {
  const [m, from, to] = [median, min, max].map((value) => value.toFixed(digits));
  return `${m} (${from}-${to})`.padEnd(18);
}

async function readBenches(only) {
  const names = readdirSync(new URL("rows", import.meta.url)).sort();
  const modules = await Promise.all(names.map((name) => import(`./rows/${name}`)));
  const all = modules.flatMap(({ benches }) => benches);
  const chosen = all.filter(({ name }) => only.split(",").some((text) => name.includes(text)));
  if (chosen.length === 0) throw new Error(`no device's name contains ${only}`);
  return chosen;
}

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const results = [];
for (const { name, run } of await readBenches(values.only)) {
  const folder = mkdtempSync(join(tmpdir(), "ttm-bench-devices-"));
  try {
    const { missing, version, rows = [] } = await run(toolsOf(folder, values.quick));
    if (missing !== undefined) {
      console.log(`\n${name}: skipped, ${missing}`);
      continue;
    }
    console.log(`\n${name} (${version}), MiB/s: median (min-max)`);
    console.log(`${"".padEnd(46)}${"ours".padEnd(18)}${"by hand".padEnd(18)}ratio`);
    for (const row of rows.map(figuresOf)) {
      results.push({ device: name, version, ...row });
      const { case: text, ours, peer, ratio } = row;
      console.log(`${text.padEnd(46)}${show(ours)}${show(peer)}${show(ratio, 2)}`.trimEnd());
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
