/**
 * Runs the benchmarks of bench/: `node scripts/bench.js [--runtime node,deno,bun] [--only copy,slots]
 * [--quick] [--cpu] [--json FILE] [--results FOLDER]`.
 *
 * Each is bundled with the library's sources, and runs in a process of its own on each runtime. Rows go
 * to results.json in a folder (build/bench), where those of an earlier run of the same benchmark and
 * runtime are replaced, and a table with the runtimes side by side to standard output. about.json beside
 * it says on what machine, when and by which command.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, release, totalmem, type } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { isMain, root } from "./paths.js";
import { findRuntime, versionOf } from "./runtimes.js";

/** @typedef {"node" | "deno" | "bun"} BenchRuntime */
/** @typedef {import("../bench/harness.ts").Row} Row */
/** @typedef {import("../bench/harness.ts").Kept} Kept */

/** @type {Record<BenchRuntime, string[]>} what each runtime needs to run a bundle with all rights */
const FLAGS = { node: [], deno: ["run", "--allow-all", "--no-lock", "--no-config"], bun: [] };

const benchDir = join(root, "bench");
/** Where bundles go, and results unless told otherwise. */
export const outDir = join(root, "build", "bench");

const SUFFIX = ".bench.ts";

/** @returns {string[]} the benchmarks' names, in the order of the files */
export function benchNames() {
  const names = readdirSync(benchDir).filter((name) => name.endsWith(SUFFIX));
  return names.map((name) => name.slice(0, -SUFFIX.length)).sort();
}

/** @type {import("esbuild").BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2022",
  external: ["node:*", "bun:*"],
  loader: { ".wasm": "base64" },
  nodePaths: (process.env.NODE_PATH ?? "").split(delimiter).filter((path) => path !== ""),
  logLevel: "warning",
};

/**
 * Bundles benchmarks with what they measure.
 *
 * @param {string[]} names
 */
async function bundle(names) {
  const esbuild = await import("esbuild");
  await esbuild.build({
    ...common,
    // The library in files of its own, as it is published: what an error costs depends on it.
    entryPoints: [
      ...names.map((name) => ({ in: `bench/${name}${SUFFIX}`, out: name })),
      { in: "src/index.ts", out: "ttm-wasm" },
      { in: "src/engine/module.ts", out: "engine" },
    ],
    splitting: true,
    outdir: "build/bench",
    outExtension: { ".js": ".mjs" },
    platform: "neutral",
    mainFields: ["module", "main"],
  });
  if (names.includes("latency")) await bundlePrograms(esbuild);
}

/**
 * Bundles the programs of bench/start/, each as one that runs by itself and as a test of workerd's.
 *
 * @param {typeof import("esbuild")} esbuild
 */
async function bundlePrograms(esbuild) {
  for (const file of readdirSync(join(benchDir, "start"))) {
    for (const workerd of [false, true]) {
      const use = workerd ? "export default { test: run };" : "run();";
      await esbuild.build({
        ...common,
        stdin: {
          contents: `import { run } from "./bench/start/${file}";\n${use}\n`,
          resolveDir: root,
        },
        outfile: join(outDir, "start", workerd ? "workerd" : "", file.replace(".ts", ".mjs")),
        platform: "neutral",
        mainFields: ["module", "main"],
        minify: true,
        loader: { ".wasm": workerd ? "copy" : "base64" },
        assetNames: "[name]",
        plugins: workerd ? [compiledAhead] : [],
      });
    }
  }
}

/**
 * workerd compiles no code at run time: it gets the engine as a module of its own, as the package's
 * `workerd` condition has it.
 *
 * @type {import("esbuild").Plugin}
 */
const compiledAhead = {
  name: "compiled-ahead",
  setup(build) {
    build.onResolve({ filter: /\/module\.ts$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, dirname(path), "module.workerd.ts"),
    }));
    build.onResolve({ filter: /^\.\/engine\.wasm$/ }, () => ({
      path: join(root, "build", "engine.wasm"),
    }));
  },
};

