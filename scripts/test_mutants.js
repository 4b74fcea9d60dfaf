/**
 * Says which faults the simulator finds: `node scripts/test_mutants.js [--only NAME,NAME] [--seeds N] [--ops N]
 * [--timeout SECONDS] [--json]`. For each mutant of test/mutants/ the library is built with its fault, and simulated seed by seed until
 * one fails: then it is caught. One that passes all seeds has survived. Nor is one caught that had to be killed, or
 * whose run crashed: the simulator itself is to say when something hangs. The sources as they are have to pass before.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { buildMutant, check, readMutants } from "./mutants.js";
import { isMain, root } from "./paths.js";

const USAGE = `usage: npm run test:mutants [-- options]

Builds the library with one fault at a time, and simulates it until that is found.

  --only NAME,NAME   these mutants alone
  --seeds N          seeds to try for each (default 100)
  --ops N            operations of a seed (default 2000)
  --timeout SECONDS  when a mutant's run is killed (default 300)
  --json             results as JSON
  --help             this text
`;

/** @typedef {import("./mutants.js").Mutant} Mutant */

/**
 * @typedef {object} Result
 * @property {string} name
 * @property {"caught" | "survived" | "timed out" | "crashed"} result
 * @property {number | undefined} seed that found it
 * @property {number} seconds
 * @property {string} said by the simulator: why the seed failed
 */

/**
 * @typedef {object} Options
 * @property {number} seeds to try, from 1 on
 * @property {number} ops of each
 * @property {number} timeout seconds
 */

/** The simulator's code when a seed has failed. */
const FAILED = 1;
/** Characters of what it said that are kept. */
const SAID_MAX = 2000;

/**
 * Runs the simulator against a build.
 *
 * @param {string} dist
 * @param {Options} options
 * @returns {Promise<{ code: number | null, output: string, seconds: number }>} no code: it was killed
 */
function simulate(dist, { seeds, ops, timeout }) {
  const what = ["--seed", "1", "--seeds", String(seeds), "--ops", String(ops), "--dist", dist];
  const child = spawn(process.execPath, [join(root, "scripts", "sim.js"), ...what, "--no-shrink"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const start = performance.now();
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  // With the process that it has started in turn, which its group is for.
  const timer = setTimeout(() => process.kill(-Number(child.pid), "SIGKILL"), timeout * 1000);
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code, output, seconds: (performance.now() - start) / 1000 });
    });
  });
}

/**
 * @param {Mutant} mutant
 * @param {Options} options
 * @returns {Promise<Result>}
 */
async function hunt(mutant, options) {
  const { name } = mutant;
  const { code, output, seconds } = await simulate(await buildMutant(mutant), options);
  const said = output.slice(-SAID_MAX);
  if (code === 0) return { name, result: "survived", seed: undefined, seconds, said };
  const seed = /^seed (\d+) (?:failed|or the one)/m.exec(output)?.[1];
  if (code === FAILED && seed !== undefined) {
    return { name, result: "caught", seed: Number(seed), seconds, said };
  }
  const result = code === null ? "timed out" : "crashed";
  return { name, result, seed: undefined, seconds, said };
}

/** @param {Result} result */
function line({ name, result, seed, seconds }) {
  const found = seed === undefined ? result : `${result} by seed ${seed}`;
  return `${name.padEnd(36)}${found.padEnd(24)}${seconds.toFixed(1).padStart(7)} s`;
}

/**
 * @param {readonly Mutant[]} mutants
 * @param {Options} options
 * @param {boolean} json
 * @returns {Promise<number>} exit code
 */
async function huntAll(mutants, options, json) {
  const sound = await simulate(await buildMutant(undefined), options);
  if (sound.code !== 0) {
    console.error(`test_mutants: the sources as they are do not pass: ${sound.output}`);
    return 1;
  }
  if (!json) console.log(`without a fault: ${sound.seconds.toFixed(1)} s\n`);
  const results = [];
  for (const mutant of mutants) {
    const result = await hunt(mutant, options);
    if (!json) console.log(line(result));
    results.push(result);
  }
  const missed = results.filter(({ result }) => result !== "caught");
  if (json) console.log(JSON.stringify(results, null, 2));
  else console.log(`\n${results.length - missed.length} of ${results.length} mutants were caught`);
  return missed.length === 0 ? 0 : 1;
}

/**
 * @param {string | undefined} only names, with commas between
 * @returns {Promise<Mutant[]>}
 */
async function chosen(only) {
  const mutants = await readMutants();
  const complaints = check(mutants);
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  if (only === undefined) return mutants;
  return only.split(",").map((name) => {
    const mutant = mutants.find((each) => each.name === name);
    if (!mutant) throw new RangeError(`--only: there is no mutant ${name}`);
    return mutant;
  });
}

/** @param {string} text @param {string} name @returns {number} */
function count(text, name) {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new RangeError(`${name} must be a whole number above 0, not ${text}`);
}

/** @returns {Promise<number>} exit code */
async function main() {
  /** @type {{ only?: string, seeds?: string, ops?: string, timeout?: string, json?: boolean, help?: boolean }} */
  let given;
  /** @type {Options} */
  let options;
  try {
    given = parseArgs({
      options: {
        only: { type: "string" },
        seeds: { type: "string" },
        ops: { type: "string" },
        timeout: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
    const { seeds = "100", ops = "2000", timeout = "300" } = given;
    options = {
      seeds: count(seeds, "--seeds"),
      ops: count(ops, "--ops"),
      timeout: count(timeout, "--timeout"),
    };
  } catch (error) {
    console.error(`test_mutants: ${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }
  if (given.help) {
    console.log(USAGE);
    return 0;
  }
  return huntAll(await chosen(given.only), options, given.json === true);
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(`test_mutants: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
