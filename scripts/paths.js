/** Where the project lies, and whether a script was started or imported. */
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The folder of package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @param {string} url `import.meta.url` of the asking module
 * @returns {boolean} whether it is the script that Node was started with
 */
export function isMain(url) {
  const started = process.argv[1];
  return started !== undefined && realpathSync(started) === realpathSync(fileURLToPath(url));
}
