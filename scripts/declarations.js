/**
 * Makes the package's type declarations of those that the compiler emitted for each source file: one file with all
 * that the entries of the core export, and one for each further entry with what only such export. Each thing is
 * declared once, however it is imported.
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
 * @typedef {object} Declared
 * @property {string} file it is from
 * @property {string} home the entry that declares it, or CORE
 * @property {string} text
 * @property {Set<string>} mentions names of others
 */

/** The home of all that entries of the core export, and mention. */
const CORE = "the core";

/**
 * @param {string} folder of the emitted files
 * @param {readonly string[]} core entries such as "src/index.d.ts", which share one file
 * @param {readonly string[]} further entries, each of which has a file of its own
 * @returns {{ types: string, exports: Map<string, string>, own: Map<string, (core: string) => string> }} the text of the
 *   file that declares all of the core; by entry of the core what it exports from there, the inside of a pair of
 *   braces; and by further entry what makes the text of its file of the path from there to that of the core
 */
export function rollUp(folder, core, further = []) {
  /** @type {Map<string, Source>} */
  const sources = new Map();
  /** @param {string} file */
  const sourceOf = (file) => {
    const source = sources.get(file) ?? parse(folder, file);
    sources.set(file, source);
    return source;
  };
  /** @type {Map<string, Declared>} */
  const declared = new Map();
  const exported = new Set(
    [...core, ...further].flatMap((entry) => [...sourceOf(entry).exports.keys()]),
  );
  declare(CORE, core, { sourceOf, declared, exported });
  for (const entry of further) declare(entry, [entry], { sourceOf, declared, exported });
  return {
    types: `${textOf(CORE, declared)}export {};\n`,
    exports: new Map(core.map((entry) => [entry, listed(sourceOf(entry).exports)])),
    own: new Map(
      further.map((entry) => [entry, ownFile(entry, sourceOf(entry).exports, declared)]),
    ),
  };
}

/**
 * Follows what entries export to all that it mentions.
 *
 * @param {string} home where to declare what is not declared yet
 * @param {readonly string[]} entries
 * @param {{ sourceOf(file: string): Source, declared: Map<string, Declared>, exported: Set<string> }} all `declared`
 *   by name; it grows
 */
function declare(home, entries, { sourceOf, declared, exported }) {
  /** @type {{ file: string, name: string, user: string }[]} */
  const pending = [];
  for (const entry of entries) {
    for (const [name, { file }] of sourceOf(entry).exports) {
      pending.push({ file, name, user: entry });
    }
  }
  for (const { file, name, user } of pending) {
    const before = declared.get(name);
    const source = sourceOf(file);
    const isExported = source.exports.has(name);
    if (before) {
      if (before.file !== file) throw new Error(`two declarations are called ${name}`);
      if (before.home === home || (before.home === CORE && isExported)) continue;
      throw new Error(`${user} mentions ${name}, which ${before.home} declares for itself`);
    }
    const text = source.declarations.get(name);
    if (text === undefined) throw new Error(`${file} does not declare ${name}, as ${user} expects`);
    // What its own file keeps to itself is part of how something is declared, not a name of its own.
    if (isExported && !exported.has(name)) {
      throw new Error(`${user} mentions ${name} of ${file}, which no entry exports`);
    }
    const mentions = new Set();
    for (const [word] of bare(text).matchAll(/\b[A-Za-z_]\w*\b/g)) {
      const target = source.imports.get(word);
      if (!target && !source.declarations.has(word)) continue;
      const { file: from, name: named } = target ?? { file, name: word };
      pending.push({ file: from, name: named, user: name });
      mentions.add(named);
    }
    declared.set(name, { file, home, text, mentions });
  }
}

/** @param {string} home @param {Map<string, Declared>} declared @returns {string} */
function textOf(home, declared) {
  const own = [...declared.values()].filter((each) => each.home === home);
  return own.map(({ text }) => compact(text)).join("");
}

/** @param {Iterable<[string, { type: boolean }]>} exports @returns {string} the inside of a pair of braces */
function listed(exports) {
  const names = [...exports].map(([name, { type }]) => (type ? `type ${name}` : name));
  return names.sort().join(", ");
}

/**
 * @param {string} entry
 * @param {Map<string, { type: boolean }>} exports
 * @param {Map<string, Declared>} declared
 * @returns {(core: string) => string}
 */
function ownFile(entry, exports, declared) {
  /** @param {string} name */
  const isShared = (name) => declared.get(name)?.home === CORE;
  const own = [...declared.values()].filter(({ home }) => home === entry);
  const used = new Set(own.flatMap(({ mentions }) => [...mentions].filter(isShared)));
  const passedOn = [...exports].filter(([name]) => isShared(name));
  return (core) => {
    const head =
      used.size > 0 ? `import type { ${[...used].sort().join(", ")} } from "${core}";\n` : "";
    const foot = passedOn.length > 0 ? `export { ${listed(passedOn)} } from "${core}";\n` : "";
    return `${head}${textOf(entry, declared)}${foot}export {};\n`;
  };
}
