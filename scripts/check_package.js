/**
 * Packs the package as it would be published, and looks at what is in it: what it weighs, whether it is
 * whole, whether its engine is what the sources give. `node scripts/check_package.js`, after a build.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { ascOptions, CORE, MODULES } from "./build.js";
import { moduleText } from "./module_text.js";
import { isMain, root } from "./paths.js";

const workDir = join(root, "build", "package");
/** The package, as it is installed. */
const packageDir = join(workDir, "package");

/**
 * What the package may weigh (bytes). `bundle` is what a page that makes devices loads: a quarter of that is the engine,
 * and the rest is what every device can do (ARCHITECTURE.md, "What it weighs"). `core` is what is installed, unpacked:
 * every module twice, for `import` so that it can be read and for `require` without white space; declarations, the
 * engine, the command, README.
 *
 * @type {Record<"core" | "engine" | "codec" | "bundle", { most: number, what: string }>}
 */
const BUDGETS = {
  core: { most: 660_000, what: "unpacked, without further subpaths" },
  engine: { most: 20.5 * 1024, what: "engine.wasm" },
  codec: { most: 8 * 1024, what: "codec.wasm" },
  bundle: { most: 61 * 1024, what: "createDevice, bundled, minified and gzipped" },
};

/**
 * The same for each subpath that is not of the core, unpacked: what only such subpaths bring along, its declarations
 * included. So a store more does not take from what all others share.
 *
 * @type {Record<string, number>}
 */
const SUBPATHS = {
  "./swap/durable-object": 24_000,
  "./swap/encrypted": 24_000,
  "./swap/opfs": 24_000,
  "./swap/storage": 50_000,
  "./testing": 94_000,
};

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {string} what it printed; throws when it fails
 */
