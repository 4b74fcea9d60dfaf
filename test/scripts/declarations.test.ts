/* The declarations that are published: complete, documented, and refused when they name what nobody can import. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";

// The project's scripts are checked by a configuration of their own.
const { rollUp }: { rollUp: RollUp } = await import(
  new URL("../../scripts/declarations.js", import.meta.url).href
);

type RollUp = (
  folder: string,
  entries: readonly string[],
) => { types: string; exports: Map<string, string> };

const published = readFileSync(new URL("../../dist/types.d.cts", import.meta.url), "utf8");

test("every public name and every member of it has a description", () => {
  const lines = published.split("\n");
  const bare: string[] = [];
  let owner = "";
  lines.forEach((line, i) => {
    const top = /^(export )?(?:declare )?(class|const|function|interface|type) (\w+)/.exec(line);
    // What a file keeps to itself, and the fields of unnamed types, are seen only in what uses them.
    if (top) owner = top[1] && top[2] !== "type" ? `${top[3]}` : "";
    const member = /^ {4}(?:readonly |get |set |constructor|\[|\w+[?:<(])/.test(line);
    const named = top ? top[1] !== undefined : member && owner !== "";
    if (named && !lines[i - 1]?.trimEnd().endsWith("*/")) bare.push(`${owner}: ${line.trim()}`);
  });
  expect(bare).toEqual([]);
});

test("nothing that is internal is declared", () => {
  expect(published).not.toMatch(/@internal|\bEngine\b|\bLru|\bLock\b/);
});

describe("the roll-up", () => {
  const folder = mkdtempSync(join(tmpdir(), "ttm-declarations-"));
  const emitted = (files: Record<string, string>) => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return rollUp(
      folder,
      Object.keys(files).filter((name) => name.startsWith("entry")),
    );
  };
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test("declares once what two entries export, with what it mentions", () => {
    const { types, exports } = emitted({
      "entry1.d.ts": 'export type { A, B } from "./a.ts";\nexport { C } from "./c.ts";\n',
      "entry2.d.ts": 'export { type A } from "./a.ts";\n',
      "a.d.ts": "/** An A; not a Z. */\nexport interface A {\n    b: B;\n}\nexport type B = 1;\n",
      "c.d.ts": 'import type { A } from "./a.ts";\nexport declare class C {\n    a(): A;\n}\n',
    });
    expect(types.match(/interface A\b/g)).toHaveLength(1);
    expect(types).toContain("An A; not a Z.");
    expect(exports.get("entry1.d.ts")).toBe("C, type A, type B");
    expect(exports.get("entry2.d.ts")).toBe("type A");
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      "a name that no entry exports",
      {
        "entry.d.ts": 'export type { A } from "./a.ts";\n',
        "a.d.ts": 'import type { B } from "./b.ts";\nexport interface A {\n    b: B;\n}\n',
        "b.d.ts": "export interface B {\n}\n",
      },
      /A mentions B of b\.d\.ts, which no entry exports/,
    ],
    [
      "two things of one name",
      {
        "entry1.d.ts": 'export type { A } from "./a.ts";\n',
        "entry2.d.ts": 'export type { A } from "./b.ts";\n',
        "a.d.ts": "export type A = 1;\n",
        "b.d.ts": "export type A = 2;\n",
      },
      /two declarations are called A/,
    ],
    [
      "a statement of an unknown kind",
      { "entry.d.ts": 'export * from "./a.ts";\n', "a.d.ts": "export type A = 1;\n" },
      /no import, export or declaration/,
    ],
  ])("refuses %s", (_, files, text) => {
    expect(() => emitted(files)).toThrow(text);
  });
});
