/* What fuzzers of the parsers have found worth keeping, and what somebody thought of: played again. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as targets from "./parsers/targets.ts";

describe.each(Object.entries(targets))("%s", (name, target) => {
  const folder = new URL(`parsers/corpus/${name}/`, import.meta.url);
  const files = readdirSync(folder);

  test("does nothing that it must not with what was found", () => {
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      try {
        target(readFileSync(new URL(file, folder)));
      } catch (cause) {
        throw new Error(`${name}/${file}: ${cause}`, { cause });
      }
    }
  });
});
