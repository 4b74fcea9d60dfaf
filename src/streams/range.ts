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
