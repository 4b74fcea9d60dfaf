/**
 * Makes the checkout ready to test or run: installs the dependencies and builds, each only when
 * something changed. Silent when nothing is to be done.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { build, isBuilt } from "./build.js";
import { isMain, root } from "./paths.js";

/**
 * @typedef {Record<string, { version?: string, optional?: boolean }>} Packages by their path
 */

/**
 * @param {string} path of a lockfile
 * @returns {Packages}
 */
function readPackages(path) {
  return JSON.parse(readFileSync(path, "utf8")).packages;
}

/**
 * Compares versions, not times: npm writes the two lockfiles in either order, and a checkout
 * gives package-lock.json any time.
 *
 * @param {string} [folder] of a package.json
 * @returns {boolean} whether its node_modules/ holds what its package-lock.json asks for
 */
export function isInstalled(folder = root) {
  const record = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(record)) return false;
  const installed = readPackages(record);
  return Object.entries(readPackages(join(folder, "package-lock.json"))).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    return found === undefined ? wanted.optional === true : found.version === wanted.version;
  });
}

/**
 * Installs what package-lock.json asks for; throws when npm fails.
 *
 * @param {string} [folder] of a package.json
 * @param {string[]} [flags] for npm
 */
export function install(folder = root, flags = []) {
  console.log(`setup: installing the dependencies of ${folder} (npm ci)`);
  const args = ["ci", "--include=dev", "--loglevel=error", ...flags];
  const { error, status } = spawnSync("npm", args, {
    cwd: folder,
    stdio: "inherit",
    // npm is a .cmd file on Windows, which only a shell can start.
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ci ended with code ${status}`);
}

/** Installs and builds what is missing or out of date. */
export async function setup() {
  if (!isInstalled()) install();
  if (isBuilt()) return;
  console.log("setup: building");
  await build();
}

if (isMain(import.meta.url)) {
  try {
    await setup();
  } catch (error) {
    console.error(`setup: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
