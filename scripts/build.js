/**
 * Builds everything that is published or tested: `build/` (the engine, with and without debug
 * checks) and `dist/` (the library, the command line tool and their type declarations).
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
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

const buildDir = join(root, "build");
const distDir = join(root, "dist");
const hashFile = join(buildDir, ".hash");
const typesDir = join(buildDir, "types");

/** What the outputs depend on: files, or folders with all that is in them. */
const INPUTS = [
  "assembly",
  "src",
  "asconfig.json",
  "package.json",
  "package-lock.json",
  "scripts/build.js",
  "tsconfig.json",
  "tsconfig.build.json",
];

/** Without these no run of the tests or of the command line tool can start. */
const OUTPUTS = ["build/debug.wasm", "build/engine.wasm", "dist/index.js", "dist/index.d.ts"];

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

/**
 * @typedef {object} Entry
 * @property {string} in source file, relative to the project
 * @property {string} out output file without its suffix, relative to dist/
 */

/**
 * Every `./dist/x.js` that package.json names as an export or a command is built from `src/x.ts`.
 *
 * @returns {{ entries: Entry[], commands: string[], declarations: string[] }}
 */
function readEntries() {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  /** @type {string[]} */
  const commands = Object.values(manifest.bin);
  const exported = Object.values(manifest.exports).filter((target) => typeof target === "object");
  const modules = exported.map((target) => target.default).filter((path) => path.endsWith(".js"));
  const entries = [...modules, ...commands].map((path) => {
    const out = path.slice("./dist/".length, -".js".length);
    return { in: `src/${out}.ts`, out };
  });
  for (const entry of entries) {
    if (!existsSync(join(root, entry.in))) {
      throw new Error(`package.json names ./dist/${entry.out}.js, but ${entry.in} does not exist`);
    }
  }
  const declarations = modules.map((path) => `src/${path.slice(7, -3)}.d.ts`);
  return { entries, commands, declarations };
}

/**
 * The one module that differs between runtimes is reached as `#engine` in dist/, so that the
 * `imports` of package.json decide which of the two builds a runtime or a bundler gets.
 *
 * @type {import("esbuild").Plugin}
 */
const engineImports = {
  name: "engine-imports",
  setup(build) {
    const engineDir = join(root, "src", "engine");
    build.onResolve({ filter: /^\.\/module\.ts$/ }, (args) => {
      if (args.kind === "entry-point" || dirname(args.importer) !== engineDir) return undefined;
      return { path: "#engine", external: true };
    });
    build.onResolve({ filter: /^\.\/engine\.wasm$/ }, (args) => {
      if (args.importer !== join(engineDir, "module.workerd.ts")) return undefined;
      return { path: "./engine.wasm", external: true };
    });
  },
};

/** @type {import("esbuild").BuildOptions & { write: false }} */
const bundleOptions = {
  absWorkingDir: root,
  outdir: "dist",
  write: false,
  bundle: true,
  chunkNames: "chunks/[name]-[hash]",
  format: "esm",
  platform: "neutral",
  target: "es2022",
  external: ["node:*"],
  loader: { ".wasm": "base64" },
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
  plugins: [engineImports],
};

/**
 * esbuild imports chunks for the order of their side effects too. The package declares that it has
 * none, and bundlers warn their users about such an import; so they go, with what only they named.
 *
 * @param {Map<string, string>} outputs texts by path; changed in place
 */
