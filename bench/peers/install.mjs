import { cpSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

const MANIFEST = {
  name: "ttm-wasm",
  type: "module",
  exports: {
    ".": "./index.js",
    "./codec.wasm": "./codec.wasm",
    "./swap/compressed": "./swap/compressed.js",
    "./swap/file": "./swap/file.js",
  },
};

/** Puts the library as it is published where the peers find it as the package they use. */
export function installLibrary() {
  const dist = join(root, "dist");
  if (!existsSync(join(dist, "index.js"))) {
    throw new Error("dist/index.js is missing: run `npm run setup` in the project's root first");
  }
  const folder = join(here, "node_modules", "ttm-wasm");
  rmSync(folder, { recursive: true, force: true });
  cpSync(dist, folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify(MANIFEST));
}
