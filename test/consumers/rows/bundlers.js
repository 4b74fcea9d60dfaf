/* Bundle, and run the bundle where it belongs. */

const all = { "consumer.js": "all.js", "subpaths.js": "subpaths.js", "basic.js": "basic.js" };
const subpaths = { "consumer.js": "subpaths.js", "basic.js": "basic.js" };
const allCjs = { "consumer.cjs": "all.cjs", "basic.cjs": "basic.cjs" };
const node = { ...all, "main.js": "node.js" };
const nodeCjs = { ...allCjs, "main.cjs": "node.cjs" };
const page = { ...subpaths, "main.js": "page.js" };
const workerPage = { ...subpaths, "main.js": "page_worker.js", "worker.js": "worker.js" };
const workerd = { ...subpaths, "main.js": "workerd.js" };
/** A page beside the bundle dist/page.js. */
const builtPage = { "dist/index.html": "page.html" };
const vitePage = { "index.html": "page.html", "page.js": "page.js", ...subpaths };
const viteWorkerPage = { ...vitePage, "page.js": "page_worker.js", "worker.js": "worker.js" };

const CHROMIUM = ["chromium", "dist/index.html"];
const WORKERD = ["workerd", "dist/main.js"];

const esbuild = (...args) => [
  "esbuild:esbuild",
  "main.js",
  "--bundle",
  "--log-level=warning",
  ...args,
];
const rollup = (bin, config) => [bin, "--config", config];
const webpack = (...args) => ["webpack:webpack", "build", ...args, "--mode", "production"];
const VITE = "vite:vite";
const NEXT = "next:next";

const esbuildRows = [
  {
    name: "esbuild node ESM",
    files: node,
    steps: [
      esbuild("--platform=node", "--format=esm", "--outfile=dist/main.mjs"),
      ["node", "dist/main.mjs"],
    ],
  },
  {
    name: "esbuild node CommonJS",
    files: node,
    steps: [
      esbuild("--platform=node", "--format=cjs", "--outfile=dist/main.cjs"),
      ["node", "dist/main.cjs"],
    ],
  },
  {
    name: "esbuild node, require",
    files: nodeCjs,
    steps: [
      ["esbuild:esbuild", "main.cjs", "--bundle", "--platform=node", "--outfile=dist/main.cjs"],
      ["node", "dist/main.cjs"],
    ],
  },
  {
    name: "esbuild browser",
    files: { ...page, ...builtPage },
    steps: [esbuild("--format=esm", "--minify", "--outfile=dist/page.js"), CHROMIUM],
  },
  {
    name: "esbuild browser, classic script",
    files: { ...page, "dist/index.html": "page_classic.html" },
    steps: [esbuild("--format=iife", "--target=es2020", "--outfile=dist/page.js"), CHROMIUM],
  },
  {
    name: "esbuild web worker",
    files: { ...workerPage, ...builtPage },
    steps: [
      esbuild("--format=esm", "--outfile=dist/page.js"),
      ["esbuild:esbuild", "worker.js", "--bundle", "--format=esm", "--outfile=dist/worker.js"],
      CHROMIUM,
    ],
  },
  {
    name: "esbuild workerd",
    files: workerd,
    steps: [
      esbuild(
        "--format=esm",
        "--conditions=workerd",
        "--loader:.wasm=copy",
        "--asset-names=[name]",
        "--outdir=dist",
      ),
      WORKERD,
    ],
  },
];

const rollupRows = ["rollup", "rolldown"].flatMap((name) => [
  {
    name: `${name} node`,
    files: { ...node, "config.mjs": `${name}.node.mjs` },
    links: ["@rollup/plugin-node-resolve"],
    steps: [rollup(`${name}:${name}`, "config.mjs"), ["node", "dist/main.mjs"]],
  },
  {
    name: `${name} browser`,
    files: { ...page, ...builtPage, "config.mjs": `${name}.browser.mjs` },
    links: ["@rollup/plugin-node-resolve"],
    steps: [rollup(`${name}:${name}`, "config.mjs"), CHROMIUM],
  },
]);

const viteRows = [
  { name: "vite build", files: vitePage, steps: [[VITE, "build", "--base", "./"], CHROMIUM] },
  {
    name: "vite build, web worker",
    files: viteWorkerPage,
    steps: [[VITE, "build", "--base", "./"], CHROMIUM],
  },
  {
    name: "vite build --ssr",
    files: node,
    steps: [
      [VITE, "build", "--ssr", "main.js"],
      ["node", "dist/main.js"],
    ],
  },
  {
    name: "vite dev server",
    about: VITE,
    files: vitePage,
    steps: [["chromium", "index.html", "--", VITE, "--host", "127.0.0.1", "--port", "0"]],
  },
  {
    name: "vite dev server, web worker",
    about: VITE,
    files: viteWorkerPage,
    steps: [["chromium", "index.html", "--", VITE, "--host", "127.0.0.1", "--port", "0"]],
  },
];

