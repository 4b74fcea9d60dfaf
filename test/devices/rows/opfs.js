/* The file of browsers: in a web worker, and on a page through a worker of the device's own. */

const own = ["devices/opfs", "devices/pool.mjs", "runtimes"];
const files = Object.fromEntries(own.map((path) => [path, path]));
const PASSED = /"tests":([1-9]\d*),"failures":\[\]/;

/** Workers know no import maps, so what runs in one is bundled. */
const bundle = [
  "esbuild:esbuild",
  "devices/opfs/worker.mjs",
  "devices/opfs/own_worker.mjs",
  "--bundle",
  "--format=esm",
  "--outdir=devices/opfs/bundled",
  "--out-extension:.js=.mjs",
  "--log-level=warning",
];

const row = (browser, kind, page) => ({
  name: `opfs: ${browser}, ${kind}`,
  about: browser,
  files,
  steps: [bundle, [browser, `devices/opfs/${page}`]],
  expects: PASSED,
});

export const rows = [
  ...["chromium", "firefox"].flatMap((browser) => [
    row(browser, "web worker", "worker_page.html"),
    row(browser, "page", "page.html"),
  ]),
  // That of WebKitGTK has no such file system.
  row("webkit", "page", "page.html"),
];
