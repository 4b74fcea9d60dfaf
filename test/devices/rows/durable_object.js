/* The SQLite database of a Durable Object, in workerd, on disk. */

const own = ["devices/durable_object", "devices/pool.mjs", "runtimes"];

const bundle = [
  "esbuild:esbuild",
  "devices/durable_object/main.mjs",
  "devices/durable_object/next.mjs",
  "--bundle",
  "--format=esm",
  "--outdir=bundled",
  "--out-extension:.js=.mjs",
  "--log-level=warning",
  "--conditions=workerd",
  "--loader:.wasm=copy",
  "--asset-names=[name]",
  "--external:cloudflare:workers",
];

const workerd = (name) => ["workerd", `bundled/${name}.mjs`, "Swapping"];

export const rows = [
  {
    name: "durable-object: workerd",
    about: "workerd",
    files: Object.fromEntries(own.map((path) => [path, path])),
    // The second is the next life of the first, whose process ended with a device open.
    steps: [bundle, workerd("main"), workerd("next")],
  },
];
