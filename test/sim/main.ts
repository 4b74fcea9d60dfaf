/* The simulator's command, bundled and started by scripts/sim.js. */
import process from "node:process";
import { parseArgs } from "node:util";
import { importLibrary, type Library } from "./library.ts";
import { keeping, planOf } from "./plan.ts";
import { Report } from "./report.ts";
import { type Result, run } from "./run.ts";
import { type Shrunk, shrunk } from "./shrink.ts";

const HELP = `npm run sim -- [options]

  --seed N          first seed; default: from the time
  --seeds COUNT     runs, each with the next seed; default: 1
  --ops N           operations of a run; default: 10000
  --only LIST       just these operations of the run, as a reduced failure names them
  --soak MINUTES    fresh seeds for so long, instead of --seeds
  --runtime NAME    node, deno or bun; default: node
  --dist PATH       built package to test; default: dist
  --no-shrink       do not reduce a failure to its fewest operations
  --keep-going      go on after a failure
  --verbose         print every operation
  --json            print a summary as JSON
  --help

Exit code: 0 nothing failed, 1 something did, 2 wrong usage.
`;

const OPTIONS = {
  seed: { type: "string" },
  seeds: { type: "string", default: "1" },
  ops: { type: "string", default: "10000" },
  soak: { type: "string" },
  only: { type: "string" },
  runtime: { type: "string", default: "node" },
  dist: { type: "string", default: "dist" },
  "no-shrink": { type: "boolean", default: false },
  "keep-going": { type: "boolean", default: false },
  verbose: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

class Usage extends Error {}

interface Settings {
  readonly seed: number;
  readonly seeds: number;
  readonly ops: number;
  /** Operations that are left; `undefined`: all. */
  readonly only: readonly number[] | undefined;
  /** Until when (milliseconds since 1970); `undefined`: for `seeds` runs. */
  readonly until: number | undefined;
  readonly dist: string;
  readonly shrink: boolean;
  readonly keepGoing: boolean;
  readonly verbose: boolean;
  readonly json: boolean;
}

function whole(text: string, name: string, least: number): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(number) && number >= least) return number;
  throw new Usage(`--${name} must be a whole number from ${least} on, not ${text}`);
}

/** @throws Usage for what cannot be meant; `undefined`: help was asked for */
function settingsOf(args: string[]): Settings | undefined {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    throw new Usage((error as Error).message);
  }
  if (values.help) return undefined;
  const { seed, soak } = values;
  const minutes = soak === undefined ? undefined : Number(soak);
  if (minutes !== undefined && !(minutes > 0)) throw new Usage("--soak takes minutes, above 0");
  return {
    seed: seed === undefined ? Date.now() % 2 ** 31 : whole(seed, "seed", 0),
    seeds: whole(values.seeds, "seeds", 1),
    ops: whole(values.ops, "ops", 1),
    only: values.only?.split(",").map((index) => whole(index, "only", 0)),
    until: minutes === undefined ? undefined : Date.now() + minutes * 60_000,
    dist: values.dist,
    shrink: !values["no-shrink"],
    keepGoing: values["keep-going"],
    verbose: values.verbose,
    json: values.json,
  };
}

function parse(args: string[]) {
  return parseArgs({ args, options: OPTIONS }).values;
}

/** Says what failed, and how to see it again; and reduces it. */
async function tell(
  settings: Settings,
  library: Library,
  seed: number,
  failure: NonNullable<Result["failure"]>,
  report: Report,
): Promise<void> {
  const plan = planOf(seed, settings.ops);
  const { ops, ...setup } = plan;
  report.say(`seed ${seed} failed at operation ${failure.index} of ${ops.length}`);
  report.say(`  ${failure.message.split("\n").slice(0, 12).join("\n  ")}`);
  report.say(`  setup: ${JSON.stringify(setup)}`);
  const dist = settings.dist === "dist" ? "" : ` --dist ${settings.dist}`;
  report.say(`  again: npm run sim -- --seed ${seed} --ops ${settings.ops}${dist} --verbose`);
  if (!settings.shrink || settings.only) return;
  const less: Shrunk = await shrunk(plan, library, failure);
  report.say(`  reduced to ${less.kept.length} operations, in ${less.runs} runs:`);
  await run(less.plan, library, (line) => report.say(`    ${line}`));
  const only = `--only ${less.kept.join(",")}`;
  report.say(
    `  again: npm run sim -- --seed ${seed} --ops ${settings.ops}${dist} ${only} --verbose`,
  );
  report.say(`  ${less.failure.message.split("\n").slice(0, 12).join("\n  ")}`);
}

async function simulate(settings: Settings, library: Library, report: Report): Promise<void> {
  const { seed: first, seeds, until, ops, verbose } = settings;
  for (let i = 0; until === undefined ? i < seeds : Date.now() < until; i++) {
    const seed = first + i;
    const log = verbose ? (line: string) => report.say(line) : undefined;
    const plan = planOf(seed, ops);
    const result = await run(settings.only ? keeping(plan, settings.only) : plan, library, log);
    report.add(seed, result);
    if (!result.failure) continue;
    await tell(settings, library, seed, result.failure, report);
    if (!settings.keepGoing) break;
  }
}

async function main(): Promise<number> {
  const settings = settingsOf(process.argv.slice(2));
  if (!settings) {
    process.stdout.write(HELP);
    return 0;
  }
  const library = await importLibrary(settings.dist).catch((error) => {
    throw new Usage(`--dist ${settings.dist}: ${error.message}`);
  });
  const report = new Report(settings.seed, settings.json);
  process.on("unhandledRejection", (error) => report.uncaught(error));
  await simulate(settings, library, report);
  return report.end();
}

try {
  process.exitCode = await main();
} catch (error) {
  const usage = error instanceof Usage;
  console.error(`sim: ${usage ? error.message : ((error as Error).stack ?? error)}`);
  process.exitCode = usage ? 2 : 1;
}
