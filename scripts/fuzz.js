/**
 * Fuzzes for as long as is wanted: `npm run fuzz -- --target NAME --seconds N`.
 *
 * `api` and `engine` are random programs (test/fuzz/), each of a seed that is named when it fails; `--seed` runs one of
 * them again. `size`, `cli` and `trace` are parsers, given what makes them take ways that they have not taken
 * before; what is found is kept in build/fuzz/, and belongs into test/fuzz/parsers/corpus/.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { isMain, root } from "./paths.js";
import { install, isInstalled } from "./setup.js";

const TOOLS = join(root, "test", "fuzz", "parsers");
const OUT = join(root, "build", "fuzz");
const USAGE =
  "usage: npm run fuzz -- [--target api|engine|size|cli|trace] [--seconds 60] [--seed S]";

/** @type {Record<string, (seconds: number, seed: string | undefined) => Promise<boolean>>} */
const TARGETS = {
  api: async (seconds, seed) => programs("test/fuzz/api.test.ts", seconds, seed),
  engine: async (seconds, seed) => programs("test/fuzz/engine.test.ts", seconds, seed),
  size: (seconds) => parser("size", seconds),
  cli: (seconds) => parser("cli", seconds),
  trace: (seconds) => parser("trace", seconds),
};

/**
 * @param {string} file
 * @param {number} seconds
 * @param {string | undefined} seed of the one program to be run
 * @returns {boolean} whether nothing was found
 */
function programs(file, seconds, seed) {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, "run", "--silent=false", file], {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      TTM_FUZZ_SECONDS: String(seconds),
      ...(seed === undefined ? {} : { TTM_SEED: seed }),
    },
  });
  return status === 0;
}

/** Makes `TARGET.cjs` of each parser, in a form that an old instrumenter can read. */
async function bundleParsers() {
  const esbuild = await import("esbuild");
  await esbuild.build({
    entryPoints: [join(TOOLS, "targets.ts")],
    outfile: join(OUT, "targets.cjs"),
    bundle: true,
    platform: "node",
    format: "cjs",
    // `??` and `?.` become branches, which count as ways.
    target: "es2020",
    supported: { "nullish-coalescing": false, "optional-chain": false, "class-field": false },
    logLevel: "error",
  });
}

/**
 * @param {string} name
 * @param {number} seconds
 * @returns {Promise<boolean>} whether nothing was found
 */
async function parser(name, seconds) {
  if (!isInstalled(TOOLS)) install(TOOLS);
  await bundleParsers();
  const corpus = join(OUT, `corpus-${name}`);
  mkdirSync(corpus, { recursive: true });
  cpSync(join(TOOLS, "corpus", name), corpus, { recursive: true });
  const before = readdirSync(corpus).length;
  const script = join(OUT, `${name}.cjs`);
  writeFileSync(script, `exports.fuzz = require("./targets.cjs").${name};\n`);
  const crash = join(OUT, `crash-${name}`);
  rmSync(crash, { force: true });
  const command = join(TOOLS, "node_modules", "jsfuzz", "build", "src", "index.js");
  const args = [`${name}.cjs`, corpus, `--exact-artifact-path=${crash}`, "--timeout=10"];
  const child = spawn(process.execPath, [command, ...args], {
    cwd: OUT,
    stdio: ["ignore", "inherit", "inherit"],
    // Its worker is told to stop along with it.
    detached: true,
  });
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  }, seconds * 1000);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  const found = readdirSync(OUT).includes(`crash-${name}`);
  const kept = readdirSync(corpus).length - before;
  console.log(`fuzz: ${name}: ${kept} new inputs in ${corpus}, code ${code}`);
  if (found) console.error(`fuzz: ${name} failed; ${crash} repeats it`);
  return !found;
}

/** @param {string[]} argv */
async function main(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      target: { type: "string", multiple: true },
      seconds: { type: "string", default: "60" },
      seed: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const names = values.target ?? Object.keys(TARGETS);
  const unknown = names.find((name) => !Object.hasOwn(TARGETS, name));
  const seconds = Number(values.seconds);
  if (unknown !== undefined || !(seconds > 0)) {
    console.error(USAGE);
    return 2;
  }
  let failed = 0;
  for (const name of names) {
    console.log(`fuzz: ${name} for ${seconds} s`);
    if (!(await TARGETS[name]?.(seconds, values.seed))) failed++;
  }
  return failed === 0 ? 0 : 1;
}

if (isMain(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
