/**
 * Finds what src/ and assembly/ export for nobody: `node scripts/check_exports.js`.
 *
 * An export is for another module of theirs, or for users, when an entry of package.json exports it. What only
 * tests or benchmarks import is dead weight of what is published, unless there is a reason to keep it; the
 * reasons stand in `KEPT`. The functions of the engine are for src/engine/, which calls them by their names.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { modulePaths, readModule } from "./modules.js";
import { isMain, root } from "./paths.js";

/**
 * What is exported although no module of src/ or assembly/ imports it, and why.
 *
 * @type {Record<string, string>}
 */
const KEPT = {
  "assembly/index.ts allocPages": "bench/buddy measures the allocator; tests fill memory with it",
  "assembly/index.ts givePages":
    "bench/buddy measures the allocator; tests give memory back with it",
  "assembly/index.ts slotAlloc": "bench/slots measures the map of slots; tests fill swap with it",
  "assembly/index.ts slotFree": "bench/slots measures the map of slots; tests empty swap with it",
  "assembly/index.ts pageCopy": "bench/copy measures what one page a call costs",
  "assembly/index.ts pageChecksum": "what the checksum promises is tested on any page",
  "src/cli/reader.ts interruption": "its test looks at the signal by itself",
  "src/engine/entry.ts isHandle": "the forms of an entry have one home, for tests too",
  "src/engine/module.workerd.ts engineModule": "the build puts it in the place of module.ts",
  "src/codec/module.workerd.ts codecModule": "the build puts it in the place of module.ts",
  "src/ttm/admission.ts NEED_NONE": "its test asks for nothing",
  "src/ttm/frames.ts Transits": "its test makes one",
  "src/ttm/task.ts interrupted": "its test looks for the very error",
};

/**
 * Modules whose exports cross into WebAssembly, and the folder that calls them.
 *
 * @type {Record<string, string>}
 */
const CALLERS = { "assembly/index.ts": "src/engine/", "assembly/codec/index.ts": "src/codec/" };

/** @returns {Set<string>} paths of the modules whose exports are for users or for a shell */
function entries() {
  const { exports, bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const files = [
    ...Object.values(exports).map(({ require, default: module }) => require ?? module),
    ...Object.values(bin),
  ];
  return new Set(
    files
      .filter((file) => /\.c?js$/.test(file ?? ""))
      .map((file) => file.replace(/^\.\/dist\/(.*)\.c?js$/, "src/$1.ts").replaceAll("-", "_")),
  );
}

/**
 * @param {import("./modules.js").Module[]} modules all of src/ and assembly/
 * @param {Set<string>} free paths of modules whose exports are for others
 * @param {Record<string, string>} kept
 * @returns {string[]} what is wrong
 */
export function check(modules, free, kept) {
  const used = new Set();
  for (const { imports } of modules) {
    for (const { from, names } of imports) for (const name of names) used.add(`${from} ${name}`);
  }
  /** @type {(name: string, folder: string) => boolean} */
  const isCalled = (name, folder) =>
    modules.some(
      ({ path, text }) => path.startsWith(folder) && new RegExp(`\\bwasm\\.${name}\\b`).test(text),
    );
  const complaints = [];
  const dead = new Set();
  for (const { path, exports } of modules) {
    if (free.has(path)) continue;
    for (const name of exports) {
      const caller = CALLERS[path];
      const live =
        caller !== undefined
          ? isCalled(name, caller)
          : used.has(`${path} ${name}`) || used.has(`${path} *`);
      if (live) continue;
      dead.add(`${path} ${name}`);
      if (!(`${path} ${name}` in kept)) complaints.push(`${path}: nobody imports ${name}`);
    }
  }
  for (const name of Object.keys(kept)) {
    if (!dead.has(name)) complaints.push(`${name}: needs no reason in scripts/check_exports.js`);
  }
  return complaints;
}

if (isMain(import.meta.url)) {
  const modules = modulePaths(["src", "assembly"]).map((path) => readModule(path));
  const complaints = check(modules, entries(), KEPT);
  for (const complaint of complaints) console.error(`exports: ${complaint}`);
  if (complaints.length > 0) process.exitCode = 1;
  else console.log(`exports: all used; ${Object.keys(KEPT).length} kept for a reason`);
}
