export default {
  input: "main.js",
  platform: "node",
  output: { file: "dist/main.mjs", format: "es", codeSplitting: false },
};
