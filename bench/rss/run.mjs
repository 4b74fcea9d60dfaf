/*
 * What of the host's memory stays after everything was shrunk and trimmed: `node bench/rss/run.mjs`. Writes
 * build/bench/rss.json; fails when more stays than may, or a byte does not come back.
 * `--only NAME` runs some rows, `--blocks N` with N MiB, `--rounds N` as often.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findRuntime } from "../../scripts/runtimes.js";

const MIB = 2 ** 20;
const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    blocks: { type: "string", default: "256" },
    rounds: { type: "string", default: "21" },
  },
});
const blocks = Number(values.blocks);
const rounds = Number(values.rounds);

const DENO = ["run", "--no-lock", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];
const FLAGS = { node: [], bun: [], deno: DENO };
const FFI = { node: [], bun: [], deno: [...DENO, "--allow-ffi"] };

/** In place; by moving, which Deno without --allow-ffi chooses by itself; half pinned; and what others leave. */
const ROWS = ["node", "deno", "bun"].flatMap((runtime) => [
  { name: `${runtime} in place`, runtime, flags: FFI, holder: "ttm", rounds },
  { name: `${runtime} moving`, runtime, flags: FLAGS, holder: "ttm", means: ["move"], rounds },
  {
    name: `${runtime} in place, half pinned`,
    runtime,
    flags: FFI,
    holder: "ttm",
    pinned: true,
    rounds: 1,
  },
  {
    name: `${runtime} moving, half pinned`,
    ...{ runtime, flags: FLAGS, holder: "ttm", means: ["move"], pinned: true, rounds: 1 },
  },
  { name: `${runtime} Map`, runtime, flags: FLAGS, holder: "map", rounds: 1 },
  { name: `${runtime} lru-cache`, runtime, flags: FLAGS, holder: "lru", rounds: 1 },
]);

function measure({ runtime, flags, name, ...asked }) {
  const program = findRuntime(runtime);
  if (program === undefined) throw new Error(`${runtime} is not there`);
  const request = JSON.stringify({ ...asked, blocks });
  const args = [...flags[runtime], join(here, "measure.mjs"), request];
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", cwd: here });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return { name, ...JSON.parse(stdout) };
}

/** What may stay above idle: what is in memory, metadata, a tenth, and 8 MiB. */
const most = ({ metadata }, live) => (live + metadata) * 1.1 + 8 * MIB;

/** What is wrong with a row of the library's. */
function complaints(row) {
  const { name, holder, idle, results, given, pinned, means } = row;
  if (!results.every(({ exact }) => exact)) return [`${name}: a byte did not come back`];
  if (holder !== "ttm") return [];
  if (pinned && means) {
    const declined = given.declined.some((each) => /pinned/.test(each.why));
    return declined ? [] : [`${name}: it should have declined`];
  }
  return results.flatMap(({ left, live }, i) =>
    left - idle <= most(row, live)
      ? []
      : [
          `${name}, round ${i + 1}: ${mib(left - idle)} MiB stay of ${mib(most(row, live))} that may`,
        ],
  );
}

const mib = (bytes) => (bytes / MIB).toFixed(1);

const rows = [];
const wrong = [];
for (const each of ROWS.filter(({ name }) => name.includes(values.only))) {
  const row = measure(each);
  rows.push(row);
  wrong.push(...complaints(row));
  const { idle, results, given } = row;
  const left = results.map((result) => Number(mib(result.left - idle)));
  console.log(
    `${row.name.padEnd(28)} idle ${mib(idle)}, full +${mib(results[0].full - idle)}, ` +
      `left +${left[0]} (${Math.min(...left)} to ${Math.max(...left)} in ${left.length} rounds)` +
      (given ? `, ${given.by ?? "nothing"} in ${given.ms.toFixed(0)} ms` : "") +
      (given?.declined.length > 0 ? `; ${given.declined.map(({ why }) => why).join("; ")}` : ""),
  );
}
const folder = join(root, "build", "bench");
mkdirSync(folder, { recursive: true });
if (values.only === "")
  writeFileSync(join(folder, "rss.json"), `${JSON.stringify({ blocks, rows })}\n`);
for (const each of wrong) console.error(`rss: ${each}`);
process.exitCode = wrong.length > 0 ? 1 : 0;
