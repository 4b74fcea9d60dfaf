import { assertWhole, type Range, type RangeOptions } from "../options.ts";

/**
 * The bytes that are meant of a buffer of `size` bytes. As a read may be of none, so may a stream or blob.
 *
 * @throws TypeError, RangeError unless they lie within it
 */
export function streamedRange(given: RangeOptions, size: number): Range {
  const { offset = 0 } = given;
  assertWhole(offset, "offset", 0, size);
  const { length = size - offset } = given;
  assertWhole(length, "length", 0, size - offset);
  return { offset, length };
}

/** @throws TypeError unless it has what is needed of a buffer */
export function assertBuffer(value: unknown, what: string): void {
  const { size, read, write } = (value ?? {}) as Record<string, unknown>;
  if (typeof size === "number" && typeof read === "function" && typeof write === "function") return;
  throw new TypeError(`${what}: buffer must be what createBuffer returns`);
}
