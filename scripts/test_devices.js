/**
 * Runs the swap devices of the packed package in the places they are for: `node scripts/test_devices.js [--help]`.
 * The rows are data, a file for each device in test/devices/rows/; their files come from test/.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { rowsCommand } from "./consumer_rows.js";
import { isMain, root } from "./paths.js";

const sources = join(root, "test");

/** @returns {Promise<import("./consumer_rows.js").Row[]>} */
async function readRows() {
  const names = readdirSync(join(sources, "devices", "rows")).sort();
  const modules = await Promise.all(names.map((name) => import(`../test/devices/rows/${name}`)));
  return modules.flatMap(({ rows }) => rows);
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = await rowsCommand("test_devices", await readRows(), sources);
  } catch (error) {
    console.error(`test_devices: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
