/**
 * A setup file of every test file when scripts/vitest_in.js runs the suite: proves that the worker
 * itself, and not only the process that started it, is in the wanted runtime.
 */
import process from "node:process";

const wanted = process.env.TTM_TEST_RUNTIME;
const actual = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";
if (wanted !== undefined && wanted !== actual) {
  throw new Error(`the tests were to run in ${wanted}, but run in ${actual}`);
}
