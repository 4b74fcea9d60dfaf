/**
 * Runs test/workerd/smoke.ts in workerd, against the built package as a Worker's author gets it:
 * bundled with the `workerd` condition and with the engine as a module that workerd compiles.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";
import { findRuntime, versionOf } from "./runtimes.js";
import { workerdTest } from "./workerd.js";

const outDir = join(root, "build", "workerd");

/** @returns {Promise<string[]>} the bundle's files */
async function bundle() {
  const esbuild = await import("esbuild");
  const result = await esbuild.build({
    absWorkingDir: root,
    entryPoints: ["test/workerd/smoke.ts"],
    outdir: "build/workerd",
    bundle: true,
    format: "esm",
    target: "esnext",
    conditions: ["workerd"],
    loader: { ".wasm": "copy" },
    assetNames: "[name]",
    metafile: true,
    // The project's own configuration would lead "ttm-wasm" to the sources.
    tsconfigRaw: {},
    logLevel: "warning",
  });
  const sources = Object.keys(result.metafile.inputs).filter((path) => path.startsWith("src/"));
  if (sources.length > 0) throw new Error(`the bundle is not of the built package: ${sources}`);
  return Object.keys(result.metafile.outputs).map((path) => basename(path));
}

/** @returns {Promise<number>} exit code */
export async function testWorkerd() {
  const path = findRuntime("workerd");
  if (path === undefined) {
    console.error("test_workerd: workerd was found neither in node_modules nor on the PATH");
    return 1;
  }
  rmSync(outDir, { recursive: true, force: true });
  const files = await bundle();
  for (const name of ["engine.wasm", "codec.wasm"]) {
    if (files.includes(name)) continue;
    console.error(`test_workerd: the bundle has no ${name}, so it would compile at run time`);
    return 1;
  }
  console.log(`smoke test inside ${versionOf(path)}`);
  const { error, status } = spawnSync(path, workerdTest(outDir, "smoke.js"), {
    cwd: outDir,
    stdio: "inherit",
    timeout: 300_000,
  });
  if (error) throw error;
  console.log(`smoke test inside workerd: ${status === 0 ? "passed" : `failed (code ${status})`}`);
  return status ?? 1;
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = await testWorkerd();
  } catch (error) {
    console.error(`test_workerd: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
