import { parseArgs } from "node:util";
import { formatSize, parseSize } from "../size.ts";
import type { Caching } from "../ttm/caching.ts";
import { UsageError } from "./errors.ts";

export type RuntimeName = "node" | "deno" | "bun";
export const RUNTIMES: readonly RuntimeName[] = ["node", "deno", "bun"];

/** Where pages go: linear memory, or a file; a private one in the temp folder unless it has a path. */
export interface SwapChoice {
  readonly kind: "ram" | "compressed" | "file";
  readonly path?: string;
}

/** What `run` was asked to do; sizes in bytes. */
export interface RunOptions {
  /** None: the defaults. */
  readonly paths: readonly string[];
  readonly size: number;
  readonly objectSize: number;
  readonly memory: number;
  readonly accesses: number;
  readonly seed: number;
  /** Share of restores that are interrupted, 0..1. */
  readonly interrupt: number;
  readonly swap: SwapChoice;
  /** `undefined`: what the objects need. */
  readonly swapSize: number | undefined;
  /** How the objects' pages are cached; simulated. */
  readonly caching: Caching;
  /** Bytes that pools may hold; `undefined`: the library's default. */
  readonly poolSize: number | undefined;
  /** Share of calls that fail on purpose, 0..1. */
  readonly fault: number;
  /** `undefined`: all that are there. */
  readonly runtimes: readonly RuntimeName[] | undefined;
  /** Whether to give memory back to the host in between, and look at what it has then. */
  readonly trim: boolean;
  readonly json: boolean;
}

type Command =
  | { readonly name: "help"; readonly of: "program" | "run" }
  | { readonly name: "version" }
  | { readonly name: "run"; readonly options: RunOptions };

/** Texts, because the help shows them too. */
export const DEFAULTS = {
  size: "512MiB",
  "object-size": "2MiB",
  memory: "64MiB",
  accesses: "20000",
  seed: "1",
  interrupt: "0.1",
  swap: "file",
  caching: "cached",
  fault: "0",
} as const;

const OPTIONS = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
  json: { type: "boolean" },
  trim: { type: "boolean" },
  size: { type: "string" },
  "object-size": { type: "string" },
  memory: { type: "string" },
  accesses: { type: "string" },
  seed: { type: "string" },
  interrupt: { type: "string" },
  swap: { type: "string" },
  "swap-size": { type: "string" },
  caching: { type: "string" },
  "pool-size": { type: "string" },
  fault: { type: "string" },
  runtime: { type: "string" },
} as const;

type OptionName = keyof typeof OPTIONS;

const MEMORY_MIN = 64 * 1024;
const MEMORY_MAX = 2 ** 32;

/** @throws UsageError */
export function parseCommand(argv: readonly string[]): Command {
  const { texts, flags, positionals } = tokens(argv);
  const [name, ...paths] = positionals;
  if (flags.has("help")) return { name: "help", of: name === "run" ? "run" : "program" };
  if (flags.has("version")) return { name: "version" };
  if (name === undefined) throw new UsageError("no command is given; see ttm-wasm --help");
  if (name !== "run") {
    throw new UsageError(`${quote(name)} is not a command; there is only run, see ttm-wasm --help`);
  }
  return { name: "run", options: runOptions(texts, flags, paths) };
}

interface Tokens {
  readonly texts: ReadonlyMap<OptionName, string>;
  readonly flags: ReadonlySet<OptionName>;
  readonly positionals: readonly string[];
}

