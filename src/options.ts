/* Options by name: what cannot be meant is refused where it is set, and each getter is read once. */
import { show } from "./errors.ts";
import type { Signal } from "./host_types.ts";

/**
 * Refuses options that there are not.
 *
 * @throws TypeError naming `what` it is an option of, and those there are
 */
export function assertOptions(options: unknown, known: readonly string[], what: string): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${what} takes an object of options, not ${show(options)}`);
  }
  for (const name in options) {
    // Properties that somebody added to Object.prototype are not meant for us.
    if (known.includes(name) || !Object.hasOwn(options, name)) continue;
    const near = known.find((each) => isNear(each, name));
    const hint = near === undefined ? `there are ${known.join(", ")}` : `did you mean ${near}?`;
    throw new TypeError(`${what} has no option ${show(name)}; ${hint}`);
  }
}

/** Whether two names differ in case, or in one letter more, less or another. */
function isNear(a: string, b: string): boolean {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  let from = 0;
  while (from < x.length && x[from] === y[from]) from++;
  let same = 0;
  while (same < Math.min(x.length, y.length) - from && x.at(-1 - same) === y.at(-1 - same)) same++;
  return Math.max(x.length, y.length) - from - same <= 1;
}

/** The same, and a copy of those that were given: for what looks at them more than once. */
export function takeOptions<T extends object>(
  options: T | undefined,
  known: readonly (keyof T & string)[],
  what: string,
): Partial<T> {
  assertOptions(options, known, what);
  const taken: Partial<T> = {};
  for (const name of known) {
    const value = options?.[name];
    if (value !== undefined) taken[name] = value;
  }
  return taken;
}

/** Options of every operation that may move pages. */
export interface OperationOptions {
  /** Looked at between two transfers; once aborted, the operation fails with EINTR; a retry resumes. */
  readonly signal?: Signal | undefined;
}

/** Options of an operation on a part of a buffer. */
export interface RangeOptions extends OperationOptions {
  /** First byte. Default 0. */
  readonly offset?: number;
  /** Bytes, 1 and up. Default: all from `offset` on. */
  readonly length?: number;
}

/** Names of them. */
export const RANGE_OPTIONS: readonly (keyof RangeOptions)[] = ["offset", "length", "signal"];

/** Bytes [offset, offset + length) of a buffer. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/**
 * The bytes that are meant, of `size`.
 *
 * @throws TypeError, RangeError unless they lie within it, and are some
 */
export function rangeOf(given: RangeOptions, size: number): Range {
  const { offset = 0 } = given;
  assertWhole(offset, "offset", 0, size - 1);
  const { length = size - offset } = given;
  assertWhole(length, "length", 1, size - offset);
  return { offset, length };
}

/** A part of a buffer that is meant, and what may stop what is done to it. */
export interface RangeRequest extends Range {
  readonly signal: Signal | undefined;
}

/** Whose bytes they are: its size is looked at when the options are read, as their getters may have changed it. */
export interface Sized {
  readonly size: number;
}

/**
 * What the options of an operation on a part of the bytes of `of` mean: all of them by default.
 *
 * @throws TypeError, RangeError for other options, and for bytes that do not lie within the buffer
 */
export function rangeRequest(
  options: RangeOptions | undefined,
  of: Sized,
  what: string,
): RangeRequest {
  if (options === undefined) return { offset: 0, length: of.size, signal: undefined };
  const given = takeOptions(options, RANGE_OPTIONS, what);
  const signal = asSignal(given.signal);
  return { ...rangeOf(given, of.size), signal };
}

const SIGNAL = ["signal"] as const;

/**
 * The signal in the options of an operation that has no others.
 *
 * @throws TypeError for other options, and for what is no signal
 */
export function signalOf(options: OperationOptions | undefined, what: string): Signal | undefined {
  if (options === undefined) return undefined;
  assertOptions(options, SIGNAL, what);
  return asSignal(options.signal);
}

/** @throws TypeError unless it is an AbortSignal, or alike */
export function asSignal(signal: Signal | null | undefined): Signal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (typeof signal === "object" && "aborted" in signal) return signal;
  const hint = typeof signal === "object" && "signal" in signal ? "; pass its .signal" : "";
  throw new TypeError(`signal must be an AbortSignal, not ${show(signal)}${hint}`);
}

/** @throws TypeError unless it is one of the two */
export function assertBoolean(value: unknown, name: string): asserts value is boolean {
  if (typeof value === "boolean") return;
  throw new TypeError(`${name} must be true or false, not ${show(value)}`);
}

/** @throws TypeError when it is no number; RangeError unless it is a whole one from `least` to `most` */
export function assertWhole(
  value: unknown,
  name: string,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most)
    return;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  const text = `${name} must be a whole number ${range}, not ${show(value)}`;
  throw typeof value === "number" ? new RangeError(text) : new TypeError(text);
}
