/**
 * What README promises to run: its blocks of code, and the starts of its section "Start in a minute", each with
 * files, commands and what is to be seen in the end.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./paths.js";

/**
 * @typedef {object} Block
 * @property {string} language
 * @property {string} text
 * @property {string} [file] its name, which a comment in its first line says
 */

/**
 * @typedef {object} Start
 * @property {string} name of the runtime
 * @property {Record<string, string>} files texts by name
 * @property {string[]} commands
 * @property {string} says what it shows, as a comment beside that line tells
 */

export const readme = readFileSync(join(root, "README.md"), "utf8");

/**
 * @param {string} text of a part of README
 * @returns {Block[]}
 */
export function blocks(text) {
  return Array.from(text.matchAll(/^```(\w+)\n(.*?)^```$/gms), ([, language = "", code = ""]) => {
    const file = /^(?:\/\/|<!--) (\w[\w.]*\.\w+)(?: -->)?\n/.exec(code)?.[1];
    return { language, text: code, ...(file === undefined ? {} : { file }) };
  });
}

/** @param {string} text of shell blocks @returns {string[]} its commands, without comments */
export function commandsOf(text) {
  return blocks(text)
    .filter(({ language }) => language === "sh")
    .flatMap((block) => block.text.split("\n"))
    .map((line) => line.replace(/\s+#.*/, ""))
    .filter((line) => line !== "");
}

/** @param {string} code @returns {string | undefined} what a comment says that the line before it shows */
function shown(code) {
  return /^.*(?:console\.log|new Response|document\.title).*; \/\/ (.+)$/m.exec(code)?.[1];
}

/**
 * A start names the files that are new in it; the others are those of the same name above.
 *
 * @returns {Start[]}
 */
export function starts() {
  /** @type {Map<string, string>} */
  const files = new Map();
  /** @param {string} text */
  const keep = (text) => {
    for (const { file, text: code } of blocks(text)) if (file !== undefined) files.set(file, code);
  };
  const [above = "", section] = readme.split(/^## Start in a minute$/m);
  if (section === undefined) throw new Error("README has no section of starts");
  keep(above);
  const [, ...parts] = (section.split(/^## /m)[0] ?? "").split(/^### /m);
  return parts.map((part) => {
    const [name = ""] = part.split("\n");
    keep(part);
    const used = new Set(blocks(part).flatMap(({ file }) => file ?? []));
    for (const [, file = ""] of part.matchAll(/[`" ](\w+\.m?js)\b/g))
      if (files.has(file)) used.add(file);
    const texts = Object.fromEntries([...used].map((file) => [file, files.get(file) ?? ""]));
    const says = Object.values(texts)
      .map(shown)
      .find((text) => text !== undefined);
    if (says === undefined) throw new Error(`the start on ${name} does not tell what it shows`);
    return { name, files: texts, commands: commandsOf(part), says };
  });
}
