/* workerd compiles the engine, which lies beside the bundle as a module of its own. */
import { copyFileSync, mkdirSync } from "node:fs";

mkdirSync("dist", { recursive: true });
copyFileSync("node_modules/ttm-wasm/dist/engine.wasm", "dist/engine.wasm");

export default {
  mode: "production",
  target: "webworker",
  entry: "./main.js",
  resolve: { conditionNames: ["workerd", "import", "default"] },
  externalsType: "module",
  externals: [/\.wasm$/],
  experiments: { outputModule: true },
  output: { filename: "main.js", library: { type: "module" } },
};
