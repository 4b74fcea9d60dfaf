/* workerd compiles the engine and the codec, which lie beside the bundle as modules of their own. */
import { copyFileSync, mkdirSync } from "node:fs";

mkdirSync("dist", { recursive: true });
for (const file of ["engine.wasm", "codec.wasm"]) {
  copyFileSync(`node_modules/ttm-wasm/dist/${file}`, `dist/${file}`);
}

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
