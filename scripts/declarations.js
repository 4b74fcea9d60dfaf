/**
 * Makes the package's type declarations of those that the compiler emitted for each source file: one
 * file with all that the entries export, each thing declared once, however it is imported.
 *
 * A name that a declaration mentions but no entry exports is an error: nobody could name its type.
 */
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";

/**
 * @typedef {object} Source an emitted file
 * @property {Map<string, { file: string, name: string }>} imports by the name they have here
 * @property {Map<string, { file: string, name: string, type: boolean }>} exports from other files, or of it
 * @property {Map<string, string>} declarations texts by name
 */

const IMPORT = /^import (?:type )?\{([^}]*)\} from "([^"]+)";$/;
const REEXPORT = /^export (type )?\{([^}]*)\} from "([^"]+)";$/;
const DECLARATION =
  /^(export )?(?:declare )?(?:abstract )?(class|const|let|function|interface|type) (\w+)/;

/**
 * @param {string} text of an emitted file
 * @returns {string[]} its statements, each with the comment above it
 */
function statements(text) {
  /** @type {string[]} */
  const found = [];
  let pending = "";
  let comment = false;
  for (const line of text.split("\n")) {
    comment = comment ? true : line.startsWith("/*");
    if (!pending && line === "") continue;
    pending += `${line}\n`;
    if (comment) comment = !line.trimEnd().endsWith("*/");
    else if (/^(?:\}|\S.*[;}]$|\s+.*;$)/.test(line) && balanced(pending)) {
      found.push(pending);
      pending = "";
    }
  }
  if (pending.trim() !== "") found.push(pending);
  return found;
}

/**
 * Editors wrap what they show by themselves: a line that goes on in the next one is joined with it, and a comment that
 * is one line then takes one line. Lists, tags and paragraphs stay. What is exported needs no `declare`.
 *
 * @param {string} text of a declaration
 * @returns {string}
 */
function compact(text) {
  const short = text.replace(/\/\*\*[\s\S]*?\*\//g, (comment) =>
    comment
      .replace(/([^\s*])\n *\* +(?=[^\s@*-])/g, "$1 ")
      .replace(/^\/\*\*\n *\* (.*)\n *\*\/$/, "/** $1 */"),
  );
  return short.replace(/^export declare /m, "export ");
}

/** @param {string} text @returns {string} without its comments */
const bare = (text) => text.replace(/\/\*[\s\S]*?\*\//g, "");

/** @param {string} text @returns {boolean} whether it closes all braces that it opens */
function balanced(text) {
  const code = bare(text);
  return (code.match(/[{(]/g) ?? []).length === (code.match(/[})]/g) ?? []).length;
}

/** @param {string} list what stands in the braces of an import or export */
function specifiers(list) {
  return list
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      const name = part.replace(/^type /, "");
      if (!/^\w+$/.test(name)) throw new Error(`a declaration imports or exports "${part}"`);
      return { name, type: part.startsWith("type ") };
    });
}

/**
 * @param {string} folder of the emitted files
 * @param {string} file relative to it
 * @returns {Source}
 */
function parse(folder, file) {
  const path = posix.join(folder, file);
  if (!existsSync(path)) throw new Error(`no declaration was emitted for ${file}`);
  /** @type {Source} */
  const source = { imports: new Map(), exports: new Map(), declarations: new Map() };
  /** @param {string} specifier */
  const resolve = (specifier) =>
    posix.join(posix.dirname(file), specifier.replace(/\.ts$/, ".d.ts"));
  for (const statement of statements(readFileSync(path, "utf8"))) {
    const code = bare(statement).trim();
    const imported = IMPORT.exec(code);
    const exported = REEXPORT.exec(code);
    const declared = DECLARATION.exec(code);
    if (imported) {
      const target = resolve(/** @type {string} */ (imported[2]));
      for (const { name } of specifiers(/** @type {string} */ (imported[1]))) {
        source.imports.set(name, { file: target, name });
      }
    } else if (exported) {
      const target = resolve(/** @type {string} */ (exported[3]));
      for (const { name, type } of specifiers(/** @type {string} */ (exported[2]))) {
        source.exports.set(name, { file: target, name, type: type || exported[1] !== undefined });
      }
    } else if (declared) {
      const name = /** @type {string} */ (declared[3]);
      if (source.declarations.has(name)) throw new Error(`${file} declares ${name} twice`);
      const type = declared[2] === "interface" || declared[2] === "type";
      source.declarations.set(name, statement);
      if (declared[1]) source.exports.set(name, { file, name, type });
    } else if (code !== "export {};" && code !== "") {
      throw new Error(`${file}: no import, export or declaration: ${code}`);
    }
  }
  return source;
}

/**
 * @param {string} folder of the emitted files
 * @param {readonly string[]} entries such as "src/index.d.ts"
 * @returns {{ types: string, exports: Map<string, string> }} the text of the one file that declares all,
 *   and by entry what it exports from there: the inside of a pair of braces
 */
export function rollUp(folder, entries) {
  /** @type {Map<string, Source>} */
  const sources = new Map();
  /** @param {string} file */
  const sourceOf = (file) => {
    const source = sources.get(file) ?? parse(folder, file);
    sources.set(file, source);
    return source;
  };
  const exportsOf = entries.map((entry) => /** @type {const} */ ([entry, sourceOf(entry).exports]));
  /** Places of what is declared, by name. @type {Map<string, string>} */
  const places = new Map();
  /** @type {Set<string>} */
  const exported = new Set();
  /** @type {{ file: string, name: string, user: string }[]} */
  const pending = [];
  for (const [entry, list] of exportsOf) {
    for (const [name, target] of list) {
      exported.add(name);
      pending.push({ file: target.file, name, user: entry });
    }
  }
  /** @type {string[]} */
  const texts = [];
  for (const { file, name, user } of pending) {
    if (places.has(name)) {
      if (places.get(name) !== file) throw new Error(`two declarations are called ${name}`);
      continue;
    }
    const source = sourceOf(file);
    const text = source.declarations.get(name);
    if (text === undefined) throw new Error(`${file} does not declare ${name}, as ${user} expects`);
    // What its own file keeps to itself is part of how something is declared, not a name of its own.
    if (source.exports.has(name) && !exported.has(name)) {
      throw new Error(`${user} mentions ${name} of ${file}, which no entry exports`);
    }
    places.set(name, file);
    texts.push(text);
    for (const [word] of bare(text).matchAll(/\b[A-Za-z_]\w*\b/g)) {
      const target = source.imports.get(word);
      if (target) pending.push({ ...target, user: name });
      else if (source.declarations.has(word)) pending.push({ file, name: word, user: name });
    }
  }
  const lists = exportsOf.map(([entry, list]) => {
    const names = [...list].map(([name, { type }]) => (type ? `type ${name}` : name));
    return /** @type {const} */ ([entry, names.sort().join(", ")]);
  });
  return { types: `${texts.map(compact).join("")}export {};\n`, exports: new Map(lists) };
}
