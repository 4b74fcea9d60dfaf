/**
 * Builds everything that is published or tested: `build/` (the engine, with assertions
 * and without, and the codec) and `dist/` (the library, the command line tool and their type declarations).
 *
 * Nothing outside Node is imported before `build()` runs, so that scripts/setup.js can ask
 * `isBuilt()` on a fresh checkout.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, posix, relative, sep } from "node:path";
import process from "node:process";
import { DIST, inlineAbi, sourceOf, workerd } from "./build_plugins.js";
import { rollUp } from "./declarations.js";
import { moduleText } from "./module_text.js";
import { isMain, root } from "./paths.js";

const buildDir = join(root, "build");
const distDir = join(root, "dist");
const hashFile = join(buildDir, ".hash");
const typesDir = join(buildDir, "types");

/** What the outputs depend on: files, or folders with all that is in them. */
const INPUTS = [
  "assembly",
  "src",
  "asconfig.codec.json",
  "asconfig.json",
  "package.json",
  "package-lock.json",
  "scripts/build.js",
  "scripts/build_plugins.js",
  "scripts/declarations.js",
  "scripts/module_text.js",
  "tsconfig.json",
  "tsconfig.build.json",
];

/** Without these no run of the tests or of the command line tool can start. */
const OUTPUTS = [
  "build/debug.wasm",
  "build/engine.wasm",
  "build/engine.ts",
  "build/codec.wasm",
  "build/codec.ts",
  "dist/index.js",
  "dist/index.d.ts",
];

/**
 * @param {string} path of a file or a folder, relative to the project
 * @returns {string[]} the files in it, relative to the project, sorted
 */
