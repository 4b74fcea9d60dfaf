/*
 * Hostile input to the public API: nothing traps, everything settles, no byte is lost, and what is refused is
 * refused by name. TTM_SEED repeats a run, TTM_FUZZ_SECONDS makes it longer.
 */
import { expect, test } from "vitest";
import { runProgram } from "./api.ts";
import { fuzz, TIMEOUT_MS } from "./fuzz.ts";

test(
  "hostile calls end in errors that say why, and harm nothing",
  async () => {
    const programs = await fuzz({ seeds: 12, fixed: 20261127 }, (random) => runProgram(random, 4));
    expect(programs).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);
