/* Node, Deno, Bun: prints what the suite says. */
import "../suite/index.mjs";
import "../suite/files.mjs";
import process from "node:process";
import { runTests } from "../check.mjs";

const result = await runTests();
console.log(JSON.stringify(result));
process.exitCode = result.failures.length === 0 ? 0 : 1;
