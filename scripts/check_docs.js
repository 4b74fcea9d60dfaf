/**
 * Holds documents and comments against what there is: `node scripts/check_docs.js`.
 *
 * A file that is named exists, and so does a command of package.json; each reference of docs/behaviours.md leads to
 * docs/references.md, which names the rows that are about it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { readRows } from "./check_behaviours.js";
import { modulePaths } from "./modules.js";
import { isMain, root } from "./paths.js";

const FOLDERS = ["assembly", "bench", "docs", "scripts", "src", "test"];
const KINDS = /\.(ts|js|mjs|md)$/;

/** A path from the project's folder on; names in capitals stand for one that is to come. */
const PATH = new RegExp(
  `(?<![\\w./-])(?:${FOLDERS.join("|")})/[\\w./-]*\\w\\.(?:ts|js|mjs|md)\\b`,
  "g",
);
/** The name of a file by itself, as code in a document. */
const NAME = /`([\w.]+\.(?:ts|js|mjs))`/g;
const COMMAND = /npm run (?:--silent )?([\w:]+)/g;
/** What is made, and files of a user's that examples speak of. */
const NOT_OURS =
  /^(?:build|dist)\/|\b(?:NAME|NOUN)\b|^(?:worker|page|main|index|index\.workerd|engine|opfs_worker)\.js$|^start\.mjs$|\.d\.ts$/;

/**
 * @param {string} text of a document, or of a program
 * @param {boolean} isProgram whether only its comments count
 * @returns {string} what is said in it
 */
function saidIn(text, isProgram) {
  if (!isProgram) return text;
  const comments = text.match(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm) ?? [];
  return comments.join("\n");
}

/**
 * @param {string} text what is said
 * @param {{ paths: Set<string>, names: Set<string>, commands: Set<string> }} there what there is
 * @param {boolean} isProgram whether it is said in comments
 * @returns {string[]} what is named and is not there
 */
export function missingIn(text, there, isProgram) {
  const missing = [];
  for (const [path] of text.matchAll(PATH)) {
    if (!there.paths.has(path) && !NOT_OURS.test(path)) missing.push(path);
  }
  for (const [, command = ""] of text.matchAll(COMMAND)) {
    if (!there.commands.has(command)) missing.push(`npm run ${command}`);
  }
  for (const [, name = ""] of isProgram ? [] : text.matchAll(NAME)) {
    if (!there.names.has(name) && !NOT_OURS.test(name)) missing.push(name);
  }
  return missing;
}

/**
 * @param {string} text of docs/references.md
 * @returns {Map<string, string>} rows by reference, as they are written there
 */
function readReferences(text) {
  const lines = text.matchAll(/^\| ([A-Z]\d+|3\.\d+) \|.*\| ([^|]*) \|$/gm);
  return new Map(Array.from(lines, ([, reference = "", rows = ""]) => [reference, rows]));
}

/**
 * @param {string} behaviours text of docs/behaviours.md
 * @param {string} references text of docs/references.md
 * @returns {string[]} where the two do not agree
 */
export function compareReferences(behaviours, references) {
  const listed = readReferences(references);
  /** @type {Map<string, string[]>} */
  const used = new Map();
  for (const { number, references } of readRows(behaviours)) {
    for (const each of references) used.set(each, [...(used.get(each) ?? []), number]);
  }
  const complaints = [];
  for (const reference of used.keys()) {
    if (!listed.has(reference)) complaints.push(`docs/references.md does not list ${reference}`);
  }
  for (const [reference, rows] of listed) {
    // Subjects of TTM today may have no row: then they do not apply here.
    if (!used.has(reference) && !reference.startsWith("3.")) {
      complaints.push(`docs/behaviours.md: ${reference} is in no row`);
      continue;
    }
    const found = (used.get(reference) ?? []).join(", ") || "-";
    if (rows !== found) {
      complaints.push(`docs/references.md: ${reference} is in rows ${found}, not ${rows}`);
    }
  }
  return complaints;
}

/** @param {string} path @returns {string} */
const read = (path) => readFileSync(join(root, path), "utf8");

/** @returns {string[]} everything that is wrong */
function check() {
  const paths = new Set(modulePaths(FOLDERS, KINDS));
  const documents = readdirSync(root).filter((name) => name.endsWith(".md"));
  const there = {
    paths,
    names: new Set([...paths, ...readdirSync(root)].map((path) => basename(path))),
    commands: new Set(Object.keys(JSON.parse(read("package.json")).scripts)),
  };
  const complaints = [];
  for (const path of [...documents, ...paths]) {
    // What was released may speak of what was there then.
    if (path === "CHANGELOG.md" || path.startsWith("test/consumers/")) continue;
    const isProgram = !path.endsWith(".md");
    for (const missing of missingIn(saidIn(read(path), isProgram), there, isProgram)) {
      complaints.push(`${path}: there is no ${missing}`);
    }
  }
  complaints.push(...compareReferences(read("docs/behaviours.md"), read("docs/references.md")));
  return complaints;
}

if (isMain(import.meta.url)) {
  const complaints = check();
  for (const complaint of complaints) console.error(`docs: ${complaint}`);
  if (complaints.length > 0) process.exitCode = 1;
  else console.log("docs: all files, commands and references that are named are there");
}
