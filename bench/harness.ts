/*
 * What every benchmark here shares: options, interleaved rounds, medians and paired ratios.
 *
 * Contenders of one question run in the same process, in turns: every round runs each of them once, odd
 * rounds in the opposite order, so that what disturbs the machine for a while disturbs both sides. A
 * ratio is taken within a round; reported is the median of the rounds' ratios.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Random } from "../src/random.ts";

/** One line of a result. `ratio` above 1: faster (or smaller) than what it is held against. */
export interface Row {
  readonly bench: string;
  readonly case: string;
  readonly runtime: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
  readonly ratio: number | null;
  readonly against: string | null;
}

/** What a benchmark promised, and what became of it on a runtime. */
export interface Kept {
  readonly bench: string;
  readonly text: string;
  readonly runtime: string;
  /** The only runtime that it is about, if there is one. */
  readonly on: string | null;
  /** For people: "≥ 0.90", "≤ 20 ms". */
  readonly limit: string;
  /** The worst of all cases that it is about. */
  readonly worst: number;
  readonly met: boolean;
}

/** A limit of a benchmark's own. A ratio counts as it is shown, with two digits. */
export type Limit =
  | { readonly atLeast: number }
  | { readonly atMost: number; readonly unit?: string };

export const RUNTIME: string = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

/** Few rounds and small sizes, to see that everything runs. */
export const QUICK: boolean = process.argv.includes("--quick");

export const KIB = 1024;
export const MIB: number = 1024 * KIB;
export const GIB: number = 1024 * MIB;
export const PAGE = 4096;

/**
 * Count the time this process gets of the processors, instead of the time that passes: for a machine
 * that does other work as well. What waits for a disk is not seen then.
 */
const CPU: boolean = process.argv.includes("--cpu");

/** Nanoseconds of a clock that never goes back. */
export function now(): number {
  return performance.now() * 1e6;
}

/** Nanoseconds of the clock that phases are timed with. */
export function clock(): number {
  if (!CPU) return now();
  const { user, system } = process.cpuUsage();
  return (user + system) * 1e3;
}

