/**
 * Compiles, bundles and runs programs of users against the packed package, with the tools that users
 * have: `node scripts/test_consumers.js [--help]`. The rows are data, in test/consumers/rows/.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { toolsDir } from "./consumer_programs.js";
import { rowsCommand } from "./consumer_rows.js";
import { isMain } from "./paths.js";

/** @returns {Promise<import("./consumer_rows.js").Row[]>} */
async function readRows() {
  const names = readdirSync(join(toolsDir, "rows")).sort();
  const modules = await Promise.all(names.map((name) => import(`../test/consumers/rows/${name}`)));
  return modules.flatMap(({ rows }) => rows);
}

if (isMain(import.meta.url)) {
  try {
    const rows = await readRows();
    process.exitCode = await rowsCommand("test_consumers", rows, join(toolsDir, "files"));
  } catch (error) {
    console.error(`test_consumers: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
