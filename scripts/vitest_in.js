/**
 * Runs the test suite inside another runtime: `node scripts/vitest_in.js deno [vitest arguments]`.
 * Fails when a test fails, when none runs, when a worker is not in that runtime, or when the
 * runtime is missing.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";
import { findRuntime, versionOf } from "./runtimes.js";

/** What each runtime needs to run a program of node_modules as it is. */
const FLAGS = {
  deno: ["run", "--allow-all", "--no-lock", "--node-modules-dir=manual"],
  bun: ["--bun"],
};

/**
 * Where Deno keeps what it has compiled, emptied before each run: a worker of Deno 2.9 takes a file that was built
 * anew for the one before it where both are of one length.
 */
const DENO_DIR = join(root, "build", "deno");

/**
 * @param {"deno" | "bun"} name
 * @param {string[]} args for vitest
 * @returns {number} exit code
 */
export function vitestIn(name, args) {
  const path = findRuntime(name);
  if (path === undefined) {
    console.error(`vitest_in: ${name} was found neither in node_modules nor on the PATH`);
    return 1;
  }
  console.log(`vitest inside ${name} (${versionOf(path)})`);
  rmSync(DENO_DIR, { recursive: true, force: true });
  const { error, status } = spawnSync(
    path,
    [...FLAGS[name], "node_modules/vitest/vitest.mjs", "run", ...args],
    { cwd: root, stdio: "inherit", env: { ...process.env, TTM_TEST_RUNTIME: name, DENO_DIR } },
  );
  if (error) throw error;
  // A worker in another runtime would have failed its test file, see scripts/vitest_runtime.js.
  const result = status === 0 ? "passed, with every worker in it" : `failed (code ${status})`;
  console.log(`vitest inside ${name}: ${result}`);
  return status ?? 1;
}

if (isMain(import.meta.url)) {
  const [name, ...args] = process.argv.slice(2);
  if (name === "deno" || name === "bun") {
    process.exitCode = vitestIn(name, args);
  } else {
    console.error("usage: node scripts/vitest_in.js deno|bun [vitest arguments]");
    process.exitCode = 2;
  }
}
