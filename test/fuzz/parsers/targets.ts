/*
 * What parses what users write, as functions of any bytes: they throw if a parser does what it must not. What is
 * right is worked out here a second time, in another way.
 */
import { readReferences } from "../../../bench/trace_file.ts";
import { parseCommand, type RunOptions } from "../../../src/cli/args.ts";
import { UsageError } from "../../../src/cli/errors.ts";
import { parseSize } from "../../../src/size.ts";

/** Bytes of a unit; K, M, G and T alone are binary ones. */
function unitOf(name: string): bigint | undefined {
  const [, prefix = "", rest = ""] = /^([kmgt]?)(i?b?)$/.exec(name) ?? [];
  if (name !== "" && name !== prefix + rest) return undefined;
  if (rest === "i" || (prefix === "" && rest === "ib")) return undefined;
  const power = BigInt("_kmgt".indexOf(prefix || "_"));
  return (rest === "b" ? 1000n : 1024n) ** power;
}

/** A number and its unit, exactly: `digits` times 10 to the `power`, times `unit`. */
interface Exact {
  readonly digits: bigint;
  readonly power: number;
  readonly unit: bigint;
}

function exactOf(text: string): Exact | undefined {
  const parts = /^([+-]?)(\d*)\.?(\d*)(?:e(\d+))?\s*([a-z]*)$/i.exec(text.trim());
  if (!parts || !/^[+-]?(\d+\.?\d*|\.\d+)(e\d+)?\s*[a-z]*$/i.test(text.trim())) return undefined;
  const [, sign, whole = "", fraction = "", exponent = "0", name = ""] = parts;
  const unit = unitOf(name.toLowerCase());
  if (unit === undefined) return undefined;
  const digits = BigInt(`${whole}${fraction}`) * (sign === "-" ? -1n : 1n);
  return { digits, power: Number(exponent) - fraction.length, unit };
}

/** Bytes of it in millionths, rounded down; `undefined`: so many that no size can have them. */
function millionths({ digits, power, unit }: Exact): bigint | undefined {
  if (digits === 0n) return 0n;
  if (power > 60) return undefined;
  const scaled = digits * unit * 1_000_000n;
  return power >= 0 ? scaled * 10n ** BigInt(power) : scaled / 10n ** BigInt(-power);
}

function isWhole({ digits, power }: Exact): boolean {
  return power >= 0 || digits % 10n ** BigInt(-power) === 0n;
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
/** What doubles may be off by: a 10^12th. */
const off = (value: bigint): bigint => value / 1_000_000_000_000n + 2n;

export function size(data: Uint8Array): void {
  const text = new TextDecoder().decode(data);
  const exact = exactOf(text);
  const value = exact && millionths(exact);
  let bytes: number;
  try {
    bytes = parseSize(text, "limit");
  } catch (error) {
    if (!(error instanceof RangeError) || !error.message.startsWith("limit ")) throw error;
    const [suffix = ""] = /[a-z]*$/i.exec(text.trim()) ?? [];
    const known = unitOf(suffix.toLowerCase()) !== undefined;
    must(known || /a unit of/.test(error.message), `it names no unit: ${error}`);
    if (exact === undefined || value === undefined) return;
    const whole = exact.unit > 1n || isWhole(exact);
    const fits = value >= 1_000_000n + off(value) && value <= (SAFE - 20_000n) * 1_000_000n;
    must(!(whole && fits), `${text} is a size, and is refused`);
    return;
  }
  must(Number.isSafeInteger(bytes) && bytes > 0, `${text} gives ${bytes}`);
  if (value === undefined) throw new Error(`${text} gives ${bytes}, and is none`);
  const given = BigInt(bytes) * 1_000_000n;
  const least = exact?.unit === 1n ? value - off(value) : value - off(value) - 1_000_000n;
  must(given >= least && given <= value + off(value), `${text} gives ${bytes}`);
}

/** Options as somebody would write them who wants just these. */
function written(options: RunOptions): string[] {
  const { swap, swapSize, poolSize, runtimes, json, paths } = options;
  const path = swap.path === undefined ? swap.kind : `file:${swap.path}`;
  return [
    "run",
    ...[`--size=${options.size}`, `--object-size=${options.objectSize}`],
    ...[`--memory=${options.memory}`, `--accesses=${options.accesses}`, `--seed=${options.seed}`],
    ...[`--interrupt=${options.interrupt}`, `--fault=${options.fault}`],
    ...[`--caching=${options.caching}`, `--swap=${path}`],
    ...(swapSize === undefined ? [] : [`--swap-size=${swapSize}`]),
    ...(poolSize === undefined ? [] : [`--pool-size=${poolSize}`]),
    ...(runtimes === undefined ? [] : [`--runtime=${runtimes.join(",")}`]),
    ...(json ? ["--json"] : []),
    ...["--", ...paths],
  ];
}

/** Arguments, one a line. */
export function cli(data: Uint8Array): void {
  const argv = new TextDecoder().decode(data).split("\n");
  let command: ReturnType<typeof parseCommand>;
  try {
    command = parseCommand(argv);
  } catch (error) {
    if (!(error instanceof UsageError) || error.exitCode !== 2) throw error;
    must(error.message.trim() !== "", "a usage error that says nothing");
    return;
  }
  if (command.name !== "run") return;
  const { options } = command;
  const { memory, objectSize, interrupt, fault, accesses } = options;
  must(memory >= 65536 && memory < 2 ** 32, `memory ${memory}`);
  must(objectSize >= 1 && objectSize <= memory, `object size ${objectSize} of ${memory}`);
  must(interrupt >= 0 && interrupt <= 1 && fault >= 0 && fault <= 0.5, `${interrupt}, ${fault}`);
  must(Number.isSafeInteger(accesses) && accesses >= 0, `accesses ${accesses}`);
  const again = parseCommand(written(options));
  must(JSON.stringify(again) === JSON.stringify(command), `read again: ${JSON.stringify(again)}`);
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  return [...bytes, Number(left)];
}

export function trace(data: Uint8Array): void {
  let pages: number[];
  try {
    pages = readReferences(data);
  } catch (error) {
    if (!(error instanceof RangeError) || !/at byte \d+ is/.test(error.message)) throw error;
    return;
  }
  let before = 0;
  const bytes = pages.flatMap((page) => {
    const step = BigInt(page - before);
    before = page;
    return varint((step < 0n ? -2n * step - 1n : 2n * step) * 2n);
  });
  const again = readReferences(Uint8Array.from(bytes));
  must(again.join() === pages.join(), "references are not read as they are written");
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}
