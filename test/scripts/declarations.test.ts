/* The declarations that are published: complete, documented, and refused when they name what nobody can import. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";

// The project's scripts are checked by a configuration of their own.
const { rollUp }: { rollUp: RollUp } = await import(
  new URL("../../scripts/declarations.js", import.meta.url).href
);

type RollUp = (
  folder: string,
  core: readonly string[],
  further: readonly string[],
) => { types: string; exports: Map<string, string>; own: Map<string, (core: string) => string> };

const dist = new URL("../../dist/", import.meta.url);
const published = readdirSync(dist, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".d.cts"))
  .map((path) => readFileSync(new URL(path, dist), "utf8"))
  .join("\n");

test("every public name and every member of it has a description", () => {
  const lines = published.split("\n");
  const bare: string[] = [];
  let owner = "";
  lines.forEach((line, i) => {
    const top = /^(export )?(?:declare )?(class|const|function|interface|type) (\w+)/.exec(line);
    // What a file keeps to itself, and the fields of unnamed types, are seen only in what uses them.
    if (top) owner = top[1] && top[2] !== "type" ? `${top[3]}` : "";
    const member = /^\t(?:readonly |get |set |constructor|\[|\w+[?:<(])/.test(line);
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
    const named = (start: string) => Object.keys(files).filter((name) => name.startsWith(start));
    return rollUp(folder, named("entry"), named("further"));
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

  test("declares with a further entry what only that exports, and imports the rest", () => {
    const { types, exports, own } = emitted({
      "entry.d.ts": 'export type { A } from "./a.ts";\n',
      "further.d.ts":
        'export { type A } from "./a.ts";\nexport { c } from "./c.ts";\nexport type { D } from "./c.ts";\n',
      "a.d.ts": "export type A = B;\ntype B = 1;\n",
      "c.d.ts":
        'import type { A } from "./a.ts";\nexport declare function c(a: A): D;\nexport type D = E;\ntype E = 1;\n',
    });
    expect(types).toBe("export type A = B;\ntype B = 1;\nexport {};\n");
    expect([...exports.keys()]).toEqual(["entry.d.ts"]);
    expect(own.get("further.d.ts")?.("../types.cjs")).toBe(
      'import type { A } from "../types.cjs";\nexport function c(a: A): D;\nexport type D = E;\ntype E = 1;\n' +
        'export { type A } from "../types.cjs";\nexport {};\n',
    );
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      "what two further entries would both have to declare",
      {
        "further1.d.ts": 'export type { A } from "./a.ts";\n',
        "further2.d.ts": 'export type { A } from "./a.ts";\n',
        "a.d.ts": "export type A = 1;\n",
      },
      /further2\.d\.ts mentions A, which further1\.d\.ts declares for itself/,
    ],
    [
      "what the core keeps to itself, in a further entry",
      {
        "entry.d.ts": 'export type { A } from "./a.ts";\n',
        "further.d.ts": 'export type { C } from "./a.ts";\n',
        "a.d.ts": "export type A = B;\nexport type C = B;\ntype B = 1;\n",
      },
      /C mentions B, which the core declares for itself/,
    ],
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
