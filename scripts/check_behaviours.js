/**
 * Holds docs/behaviours.md against a run of the tests:
 * `node scripts/check_behaviours.js REPORT`, a report of vitest's JSON reporter.
 *
 * Fails when a row names no test, when a test it names did not run or did not pass in that run, or when
 * two tests have a title that a row means. References are looked at by scripts/check_docs.js.
 */
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

/**
 * @typedef {object} Row
 * @property {string} number
 * @property {string[]} references
 * @property {string[]} tests titles, or longer names
 */

/**
 * @typedef {object} Result
 * @property {string} file relative to the project
 * @property {string} name `describe > title`
 * @property {string} title
 * @property {string} status
 */

/**
 * @param {string} line of a table
 * @returns {string[]} its cells
 */
function cellsOf(line) {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());
}

/**
 * Tables with a column `test` are those of behaviours; others only explain.
 *
 * @param {string} text of the document
 * @returns {Row[]}
 */
export function readRows(text) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {string[] | undefined} */
  let header;
  for (const line of text.split("\n")) {
    if (!line.startsWith("|")) {
      header = undefined;
      continue;
    }
    const cells = cellsOf(line);
    if (header === undefined) {
      header = cells;
      continue;
    }
    const columns = header;
    if (!columns.includes("test") || /^-+$/.test(cells[0] ?? "")) continue;
    const cell = (/** @type {string} */ name) => cells[columns.indexOf(name)] ?? "";
    rows.push({
      number: cell("no"),
      references: cell("ref").match(/\b(?:[A-Z]\d+|3\.\d+)\b/g) ?? [],
      tests: Array.from(cell("test").matchAll(/`([^`]+)`/g), (match) => match[1] ?? ""),
    });
  }
  return rows;
}

/**
 * @param {string} path of a report
 * @returns {Result[]}
 */
function readResults(path) {
  const report = JSON.parse(readFileSync(path, "utf8"));
  /** @type {{ name: string, assertionResults: { ancestorTitles: string[], title: string, status: string }[] }[]} */
  const files = report.testResults;
  return files.flatMap((file) =>
    file.assertionResults.map(({ ancestorTitles, title, status }) => ({
      file: relative(root, file.name),
      name: [...ancestorTitles, title].join(" > "),
      title,
      status,
    })),
  );
}

/**
 * @param {string} test its title, `describe > title`, or `file > describe > title`
 * @param {Map<string, Result[]>} byName
 * @returns {string | undefined} what is wrong with it
 */
function complaintAbout(test, byName) {
  const found = byName.get(test) ?? [];
  if (found.length === 0) return "is not in the report";
  const places = new Set(found.map(({ file, name }) => `${file} > ${name}`));
  if (places.size > 1) return `is more than one test: ${[...places].join(", ")}`;
  // A test that belongs to several projects runs once in each.
  const bad = found.find(({ status }) => status !== "passed");
  return bad && (bad.status === "failed" ? "failed" : `did not run (${bad.status})`);
}

/**
 * @param {Row[]} rows
 * @param {Result[]} results
 * @returns {string[]} everything that is wrong
 */
export function check(rows, results) {
  /** @type {Map<string, Result[]>} */
  const byName = new Map();
  for (const result of results) {
    const { file, name, title } = result;
    for (const key of new Set([title, name, `${file} > ${name}`])) {
      byName.set(key, [...(byName.get(key) ?? []), result]);
    }
  }
  const complaints = [];
  if (rows.length === 0) complaints.push("docs/behaviours.md has no rows");
  const numbers = new Set();
  for (const { number, tests } of rows) {
    if (!/^[A-Z]\d+$/.test(number)) complaints.push(`row "${number}" has no number`);
    if (numbers.has(number)) complaints.push(`row ${number} is there twice`);
    numbers.add(number);
    if (tests.length === 0) complaints.push(`row ${number} names no test`);
    for (const test of tests) {
      const complaint = complaintAbout(test, byName);
      if (complaint) complaints.push(`row ${number}: test "${test}" ${complaint}`);
    }
  }
  return complaints;
}

/**
 * @param {string} path of a report
 * @returns {boolean} whether all rows are covered by it; says so
 */
export function checkReport(path) {
  const rows = readRows(readFileSync(join(root, "docs", "behaviours.md"), "utf8"));
  const complaints = check(rows, readResults(path));
  for (const complaint of complaints) console.error(`behaviours: ${complaint}`);
  if (complaints.length > 0) return false;
  console.log(`behaviours: all ${rows.length} rows covered`);
  return true;
}

if (isMain(import.meta.url)) {
  const [path, ...rest] = process.argv.slice(2);
  if (path === undefined || rest.length > 0) {
    console.error("usage: node scripts/check_behaviours.js REPORT");
    process.exitCode = 2;
  } else process.exitCode = checkReport(path) ? 0 : 1;
}
