/* The script that holds documents and comments against what there is: it finds what is named and is not there. */
import { describe, expect, test } from "vitest";

const { missingIn, compareReferences } = (await import(
  new URL("../../scripts/check_docs.js", import.meta.url).href
)) as {
  missingIn(
    text: string,
    there: { paths: Set<string>; names: Set<string>; commands: Set<string> },
    isProgram: boolean,
  ): string[];
  compareReferences(behaviours: string, references: string): string[];
};

describe("what is named", () => {
  const there = {
    paths: new Set(["src/ttm/pool.ts", "docs/behaviours.md"]),
    names: new Set(["pool.ts", "behaviours.md"]),
    commands: new Set(["test", "test:long"]),
  };

  test.each([
    ["see `src/ttm/pool.ts`, and docs/behaviours.md.", []],
    ["see src/ttm/pools.ts", ["src/ttm/pools.ts"]],
    ["`npx vitest run test/pool.test.ts`", ["test/pool.test.ts"]],
    ["../bench/harness.ts is that of another folder", []],
    ["`npm run test:long`, `npm run --silent test`", []],
    ["`npm run test:short`", ["npm run test:short"]],
    ["`pool.ts` and `pools.ts`", ["pools.ts"]],
    ["`src/swap/NAME.ts` is to come, build/engine.ts is made", []],
  ])("%s", (text, missing) => {
    expect(missingIn(text, there, false)).toEqual(missing);
  });

  test("a name by itself may be anything in a comment", () => {
    expect(missingIn("`pools.ts`", there, true)).toEqual([]);
  });
});

describe("references", () => {
  const behaviours = (...rows: readonly [string, string][]) =>
    [
      "| no | TTM | here | ref | test |",
      "|---|---|---|---|---|",
      ...rows.map(([no, refs]) => `| ${no} | - | - | ${refs} | \`a test\` |`),
    ].join("\n");
  const references = (...rows: readonly [string, string][]) =>
    rows.map(([ref, nos]) => `| ${ref} | a sentence | ${nos} |`).join("\n");

  test("lead to the list, and back to their rows", () => {
    const rows = behaviours(["E1", "S1"], ["E2", "S1 3.10"]);
    expect(
      compareReferences(rows, references(["S1", "E1, E2"], ["3.10", "E2"], ["3.12", "-"])),
    ).toEqual([]);
  });

  test("are missed when the list has them not, or names other rows", () => {
    const rows = behaviours(["E1", "S1 D3"], ["E2", "S2"]);
    const list = references(["S1", "E2"], ["S2", "E2"], ["S3", "E1"]);
    expect(compareReferences(rows, list)).toEqual([
      "docs/references.md does not list D3",
      "docs/references.md: S1 is in rows E1, not E2",
      "docs/behaviours.md: S3 is in no row",
    ]);
  });
});
