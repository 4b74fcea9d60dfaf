/* The parent's side of a child: starts it, hands it a request, reads its lines. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Message, Request } from "./child.ts";
import { CommandError, firstLine, reasonOf } from "./errors.ts";
import type { Progress } from "./progress.ts";
import type { JobReport, Measurements } from "./report.ts";
import { commandLine, environment, type Runtime } from "./runtimes.ts";

/** First argument of a process that is a child. */
export const CHILD = "--child";

interface Result {
  readonly report?: JobReport;
  readonly measured?: Measurements;
}

/**
 * Runs the main job in `runtime`; and RAM swap's measurements in another process, unless the main
 * job has made them. `script` is the one that becomes a child with `CHILD` for its argument.
 *
 * @throws CommandError naming the runtime, when a child fails or ends without a result
 */
export async function runIn(
  runtime: Runtime,
  script: string,
  input: Request["input"],
  progress: Progress,
): Promise<JobReport> {
  const { report } = await ask(runtime, script, { kind: "job", input }, progress);
  if (!report) throw new CommandError(`${runtime.name}: gave no result`);
  if (input.swap.kind === "ram") return report;
  const { measured } = await ask(runtime, script, { kind: "ram", input }, progress);
  return { ...report, measured: { ...report.measured, ...measured } };
}

/** Most characters kept of what a runtime itself says. */
const STDERR_MAX = 2000;

async function ask(
  runtime: Runtime,
  script: string,
  request: Request,
  progress: Progress,
): Promise<Result> {
  const child = spawn(runtime.path, [...commandLine(runtime.name, script), CHILD], {
    stdio: ["pipe", "pipe", "pipe"],
    env: environment(),
  });
  let failure: string | undefined;
  const result: { report?: JobReport; measured?: Measurements } = {};
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(0, STDERR_MAX);
  });
  // A child that ends early says so by its exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(request));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = parse(line);
    if (message?.kind === "progress") progress.update(runtime.name, message.phase, message.share);
    else if (message?.kind === "warning") progress.note(`${runtime.name}: ${message.text}`);
    else if (message?.kind === "error") failure ??= message.text;
    else if (message?.kind === "job") result.report = message.report;
    else if (message?.kind === "ram") result.measured = message.measured;
  });
  const end = await ended(child);
  if (failure !== undefined) throw new CommandError(`${runtime.name}: ${failure}`);
  if (end === "code 0" && (result.report || result.measured)) return result;
  const words = said.trim();
  const last = words === "" ? "" : `; it said: ${firstLine(words)}`;
  throw new CommandError(`${runtime.name}: its process ended early with ${end}${last}`);
}

function ended(child: ReturnType<typeof spawn>): Promise<string> {
  return new Promise((resolve) => {
    child.on("error", (error) => resolve(`an error: ${reasonOf(error)}`));
    child.on("close", (code, signal) => resolve(signal ? `signal ${signal}` : `code ${code}`));
  });
}

function parse(line: string): Message | undefined {
  try {
    return JSON.parse(line) as Message;
  } catch {
    // No message of ours: something that the runtime itself printed.
    return undefined;
  }
}
