/**
 * Runs rows: programs of users against the packed package, each in a project of its own that has the
 * package as npm unpacks it. The tools come from the lockfile of test/consumers/. The projects lie in a
 * temporary folder, since many tools look for settings and packages in all folders above them, and are kept
 * when a row failed.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { closePrograms, runStep, toolsDir, versionOfProgram } from "./consumer_programs.js";
import { root } from "./paths.js";
import { printResults } from "./results.js";
import { install, isInstalled } from "./setup.js";

/**
 * One program of a user's.
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {Record<string, string | object>} files of the project: one of the sources, JSON, or bytes
 * @property {string[]} [links] packages of test/consumers/, or of `tools`, that the project has too
 * @property {string} [tools] the folder of test/ whose lockfile names these packages
 * @property {string[][]} steps commands, in the project; what each first word means is in consumer_programs.js
 * @property {string} [about] the program whose version is told; default: that of the first step
 * @property {Record<string, string>} [env]
 * @property {RegExp} [expects] what the last step prints, perhaps with the number of tests; default: "ok"
 */

/** @typedef {import("./results.js").Result} Result */

/**
 * @param {string[]} args
 * @param {string} cwd
 * @returns {string} what npm printed
 */
function npm(args, cwd) {
  const { error, status, stdout } = spawnSync("npm", args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ${args[0]} ended with code ${status}`);
  return stdout;
}

/**
 * Packs the package and installs it as a user does.
 *
 * @param {string} folder for the tarball and a project, `installed`
 */
function installPacked(folder) {
  const packed = npm(["pack", "--silent", "--pack-destination", folder], root);
  const tarball = join(folder, packed.trim().split("\n").at(-1) ?? "");
  const project = join(folder, "installed");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), "{}\n");
  npm(["install", "--silent", "--offline", "--no-save", tarball], project);
}

/** @param {Row} row @returns {string} the folder that its packages are installed in */
const packagesOf = ({ tools }) => (tools === undefined ? toolsDir : join(root, "test", tools));

/** @param {Row} row @returns {boolean} whether it runs anything of test/consumers/ */
const usesTools = ({ tools, steps }) =>
  tools === undefined || steps.some(([word]) => word?.includes(":"));

/**
 * @param {Row} row
 * @param {string} sources the folder that its files come from
 * @param {string} outDir the folder that has the installed package, and gets the project
 * @returns {string} the folder of its project
 */
function makeProject(row, sources, outDir) {
  const folder = join(outDir, row.name.replace(/[^\w.]+/g, "-"));
  const installed = join(outDir, "installed", "node_modules", "ttm-wasm");
  cpSync(installed, join(folder, "node_modules", "ttm-wasm"), { recursive: true });
  for (const name of row.links ?? []) {
    const link = join(folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(packagesOf(row), "node_modules", name), link, "junction");
  }
  const files = { "package.json": { type: "module" }, ...row.files };
  for (const [name, content] of Object.entries(files)) {
    const file = join(folder, name);
    mkdirSync(dirname(file), { recursive: true });
    if (typeof content === "string") cpSync(join(sources, content), file, { recursive: true });
    else if (content instanceof Uint8Array) writeFileSync(file, content);
    else writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
  }
  return folder;
}

/** @typedef {Pick<Result, "result" | "reason" | "tests">} Found */

/**
 * @param {Row} row
 * @param {string} folder of its project
 * @returns {Promise<Found>}
 */
async function runSteps({ steps, env = {}, expects = /^ok$/m }, folder) {
  let printed = "";
  for (const step of steps) {
    const { status, output, missing } = await runStep(step, folder, env);
    if (missing !== undefined) return { result: "skipped", reason: missing };
    if (status !== 0) {
      return { result: "failed", reason: `${step.join(" ")} ended with ${status}:\n${output}` };
    }
    printed = output;
  }
  const found = expects.exec(printed);
  if (!found) return { result: "failed", reason: `nothing printed ${expects}:\n${printed}` };
  return { result: "passed", ...(found[1] === undefined ? {} : { tests: Number(found[1]) }) };
}

/**
 * @param {Row} row
 * @param {string} folder of its project
 * @returns {Promise<Result>}
 */
async function runRow(row, folder) {
  const start = performance.now();
  let version = "none";
  /** @type {Found} */
  let found;
  try {
    version = await versionOfProgram(row.about ?? row.steps[0]?.[0] ?? "");
    found = await runSteps(row, folder);
  } catch (error) {
    found = { result: "failed", reason: String(error) };
  }
  return { name: row.name, version, ms: Math.round(performance.now() - start), ...found };
}

/**
 * @param {Row[]} rows
 * @param {string} sources the folder that their files come from
 * @returns {Promise<Result[]>}
 */
async function runRows(rows, sources) {
  // Programs come in packages of their own: no install script is needed.
  const folders = rows.some(usesTools) ? [toolsDir] : [];
  for (const folder of new Set([...folders, ...rows.map(packagesOf)])) {
    if (!isInstalled(folder)) install(folder, ["--ignore-scripts"]);
  }
  const outDir = mkdtempSync(join(tmpdir(), "ttm-consumers-"));
  installPacked(outDir);
  /** @type {Result[]} */
  const results = [];
  try {
    for (const row of rows) {
      const result = await runRow(row, makeProject(row, sources, outDir));
      results.push(result);
      const count = `${results.length}/${rows.length}`;
      process.stderr.write(`${result.result} ${count} ${row.name} (${result.ms} ms)\n`);
    }
  } finally {
    await closePrograms();
  }
  if (results.every(({ result }) => result !== "failed")) rmSync(outDir, { recursive: true });
  else process.stderr.write(`the projects are kept in ${outDir}\n`);
  return results;
}

/**
 * The command line of a script that runs rows.
 *
 * @param {string} script its name
 * @param {Row[]} all
 * @param {string} sources the folder that their files come from
 * @returns {Promise<number>} exit code
 */
export async function rowsCommand(script, all, sources) {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      only: { type: "string", default: "" },
    },
  });
  if (values.help) {
    process.stdout.write(`node scripts/${script}.js [options]

  --only TEXT[,TEXT]  the rows whose names contain one of these
  --list              only name the rows
  --json              results as JSON instead of a table
`);
    return 0;
  }
  const wanted = values.only.toLowerCase().split(",");
  const rows = all.filter(({ name }) =>
    wanted.some((text) => name.toLowerCase().includes(text.trim())),
  );
  if (rows.length === 0) throw new Error(`no row's name contains ${values.only}`);
  if (values.list) {
    for (const { name } of rows) console.log(name);
    return 0;
  }
  return printResults(await runRows(rows, sources), values.json);
}
