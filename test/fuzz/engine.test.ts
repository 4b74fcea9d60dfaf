/* The raw exports of a debug and of a release build. TTM_SEED repeats a run, TTM_FUZZ_SECONDS makes it longer. */
import { expect, test } from "vitest";
import { runProgram } from "./engine.ts";
import { fuzz, TIMEOUT_MS } from "./fuzz.ts";

test("calls that make no sense are refused, and harm nothing", {
  timeout: TIMEOUT_MS,
}, async () => {
  const programs = await fuzz({ seeds: 10, fixed: 20261127 }, (random) => runProgram(random, 120));
  expect(programs).toBeGreaterThan(0);
});
