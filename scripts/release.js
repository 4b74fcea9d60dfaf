/**
 * Publishes to npm and JSR what .ci/run has passed: `node scripts/release.js`, in the workflow that a tag
 * starts. With `--dry-run` nothing is published, and what a release still lacks is only said.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { checkPackage } from "./check_package.js";
import { isMain, root } from "./paths.js";
import { findRuntime } from "./runtimes.js";

/** @param {string} path relative to the project */
const read = (path) => readFileSync(join(root, path), "utf8");

/**
 * @param {string | undefined} tag that the release is made of
 * @returns {string[]} what keeps this state of the project from being released
 */
function obstacles(tag) {
  const { version, repository } = JSON.parse(read("package.json"));
  const section = read("CHANGELOG.md")
    .split(/^## /m)
    .find((text) => text.startsWith(`${version}`));
  /** @type {[boolean, string][]} */
  const wanted = [
    [tag === `v${version}`, `the tag is ${tag ?? "missing"}, but the version is ${version}`],
    [/^\S+.*\n+\S/.test(section ?? ""), `CHANGELOG.md says nothing under "## ${version}"`],
    [repository !== undefined, "package.json names no repository, which npm's provenance goes by"],
  ];
  return wanted.filter(([holds]) => !holds).map(([, text]) => text);
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args) {
  console.log(`\n== ${[command, ...args].join(" ")}`);
  const shell = process.platform === "win32";
  const { error, status } = spawnSync(command, args, { cwd: root, stdio: "inherit", shell });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ended with code ${status}`);
}

/** @param {boolean} dry whether to publish nothing */
export async function release(dry) {
  const { GITHUB_REF_NAME: tag } = process.env;
  const found = [...obstacles(tag), ...(await checkPackage())];
  for (const text of found) console.error(`release: ${text}`);
  if (found.length > 0 && !dry) throw new Error("not released");
  const deno = findRuntime("deno");
  if (deno === undefined) throw new Error("deno was found neither in node_modules nor on the PATH");
  run("npm", ["publish", "--access", "public", dry ? "--dry-run" : "--provenance"]);
  // Generated files are published, which git does not know: that is no dirt.
  run(deno, ["publish", "--allow-dirty", ...(dry ? ["--dry-run"] : [])]);
}

if (isMain(import.meta.url)) {
  try {
    await release(process.argv.includes("--dry-run"));
  } catch (error) {
    console.error(`release: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
