/**
 * Runs the simulator of test/sim/: `node scripts/sim.js [options of the simulator] [--runtime node|deno|bun]`. It is
 * bundled without the library, whose built files it imports from `--dist`, and runs on the runtime that is named.
 */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";
import { findRuntime } from "./runtimes.js";

/** @type {Record<string, string[]>} what each runtime needs to run a bundle with all rights */
const FLAGS = { node: [], deno: ["run", "--allow-all", "--no-lock", "--no-config"], bun: [] };

/** What CI runs: seeds that are the same each time, and new ones. */
const CI = [
  ["--seed", "1", "--seeds", "40", "--ops", "4000"],
  ["--seeds", "20", "--ops", "4000"],
];

/** @returns {Promise<string>} the bundle */
async function bundle() {
  const esbuild = await import("esbuild");
  const outfile = join(root, "build", "sim", "main.mjs");
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: ["test/sim/main.ts"],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2022",
    sourcemap: "inline",
    outfile,
    logLevel: "warning",
  });
  return outfile;
}

/**
 * @param {string[]} args
 * @param {string} name of an option
 * @returns {string | undefined} its value
 */
function optionOf(args, name) {
  const at = args.findIndex((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`));
  return at < 0 ? undefined : (args[at]?.split("=")[1] ?? args[at + 1]);
}

/**
 * @param {string[]} args for the simulator
 * @returns {Promise<number>} its exit code: 0 nothing failed, 1 something did, 2 wrong usage
 */
export async function sim(args) {
  const name = optionOf(args, "runtime") ?? "node";
  const flags = FLAGS[name];
  const program = flags && findRuntime(/** @type {"node" | "deno" | "bun"} */ (name));
  if (!flags || program === undefined) {
    console.error(`sim: --runtime ${name}: it is not there; it may be node, deno or bun`);
    return 2;
  }
  const dist = resolve(optionOf(args, "dist") ?? join(root, "dist"));
  const { error, status, signal } = spawnSync(
    program,
    [...flags, await bundle(), ...args, "--dist", dist],
    { stdio: "inherit" },
  );
  if (error) throw error;
  if (status === null) console.error(`sim: ended with ${signal}`);
  return status ?? 1;
}

/** @returns {Promise<number>} the exit code of the first run that failed, else 0 */
async function ci() {
  for (const args of CI) {
    const status = await sim(args);
    if (status !== 0) return status;
  }
  return 0;
}

if (isMain(import.meta.url)) {
  const args = process.argv.slice(2);
  process.exitCode = args[0] === "--ci" ? await ci() : await sim(args);
}
