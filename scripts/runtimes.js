/**
 * Finds the JavaScript runtimes the library is tested on. `node scripts/runtimes.js` lists them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

/** @typedef {"node" | "deno" | "bun" | "workerd"} RuntimeName */

/** @type {RuntimeName[]} */
export const RUNTIMES = ["node", "deno", "bun", "workerd"];

const exe = process.platform === "win32" ? ".exe" : "";

/**
 * @param {string} scope a scope in node_modules, whose packages hold one platform's program each
 * @param {string} prefix of those packages' names
 * @param {string} program its path inside the package
 * @returns {string[]}
 */
function platformPackages(scope, prefix, program) {
  const folder = join(root, "node_modules", scope);
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.startsWith(prefix));
  return names.map((name) => join(folder, name, program + exe));
}

/**
 * Where a runtime may be, best first. The programs come in packages of their own per platform, so
 * they are there even when npm was not allowed to run install scripts; bun's moves its program
 * away from there when it runs.
 *
 * @param {RuntimeName} name
 * @returns {string[]}
 */
function candidates(name) {
  const onPath = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name + exe));
  switch (name) {
    case "node":
      return [process.execPath];
    case "deno":
      return [...platformPackages("@deno", "", "deno"), ...onPath];
    case "bun":
      return [
        join(root, "node_modules/bun/bin/bun.exe"),
        ...platformPackages("@oven", "bun-", "bin/bun"),
        ...onPath,
      ];
    case "workerd":
      return [...platformPackages("@cloudflare", "workerd-", "bin/workerd"), ...onPath];
  }
}

/**
 * @param {string} path of a program
 * @returns {string | undefined} the first line of what it says to --version, if it runs at all
 */
export function versionOf(path) {
  const { status, stdout } = spawnSync(path, ["--version"], { encoding: "utf8", timeout: 20_000 });
  return status === 0 ? stdout.trim().split("\n")[0] : undefined;
}

/**
 * @param {RuntimeName} name
 * @returns {string | undefined} absolute path of a program that runs here
 */
export function findRuntime(name) {
  return candidates(name).find((path) => existsSync(path) && versionOf(path) !== undefined);
}

if (isMain(import.meta.url)) {
  for (const name of RUNTIMES) {
    const path = findRuntime(name);
    console.log(`${name}: ${path ? `${versionOf(path)} (${path})` : "not found"}`);
  }
}
