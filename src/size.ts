import { PAGE_SIZE } from "../assembly/abi.ts";
import { show } from "./errors.ts";

/**
 * A number of bytes, or a string such as `"64 MiB"`, `"4GiB"`, `"1.5 GB"`. K, M, G and T alone count as
 * KiB, MiB, GiB and TiB, as in other tools; a fraction of a byte is dropped.
 */
export type Size = number | string;

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
};

/**
 * Bytes of a size. `name` is the argument's name for the message.
 *
 * @throws TypeError when it is neither a number nor a string
 * @throws RangeError when it is not a whole positive number of bytes, or has an unknown unit
 */
export function parseSize(value: Size, name: string): number {
  if (typeof value !== "number" && typeof value !== "string") {
    throw new TypeError(
      `${name} must be a number of bytes or a string such as "64 MiB", not ${show(value)}`,
    );
  }
  const bytes = typeof value === "number" ? value : parseText(value, name);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new RangeError(`${name} must be a whole number of bytes above 0, not ${show(value)}`);
  }
  return bytes;
}

function parseText(text: string, name: string): number {
  // Trimmed first: of two places that take blanks each way to share them would be tried.
  const parts = /^([+-]?[\d.]+(?:e\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const suffix = parts?.[2]?.toLowerCase() ?? "";
  const unit = Object.hasOwn(UNITS, suffix) ? UNITS[suffix] : undefined;
  if (!parts || unit === undefined) {
    const known = "B, KiB, MiB, GiB, TiB, kB, MB, GB or TB";
    throw new RangeError(`${name} is ${show(text)}: use a number and a unit of ${known}`);
  }
  // Decimal fractions such as 1.005 MB have no exact binary form; a whole number is meant.
  const bytes = Number(parts[1]) * unit;
  const whole = Math.round(bytes);
  if (Math.abs(bytes - whole) <= bytes * 1e-12) return whole;
  return unit > 1 ? Math.floor(bytes) : bytes;
}

/** Pages that hold `bytes`, the last one perhaps in part. */
export function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE);
}

/** A size for people: the largest binary unit that leaves a short number. */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(value < 10 ? 2 : 1))} ${units[unit]}`;
}
