/**
 * Runs the suite of test/runtimes/, as it stands, against the packed package in every runtime and browser
 * there is: `node scripts/test_runtimes.js [--help]`.
 */
import { join } from "node:path";
import process from "node:process";
import { BROWSERS } from "./browsers.js";
import { rowsCommand } from "./consumer_rows.js";
import { isMain, root } from "./paths.js";

/** What the suite says when every test of it has passed. */
const PASSED = /"tests":([1-9]\d*),"failures":\[\]/;

const DENO = ["run", "--allow-all", "--no-lock", "--node-modules-dir=manual"];

/** @type {Record<string, string[]>} what runs a program, by the name of the row */
const PROGRAMS = {
  "Node, this one": ["node"],
  "Node 20": ["node20:node"],
  "Node 22": ["node22:node"],
  "Node 24": ["node24:node"],
  "Node 26": ["node26:node"],
  Deno: ["deno", ...DENO],
  Bun: ["bun"],
};

/**
 * @param {string} name of a program of hosts/
 * @param {...string} args
 * @returns {string[]} a step that bundles it, for hosts that find no packages
 */
const bundle = (name, ...args) => [
  "esbuild:esbuild",
  `hosts/${name}.mjs`,
  "--bundle",
  "--format=esm",
  "--outdir=hosts/bundled",
  "--out-extension:.js=.mjs",
  "--log-level=warning",
  ...args,
];

const WORKERD = ["--conditions=workerd", "--loader:.wasm=copy", "--asset-names=[name]"];

const rows = [
  ...Object.entries(PROGRAMS).map(([name, program]) => ({
    name,
    steps: [[...program, "hosts/console.mjs"]],
  })),
  {
    name: "workerd",
    about: "workerd",
    steps: [bundle("workerd", ...WORKERD), ["workerd", "hosts/bundled/workerd.mjs"]],
  },
  ...Object.keys(BROWSERS).flatMap((browser) => [
    {
      name: `${browser}, page`,
      about: browser,
      steps: [bundle("page"), [browser, "hosts/page.html"]],
    },
    {
      name: `${browser}, web worker`,
      about: browser,
      steps: [bundle("worker"), [browser, "hosts/worker_page.html"]],
    },
  ]),
].map((row) => ({ ...row, files: { ".": "." }, expects: PASSED }));

if (isMain(import.meta.url)) {
  try {
    process.exitCode = await rowsCommand("test_runtimes", rows, join(root, "test", "runtimes"));
  } catch (error) {
    console.error(`test_runtimes: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
