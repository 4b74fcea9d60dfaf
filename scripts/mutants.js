/**
 * Mutants: the sources with one fault each, put in on purpose, to see whether tests find it. They are data, in
 * test/mutants/: a text that occurs once in a file, and what is put in its place. `node scripts/mutants.js` says
 * which of them no longer fit the sources.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { moduleText } from "./module_text.js";
import { isMain, root } from "./paths.js";

/**
 * @typedef {object} Mutant
 * @property {string} name
 * @property {string} what is wrong in it
 * @property {string} file relative to the project
 * @property {string} find a text that occurs once in the file
 * @property {string} put what stands in its place
 * @property {string} [was] the commit that mended this fault, if it was once in the code
 */

const KINDS = /^(?:assembly|src)\/[\w/]+\.ts$/;

const COMPILER = "assemblyscript/asc";

export const mutantsDir = join(root, "build", "mutants");

/** @returns {Promise<Mutant[]>} all of them, in the order of the files */
export async function readMutants() {
  const folder = join(root, "test", "mutants");
  const names = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const urls = names.sort().map((name) => pathToFileURL(join(folder, name)).href);
  const modules = await Promise.all(urls.map((url) => import(url)));
  return modules.flatMap(({ mutants }) => mutants);
}

/**
 * @param {Mutant} mutant
 * @returns {string} the text of its file, with the fault
 * @throws Error when the file has changed so that it does not fit
 */
export function mutated({ name, file, find, put }) {
  const path = join(root, file);
  const there = KINDS.test(file) && existsSync(path);
  const parts = there ? readFileSync(path, "utf8").split(find) : [];
  const changes = find !== put;
  if (parts.length === 2 && changes) return parts.join(put);
  const times = changes ? `found ${parts.length - 1} times` : "it would change nothing";
  const why = there ? times : "there is no such file";
  throw new Error(`mutant ${name}: its text in ${file} is to be found once: ${why}`);
}

/**
 * @param {readonly Mutant[]} mutants
 * @returns {string[]} what is wrong with them
 */
export function check(mutants) {
  const complaints = [];
  const names = new Set();
  for (const mutant of mutants) {
    const { name, what } = mutant;
    if (names.has(name)) complaints.push(`mutant ${name}: there are two of that name`);
    names.add(name);
    if (!what) complaints.push(`mutant ${name}: it does not say what is wrong in it`);
    try {
      mutated(mutant);
    } catch (error) {
      complaints.push(/** @type {Error} */ (error).message);
    }
  }
  return complaints;
}

/**
 * Compiles the engine with a mutant's fault, unless that was done before.
 *
 * @param {Mutant} mutant of a file of assembly/
 * @returns {Promise<Uint8Array>}
 */
async function engineOf(mutant) {
  const config = readFileSync(join(root, "asconfig.json"), "utf8");
  const hash = createHash("sha256").update(config);
  /** @type {Map<string, string>} */
  const texts = new Map();
  for (const name of readdirSync(join(root, "assembly")).sort()) {
    if (!name.endsWith(".ts")) continue;
    const path = `assembly/${name}`;
    const text = path === mutant.file ? mutated(mutant) : readFileSync(join(root, path), "utf8");
    texts.set(path, text);
    hash.update(`${path}\0${text.length}\0${text}`);
  }
  const cached = join(mutantsDir, "engines", `${hash.digest("hex").slice(0, 32)}.wasm`);
  if (existsSync(cached)) return readFileSync(cached);
  // By a variable: its types would declare another `console` for all scripts.
  const { main } = await import(COMPILER);
  /** @type {Uint8Array | undefined} */
  let engine;
  const { error, stderr } = await main(["--target", "release"], {
    readFile: (/** @type {string} */ name) => {
      const path = join(root, name);
      return texts.get(name) ?? (existsSync(path) ? readFileSync(path, "utf8") : null);
    },
    writeFile: (/** @type {string} */ name, /** @type {string | Uint8Array} */ bytes) => {
      if (name.endsWith(".wasm") && typeof bytes !== "string") engine = bytes;
    },
    listFiles: () => [],
  });
  if (error || !engine) throw new Error(`mutant ${mutant.name}: asc failed: ${stderr}`);
  mkdirSync(dirname(cached), { recursive: true });
  writeFileSync(cached, engine);
  return engine;
}

/** @returns {{ in: string, out: string }[]} what package.json exports, as modules */
function entryPoints() {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return Object.values(exports)
    .map((target) => /^\.\/dist\/(.*)\.cjs$/.exec(target.require ?? "")?.[1])
    .filter((name) => name !== undefined)
    .map((name) => ({ in: `src/${name.replaceAll("-", "_")}.ts`, out: name }));
}

/**
 * Builds the library with a mutant's fault, or without one.
 *
 * @param {Mutant | undefined} mutant
 * @returns {Promise<string>} the folder, which has what dist/ has of modules
 */
export async function buildMutant(mutant) {
  const esbuild = await import("esbuild");
  const engine = mutant?.file.startsWith("assembly/")
    ? await engineOf(mutant)
    : readFileSync(join(root, "build", "engine.wasm"));
  const contents = `export const ENGINE = ${JSON.stringify(moduleText(engine))};`;
  /** @type {import("esbuild").Plugin} */
  const fault = {
    name: "fault",
    setup({ onLoad }) {
      onLoad({ filter: /[\\/]build[\\/]engine\.ts$/ }, () => ({ contents, loader: "ts" }));
      if (!mutant) return;
      const path = join(root, mutant.file);
      onLoad({ filter: /[\\/](?:src|assembly)[\\/].*\.ts$/ }, (args) =>
        args.path === path ? { contents: mutated(mutant), loader: "ts" } : undefined,
      );
    },
  };
  mkdirSync(mutantsDir, { recursive: true });
  const made = mkdtempSync(join(mutantsDir, "made-"));
  try {
    await esbuild.build({
      absWorkingDir: root,
      outdir: made,
      entryPoints: entryPoints(),
      bundle: true,
      splitting: true,
      chunkNames: "chunks/[hash]",
      format: "esm",
      platform: "neutral",
      target: "es2022",
      external: ["node:*"],
      logLevel: "error",
      plugins: [fault],
    });
    const folder = join(mutantsDir, mutant?.name ?? "none");
    rmSync(folder, { recursive: true, force: true });
    renameSync(made, folder);
    return folder;
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
}

if (isMain(import.meta.url)) {
  const mutants = await readMutants();
  const complaints = check(mutants);
  for (const complaint of complaints) console.error(complaint);
  if (complaints.length > 0) process.exitCode = 1;
  else console.log(`mutants: ${mutants.length} fit the sources`);
}
