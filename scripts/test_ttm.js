/**
 * Runs the tests of the kernel's layer inside Node, Deno and Bun, and holds docs/behaviours.md against
 * each run: `node scripts/test_ttm.js [runtime ...]`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { checkReport } from "./check_behaviours.js";
import { isMain, root } from "./paths.js";
import { vitestIn } from "./vitest_in.js";

// With the exhaustive tests, which the other commands leave out.
process.env.TTM_EXHAUSTIVE = "1";

/** @typedef {"node" | "deno" | "bun"} Name */

/** @type {Name[]} */
const NAMES = ["node", "deno", "bun"];

/**
 * @param {string[]} args for vitest
 * @returns {number} exit code
 */
function vitestInNode(args) {
  const script = join(root, "node_modules", "vitest", "vitest.mjs");
  const { error, status } = spawnSync(process.execPath, [script, "run", ...args], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, TTM_TEST_RUNTIME: "node" },
  });
  if (error) throw error;
  return status ?? 1;
}

/**
 * @param {Name} name
 * @returns {boolean} whether all tests passed there and cover every row
 */
export function testTtm(name) {
  const report = join(root, "build", `ttm-${name}.json`);
  mkdirSync(join(root, "build"), { recursive: true });
  // Whatever happens, no report of an earlier run is looked at.
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const args = ["--project", "host", "test/ttm", ...reporters];
  const status = name === "node" ? vitestInNode(args) : vitestIn(name, args);
  return status === 0 && checkReport(report);
}

if (isMain(import.meta.url)) {
  const given = process.argv.slice(2);
  const names = NAMES.filter((name) => given.length === 0 || given.includes(name));
  const unknown = given.filter((name) => !NAMES.includes(/** @type {Name} */ (name)));
  if (unknown.length > 0) {
    console.error(`usage: node scripts/test_ttm.js [${NAMES.join("|")} ...]`);
    process.exitCode = 2;
  } else {
    const failed = names.filter((name) => !testTtm(name));
    if (failed.length > 0) {
      console.error(`test_ttm: failed in ${failed.join(", ")}`);
      process.exitCode = 1;
    }
  }
}