/**
 * Runs one benchmark.
 *
 * @param {BenchRuntime} runtime
 * @param {string} program
 * @param {string} name
 * @param {string[]} flags for the benchmark
 * @returns {Results | undefined} what it found, unless it failed
 */
function runBench(runtime, program, name, flags) {
  const file = join(outDir, `${name}.${runtime}.json`);
  const args = [...FLAGS[runtime], join(outDir, `${name}.mjs`), "--json", file, ...flags];
  const { error, status, signal } = spawnSync(program, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, TTM_BENCH_WORKERD: findRuntime("workerd") ?? "" },
  });
  if (error) throw error;
  if (status === 0) return JSON.parse(readFileSync(file, "utf8"));
  console.error(`bench: ${name} on ${runtime} ended with ${signal ?? `code ${status}`}`);
  return undefined;
}

/**
 * What benchmarks found, and what became of what they promise.
 *
 * @typedef {{ rows: Row[], promises: Kept[] }} Results
 */

/**
 * What was measured on what.
 *
 * @typedef {object} About
 * @property {string} [cpu]
 * @property {string} [memory]
 * @property {string} [system]
 * @property {Record<string, string>} versions of the runtimes
 * @property {Record<string, { date: string, command: string }>} runs by benchmark and runtime
 */

/**
 * @param {string} folder
 * @returns {Results & { about: About }} what earlier runs left there
 */
export function readResults(folder) {
  /** @type {(name: string, otherwise: any) => any} */
  const read = (name, otherwise) => {
    const path = join(folder, name);
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : otherwise;
  };
  return {
    rows: read("results.json", []),
    promises: read("promises.json", []),
    about: read("about.json", { versions: {}, runs: {} }),
  };
}

/**
 * Puts new rows and promises in the place of those of an earlier run.
 *
 * @param {string} folder
 * @param {Results} results
 * @param {About} about
 */
