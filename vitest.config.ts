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

/** Of what is published, which the sources know nothing of, and a long one that reaches nothing of its own. */
const covered = process.env.TTM_COVERAGE
  ? ["test/{package,scripts}/**", "test/{readme,cli/run,differential}.test.ts"]
  : [];

/** What is not covered here, as it does not run in the process of the tests, and where it is tested. */
const elsewhere: readonly string[] = [
  // In workerd, which has modules of WebAssembly, and the database of a Durable Object.
  "src/engine/module.workerd.ts",
  "src/swap/durable_object.ts",
  // In browsers: the Origin Private File System, and the worker that reaches it for a page.
  "src/swap/opfs_*.ts",
  // Against a server that speaks Redis, and runs the programs that it is sent.
  "src/swap/storage_redis.ts",
  // Processes of the command's own, out of dist/: test/cli/run.test.ts starts them.
  "src/cli/{main,run,parent,child}.ts",
];

/** Two minutes of processes that something happens to: `npm run test:faults` runs them. */
const faults = process.env.TTM_FAULTS
  ? [
      {
        extends: true as const,
        plugins: [engineBytes("engine")],
        test: { name: "faults", include: ["test/faults/**/*.test.ts"], testTimeout: 170_000 },
      },
    ]
  : [];

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
          exclude: [
            ...onEngines,
            "test/consumers/**",
            "test/faults/**",
            "test/workerd/**",
            ...long,
            ...covered,
          ],
        },
      },
      ...faults,
    ],
    setupFiles: ["scripts/vitest_runtime.js"],
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: [...elsewhere, "**/*.d.ts"],
      reporter: ["text", "json"],
      reportsDirectory: "build/coverage",
      thresholds: { lines: 95, branches: 90 },
    },
  },
});

export default config;
