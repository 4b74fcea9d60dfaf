/**
 * Runs test/workerd/smoke.ts in workerd, against the built package as a Worker's author gets it:
 * bundled with the `workerd` condition and with the engine as a module that workerd compiles.
 */
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { isMain, root } from "./paths.js";
import { findRuntime, versionOf } from "./runtimes.js";

const outDir = join(root, "build", "workerd");

/** Before Node's modules became a default, so that the library is seen to need none of them. */
const COMPATIBILITY_DATE = "2026-07-01";

/** @returns {Promise<string[]>} the bundle's files: the test first, then what it imports */
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
  const names = Object.keys(result.metafile.outputs).map((path) => basename(path));
  return names.sort((a, b) => Number(b === "smoke.js") - Number(a === "smoke.js"));
}

/**
 * @param {string[]} files
 * @returns {string} a configuration of one service that is made of these files
 */
function configuration(files) {
  const modules = files.map((file) => {
    const kind = file.endsWith(".wasm") ? "wasm" : "esModule";
    return `    (name = "./${file}", ${kind} = embed "${file}"),`;
  });
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "smoke", worker = .smoke)],
);

const smoke :Workerd.Worker = (
  compatibilityDate = "${COMPATIBILITY_DATE}",
  modules = [
${modules.join("\n")}
  ],
);
`;
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
  if (!files.includes("engine.wasm")) {
    console.error("test_workerd: the bundle has no engine.wasm, so it would compile at run time");
    return 1;
  }
  writeFileSync(join(outDir, "config.capnp"), configuration(files));
  console.log(`smoke test inside ${versionOf(path)}`);
  const { error, status } = spawnSync(path, ["test", "config.capnp"], {
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
