import process from "node:process";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin, type ViteUserConfig } from "vitest/config";

/** Makes `import text from ".../build/engine.wasm"` give one build of the engine, in base64. */
function engineBytes(build: "debug" | "engine"): Plugin {
  const file = fileURLToPath(new URL(`build/${build}.wasm`, import.meta.url));
  const id = `\0engine-bytes:${build}`;
  return {
    name: "engine-bytes",
    enforce: "pre",
    resolveId: (source) => (source.endsWith("/build/engine.wasm") ? id : undefined),
    load: (loaded) =>
      loaded === id
        ? `import { readFileSync } from "node:fs";
           export default readFileSync(${JSON.stringify(file)}, "base64");`
        : undefined,
  };
}

/** What is run on a debug and on a release build of the engine. */
const onEngines = ["test/assembly/**/*.test.ts", "test/fuzz/engine.test.ts"];

/** Minutes of exhaustive and random tests: `npm run test:ttm` and `npm run test:long` run them. */
const long = process.env.TTM_EXHAUSTIVE ? [] : ["test/ttm/exhaustive*", "test/ttm/differential*"];

const config: ViteUserConfig = defineConfig({
  test: {
    testTimeout: 60_000,
    silent: "passed-only",
    projects: [
      {
        extends: true,
        plugins: [engineBytes("debug")],
        test: { name: "debug", include: onEngines },
      },
      {
        extends: true,
        plugins: [engineBytes("engine")],
        test: { name: "release", include: onEngines },
      },
      {
        extends: true,
        plugins: [engineBytes("engine")],
        test: {
          name: "host",
          include: ["test/**/*.test.ts"],
          exclude: [...onEngines, "test/consumers/**", "test/workerd/**", ...long],
        },
      },
    ],
    setupFiles: ["scripts/vitest_runtime.js"],
  },
});

export default config;