/** Told apart here and not by parseArgs, whose messages differ between the runtimes. */
function tokens(argv: readonly string[]): Tokens {
  const parsed = parseArgs({
    args: [...argv],
    options: OPTIONS,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const texts = new Map<OptionName, string>();
  const flags = new Set<OptionName>();
  for (const token of parsed.tokens) {
    if (token.kind !== "option") continue;
    if (!isOption(token.name)) {
      throw new UsageError(`unknown option ${token.rawName}; see ttm-wasm run --help`);
    }
    const option = `--${token.name}`;
    if (OPTIONS[token.name].type === "boolean") {
      if (token.value !== undefined) throw new UsageError(`${option} takes no value`);
      flags.add(token.name);
    } else {
      if (!token.value) throw new UsageError(`${option} needs a value; see ttm-wasm run --help`);
      if (texts.has(token.name)) throw new UsageError(`${option} is given more than once`);
      texts.set(token.name, token.value);
    }
  }
  return { texts, flags, positionals: parsed.positionals };
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name);
}

function runOptions(
  texts: ReadonlyMap<OptionName, string>,
  flags: Tokens["flags"],
  paths: readonly string[],
): RunOptions {
  const text = (name: keyof typeof DEFAULTS) => texts.get(name) ?? DEFAULTS[name];
  const empty = paths.find((path) => path === "" || path.includes("\0"));
  if (empty !== undefined) throw new UsageError(`${quote(empty)} is not the path of a file`);
  const memory = size(text("memory"), "--memory");
  if (memory < MEMORY_MIN || memory >= MEMORY_MAX) {
    throw new UsageError(
      `--memory ${text("memory")} is out of range; use ${formatSize(MEMORY_MIN)} to less than ` +
        `${formatSize(MEMORY_MAX)}`,
    );
  }
  const objectSize = size(text("object-size"), "--object-size");
  // Without its option it goes along with a small memory: eight objects at least.
  const fitting = texts.has("object-size") ? objectSize : Math.min(objectSize, memory / 8);
  if (fitting > memory) {
    throw new UsageError(
      `--object-size ${text("object-size")} does not fit --memory ${text("memory")}; ` +
        "lower the one or raise the other",
    );
  }
  const swapSize = texts.get("swap-size");
  const poolSize = texts.get("pool-size");
  return {
    paths,
    size: size(text("size"), "--size"),
    objectSize: Math.floor(fitting),
    memory,
    accesses: integer(text("accesses"), "--accesses", 0),
    seed: integer(text("seed"), "--seed", Number.MIN_SAFE_INTEGER),
    interrupt: share(text("interrupt"), "--interrupt", 1),
    swap: swapChoice(text("swap")),
    swapSize: swapSize === undefined ? undefined : size(swapSize, "--swap-size"),
    caching: caching(text("caching")),
    poolSize: poolSize === undefined ? undefined : size(poolSize, "--pool-size"),
    fault: share(text("fault"), "--fault", FAULT_MAX),
    runtimes: runtimes(texts.get("runtime")),
    trim: flags.has("trim"),
    json: flags.has("json"),
  };
}

function size(text: string, option: string): number {
  try {
    return parseSize(text, option);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** More accesses than this would take days. */
const INTEGER_MAX = 1e9;

function integer(text: string, option: string, min: number): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  const max = min < 0 ? Number.MAX_SAFE_INTEGER : INTEGER_MAX;
  if (value >= min && value <= max) return value;
  const range = min < 0 ? "an integer" : `an integer of ${min} to ${max}`;
  throw new UsageError(`${option} is ${quote(text)}: use ${range}`);
}

/** Above it, a file in pieces hardly ever loads. */
const FAULT_MAX = 0.5;

function share(text: string, option: string, max: number): number {
  const value = /^[\d.]+(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= max) return value;
  throw new UsageError(`${option} is ${quote(text)}: use a share of 0 to ${max}, such as 0.1`);
}

function caching(text: string): Caching {
  if (text === "cached" || text === "wc" || text === "uc") return text;
  throw new UsageError(`--caching is ${quote(text)}: use cached, wc or uc`);
}

function swapChoice(text: string): SwapChoice {
  if (text === "ram" || text === "compressed" || text === "file") return { kind: text };
  const path = /^file:(.+)$/s.exec(text)?.[1];
  if (path !== undefined && !path.includes("\0")) return { kind: "file", path };
  throw new UsageError(`--swap is ${quote(text)}: use ram, compressed, file or file:PATH`);
}

function runtimes(text: string | undefined): RuntimeName[] | undefined {
  if (text === undefined) return undefined;
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!(RUNTIMES as readonly string[]).includes(name)) {
      throw new UsageError(`--runtime is ${quote(text)}: use one or more of ${RUNTIMES.join(",")}`);
    }
  }
  return [...new Set(names as RuntimeName[])];
}

function quote(text: string): string {
  return JSON.stringify(text);
}
