/** The table at the end of a run of many rows. */

/**
 * @typedef {object} Result
 * @property {string} name
 * @property {string} version of what it ran with
 * @property {"passed" | "failed" | "skipped"} result
 * @property {number} ms
 * @property {number} [tests] how many tests it ran, where it says so
 * @property {string} [reason] why it failed or was skipped
 */

/** Enough to see what is wrong; tools may print megabytes. */
const REASON_MAX = 4000;

/**
 * @param {Result[]} results
 * @param {boolean} json instead of a table
 * @returns {number} exit code
 */
export function printResults(results, json) {
  const count = (/** @type {string} */ kind) => results.filter((r) => r.result === kind).length;
  const failed = count("failed");
  if (json) {
    console.log(JSON.stringify(results, null, 2));
    return failed === 0 ? 0 : 1;
  }
  for (const { name, result, reason = "" } of results) {
    if (result === "failed") console.log(`\n${name} failed: ${reason.slice(0, REASON_MAX)}`);
  }
  const lines = [
    ["row", "version", "result", "ms"],
    ...results.map(({ name, version, result, ms, tests, reason }) => [
      name,
      version,
      result === "skipped" ? `skipped: ${reason}` : `${result} ${tests ?? ""}`.trim(),
      String(ms),
    ]),
  ];
  const widths = [0, 1].map((i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  console.log("");
  for (const [name = "", version = "", result = "", ms = ""] of lines) {
    const start = `${name.padEnd(widths[0] ?? 0)}  ${version.padEnd(widths[1] ?? 0)}`;
    console.log(`${start}  ${result.padEnd(9)}  ${ms.padStart(6)}`);
  }
  console.log(`\n${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped`);
  return failed === 0 ? 0 : 1;
}