function filesIn(path) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  const entries = readdirSync(absolute, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

/** @returns {string} a hash over the names and contents of all inputs */
function hashInputs() {
  const hash = createHash("sha256");
  for (const input of INPUTS) {
    const files = /\.\w+$/.test(input) ? [input] : filesIn(input);
    for (const file of files) {
      const content = readFileSync(join(root, file));
      hash.update(`${file.split(sep).join("/")}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest("hex");
}

/** @returns {boolean} whether the outputs are those of the present sources */
export function isBuilt() {
  if (!existsSync(hashFile) || OUTPUTS.some((output) => !existsSync(join(root, output)))) {
    return false;
  }
  return readFileSync(hashFile, "utf8").trim() === hashInputs();
}

/**
 * @param {string} script path inside node_modules
 * @param {string[]} args
 * @returns {Promise<void>} rejects when the program fails; its own output says why
 */
function runTool(script, args) {
  const child = spawn(process.execPath, [join(root, "node_modules", script), ...args], {
    cwd: root,
    stdio: "inherit",
  });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code, signal) => {
      if (code === 0) done();
      else fail(new Error(`${script} ${args.join(" ")} ended with ${signal ?? `code ${code}`}`));
    });
  });
}

/** Modules of WebAssembly that are published, each by itself and inlined. */
export const MODULES = ["engine", "codec"];

/** @param {string} name of a module; @returns {string[]} what makes the compiler compile it */
export const ascOptions = (name) => [
  ...(name === "codec" ? ["--config", "asconfig.codec.json"] : []),
  ...["--target", "release"],
];

/** @param {string} name of a module, which becomes a text for src/NAME/module.ts */
function writeModuleText(name) {
  const text = JSON.stringify(moduleText(readFileSync(join(buildDir, `${name}.wasm`))));
  const constant = name.toUpperCase();
  writeFileSync(
    join(buildDir, `${name}.ts`),
    `/** build/${name}.wasm, by scripts/module_text.js. */\nexport const ${constant}: string = ${text};\n`,
  );
}

/**
 * @typedef {object} Manifest
 * @property {string[]} names of the entries: "index", "ttm", "swap/ram"; each is built from its `sourceOf`
 * @property {string[]} commands relative to the project
 */

/** @returns {Manifest} what package.json says is to be built */
function readManifest() {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const exported = Object.values(manifest.exports).map((target) => target.require ?? "");
  const names = exported
    .filter((path) => path.endsWith(".cjs"))
    .map((path) => path.slice("./dist/".length, -".cjs".length));
  return { names, commands: Object.values(manifest.bin) };
}

/** Entries that belong to the core; each other one is a swap device, or for those who write one. */
export const CORE = ["index", "ttm", "swap/file", "swap/ram", "swap/compressed"];

/** What workers are started with, by a URL beside the module that does it: whole files, which import nothing. */
const WORKERS = ["swap/opfs_worker"];

/** What is built a second time, with the modules of WebAssembly as the files that workerd wants. */
const WORKERD = ["index", "swap/compressed"];

/** @param {string} name of an entry; @returns {string} of its second build */
const workerdOf = (name) => `${name}.workerd`;

/** What runs everywhere that runs WebAssembly with SIMD. */
const TARGET = "es2022";

/** @type {import("esbuild").BuildOptions & { metafile: true, write: false }} */
const bundleOptions = {
  absWorkingDir: root,
  outdir: "dist",
  write: false,
  metafile: true,
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[hash]",
  format: "esm",
  platform: "neutral",
  target: TARGET,
  external: ["node:*"],
  logLevel: "warning",
  plugins: [workerd, inlineAbi],
};

/**
 * esbuild imports chunks for the order of their side effects too. The package declares that it has
 * none, and bundlers warn their users about such an import; so they go, with what only they named.
 *
 * @param {Map<string, string>} outputs texts by path; changed in place
 */
function dropBareImports(outputs) {
  for (const [path, text] of outputs) {
    outputs.set(path, text.replace(/^import "(?:\.{1,2}\/)+(?:chunks\/)?[^"/]+\.js";\n/gm, ""));
  }
  for (;;) {
    const texts = [...outputs.values()];
    const unused = [...outputs.keys()].find(
      (path) =>
        path.startsWith("chunks/") && !texts.some((text) => text.includes(`${basename(path)}"`)),
    );
    if (unused === undefined) return;
    outputs.delete(unused);
  }
}

/**
 * @param {Pick<import("esbuild").BuildOptions, "entryPoints" | "minifyIdentifiers" | "minifySyntax" | "splitting">} options
 * @returns {Promise<Map<string, string>>} texts by their path in dist/
 */
async function chunks(options) {
  const esbuild = await import("esbuild");
  const { metafile, outputFiles } = await esbuild.build({ ...bundleOptions, ...options });
  const foreign = Object.keys(metafile.inputs).find((path) => path.includes("node_modules"));
  if (foreign) throw new Error(`${foreign} would be published, without its licence`);
  const outputs = new Map(
    outputFiles.map((file) => {
      const path = relative(distDir, file.path).split(sep).join("/");
      const up = "../".repeat(path.split("/").length - 1) || "./";
      return [path, file.text.replaceAll(DIST, up)];
    }),
  );
  dropBareImports(outputs);
  return outputs;
}

/**
 * @param {string} text
 * @param {import("esbuild").TransformOptions} options
 */
const transform = async (text, options) => {
  const esbuild = await import("esbuild");
  return (await esbuild.transform(text, { target: TARGET, ...options })).code;
};

/**
 * @param {Manifest} manifest
 * @returns {Promise<Map<string, string>>} the files that run, by their path in dist/
 */
async function bundle({ names, commands }) {
  const scripts = commands.map((path) => path.slice("./dist/".length, -".js".length));
  /** @type {(entries: string[]) => { in: string, out: string }[]} */
  const made = (entries) => entries.map((name) => ({ in: `${sourceOf(name)}.ts`, out: name }));
  const sources = made(names);
  const tools = made(scripts);
  const second = WORKERD.map(workerdOf).map((name) => ({ in: name, out: name }));
  const entryPoints = [...sources, ...tools, ...second];
  const outputs = await chunks({ entryPoints });
  const workers = await chunks({ entryPoints: made(WORKERS), splitting: false });
  for (const [path, text] of workers) outputs.set(path, text);
  const modules = reached(outputs, [...names, ...WORKERD.map(workerdOf)]);
  for (const [path, text] of [...outputs]) {
    outputs.set(path, modules.has(path) ? await readable(path, text) : await small(text));
  }
  // Bundled anew, so that names are short between the chunks, too.
  const short = { minifyIdentifiers: true, minifySyntax: true };
  for (const [path, text] of await chunks({ entryPoints: sources, ...short })) {
    const code = await transform(text, {
      minify: true,
      define: { "import.meta.url": "undefined" },
    });
    outputs.set(commonJs(path), required(path, code, names));
  }
  return outputs;
}

/**
 * Makes CommonJS of a minified module, which has its imports first and its exports last. Chunks form no circle, and
 * nothing that they export is assigned once they have run, so each import is a constant; esbuild would write a getter
 * for each export, and a property access for each use.
 *
 * @param {string} path of the module
 * @param {string} text of it
 * @param {readonly string[]} names of the entries
 * @returns {string}
 */
function required(path, text, names) {
  let [code = "", exported] = text.trimEnd().split(/export\{([^{}]*)\};$/);
  /** @type {string[]} */
  const head = ['"use strict";'];
  const IMPORT = /^import(?:\{([^{}]*)\}| ([\w$]+) )from"([^"]+)";/;
  for (let found = IMPORT.exec(code); found; found = IMPORT.exec(code)) {
    const [statement, list, whole, from = ""] = found;
    const names =
      list === undefined ? whole : `{${list.replace(/([\w$]+) as ([\w$]+)/g, "$1:$2")}}`;
    head.push(`const ${names}=require("${from.replace(/^(\..*)\.js$/, "$1.cjs")}");`);
    code = code.slice(statement.length);
  }
  if (exported === undefined || /^(?:import|export)\b/.test(code)) {
    throw new Error(`${path} imports or exports in a way that CommonJS is not made of`);
  }
  const list = exported.replace(/([\w$]+) as ([\w$]+)/g, "$2:$1");
  // What an import of it gets that is itself compiled to CommonJS.
  const mark = 'Object.defineProperty(module.exports,"__esModule",{value:!0});';
  const entry = names.includes(path.slice(0, -".js".length));
  return `${head.join("")}${code}module.exports={${list}};${entry ? mark : ""}\n`;
}

