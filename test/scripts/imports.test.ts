/* The scripts that look at imports and exports: each finds what it is there for, and lets the rest pass. */
import { describe, expect, test } from "vitest";

interface Module {
  readonly path: string;
  readonly text: string;
  readonly imports: { from: string; names: string[]; passedOn: boolean }[];
  readonly exports: string[];
}

const script = (name: string) => import(new URL(`../../scripts/${name}.js`, import.meta.url).href);
const { readModule } = (await script("modules")) as {
  readModule(path: string, text: string): Module;
};
const layers = (await script("check_layers")) as {
  check(modules: Module[]): string[];
};
const exports = (await script("check_exports")) as {
  check(modules: Module[], free: Set<string>, kept: Record<string, string>): string[];
};

const modules = (texts: Readonly<Record<string, string>>) =>
  Object.entries(texts).map(([path, text]) => readModule(path, text));

describe("modules.js", () => {
  test("reads imports, types and namespaces among them, and exports", () => {
    const text = `import * as abi from "../../assembly/abi.ts";
import { readFileSync } from "node:fs";
import type { A } from "./a.ts";
import {
  b,
  type C as D,
} from "../b.ts";
export { e as f } from "./e.ts";
export * from "./g.ts";
const h: import("./h.ts").H = abi.PAGE_SIZE + abi.EIO;
export abstract class I {}
export async function j(): Promise<void> {}
export type K = 1;
export const L = 2;
`;
    const { imports, exports } = readModule("src/ttm/x.ts", text);
    expect(imports.map(({ from, names }) => `${from}: ${names.join(" ")}`)).toEqual([
      "assembly/abi.ts: PAGE_SIZE EIO",
      "node:fs: readFileSync",
      "src/ttm/a.ts: A",
      "src/b.ts: b C",
      "src/ttm/e.ts: e",
      "src/ttm/g.ts: default *",
      "src/ttm/h.ts: H",
    ]);
    expect(exports.sort()).toEqual(["I", "K", "L", "f", "j"]);
  });

  test("takes a namespace that is handed on as all of it", () => {
    const text = 'import * as abi from "./abi.ts";\nuse(abi);\n';
    expect(readModule("src/x.ts", text).imports[0]?.names).toEqual(["*"]);
  });

  test("finds AssemblyScript's modules, whose names have no ending there", () => {
    const text = 'import { get } from "./header";\n';
    expect(readModule("assembly/x.ts", text).imports[0]?.from).toBe("assembly/header.ts");
  });
});

describe("check_layers.js", () => {
  const check = (texts: Readonly<Record<string, string>>) => layers.check(modules(texts));
  const type = (name: string, from: string) => `import type { ${name} } from "${from}";\n`;

  test("lets imports pass that lead down, or stay in their layer", () => {
    const complaints = check({
      "src/device.ts": type("Pool", "./ttm/pool.ts") + type("PAGE_SIZE", "../assembly/abi.ts"),
      "src/ttm/pool.ts": type("Tt", "./tt.ts") + type("Engine", "../engine/engine.ts"),
      "src/ttm/tt.ts": type("Buffer", "node:buffer"),
    });
    expect(complaints).toEqual([]);
  });

  test.each([
    ["up", "src/ttm/pool.ts", type("Device", "../device.ts"), "src/device.ts, which lies above it"],
    [
      "from a swap device to the engine beside it",
      "src/swap/file.ts",
      type("Engine", "../engine/engine.ts"),
      "src/engine/engine.ts, which lies beside it",
    ],
    [
      "of the engine's sources but their numbers",
      "src/engine/engine.ts",
      type("get", "../../assembly/header.ts"),
      "assembly/header.ts, of which only assembly/abi.ts is for others",
    ],
    [
      "from the bytes of pages to the header",
      "assembly/page_bytes.ts",
      type("get", "./header"),
      "assembly/header.ts, which lies above it",
    ],
    ["of no layer", "src/ttm/pool.ts", type("X", "../x.ts"), "src/x.ts, which is in no layer"],
  ])("finds an import %s", (_, path, text, message) => {
    expect(check({ [path]: text })).toEqual([`${path} imports ${message}`]);
  });

  test("finds a module of no layer", () => {
    expect(check({ "src/x.ts": "" })).toEqual(["src/x.ts is in no layer"]);
  });

  test("finds a circle of types within a layer", () => {
    const texts = {
      "src/ttm/a.ts": type("B", "./b.ts"),
      "src/ttm/b.ts": type("C", "./c.ts"),
      "src/ttm/c.ts": type("A", "./a.ts"),
    };
    const paths = Object.keys(texts);
    expect(check(texts)).toEqual([`a circle: ${[...paths, paths[0]].join(" -> ")}`]);
  });
});

describe("check_exports.js", () => {
  const texts = {
    "src/index.ts": 'export { a } from "./a.ts";\n',
    "src/a.ts": "export const a = 1;\nexport const b = 2;\nexport interface C {}\n",
    "assembly/index.ts": 'export { used, unused } from "./x";\n',
    "assembly/x.ts": "export function used(): void {}\nexport function unused(): void {}\n",
    "src/engine/engine.ts": "this.#wasm.used();\n",
  };
  const check = (kept: Record<string, string> = {}) =>
    exports.check(modules(texts), new Set(["src/index.ts"]), kept);

  test("finds what no other module imports, and what the host never calls", () => {
    expect(check()).toEqual([
      "src/a.ts: nobody imports b",
      "src/a.ts: nobody imports C",
      "assembly/index.ts: nobody imports unused",
    ]);
  });

  test("lets pass what there is a reason for, and finds reasons that are not needed", () => {
    const reasons = {
      "src/a.ts b": "why",
      "src/a.ts C": "why",
      "assembly/index.ts unused": "why",
      "src/a.ts a": "why",
    };
    expect(check(reasons)).toEqual(["src/a.ts a: needs no reason in scripts/check_exports.js"]);
  });
});
