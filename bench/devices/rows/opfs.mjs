/* The file system of Chromium: in a web worker, and on a page through a worker. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { openBrowser, serve } from "../../../scripts/browsers.js";
import { root } from "../../../scripts/paths.js";

const MS_MAX = 600_000;

async function inChromium(page, { bundle, folder, quick }) {
  const programs = ["opfs_spill", "opfs_start", "opfs_bench"];
  await bundle(programs.map((name) => `bench/devices/programs/${name}.mjs`));
  cpSync(join(root, "dist", "swap", "opfs_worker.js"), join(folder, "opfs_worker.js"));
  cpSync(join(root, "bench", "devices", "programs", "page.html"), join(folder, "page.html"));
  const browser = await openBrowser("chromium");
  if (browser === undefined) return { missing: "chromium is not installed" };
  const server = await serve(folder);
  try {
    const query = `?${page}${quick ? "&quick" : ""}`;
    const title = await browser.run(`${server.url}page.html${query}`, MS_MAX);
    if (!title.startsWith("[")) throw new Error(title);
    return { version: `Chromium ${browser.version}`, rows: JSON.parse(title) };
  } finally {
    server.close();
    await browser.close();
  }
}

export const benches = [
  { name: "opfs, web worker", run: (tools) => inChromium("worker", tools) },
  { name: "opfs, page through a worker", run: (tools) => inChromium("page", tools) },
];