/** @param {string} text @returns {Promise<string>} what nobody steps through */
const small = (text) => transform(text, { minify: true });

/**
 * Modules stay as one can read them, without the comments, which editors show from the declarations: those go
 * with the white space, and that comes back.
 *
 * @param {string} path
 * @param {string} text
 * @returns {Promise<string>}
 */
async function readable(path, text) {
  const bare = await transform(text, { minifyWhitespace: true });
  // The zeros of src/stack.ts close up.
  const spaced = withTabs(await transform(bare, {}), "  ").replace(/\b0, (?=0,)/g, "0,");
  if ((await transform(spaced, { minifyWhitespace: true })) !== bare) {
    throw new Error(`${path} has a text that other white space has changed`);
  }
  return spaced;
}

/**
 * @param {string} text
 * @param {string} indent what a level of it is
 * @returns {string} the same with a tab a level, which makes the package 2 % smaller
 */
function withTabs(text, indent) {
  return text.replace(new RegExp(`^(?:${indent})+`, "gm"), (spaces) =>
    "\t".repeat(spaces.length / indent.length),
  );
}

/** @param {string} path of a module; @returns {string} of the same module in CommonJS */
const commonJs = (path) => path.replace(/\.js$/, ".cjs");

/**
 * @param {Map<string, string>} outputs texts by path
 * @param {string[]} names of entries
 * @returns {Set<string>} paths of all that these entries import, them included
 */
function reached(outputs, names) {
  const paths = new Set(names.map((name) => `${name}.js`));
  // A Set also visits what is added while it is walked.
  for (const path of paths) {
    for (const [, target] of outputs.get(path)?.matchAll(/ from "(\.[^"]+\.js)"/g) ?? []) {
      paths.add(posix.join(posix.dirname(path), /** @type {string} */ (target)));
    }
  }
  return paths;
}

/**
 * Writes a file of dist/, its folder included.
 *
 * @param {string} path relative to dist/
 * @param {string | Uint8Array} content
 */
function writeDist(path, content) {
  const absolute = join(distDir, path);
  mkdirSync(dirname(absolute), { recursive: true });
  writeFileSync(absolute, content);
}

/**
 * Makes a bundled file a command: a first line for the shell, and the mode to go with it.
 *
 * @param {string} path relative to the project
 */
