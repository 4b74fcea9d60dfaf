/* The starts of README, as they stand there: its files, and its commands by the programs that are here. */
import { starts } from "../../../scripts/readme.js";

const DENO = ["--no-lock", "--node-modules-dir=manual"];
/** A port of its choice. */
const VITE = ["vite:vite", "--host", "127.0.0.1", "--port", "0"];
const WRANGLER = ["wrangler:wrangler", "dev", "--ip", "127.0.0.1", "--port", "0"];

/** What a command of README is here. Packages are there before: installing is what all rows begin with. */
const COMMANDS = [
  [/^(?:npm install|deno add|bun add) (?:npm:)?ttm-wasm( wrangler| vite)?$/, () => []],
  [/^(?:node|bun) (\S+)$/, (command) => [command.split(" ")]],
  [/^deno run /, (command) => [["deno", "run", ...DENO, ...command.split(" ").slice(2)]]],
  [/^npx wrangler dev$/, () => [["fetch", "", "--", ...WRANGLER]]],
  [/^npx vite$/, () => [["chromium", "index.html", "--", ...VITE]]],
];

/** @param {string} command */
function stepsOf(command) {
  const [, steps] = COMMANDS.find(([pattern]) => pattern.test(command)) ?? [];
  if (steps === undefined) throw new Error(`README says "${command}", which no row can run`);
  return steps(command);
}

const quoted = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

export const rows = starts().map(({ name, files, commands, says }) => {
  const steps = commands.flatMap(stepsOf);
  return {
    name: `README: ${name}`,
    files: Object.fromEntries(
      Object.entries(files).map(([file, text]) => [file, new TextEncoder().encode(text)]),
    ),
    // A page that needs no command is served as it is.
    steps: steps.length > 0 ? steps : [["chromium", "index.html"]],
    ...(steps[0]?.[0] === "fetch" ? { about: "wrangler:wrangler" } : {}),
    expects: new RegExp(`^${quoted(says)}$`, "m"),
  };
});
