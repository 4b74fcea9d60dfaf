/**
 * Formats and lints all sources: `node scripts/lint.js` only looks, with `--write` it mends.
 *
 * Biome reads TypeScript, where a decorator may stand before classes and their members only;
 * AssemblyScript has them before functions and constants too (`@inline`). So assembly/ is looked at
 * in a copy whose decorators are comments, and what is mended there is brought back.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";

const assemblyDir = join(root, "assembly");
const copyDir = join(root, "build", "lint");

const DECORATOR =
  /^([ \t]*)@((?:builtin|external|final|global|inline|lazy|operator|unmanaged|unsafe)\b(?:\.\w+)?(?:\([^)\n]*\))?)[ \t]*(\r?\n)?/gm;
const MASKED = /^([ \t]*)\/\/@@/gm;

/**
 * @param {string} text of an AssemblyScript file
 * @returns {string} the same with each decorator as a comment on a line of its own
 */
function mask(text) {
  return text.replace(DECORATOR, (_, indent, decorator, end) =>
    end === undefined ? `${indent}//@@${decorator}\n${indent}` : `${indent}//@@${decorator}${end}`,
  );
}

/**
 * @param {string} cwd
 * @param {string[]} args
 * @returns {boolean} whether Biome found nothing to say
 */
function biome(cwd, args) {
  const script = join(root, "node_modules", "@biomejs", "biome", "bin", "biome");
  const { error, status } = spawnSync(process.execPath, [script, ...args], {
    cwd,
    stdio: "inherit",
  });
  if (error) throw error;
  return status === 0;
}

/**
 * @param {string[]} args for Biome
 * @param {boolean} write whether Biome changes files
 * @returns {boolean} whether assembly/ is in order
 */
function lintAssembly(args, write) {
  const names = readdirSync(assemblyDir, { encoding: "utf8", recursive: true });
  const files = names.filter((name) => name.endsWith(".ts"));
  rmSync(copyDir, { recursive: true, force: true });
  mkdirSync(copyDir, { recursive: true });
  const config = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
  const copyConfig = { ...config, files: { includes: ["assembly/**"] } };
  writeFileSync(join(copyDir, "biome.json"), JSON.stringify(copyConfig));
  let clean = true;
  /** @type {Map<string, string>} */
  const originals = new Map();
  for (const file of files) {
    const text = readFileSync(join(assemblyDir, file), "utf8");
    originals.set(file, text);
    const masked = mask(text);
    if (!write && masked.replace(MASKED, "$1@") !== text) {
      console.error(`assembly/${file}: a decorator shares its line with what it decorates`);
      clean = false;
    }
    const copy = join(copyDir, "assembly", file);
    mkdirSync(dirname(copy), { recursive: true });
    writeFileSync(copy, masked);
  }
  // Run in the copy's folder, so that messages and configuration name the files as in the project.
  clean = biome(copyDir, [...args, "assembly"]) && clean;
  for (const [file, text] of write ? originals : []) {
    const mended = readFileSync(join(copyDir, "assembly", file), "utf8").replace(MASKED, "$1@");
    if (mended !== text) writeFileSync(join(assemblyDir, file), mended);
  }
  rmSync(copyDir, { recursive: true, force: true });
  return clean;
}

/**
 * @param {boolean} write whether to mend what can be mended
 * @returns {boolean} whether nothing is left to complain about
 */
export function lint(write) {
  const args = [...(write ? ["check", "--write"] : ["ci"]), "--colors=off", "--error-on-warnings"];
  const project = biome(root, args);
  const assembly = !existsSync(assemblyDir) || lintAssembly(args, write);
  return project && assembly;
}

if (isMain(import.meta.url)) {
  process.exitCode = lint(process.argv.includes("--write")) ? 0 : 1;
}
