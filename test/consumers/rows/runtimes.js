/* No tool between the package and what runs it. */

const all = { "consumer.js": "all.js", "subpaths.js": "subpaths.js", "basic.js": "basic.js" };
const allCjs = { "consumer.cjs": "all.cjs", "basic.cjs": "basic.cjs" };
const subpaths = { "consumer.js": "subpaths.js", "basic.js": "basic.js" };
const byUrl = { "consumer.js": "by_url.js" };
const page = { "index.html": "page.html", "page.js": "page.js" };
const workerPage = {
  "index.html": "page.html",
  "page.js": "page_worker.js",
  "worker.js": "worker.js",
};

const DENO = ["--allow-all", "--no-lock", "--node-modules-dir=manual"];

export const rows = [
  { name: "node", files: { ...all, "main.js": "node.js" }, steps: [["node", "main.js"]] },
  {
    name: "node require",
    files: { ...allCjs, "main.cjs": "node.cjs" },
    steps: [["node", "main.cjs"]],
  },
  {
    name: "node require, no require of ES modules",
    files: { ...allCjs, "main.cjs": "node.cjs" },
    steps: [["node", "--no-experimental-require-module", "main.cjs"]],
  },
  {
    name: "node import and require",
    files: { ...all, "consumer.js": "mixed.js", "all.js": "all.js", "main.js": "node.js" },
    steps: [["node", "main.js"]],
  },
  {
    name: "node without code from strings",
    files: { ...all, "main.js": "node.js" },
    steps: [["node", "--disallow-code-generation-from-strings", "main.js"]],
  },
  {
    name: "node frozen intrinsics",
    files: { ...all, "main.js": "node.js" },
    steps: [["node", "--frozen-intrinsics", "--no-warnings", "main.js"]],
  },
  {
    name: "node worker_threads",
    files: { ...all, "main.js": "threads.js", "thread.js": "thread.js" },
    steps: [["node", "main.js"]],
  },
  {
    name: "deno",
    files: { ...all, "main.js": "node.js" },
    steps: [["deno", "run", ...DENO, "main.js"]],
  },
  {
    name: "deno worker_threads",
    files: { ...all, "main.js": "threads.js", "thread.js": "thread.js" },
    steps: [["deno", "run", ...DENO, "main.js"]],
  },
  {
    name: "deno check",
    files: {
      "consumer.ts": "consumer.ts",
      "declared.ts": "declared.ts",
      "main.js": "node_ts.js",
    },
    steps: [
      ["deno", "check", "--no-lock", "--node-modules-dir=manual", "consumer.ts", "declared.ts"],
      ["deno", "run", ...DENO, "main.js"],
    ],
  },
  { name: "bun", files: { ...all, "main.js": "node.js" }, steps: [["bun", "main.js"]] },
  {
    name: "bun require",
    files: { ...allCjs, "main.cjs": "node.cjs" },
    steps: [["bun", "main.cjs"]],
  },
  {
    name: "bun worker_threads",
    files: { ...all, "main.js": "threads.js", "thread.js": "thread.js" },
    steps: [["bun", "main.js"]],
  },
  {
    name: "chromium audio worklet by URL",
    files: { "index.html": "page.html", "page.js": "page_worklet.js", "worklet.js": "worklet.js" },
    steps: [["chromium", "index.html"]],
  },
  ...["chromium", "firefox", "webkit"].flatMap((browser) => [
    {
      name: `${browser} page, import map`,
      files: { ...subpaths, ...page, "index.html": "import_map.html" },
      steps: [[browser, "index.html"]],
    },
    {
      name: `${browser} page by URL`,
      files: { ...byUrl, ...page },
      steps: [[browser, "index.html"]],
    },
    {
      name: `${browser} web worker by URL`,
      files: { ...byUrl, ...workerPage },
      steps: [[browser, "index.html"]],
    },
  ]),
];
