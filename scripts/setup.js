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
 * @param {string} path of a lockfile, relative to the project
 * @returns {Packages}
 */
function readPackages(path) {
  return JSON.parse(readFileSync(join(root, path), "utf8")).packages;
}

/**
 * Compares versions, not times: npm writes the two lockfiles in either order, and a checkout
 * gives package-lock.json any time.
 *
 * @returns {boolean} whether node_modules/ holds what package-lock.json asks for
 */
export function isInstalled() {
  const record = "node_modules/.package-lock.json";
  if (!existsSync(join(root, record))) return false;
  const installed = readPackages(record);
  return Object.entries(readPackages("package-lock.json")).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    return found === undefined ? wanted.optional === true : found.version === wanted.version;
  });
}

/** Installs what package-lock.json asks for; throws when npm fails. */
export function install() {
  console.log("setup: installing the dependencies (npm ci)");
  const { error, status } = spawnSync("npm", ["ci", "--include=dev", "--loglevel=error"], {
    cwd: root,
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
