/* `ttm-wasm/swap/opfs` on a page: the worker of the package is found without any setting, or is the user's own. */

const page = { "consumer.js": "opfs.js", "main.js": "page.js" };
const builtPage = { "dist/index.html": "page.html" };
const sourcePage = { "consumer.js": "opfs.js", "index.html": "page.html", "page.js": "page.js" };
const CHROMIUM = ["chromium", "dist/index.html"];
const PARCEL = ["parcel:parcel", "build", "index.html", "--no-cache", "--public-url", "./"];
/** Those who do not look for workers leave the file where a copy of it can be put. */
const copy = (to) => [
  "node",
  "--eval",
  `fs.cpSync("node_modules/ttm-wasm/dist/swap/opfs_worker.js", "${to}/opfs_worker.js")`,
];

export const rows = [
  {
    name: "opfs, webpack",
    files: { ...page, ...builtPage },
    steps: [
      [
        ...["webpack:webpack", "build", "./main.js", "--mode", "production", "--target", "web"],
        ...["--output-filename", "page.js"],
      ],
      CHROMIUM,
    ],
  },
  {
    name: "opfs, vite build",
    files: sourcePage,
    steps: [["vite:vite", "build", "--base", "./"], CHROMIUM],
  },
  {
    name: "opfs, vite dev server",
    about: "vite:vite",
    files: sourcePage,
    steps: [["chromium", "index.html", "--", "vite:vite", "--host", "127.0.0.1", "--port", "0"]],
  },
  { name: "opfs, parcel", files: sourcePage, steps: [PARCEL, CHROMIUM] },
  {
    name: "opfs, parcel with packageExports",
    files: {
      ...sourcePage,
      "package.json": { type: "module", "@parcel/resolver-default": { packageExports: true } },
    },
    steps: [PARCEL, CHROMIUM],
  },
  {
    name: "opfs, esbuild and a copy",
    files: { ...page, ...builtPage },
    steps: [
      ["esbuild:esbuild", "main.js", "--bundle", "--format=esm", "--outfile=dist/page.js"],
      copy("dist"),
      CHROMIUM,
    ],
  },
  ...["rollup", "rolldown"].map((name) => ({
    name: `opfs, ${name} and a copy`,
    files: { ...page, ...builtPage, "config.mjs": `${name}.browser.mjs` },
    links: ["@rollup/plugin-node-resolve"],
    steps: [[`${name}:${name}`, "--config", "config.mjs"], copy("dist"), CHROMIUM],
  })),
];