/** The given number of rounds, or 3 when it is to be quick. */
export function rounds(count: number): number {
  return QUICK ? Math.min(count, 3) : count;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A quantile by linear interpolation, NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** What one sample of a name is to be measured with: work that is timed, or that says its own value. */
export interface Phase {
  readonly name: string;
  /** Timed; unless it returns, or promises, its own sample or several by their names. */
  run(): unknown;
  /** Not timed, right before. */
  before?(): void | Promise<void>;
}

/** Samples by name, one of each a round. */
export class Samples {
  readonly #values = new Map<string, number[]>();

  of(name: string): readonly number[] {
    const values = this.#values.get(name);
    if (!values) throw new Error(`nothing was measured under the name ${name}`);
    return values;
  }

  add(name: string, value: number): void {
    const values = this.#values.get(name);
    if (values) values.push(value);
    else this.#values.set(name, [value]);
  }

  /** Runs one phase; keeps its sample unless it only warms up. */
  async phase({ name, run, before }: Phase, keep: boolean): Promise<void> {
    await before?.();
    const start = clock();
    const result = run();
    const said = result instanceof Promise ? await result : result;
    const elapsed = clock() - start;
    if (!keep) return;
    if (typeof said === "object" && said !== null) {
      const values = said as Readonly<Record<string, number>>;
      for (const [each, value] of Object.entries(values)) this.add(each, value);
    } else this.add(name, typeof said === "number" ? said : elapsed);
  }

  /**
   * Rounds over groups of phases. Within a group the order is fixed (a restore follows its shrink); the
   * groups themselves take turns in going first.
   */
  async interleave(
    count: number,
    groups: readonly (readonly Phase[])[],
    warmUps = 2,
  ): Promise<void> {
    for (let round = -warmUps; round < count; round++) {
      for (const group of round % 2 === 0 ? groups : [...groups].reverse()) {
        for (const phase of group) await this.phase(phase, round >= 0);
      }
    }
  }
}

/** How one name of a set of samples becomes a row. */
export interface RowOptions {
  readonly unit: string;
  /** What a sample is divided by, for a cost per page and the like. Default 1. */
  readonly per?: number;
  /** Name of the samples it is held against, round by round. */
  readonly against?: string;
  /** What to call those. Default: their name. */
  readonly label?: string;
  /** What the samples held against are divided by. Default: `per`. */
  readonly againstPer?: number;
}

/** The rows of one benchmark. */
export class Bench {
  readonly rows: Row[] = [];
  readonly promises: Kept[] = [];
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Makes a row of the samples `name`. */
  row(
    text: string,
    samples: Samples,
    name: string,
    options: RowOptions,
    runtime: string = RUNTIME,
  ): Row {
    const { unit, per = 1, against, label = against, againstPer = per } = options;
    const values = samples.of(name).map((value) => value / per);
    const others = against === undefined ? undefined : samples.of(against);
    const ratio =
      others && median(values.map((value, i) => (others[i] as number) / againstPer / value));
    return this.value(
      text,
      values,
      { unit, ratio: ratio ?? null, against: label ?? null },
      runtime,
    );
  }

  /**
   * Promises that the ratios, medians or maxima of all rows whose case fits keep to a limit; those of a runtime
   * by themselves.
   *
   * @throws Error when no case fits: it has another name now
   */
  promise(text: string, of: "ratio" | "median" | "max", cases: RegExp, limit: Limit): void {
    const fitting = this.rows.filter((row) => cases.test(row.case));
    if (fitting.length === 0)
      throw new Error(`no case is called ${cases}: "${text}" is about none`);
    for (const runtime of new Set(fitting.map((row) => row.runtime))) {
      const own = fitting.filter((row) => row.runtime === runtime);
      const values = own.map((row) => {
        const value = row[of];
        if (value === null) throw new Error(`${row.case} is held against nothing: "${text}"`);
        return value;
      });
      this.keep(text, values, limit, runtime);
    }
  }

  /** Promises that values keep to a limit; with `on`, on that runtime only. */
  keep(
    text: string,
    values: readonly number[],
    limit: Limit,
    runtime: string = RUNTIME,
    on: string | null = null,
  ): void {
    if (on !== null && on !== runtime) return;
    const least = "atLeast" in limit;
    const worst = least ? Math.min(...values) : Math.max(...values);
    const met = least ? worst >= limit.atLeast - 0.005 : worst <= limit.atMost;
    const kept = { bench: this.name, text, runtime, on, limit: limitText(limit), worst, met };
    this.promises.push(kept);
    console.error(`  ${text}: ${round(worst)} ${kept.limit}${met ? "" : ", missed"}`);
  }

  /**
   * Medians of the rows whose case fits, in order.
   *
   * @throws Error when there is none
   */
  medians(cases: RegExp): number[] {
    const fitting = this.rows.filter((row) => cases.test(row.case));
    if (fitting.length === 0) throw new Error(`no case is called ${cases}`);
    return fitting.map((row) => row.median);
  }

  /** Makes a row of values that were not taken in turns, or that are no times at all. */
  value(
    text: string,
    values: readonly number[],
    {
      unit,
      ratio = null,
      against = null,
    }: { unit: string; ratio?: number | null; against?: string | null },
    runtime: string = RUNTIME,
  ): Row {
    const row = {
      bench: this.name,
      case: text,
      runtime,
      unit,
      median: round(median(values)),
      min: round(Math.min(...values)),
      max: round(Math.max(...values)),
      rounds: values.length,
      ratio: ratio === null ? null : round(ratio),
      against,
    };
    this.rows.push(row);
    console.error(`  ${describe(row)}`);
    return row;
  }
}

function limitText(limit: Limit): string {
  if ("atLeast" in limit) return `≥ ${limit.atLeast.toFixed(2)}`;
  const { atMost, unit } = limit;
  if (unit !== undefined) return `≤ ${atMost} ${unit}`;
  return atMost === 0 ? "0" : `≤ ${atMost}`;
}

/** Four significant digits: more is noise. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function describe(row: Row): string {
  const figure = `${row.median} ${row.unit} (${row.min}-${row.max})`;
  const ratio = row.ratio === null ? "" : `  ${row.ratio.toFixed(2)} of ${row.against}`;
  return `${row.case.padEnd(52)} ${figure.padEnd(36)}${ratio}`;
}

/** Runs a benchmark; writes its rows, and what became of its promises, to the file after `--json`, or to standard output. */
export async function main(
  name: string,
  body: (bench: Bench) => void | Promise<void>,
): Promise<void> {
  const bench = new Bench(name);
  console.error(`${name} (${RUNTIME})`);
  await body(bench);
  const { rows, promises } = bench;
  const text = `${JSON.stringify({ rows, promises }, null, 2)}\n`;
  const at = process.argv.indexOf("--json");
  const file = at < 0 ? undefined : process.argv[at + 1];
  if (file === undefined) console.log(text);
  else writeFileSync(file, text);
  // Large memories are not worth waiting for.
  process.exit(0);
}

/** Made once: each call of `runInNewContext` leaves a whole context to collect. */
const collect = collector();

function collector(): () => void {
  if ("Bun" in globalThis) {
    const { Bun } = globalThis as unknown as { Bun: { gc(wait: boolean): void } };
    return () => Bun.gc(true);
  }
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  return () => {
    gc();
    gc();
  };
}

/** Collects garbage, and gives the system time to take memories back: both would fall into a measurement. */
export async function collected(): Promise<void> {
  collect();
  await new Promise((resolve) => setTimeout(resolve, 100));
}

/** Whole random numbers of a seed, 0 up to, not including, `limit`. */
export function randomFrom(seed: number): (limit: number) => number {
  const random = new Random(seed);
  return (limit) => Math.floor(random.fraction() * limit);
}

/** Shuffles in place, and returns it. */
export function shuffle<T extends unknown[] | Uint32Array>(
  list: T,
  random: (n: number) => number,
): T {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random(i + 1);
    const value = list[i];
    list[i] = list[j] as never;
    list[j] = value as never;
  }
  return list;
}

/** "64 MiB" of a number of bytes. */
export function sizeName(bytes: number): string {
  const units: [number, string][] = [
    [GIB, "GiB"],
    [MIB, "MiB"],
    [KIB, "KiB"],
  ];
  for (const [unit, name] of units) if (bytes >= unit) return `${bytes / unit} ${name}`;
  return `${bytes} B`;
}
