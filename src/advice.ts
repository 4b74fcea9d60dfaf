import { show } from "./errors.ts";
import { type Range, type RangeOptions, rangeOf, type Sized, takeOptions } from "./options.ts";
import type { ReadingAdvice } from "./read_ahead.ts";

/**
 * `"dontneed"`: the content may be thrown away under pressure; `"willneed"`: no longer. `"random"`: nothing is read
 * ahead; `"sequential"`: as much as can be, from the first read on, and windows that were read leave first;
 * `"normal"`: of reads that go on in a row.
 */
export type Advice = "dontneed" | "willneed" | ReadingAdvice;

/** The bytes that advice is about. */
export type AdviceRange = Pick<RangeOptions, "offset" | "length">;

const ADVICE_RANGE: readonly (keyof AdviceRange)[] = ["offset", "length"];

const ADVICE: readonly Advice[] = ["dontneed", "willneed", "normal", "random", "sequential"];

/**
 * What is to be brought in by the way, if anything is, of a buffer that somebody gives advice on.
 *
 * @throws TypeError, RangeError for other advice, and for a range that it does not take, or not of this buffer
 */
export function advised(
  advice: Advice,
  range: AdviceRange | undefined,
  of: Sized,
): Range | undefined {
  if (!ADVICE.includes(advice)) {
    const all = ADVICE.map((each) => `"${each}"`).join(", ");
    throw new TypeError(`advise: advice must be one of ${all}, not ${show(advice)}`);
  }
  if (range === undefined) return undefined;
  const given = takeOptions(range, ADVICE_RANGE, "advise");
  if (advice === "willneed") return rangeOf(given, of.size);
  throw new TypeError(`advise: "${advice}" is for all of the buffer; "willneed" takes a range`);
}