const webpackRows = [
  {
    name: "webpack web",
    files: { ...page, ...builtPage },
    steps: [webpack("./main.js", "--target", "web", "--output-filename", "page.js"), CHROMIUM],
  },
  {
    name: "webpack web, web worker",
    files: { ...workerPage, ...builtPage },
    steps: [webpack("./main.js", "--target", "web", "--output-filename", "page.js"), CHROMIUM],
  },
  {
    name: "webpack webworker",
    files: { ...subpaths, "main.js": "worker.js", "dist/page.js": "page_worker.js", ...builtPage },
    steps: [
      webpack("./main.js", "--target", "webworker", "--output-filename", "worker.js"),
      CHROMIUM,
    ],
  },
  {
    name: "webpack node",
    files: { ...node },
    steps: [
      webpack("./main.js", "--target", "node", "--output-filename", "main.cjs"),
      ["node", "dist/main.cjs"],
    ],
  },
  {
    name: "webpack node, require",
    files: { ...nodeCjs },
    steps: [
      webpack("./main.cjs", "--target", "node", "--output-filename", "main.cjs"),
      ["node", "dist/main.cjs"],
    ],
  },
  {
    name: "webpack workerd",
    files: { ...workerd, "webpack.config.js": "webpack.workerd.js" },
    steps: [webpack(), WORKERD],
  },
];

const otherRows = [
  {
    name: "parcel, as it comes",
    files: { ...page, "consumer.js": "basic.js", "index.html": "page.html", "page.js": "page.js" },
    steps: [["parcel:parcel", "build", "index.html", "--no-cache", "--public-url", "./"], CHROMIUM],
  },
  {
    name: "parcel with packageExports",
    files: {
      ...page,
      "package.json": { type: "module", "@parcel/resolver-default": { packageExports: true } },
      "index.html": "page.html",
      "page.js": "page.js",
    },
    steps: [["parcel:parcel", "build", "index.html", "--no-cache", "--public-url", "./"], CHROMIUM],
  },
  {
    name: "bun build browser",
    files: { ...page, ...builtPage },
    steps: [["bun", "build", "main.js", "--outfile=dist/page.js", "--minify"], CHROMIUM],
  },
  {
    name: "bun build node",
    files: node,
    steps: [
      ["bun", "build", "main.js", "--target=node", "--outfile=dist/main.mjs"],
      ["node", "dist/main.mjs"],
    ],
  },
  {
    name: "bun build bun",
    files: node,
    steps: [
      ["bun", "build", "main.js", "--target=bun", "--outfile=dist/main.js"],
      ["bun", "dist/main.js"],
    ],
  },
  {
    name: "bun build --compile",
    files: node,
    steps: [["bun", "build", "main.js", "--compile", "--outfile=dist/main"], ["./dist/main"]],
  },
  {
    name: "deno bundle",
    files: node,
    steps: [
      [
        "deno",
        "bundle",
        "--no-lock",
        "--node-modules-dir=manual",
        "main.js",
        "--output",
        "dist/main.mjs",
      ],
      ["node", "dist/main.mjs"],
    ],
  },
  {
    name: "deno bundle browser",
    files: { ...page, ...builtPage },
    steps: [
      [
        "deno",
        "bundle",
        "--platform=browser",
        "--no-lock",
        "--node-modules-dir=manual",
        "main.js",
        "--output",
        "dist/page.js",
      ],
      CHROMIUM,
    ],
  },
  {
    name: "wrangler deploy --dry-run",
    files: {
      ...workerd,
      "wrangler.json": { name: "consumer", main: "main.js", compatibility_date: "2026-04-01" },
    },
    steps: [["wrangler:wrangler", "deploy", "--dry-run", "--outdir", "dist"], WORKERD],
  },
];

/** Its server on a port of its choice, and a page of it. */
const nextStart = (path) => ["chromium", path, "--", NEXT, "start", "-H", "127.0.0.1", "-p", "0"];
const next = (bundler, { edge }) => ({
  name: `Next.js ${bundler}${edge ? ", edge too" : ""}`,
  about: NEXT,
  files: {
    ...all,
    "next.config.js": "next.config.js",
    "app/layout.js": "next_layout.js",
    "app/page.js": "next_page.js",
    "app/node/route.js": "next_node.js",
    ...(edge ? { "app/edge/route.js": "next_edge.js" } : {}),
  },
  links: ["next", "react", "react-dom"],
  steps: [
    [NEXT, "build", `--${bundler}`],
    nextStart(""),
    nextStart("node"),
    ...(edge ? [nextStart("edge")] : []),
  ],
});

export const rows = [
  ...esbuildRows,
  ...rollupRows,
  ...viteRows,
  ...webpackRows,
  ...otherRows,
  next("webpack", { edge: false }),
  next("turbopack", { edge: true }),
];
