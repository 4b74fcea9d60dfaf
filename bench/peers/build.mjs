import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

const MANIFEST = {
  name: "ttm-wasm",
  type: "module",
  exports: { ".": "./index.js", "./swap/file": "./swap/file.js" },
};

/** Bundles the library's sources as they are, to where the peers find it as the package they use. */
export async function buildLibrary() {
  if (!existsSync(join(root, "build", "engine.wasm"))) {
    throw new Error(
      "build/engine.wasm is missing: run `npm run setup` in the project's root first",
    );
  }
  const outdir = join(here, "node_modules", "ttm-wasm");
  await build({
    absWorkingDir: root,
    entryPoints: ["src/index.ts", "src/swap/file.ts"],
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    external: ["node:*"],
    loader: { ".wasm": "base64" },
    logLevel: "warning",
  });
  writeFileSync(join(outdir, "package.json"), JSON.stringify(MANIFEST));
}
