export default {
  input: "main.js",
  platform: "browser",
  output: { file: "dist/page.js", format: "es", codeSplitting: false },
};