function dropBareImports(outputs) {
  for (const [path, text] of outputs) {
    // The line stays, empty, for the source map.
    if (path.endsWith(".js")) {
      outputs.set(path, text.replace(/^import "(?:\.{1,2}\/)+(?:chunks\/)?[^"/]+\.js";$/gm, ""));
    }
  }
  for (;;) {
    const texts = [...outputs].filter(([path]) => path.endsWith(".js"));
    const unused = texts.find(
      ([path]) =>
        path.startsWith("chunks/") &&
        !texts.some(([, text]) => text.includes(`${basename(path)}"`)),
    );
    if (unused === undefined) return;
    outputs.delete(unused[0]);
    outputs.delete(`${unused[0]}.map`);
  }
}

/**
 * @param {Entry[]} entries of the library and the commands
 * @returns {Promise<Map<string, string>>} the bundled files, by their path in dist/
 */
async function bundle(entries) {
  const esbuild = await import("esbuild");
  const results = await Promise.all([
    esbuild.build({ ...bundleOptions, entryPoints: entries, splitting: true }),
    // Apart, so that they share no chunk with the rest: who takes one must not load the other.
    esbuild.build({
      ...bundleOptions,
      entryPoints: [
        { in: "src/engine/module.ts", out: "engine" },
        { in: "src/engine/module.workerd.ts", out: "engine.workerd" },
      ],
    }),
  ]);
  const files = results.flatMap((result) => result.outputFiles);
  const outputs = new Map(
    files.map((file) => [relative(distDir, file.path).split(sep).join("/"), file.text]),
  );
  dropBareImports(outputs);
  return outputs;
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
 * Makes a bundled file a command: a first line for the shell, the mode to go with it, and one
 * empty line at the start of its source map.
 *
 * @param {string} path relative to the project
 */
function makeCommand(path) {
  const absolute = join(root, path);
  const code = readFileSync(absolute, "utf8");
  if (!code.startsWith("#!")) {
    writeFileSync(absolute, `#!/usr/bin/env node\n${code}`);
    const map = JSON.parse(readFileSync(`${absolute}.map`, "utf8"));
    writeFileSync(`${absolute}.map`, JSON.stringify({ ...map, mappings: `;${map.mappings}` }));
  }
  chmodSync(absolute, 0o755);
}

/** @param {string} path of a declaration, relative to the project; @returns its place in dist/ */
const placeInDist = (path) => path.replace(/^src\//, "");

/**
 * Copies the declarations that the exports reach from build/types/ to dist/. There src/ is the
 * top, and a specifier names the `.js` file as every version of TypeScript understands it.
 *
 * @param {string[]} exported declarations to begin with, relative to the project
 */
function writeDeclarations(exported) {
  const pending = new Set(exported);
  // A Set also visits what is added while it is walked.
  for (const path of pending) {
    const source = join(typesDir, path);
    if (!existsSync(source)) throw new Error(`no declaration was emitted for ${path}`);
    const text = readFileSync(source, "utf8");
    const rewritten = text.replace(
      /(\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)"(\.{1,2}\/[^"]+)\.ts"/g,
      (_, keyword, specifier) => {
        const target = relative(typesDir, resolve(dirname(source), `${specifier}.d.ts`));
        const targetPath = target.split(sep).join("/");
        pending.add(targetPath);
        const from = dirname(join(distDir, placeInDist(path)));
        const to = relative(from, join(distDir, placeInDist(targetPath)))
          .split(sep)
          .join("/");
        const dotted = to.startsWith(".") ? to : `./${to}`;
        return `${keyword}"${dotted.replace(/\.d\.ts$/, ".js")}"`;
      },
    );
    writeDist(placeInDist(path), rewritten);
  }
  writeDist(
    "engine.wasm.d.ts",
    "declare const module: WebAssembly.Module;\nexport default module;\n",
  );
}

/** Builds all; throws when anything fails, and then counts as not built. */
export async function build() {
  // Taken before anything is read for the build: a change during it makes the outputs stale.
  const hash = hashInputs();
  const { entries, commands, declarations } = readEntries();
  mkdirSync(buildDir, { recursive: true });
  rmSync(hashFile, { force: true });
  rmSync(typesDir, { recursive: true, force: true });
  await Promise.all([
    runTool("assemblyscript/bin/asc.js", ["--target", "debug"]),
    runTool("assemblyscript/bin/asc.js", ["--target", "release"]),
    runTool("typescript/lib/tsc.js", ["--project", "tsconfig.build.json"]),
  ]);
  const outputs = await bundle(entries);

  rmSync(distDir, { recursive: true, force: true });
  for (const [path, text] of outputs) writeDist(path, text);
  copyFileSync(join(buildDir, "engine.wasm"), join(distDir, "engine.wasm"));
  for (const command of commands) makeCommand(command);
  writeDeclarations(declarations);
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