function keepResults(folder, { rows, promises }, about) {
  const before = readResults(folder);
  const isNew = (/** @type {{ bench: string, runtime: string }} */ old) =>
    rows.some((row) => row.bench === old.bench && row.runtime === old.runtime);
  const all = [...before.rows.filter((row) => !isNew(row)), ...rows];
  const merged = {
    ...about,
    versions: { ...before.about.versions, ...about.versions },
    runs: { ...before.about.runs, ...about.runs },
  };
  const kept = [...before.promises.filter((promise) => !isNew(promise)), ...promises];
  writeFileSync(join(folder, "results.json"), `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(join(folder, "promises.json"), `${JSON.stringify(kept, null, 2)}\n`);
  writeFileSync(join(folder, "about.json"), `${JSON.stringify(merged, null, 2)}\n`);
}

/**
 * @param {Row[]} rows
 * @param {BenchRuntime[]} runtimes
 * @param {string} command
 * @returns {About}
 */
function aboutOf(rows, runtimes, command) {
  const [cpu] = cpus();
  const date = new Date().toISOString().slice(0, 10);
  const programs = [...runtimes, /** @type {const} */ ("workerd")];
  return {
    cpu: `${cpus().length} x ${cpu?.model ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${type()} ${release()} ${arch()}`,
    versions: Object.fromEntries(
      programs.map((runtime) => {
        const program = findRuntime(runtime);
        return [runtime, (program && versionOf(program)) ?? "not found"];
      }),
    ),
    runs: Object.fromEntries(
      rows.map(({ bench, runtime }) => [`${bench} ${runtime}`, { date, command }]),
    ),
  };
}

/**
 * @param {number} value
 * @returns {string} four digits, without an exponent
 */
export function figure(value) {
  if (Math.abs(value) >= 1e6 || value === 0) return String(Math.round(value));
  return String(Number(value.toPrecision(4)));
}

/**
 * Prints a line a case, a column a runtime: the median, and the ratio.
 *
 * @param {Row[]} rows
 */
function printTable(rows) {
  const runtimes = [...new Set(rows.map(({ runtime }) => runtime))];
  const benches = [...new Set(rows.map(({ bench }) => bench))];
  const header = ["case", "unit", ...runtimes.flatMap((runtime) => [runtime, "ratio"]), "against"];
  for (const bench of benches) {
    const own = rows.filter((row) => row.bench === bench);
    const lines = [...new Set(own.map((row) => row.case))].map((text) => {
      const cells = runtimes.flatMap((runtime) => {
        const row = own.find((each) => each.case === text && each.runtime === runtime);
        return row
          ? [figure(row.median), row.ratio === null ? "" : row.ratio.toFixed(2)]
          : ["", ""];
      });
      const first = own.find((row) => row.case === text);
      return [text, first?.unit ?? "", ...cells, first?.against ?? ""];
    });
    const widths = header.map((title, i) =>
      Math.max(title.length, ...lines.map((line) => line[i]?.length ?? 0)),
    );
    console.log(`\n${bench}`);
    for (const line of [header, ...lines]) {
      const last = line.length - 1;
      const cells = line.map((cell, i) =>
        i < 2 || i === last ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
      );
      console.log(`  ${cells.join("  ").trimEnd()}`);
    }
  }
}

/**
 * @param {string | undefined} list names between commas
 * @param {string[]} known
 * @param {string} option
 * @returns {string[]} those named, or all
 */
function choose(list, known, option) {
  if (list === undefined) return known;
  const names = list.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  throw new Error(`--${option} ${unknown}: there is only ${known.join(", ")}`);
}

/**
 * @param {string[]} names
 * @param {BenchRuntime[]} runtimes
 * @param {string[]} flags for the benchmarks
 * @returns {Results & { failed: number }} what they found, and how many ended badly
 */
function runAll(names, runtimes, flags) {
  const programs = runtimes.map((runtime) => {
    const program = findRuntime(runtime);
    if (program === undefined) throw new Error(`${runtime} is neither in node_modules nor on PATH`);
    return { runtime, program };
  });
  const rows = [];
  const promises = [];
  let failed = 0;
  for (const name of names) {
    for (const { runtime, program } of programs) {
      const found = runBench(runtime, program, name, flags);
      if (!found) {
        failed++;
        continue;
      }
      rows.push(...found.rows);
      promises.push(...found.promises);
    }
  }
  return { rows, promises, failed };
}

const HELP = `node scripts/bench.js [options]

  --runtime node,deno,bun  where to run; default: node
  --only copy,slots        some of: ${benchNames().join(", ")}
  --quick                  few rounds, to see that all of it runs; its figures mean nothing
  --cpu                    measure CPU time instead of the clock
  --json FILE              rows of this run, as JSON
  --results FOLDER         where rows of all runs are kept; default: build/bench
`;

/** @returns {Promise<number>} exit code */
export async function bench() {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean", default: false },
      runtime: { type: "string", default: "node" },
      only: { type: "string" },
      json: { type: "string" },
      results: { type: "string", default: outDir },
      quick: { type: "boolean", default: false },
      cpu: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const names = choose(values.only, benchNames(), "only");
  const runtimes = /** @type {BenchRuntime[]} */ (
    choose(values.runtime, Object.keys(FLAGS), "runtime")
  );
  if (!existsSync(join(root, "build", "engine.wasm"))) {
    throw new Error("build/engine.wasm is missing; run node scripts/setup.js first");
  }
  mkdirSync(outDir, { recursive: true });
  mkdirSync(values.results, { recursive: true });
  await bundle(names);
  const flags = [...(values.quick ? ["--quick"] : []), ...(values.cpu ? ["--cpu"] : [])];
  const { rows, promises, failed } = runAll(names, runtimes, flags);
  const only = values.only === undefined ? [] : ["--only", values.only];
  const command = ["--runtime", values.runtime, ...only, ...flags].join(" ");
  const about = aboutOf(rows, runtimes, `node scripts/bench.js ${command}`);
  keepResults(values.results, { rows, promises }, about);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  printTable(rows);
  return failed === 0 ? 0 : 1;
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = await bench();
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
