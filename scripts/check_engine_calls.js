/**
 * Runs the tests of the engine, on its release build, and says which of its functions they do not call, and which
 * errnos that a function can return they do not see: `node scripts/check_engine_calls.js`. What can be returned is read
 * in the sources: the errnos in a function's text, and in that of those of the same file that it calls.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

const folder = join(root, "build", "engine_calls");

/**
 * What cannot be, although the text looks like it, and why.
 *
 * @type {Record<string, string>}
 */
const CANNOT = {
  "verifyPages EFAULT": "only pages that are to leave are looked at for their slots",
};

/** @param {string} text of a module; @returns {Map<string, string>} its functions by name */
function functionsIn(text) {
  const all = text.matchAll(/^(?:export )?function (\w+)\([^{]*\{[\s\S]*?^\}/gm);
  return new Map([...all].map(([whole, name = ""]) => [name, whole]));
}

/**
 * @param {string} name of a function
 * @param {Map<string, string>} functions of its module
 * @param {Set<string>} [seen] those that were looked at
 * @returns {Set<string>} errnos that it can return
 */
function errnosOf(name, functions, seen = new Set()) {
  const text = functions.get(name) ?? "";
  const errnos = new Set([...text.matchAll(/-(E[A-Z]+)\b/g)].map(([, errno = ""]) => errno));
  seen.add(name);
  for (const [, called = ""] of text.matchAll(/\b(\w+)\(/g)) {
    if (seen.has(called) || !/\): i32 \{/.test(functions.get(called) ?? "")) continue;
    for (const errno of errnosOf(called, functions, seen)) errnos.add(errno);
  }
  return errnos;
}

/** @returns {Map<string, Set<string>>} errnos by the names of the engine's functions */
export function expected() {
  const index = readFileSync(join(root, "assembly", "index.ts"), "utf8");
  const result = new Map();
  for (const [, names = "", from] of index.matchAll(/^export \{([^}]*)\} from "\.\/(\w+)";/gm)) {
    const functions = functionsIn(readFileSync(join(root, "assembly", `${from}.ts`), "utf8"));
    for (const name of names.match(/\w+/g) ?? []) result.set(name, errnosOf(name, functions));
  }
  return result;
}

/** @returns {Map<string, Set<number>>} errnos that the tests saw by names of functions; 0: it was called */
function seenByTests() {
  const seen = new Map();
  for (const file of readdirSync(folder)) {
    const calls = JSON.parse(readFileSync(join(folder, file), "utf8"));
    for (const [name, errnos] of Object.entries(calls)) {
      for (const errno of errnos) seen.set(name, (seen.get(name) ?? new Set()).add(errno));
    }
  }
  return seen;
}

/**
 * @param {Map<string, Set<string>>} wanted
 * @param {Map<string, Set<number>>} seen
 * @param {Record<string, number>} numbers of errnos by their names
 * @returns {string[]} what is missing
 */
export function missing(wanted, seen, numbers) {
  const complaints = [];
  for (const [name, errnos] of wanted) {
    const got = seen.get(name);
    if (!got) complaints.push(`${name} is not called`);
    for (const errno of errnos) {
      const cannot = `${name} ${errno}` in CANNOT;
      const saw = got?.has(numbers[errno] ?? -1) ?? false;
      if (got && !saw && !cannot) complaints.push(`${name} is not seen to return -${errno}`);
      if (saw && cannot) complaints.push(`${name} returns -${errno}, which it is said not to`);
    }
  }
  return complaints;
}

/** @returns {Record<string, number>} */
function errnoNumbers() {
  const text = readFileSync(join(root, "assembly", "abi.ts"), "utf8");
  const all = text.matchAll(/^export const (E[A-Z]+) = (\d+);/gm);
  return Object.fromEntries([...all].map(([, name, number]) => [name, Number(number)]));
}

if (isMain(import.meta.url)) {
  rmSync(folder, { recursive: true, force: true });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, "run", "--project", "release"], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, TTM_ENGINE_CALLS: folder },
  });
  const wanted = expected();
  const complaints = status === 0 ? missing(wanted, seenByTests(), errnoNumbers()) : [];
  for (const complaint of complaints) console.error(`engine_calls: ${complaint}`);
  if (status !== 0 || complaints.length > 0) process.exitCode = 1;
  else console.log(`engine_calls: ${wanted.size} functions, each called, each errno seen`);
}
