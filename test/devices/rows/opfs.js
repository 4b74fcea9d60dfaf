/* The file of browsers: in a web worker, and on a page through a worker of the device's own. */

const files = { devices: "devices", runtimes: "runtimes" };
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

export const rows = ["chromium", "firefox"].flatMap((browser) => [
  {
    name: `opfs: ${browser}, web worker`,
    about: browser,
    files,
    steps: [bundle, [browser, "devices/opfs/worker_page.html"]],
    expects: PASSED,
  },
  {
    name: `opfs: ${browser}, page`,
    about: browser,
    files,
    steps: [bundle, [browser, "devices/opfs/page.html"]],
    expects: PASSED,
  },
]);
