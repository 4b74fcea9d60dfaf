import resolve from "@rollup/plugin-node-resolve";

export default {
  input: "main.js",
  plugins: [resolve({ browser: true })],
  output: { file: "dist/page.js", format: "es", inlineDynamicImports: true },
};