function run(command, args) {
  const { error, status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

/**
 * @param {string} script path inside node_modules
 * @param {string[]} args
 */
const runTool = (script, args) =>
  run(process.execPath, [join(root, "node_modules", script), ...args]);

/** @returns {string} path of the tarball, which is also unpacked to `packageDir` */
function pack() {
  rmSync(workDir, { recursive: true, force: true });
  mkdirSync(workDir, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", workDir];
  const [{ filename }] = Object.values(JSON.parse(run("npm", args)));
  const tarball = join(workDir, filename);
  run("tar", ["-xzf", tarball, "-C", workDir]);
  return tarball;
}

/** @returns {string[]} the files of the package, relative to it */
function files() {
  const entries = readdirSync(packageDir, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile());
  return paths.map((entry) => relative(packageDir, join(entry.parentPath, entry.name)));
}

/** @param {string} path relative to the package */
const textOf = (path) => readFileSync(join(packageDir, path), "utf8");

/** @param {Iterable<string>} paths relative to the package @returns {number} bytes */
const sizeOf = (paths) =>
  [...paths].reduce((sum, path) => sum + statSync(join(packageDir, path)).size, 0);

/** What a file of the package imports, requires or starts of it. */
const REFERENCE = /(?:from ?|require\(|new URL\()"(\.[^"]+)"/g;

/**
 * @param {string} name of an entry
 * @returns {Set<string>} the files that it brings along
 */
function filesOf(name) {
  const own = ["js", "cjs", "d.ts", "d.cts"].map((suffix) => `dist/${name}.${suffix}`);
  const paths = new Set([...own, ...(name === "index" ? [] : [`${name}/package.json`])]);
  // A Set also visits what is added while it is walked.
  for (const path of paths) {
    if (!/\.c?js$/.test(path)) continue;
    for (const [, to = ""] of textOf(path).matchAll(REFERENCE)) {
      paths.add(normalize(join(dirname(path), to)));
    }
  }
  return paths;
}

/** @returns {Map<string, Set<string>>} by subpath that is not of the core, the files that are only for such */
function furtherFiles() {
  const { exports } = JSON.parse(textOf("package.json"));
  const core = new Set(CORE.flatMap((name) => [...filesOf(name)]));
  const names = Object.keys(exports).flatMap((path) =>
    exports[path].require && path !== "." ? [path.slice("./".length)] : [],
  );
  const further = names.filter((name) => !CORE.includes(name));
  return new Map(
    further.map((name) => [
      `./${name}`,
      new Set([...filesOf(name)].filter((path) => !core.has(path))),
    ]),
  );
}

/** @returns {Promise<number>} bytes of what a page loads that makes devices */
async function bundleBytes() {
  const esbuild = await import("esbuild");
  const { outputFiles } = await esbuild.build({
    stdin: { contents: 'export { createDevice } from "./dist/index.js";', resolveDir: packageDir },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    tsconfigRaw: {},
  });
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

/** @returns {Promise<string[]>} what is too large */
async function checkBudgets() {
  const further = furtherFiles();
  const apart = new Set([...further.values()].flatMap((paths) => [...paths]));
  const bytes = {
    core: sizeOf(files()) - sizeOf(apart),
    engine: sizeOf(["dist/engine.wasm"]),
    codec: sizeOf(["dist/codec.wasm"]),
    bundle: await bundleBytes(),
  };
  /** @type {[string, number, number][]} */
  const weighed = [];
  for (const [name, is] of Object.entries(bytes)) {
    const { most, what } = BUDGETS[/** @type {keyof typeof BUDGETS} */ (name)];
    weighed.push([what, is, most]);
  }
  for (const [entry, paths] of further) {
    const most = SUBPATHS[entry];
    if (most === undefined) throw new Error(`${entry} has no limit in scripts/check_package.js`);
    weighed.push([`${entry}, unpacked, by itself`, sizeOf(paths), most]);
  }
  return weighed.flatMap(([what, is, most]) => {
    const text = `${what}: ${is} of ${most} bytes (${((100 * is) / most).toFixed(1)} %)`;
    console.log(text);
    return is > most ? [text] : [];
  });
}

/**
 * @param {string} name of a module of WebAssembly
 * @returns {Promise<string[]>} where it is not what the sources compile to, on this machine as on any other
 */
async function checkModule(name) {
  const file = `${name}.wasm`;
  const rebuilt = join(workDir, file);
  runTool("assemblyscript/bin/asc.js", [...ascOptions(name), "--outFile", rebuilt]);
  const wasm = readFileSync(rebuilt);
  console.log(`${file}: SHA-256 ${createHash("sha256").update(wasm).digest("hex")}`);
  const packed = readFileSync(join(packageDir, "dist", file));
  const problems = packed.equals(wasm) ? [] : [`dist/${file} is not what assembly/ compiles to`];
  const esbuild = await import("esbuild");
  for (const suffix of [".js", ".cjs"]) {
    const chunks = files().filter((path) => path.endsWith(suffix));
    // As esbuild writes it there, in whichever quotes.
    const source = `_=${JSON.stringify(moduleText(wasm))}`;
    const { code } = await esbuild.transform(source, { minify: suffix === ".cjs" });
    const text = code.slice(code.search(/["'`]/), code.lastIndexOf(";"));
    const copies = chunks.filter((path) => textOf(path).includes(text));
    if (copies.length === 1) continue;
    problems.push(`${copies.length} ${suffix} files hold ${file}, instead of one`);
  }
  return problems;
}

/** @returns {string[]} what the files of the package name that is not in it */
function checkReferences() {
  /** @type {string[]} */
  const problems = [];
  const names = files();
  /** @type {(from: string, to: string) => void} */
  const wants = (from, to) => {
    const path = normalize(join(dirname(from), to));
    if (!existsSync(join(packageDir, path))) problems.push(`${from} names ${to}, which is missing`);
  };
  for (const name of names.filter((each) => each.endsWith(".md"))) {
    for (const [, link] of textOf(name).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (link && !/^[a-z]+:/.test(link)) wants(name, link);
    }
  }
  for (const name of names.filter((each) => /\.c?js$/.test(each))) {
    const text = textOf(name);
    if (text.includes("sourceMappingURL")) problems.push(`${name} has a source map`);
    for (const [, path] of text.matchAll(REFERENCE)) wants(name, path ?? "");
  }
  for (const name of names.filter((each) => each.endsWith("/package.json"))) {
    for (const path of Object.values(JSON.parse(textOf(name)))) wants(name, path);
  }
  return problems;
}

/** @returns {string[]} where jsr.json and package.json disagree */
function checkManifests() {
  const npm = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const jsr = JSON.parse(readFileSync(join(root, "jsr.json"), "utf8"));
  const exported = Object.keys(npm.exports).filter((path) => npm.exports[path].require);
  const same = exported.sort().join() === Object.keys(jsr.exports).sort().join();
  return [
    ...(npm.version === jsr.version ? [] : ["jsr.json has another version than package.json"]),
    ...(same ? [] : ["jsr.json has other exports than package.json"]),
    ...(npm.dependencies === undefined ? [] : ["package.json has dependencies"]),
  ];
}

/**
 * @param {string} tarball
 * @returns {string[]} what the tools say that look at how a package is resolved
 */
function checkResolution(tarball) {
  /** @type {[string, string[]][]} */
  const tools = [
    ["publint/src/cli.js", [packageDir, "--strict"]],
    ["@arethetypeswrong/cli/dist/index.js", [tarball, "--no-color"]],
  ];
  return tools.flatMap(([script, args]) => {
    try {
      runTool(script, args);
      return [];
    } catch (error) {
      return [String(error)];
    }
  });
}

/** @returns {Promise<string[]>} what is wrong with the package */
export async function checkPackage() {
  const tarball = pack();
  return [
    ...(await checkBudgets()),
    ...(await Promise.all(MODULES.map(checkModule))).flat(),
    ...checkReferences(),
    ...checkManifests(),
    ...checkResolution(tarball),
  ];
}

if (isMain(import.meta.url)) {
  try {
    const problems = await checkPackage();
    for (const problem of problems) console.error(`check_package: ${problem}`);
    process.exitCode = problems.length === 0 ? 0 : 1;
  } catch (error) {
    console.error(`check_package: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
