/**
 * What the modules of src/, assembly/ and the others import and export: read from their text, which Biome keeps
 * in one form. For scripts/check_layers.js and scripts/check_exports.js.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { root } from "./paths.js";

/**
 * @typedef {object} Import
 * @property {string} from path of the module, relative to the project, or a bare name
 * @property {string[]} names that are imported; `*` when it is all of it, or its name is computed
 * @property {boolean} passedOn whether they are exported at once
 */

/**
 * @typedef {object} Module
 * @property {string} path relative to the project
 * @property {string} text
 * @property {Import[]} imports types included
 * @property {string[]} exports names that it declares and exports
 */

/**
 * @param {string[]} folders relative to the project
 * @param {RegExp} [kind] what a file's name ends with
 * @returns {string[]} paths of all modules in them, relative to the project, sorted
 */
export function modulePaths(folders, kind = /\.ts$/) {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { encoding: "utf8", recursive: true }).map((name) =>
        posix.join(folder, name.split(sep).join("/")),
      ),
    )
    .filter((path) => kind.test(path) && !path.includes("node_modules/"))
    .sort();
}

/**
 * @param {string} path of the importing module
 * @param {string} specifier
 * @returns {string} path of the imported one; AssemblyScript leaves `.ts` out
 */
function resolve(path, specifier) {
  if (!specifier.startsWith(".")) return specifier;
  const target = posix.join(posix.dirname(path), specifier);
  return /\.\w+$/.test(target) ? target : `${target}.ts`;
}

/**
 * @param {string} list what stands between the braces
 * @returns {{ name: string, as: string }[]}
 */
function namesIn(list) {
  return list
    .split(",")
    .map((part) => part.trim().replace(/^type /, ""))
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", as = name] = part.split(" as ");
      return { name, as };
    });
}

const STATEMENT =
  /^(import|export) (?:type )?(?:\{([^}]*)\}|(\*)(?: as (\w+))?|(\w+))(?: from "([^"]+)")?;$/gm;
const DYNAMIC = /\bimport\(\s*"(\.[^"]+)"\s*\)(?:\.(\w+))?/g;
const DECLARED =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type|enum) (\w+)/gm;

/**
 * @param {string} text of a module
 * @param {string} local name of a namespace in it
 * @returns {string[]} what is used of it
 */
function usedOf(text, local) {
  const rest = text.replace(STATEMENT, "");
  const members = rest.matchAll(new RegExp(`\\b${local}\\b(?:\\.(\\w+))?`, "g"));
  return Array.from(members, ([, name]) => name ?? "*");
}

/**
 * @param {string} path relative to the project
 * @param {string} [text] of it, if it is not read from there
 * @returns {Module}
 */
export function readModule(path, text = readFileSync(join(root, path), "utf8")) {
  /** @type {Import[]} */
  const imports = [];
  const exports = Array.from(text.matchAll(DECLARED), ([, name]) => name ?? "");
  for (const [, word, list, star, local, , specifier] of text.matchAll(STATEMENT)) {
    const names = list === undefined ? [] : namesIn(list);
    const passedOn = word === "export";
    if (passedOn) exports.push(...names.map(({ as }) => as));
    if (specifier === undefined) continue;
    const from = resolve(path, specifier);
    if (list !== undefined) imports.push({ from, names: names.map(({ name }) => name), passedOn });
    else if (star && local && !passedOn)
      imports.push({ from, names: usedOf(text, local), passedOn });
    else imports.push({ from, names: ["default", ...(star ? ["*"] : [])], passedOn });
  }
  for (const [, specifier = "", name] of text.matchAll(DYNAMIC)) {
    imports.push({ from: resolve(path, specifier), names: [name ?? "*"], passedOn: false });
  }
  return { path, text, imports, exports };
}
