import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { RUNTIMES, type RunOptions, type SwapChoice } from "./args.ts";
import { CommandError } from "./errors.ts";
import { listFiles, plan, swapFor } from "./files.ts";
import type { JobInput } from "./job.ts";
import { runIn } from "./parent.ts";
import { Progress } from "./progress.ts";
import { type JobReport, toJson } from "./report.ts";
import { findRuntime, type Runtime } from "./runtimes.ts";
import { table } from "./table.ts";

/**
 * The `run` command. `script` is the built `dist/cli/main.js`, which the runtimes run again. Returns
 * the exit code.
 *
 * @throws CommandError
 */
export async function run(options: RunOptions, script: string): Promise<number> {
  const progress = new Progress(options.json);
  const packageRoot = dirname(dirname(dirname(script)));
  const runtimes = runtimesFor(options, packageRoot, progress);
  const sources =
    options.paths.length > 0 ? { paths: options.paths } : defaultSources(packageRoot, runtimes);
  const files = listFiles(sources.paths);
  const planned = plan(files, options.objectSize, options.size);
  const swapSize = options.swapSize ?? swapFor(planned);
  const { size, objectSize, memory, accesses, seed, interrupt, swap } = options;
  const { caching, poolSize, fault, trim } = options;
  const job = { files, size, objectSize, memory, accesses, seed, interrupt, swap, swapSize };
  const common = { ...job, caching, poolSize, fault, trim };
  const cleanUp = prepareSwapFile(swap);
  const reports: JobReport[] = [];
  try {
    for (const runtime of runtimes) {
      const input: JobInput = { ...common, overwrite: reports.length > 0 };
      reports.push(await runIn(runtime, script, input, progress));
    }
  } finally {
    progress.clear();
    cleanUp();
    // Of several runtimes the ones that are done count, whatever became of the next.
    if (reports.length > 0) print();
  }
  const mismatches = reports.reduce((sum, report) => sum + report.mismatches, 0);
  if (mismatches === 0) return 0;
  progress.note(`${mismatches} reads did not show what was in the files`);
  return 1;

  function print(): void {
    if (options.json) {
      const done = reports.length === runtimes.length;
      if (done) process.stdout.write(`${JSON.stringify(toJson(reports))}\n`);
      return;
    }
    const paths = sources.names ?? sources.paths;
    const setting = { options, paths, plan: planned, filesListed: files.length, swapSize };
    process.stdout.write(table(setting, reports));
  }
}

function runtimesFor(
  options: RunOptions,
  packageRoot: string,
  progress: Progress,
): readonly Runtime[] {
  const found: Runtime[] = [];
  for (const name of options.runtimes ?? RUNTIMES) {
    const runtime = findRuntime(name, packageRoot);
    if (runtime) found.push(runtime);
    else if (options.runtimes) {
      throw new CommandError(
        `--runtime: ${name} is neither in node_modules nor on the PATH; install it, or leave it out`,
      );
    } else if (!options.json) progress.note(`${name} is not there and is left out`);
  }
  return found;
}

/** Where files come from, and what the table calls that if it is not what the user typed. */
interface Sources {
  readonly paths: readonly string[];
  readonly names?: readonly string[];
}

/**
 * The package's own dependencies, or those of the project that uses it; and the runtimes. What has
 * a dot before its name in node_modules is no dependency but a cache, which may change at any time.
 */
function defaultSources(packageRoot: string, runtimes: readonly Runtime[]): Sources {
  const programs = runtimes.map(({ path }) => path);
  const names = programs.map(shortened);
  const modules = [packageRoot, process.cwd()]
    .map((folder) => join(folder, "node_modules"))
    .find((folder) => existsSync(folder));
  if (modules === undefined) return { paths: programs, names };
  const packages = readdirSync(modules).filter((name) => !name.startsWith("."));
  return {
    paths: [...packages.map((name) => join(modules, name)), ...programs],
    names: [shortened(modules), ...names],
  };
}

/** Relative to the working folder if that is shorter. */
function shortened(path: string): string {
  const short = relative(process.cwd(), path);
  return short.length < path.length ? short : path;
}

/**
 * A named swap file must be new or empty. Returns what leaves it so: the run ends as it began, also
 * when it is interrupted.
 *
 * @throws CommandError
 */
function prepareSwapFile({ path }: SwapChoice): () => void {
  if (path === undefined) return () => {};
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat && (!stat.isFile() || stat.size > 0)) {
    const what = stat.isFile() ? "is not empty" : "is not a file";
    throw new CommandError(`--swap: ${path} ${what}; remove it, or name another file`);
  }
  const cleanUp = () => {
    rmSync(path, { force: true });
    if (stat) writeFileSync(path, "", { mode: stat.mode });
  };
  const interrupted = (signal: NodeJS.Signals) => {
    cleanUp();
    process.kill(process.pid, signal);
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  return () => {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    cleanUp();
  };
}