function makeCommand(path) {
  const absolute = join(root, path);
  const code = readFileSync(absolute, "utf8");
  if (!code.startsWith("#!")) {
    writeFileSync(absolute, `#!/usr/bin/env node\n${code}`);
  }
  chmodSync(absolute, 0o755);
}

/**
 * Writes the declarations of the entries. Those for CommonJS declare, those for modules pass them on: each thing is
 * declared once, and both kinds of importers can hand it to each other. What entries of the core export is declared
 * in one file, what only a further entry does beside it.
 *
 * @param {readonly string[]} names of the entries
 */
function writeDeclarations(names) {
  /** @param {string} name */
  const source = (name) => `${sourceOf(name)}.d.ts`;
  const further = names.filter((name) => !CORE.includes(name));
  const { types, exports, own } = rollUp(typesDir, CORE.map(source), further.map(source));
  writeDist("types.d.cts", `${TYPES_HEAD}${withTabs(types, "    ")}`);
  for (const name of names) {
    const up = "../".repeat(name.split("/").length - 1) || "./";
    const core = `${up}types.cjs`;
    const text = own.get(source(name))?.(core);
    const list = exports.get(source(name));
    const code =
      text === undefined ? `export { ${list} } from "${core}";\n` : withTabs(text, "    ");
    writeDist(`${name}.d.cts`, code);
    writeDist(`${name}.d.ts`, `export * from "./${basename(name)}.cjs";\n`);
  }
  for (const name of WORKERD) {
    writeDist(`${workerdOf(name)}.d.ts`, `export * from "./${basename(name)}.cjs";\n`);
  }
  for (const name of MODULES) {
    writeDist(
      `${name}.wasm.d.cts`,
      `import type { EngineModule } from "./types.cjs";
declare const module: EngineModule;
export = module;
`,
    );
  }
}

/**
 * Brings `Symbol.dispose` along where a project's `lib` is older, and the kernel's layer, so that a
 * type that is reached through a device has a name in declarations of a project that imports only this.
 */
const TYPES_HEAD = `/// <reference lib="esnext.disposable" />
/// <reference path="./ttm.d.ts" />
`;

/**
 * Folders for those who read no `exports`: their package.json says where the entry of that name lies.
 *
 * @param {readonly string[]} names of the entries
 */
function writeFolders(names) {
  const entries = names.filter((name) => name !== "index");
  for (const name of [...entries, ...MODULES.map((module) => `${module}.wasm`)]) {
    const dist = `${"../".repeat(name.split("/").length)}dist/${name}`;
    const code = { main: `${dist}.cjs`, module: `${dist}.js` };
    const main = entries.includes(name) ? code : { main: dist };
    const text = JSON.stringify({ ...main, types: `${dist}.d.cts` }, null, 2);
    mkdirSync(join(root, name), { recursive: true });
    writeFileSync(join(root, name, "package.json"), `${text}\n`);
  }
}

/** Builds all; throws when anything fails, and then counts as not built. */
export async function build() {
  // Taken before anything is read for the build: a change during it makes the outputs stale.
  const hash = hashInputs();
  const manifest = readManifest();
  mkdirSync(buildDir, { recursive: true });
  rmSync(hashFile, { force: true });
  rmSync(typesDir, { recursive: true, force: true });
  await Promise.all([
    runTool("assemblyscript/bin/asc.js", ["--target", "debug"]),
    runTool("assemblyscript/bin/asc.js", ["--target", "release"]),
    runTool("assemblyscript/bin/asc.js", [
      "--config",
      "asconfig.codec.json",
      "--target",
      "release",
    ]),
    runTool("typescript/lib/tsc.js", ["--project", "tsconfig.build.json"]),
  ]);
  for (const name of MODULES) writeModuleText(name);
  const outputs = await bundle(manifest);

  rmSync(distDir, { recursive: true, force: true });
  for (const [path, text] of outputs) writeDist(path, text);
  for (const name of MODULES) {
    copyFileSync(join(buildDir, `${name}.wasm`), join(distDir, `${name}.wasm`));
  }
  for (const command of manifest.commands) makeCommand(command);
  writeDeclarations(manifest.names);
  writeFolders(manifest.names);
  writeFileSync(hashFile, `${hash}\n`);
}

if (isMain(import.meta.url)) {
  try {
    await build();
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
