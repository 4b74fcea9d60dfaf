import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { messageOf } from "../errors.ts";
import { parseCommand } from "./args.ts";
import { child } from "./child.ts";
import { CommandError, firstLine } from "./errors.ts";
import { PROGRAM_HELP, RUN_HELP } from "./help.ts";
import { CHILD } from "./parent.ts";
import { run } from "./run.ts";

const SCRIPT = fileURLToPath(import.meta.url);

/** Returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const command = parseCommand(argv);
  switch (command.name) {
    case "help":
      process.stdout.write(command.of === "run" ? RUN_HELP : PROGRAM_HELP);
      return 0;
    case "version":
      process.stdout.write(`${version()}\n`);
      return 0;
    case "run":
      return run(command.options, SCRIPT);
  }
}

function version(): string {
  const path = join(dirname(dirname(dirname(SCRIPT))), "package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

/** Every failure ends here, as one line. */
async function start(argv: readonly string[]): Promise<void> {
  try {
    process.exitCode = await main(argv);
  } catch (error) {
    process.stderr.write(`ttm-wasm: ${firstLine(messageOf(error))}\n`);
    process.exitCode = error instanceof CommandError ? error.exitCode : 1;
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === CHILD && rest.length === 0) await child();
else await start(first === undefined ? [] : [first, ...rest]);
