import resolve from "@rollup/plugin-node-resolve";

export default {
  input: "main.js",
  external: /^node:/,
  plugins: [resolve({ exportConditions: ["node"] })],
  output: { file: "dist/main.mjs", format: "es", inlineDynamicImports: true },
};
