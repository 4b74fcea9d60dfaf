/* Real bytes: text, minified text, machine code, tables. */
import { readFileSync } from "node:fs";

const FILES = [
  "package-lock.json",
  "docs/performance.md",
  "build/engine.wat",
  "build/debug.wasm",
  "node_modules/assemblyscript/dist/asc.js",
  "node_modules/typescript/package.json",
];

/** Up to so many bytes of them, whole blocks of `block` bytes. */
export function corpus(most: number, block: number): Uint8Array<ArrayBuffer> {
  const root = new URL("../../", import.meta.url);
  const files = FILES.map((path) => readFileSync(new URL(path, root)));
  const size = files.reduce((sum, { length }) => sum + length, 0);
  const all = new Uint8Array(size);
  let at = 0;
  for (const file of files) {
    all.set(file, at);
    at += file.length;
  }
  return all.slice(0, Math.floor(Math.min(size, most) / block) * block);
}
