/**
 * Holds the imports of src/ and assembly/ against the layers below, types included:
 * `node scripts/check_layers.js`. A module imports what lies in its own layer or lower, and no way leads from a
 * module back to itself.
 */
import process from "node:process";
import { modulePaths, readModule } from "./modules.js";
import { isMain } from "./paths.js";

/**
 * From the top down. A layer is one or more groups that do not import each other; a group is files and folders.
 * Where a file and a folder fit a module, the file counts.
 *
 * @type {string[][][]}
 */
export const LAYERS = [
  [[...["src/index.ts", "src/ttm.ts", "src/testing.ts", "src/testing/", "src/cli/"]]],
  [["src/create.ts"]],
  [["src/debug/"]],
  [["src/device.ts"]],
  [["src/device_options.ts"]],
  [["src/buffer_object.ts", "src/hibernation.ts", "src/debugfs.ts"]],
  [["src/streamable.ts"]],
  [["src/streams/", "src/salvage.ts"]],
  [["src/discard.ts", "src/resize.ts", "src/steps.ts"]],
  [["src/window.ts"]],
  [["src/advice.ts", "src/read_ahead.ts"]],
  [["src/access.ts"]],
  [["src/accessed.ts"]],
  [["src/bdev.ts"]],
  [["src/kswapd.ts", "src/reclaim.ts", "src/tasks.ts", "src/trim/"]],
  [["src/ttm/"]],
  [["src/swap/encrypted.ts", "src/swap/sealed_device.ts"]],
  [["src/swap/space.ts"]],
  [["src/swap/"], ["src/engine/"]],
  [["src/codec/"]],
  [["src/wasm/"]],
  [
    [
      ...["src/resource.ts", "src/lru.ts", "src/lock.ts", "src/wait_queue.ts", "src/mapping.ts"],
      ...["src/bytes.ts", "src/not_bytes.ts", "src/options.ts", "src/random.ts", "src/readings.ts"],
      ...[
        "src/stack.ts",
        "src/host.ts",
        "src/host_types.ts",
        "src/wasm.d.ts",
        "src/size.ts",
        "src/errors.ts",
      ],
    ],
  ],
  [["assembly/index.ts"]],
  [
    ["assembly/"],
    ["build/engine.ts", "build/codec.ts", "src/engine/engine.wasm", "src/codec/codec.wasm"],
  ],
  [["assembly/page_bytes.ts"]],
  [["assembly/abi.ts"]],
];

/** What of a folder those outside of it import. */
const FACES = { "assembly/": "assembly/abi.ts" };

/**
 * @typedef {object} Place
 * @property {number} layer counted from the top
 * @property {number} group in it
 */

/**
 * @param {string} path
 * @returns {Place | undefined}
 */
function placeOf(path) {
  /** @type {{ place: Place, length: number } | undefined} */
  let best;
  for (const [layer, groups] of LAYERS.entries()) {
    for (const [group, names] of groups.entries()) {
      for (const name of names) {
        const fits = name.endsWith("/") ? path.startsWith(name) : path === name;
        if (fits && name.length > (best?.length ?? 0)) {
          best = { place: { layer, group }, length: name.length };
        }
      }
    }
  }
  return best?.place;
}

/**
 * @param {string} from
 * @param {string} to
 * @returns {string | undefined} what is wrong with this import
 */
function complaintAbout(from, to) {
  const [above, below] = [placeOf(from), placeOf(to)];
  if (above === undefined) return "is in no layer";
  if (below === undefined) return `imports ${to}, which is in no layer`;
  if (below.layer < above.layer) return `imports ${to}, which lies above it`;
  if (below.layer === above.layer && below.group !== above.group) {
    return `imports ${to}, which lies beside it`;
  }
  for (const [folder, face] of Object.entries(FACES)) {
    if (to.startsWith(folder) && !from.startsWith(folder) && to !== face) {
      return `imports ${to}, of which only ${face} is for others`;
    }
  }
  return undefined;
}

/**
 * @param {Map<string, string[]>} graph imports by module
 * @returns {string[][]} circles, the shortest through each module that is on one and on none before
 */
function circlesOf(graph) {
  /** @type {string[][]} */
  const circles = [];
  const seen = new Set();
  for (const start of graph.keys()) {
    if (seen.has(start)) continue;
    const way = wayBack(graph, start);
    if (way === undefined) continue;
    for (const path of way) seen.add(path);
    circles.push(way);
  }
  return circles;
}

/**
 * @param {Map<string, string[]>} graph
 * @param {string} start
 * @returns {string[] | undefined} modules on the shortest way from it to itself
 */
function wayBack(graph, start) {
  /** @type {Map<string, string>} who was reached, and from where */
  const reached = new Map();
  const queue = [start];
  for (const path of queue) {
    for (const next of graph.get(path) ?? []) {
      if (next === start) {
        const way = [path];
        for (let at = path; at !== start; way.unshift(at)) at = reached.get(at) ?? start;
        return way;
      }
      if (reached.has(next)) continue;
      reached.set(next, path);
      queue.push(next);
    }
  }
  return undefined;
}

/**
 * @param {import("./modules.js").Module[]} modules
 * @returns {string[]} everything that is wrong
 */
export function check(modules) {
  const complaints = [];
  const graph = new Map();
  for (const { path, imports } of modules) {
    const targets = [...new Set(imports.map(({ from }) => from))].filter((to) => to.includes("/"));
    const own = targets.filter((to) => !to.startsWith("node:"));
    graph.set(path, own);
    if (placeOf(path) === undefined) complaints.push(`${path} is in no layer`);
    for (const to of own) {
      const complaint = complaintAbout(path, to);
      if (complaint !== undefined) complaints.push(`${path} ${complaint}`);
    }
  }
  for (const circle of circlesOf(graph)) {
    complaints.push(`a circle: ${[...circle, circle[0]].join(" -> ")}`);
  }
  return complaints;
}

if (isMain(import.meta.url)) {
  const modules = modulePaths(["src", "assembly"]).map((path) => readModule(path));
  const complaints = check(modules);
  for (const complaint of complaints) console.error(`layers: ${complaint}`);
  if (complaints.length > 0) process.exitCode = 1;
  else console.log(`layers: ${modules.length} modules, no circle, types included`);
}
