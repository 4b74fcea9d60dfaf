/* What esbuild is told of this package when scripts/build.js bundles it. */
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { root } from "./paths.js";

/** @param {string} name of an entry, which may have dashes; @returns {string} its source, without the suffix */
export const sourceOf = (name) => `src/${name.replaceAll("-", "_")}`;

/** Stands for the folder of those files until it is known where each importing file is. */
export const DIST = "ttm-wasm-dist:";

/**
 * Makes the second builds, with the modules of src/ replaced that differ between runtimes.
 *
 * @type {import("esbuild").Plugin}
 */
export const workerd = {
  name: "workerd",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\.workerd$/ }, ({ path }) => ({ path, namespace: "workerd" }));
    onResolve({ filter: /\.wasm$/ }, ({ path }) => {
      return { path: `${DIST}${basename(path)}`, external: true };
    });
    onLoad({ filter: /./, namespace: "workerd" }, ({ path }) => {
      const name = path.replace(/\.workerd$/, "");
      const file = join(root, `${sourceOf(name)}.ts`);
      const text = readFileSync(file, "utf8");
      // One of each entry's own: from a chunk that entries share, a bundle would name the module by another path.
      const own = `/module.workerd.ts?${name}"`;
      const contents = text.replaceAll('/module.ts"', own);
      if (contents === text) throw new Error(`${file} imports no module of WebAssembly`);
      return { contents, loader: "ts", resolveDir: dirname(file) };
    });
  },
};

/**
 * Puts the numbers of assembly/abi.ts where their names are used: else each chunk would import them, and look
 * them up in another module whenever it runs.
 *
 * @type {import("esbuild").Plugin}
 */
export const inlineAbi = {
  name: "inline-abi",
  setup({ initialOptions, onLoad }) {
    const abi = readFileSync(join(root, "assembly", "abi.ts"), "utf8");
    const numbers = [...abi.matchAll(/^export const (\w+) = (-?\w+);$/gm)];
    initialOptions.define = Object.fromEntries(
      numbers.flatMap(([, name, text]) => {
        const number = String(Number(text));
        return [`${name}`, `abi.${name}`].map((each) => [each, number]);
      }),
    );
    // Names that nothing declares: those are what esbuild replaces.
    const IMPORT = /^import (?:\* as abi|\{[^}]*\}) from "[./]*\/assembly\/abi\.ts";$/m;
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      return { contents: readFileSync(path, "utf8").replace(IMPORT, ""), loader: "ts" };
    });
  },
};
