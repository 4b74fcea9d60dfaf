/*
 * Executes the code blocks of README: programs against the packed package, commands of the package's own line by
 * line. `npm start` and `npm test` are stages of CI; here they must exist. The starts on each runtime are rows of
 * test/consumers/, which has the runtimes.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const scripts = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;

type Block = { language: string; text: string; file?: string };
type Start = { name: string; files: Record<string, string>; commands: string[]; says: string };
// The project's scripts are checked by a configuration of their own.
const {
  blocks,
  commandsOf,
  readme,
  starts,
}: {
  blocks: (text: string) => Block[];
  commandsOf: (text: string) => string[];
  readme: string;
  starts: () => Start[];
} = await import(new URL("../scripts/readme.js", import.meta.url).href);

const first = blocks(readme).find(({ file }) => file === "start.mjs")?.text as string;
const programs = [
  first,
  ...blocks(readme).flatMap(({ language, text }) => (language === "ts" ? [text] : [])),
];
const started = starts();
const commands = commandsOf(readme).filter(
  (command) => !started.some((start) => start.commands.includes(command)),
);

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ttm-readme-"));
  const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8",
  });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const tarball = join(folder, packed.trim().split("\n").at(-1) as string);
  execFileSync("npm", ["install", "--offline", "--no-save", tarball], { cwd: folder });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: string[]): string {
  return execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
}

describe("README", () => {
  test("has no code block that nothing executes", () => {
    const all = readme.match(/^```\w+/gm) ?? [];
    const files = new Set(started.flatMap((start) => Object.values(start.files)));
    const executed = ({ language, text }: Block) =>
      language === "ts" || language === "sh" || files.has(text);
    expect(blocks(readme).filter((block) => !executed(block))).toEqual([]);
    expect(blocks(readme).length).toBe(all.length);
  });

  test("starts on every runtime that the package is for", () => {
    expect(started.map(({ name }) => name.split(",")[0])).toEqual([
      "Node",
      "Deno",
      "Bun",
      "Cloudflare Workers",
      "Browser",
      "Browser",
    ]);
    const files = started.map((start) => Object.keys(start.files).sort());
    expect(files.map((names) => names.join(" "))).toEqual([
      "start.mjs",
      "start.mjs",
      "start.mjs",
      "worker.js wrangler.jsonc",
      "index.html main.js",
      "index.html main.js",
    ]);
    for (const { says } of started) expect(says).toBe("1 not one byte is lost");
  });

  test("has no link that dies where it is shown by itself, and none into nowhere", () => {
    const headings = Array.from(readme.matchAll(/^#+ (.+)$/gm), ([, text]) =>
      (text as string)
        .toLowerCase()
        .replace(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    );
    const links = Array.from(
      readme.matchAll(/\]\(([^)\s]+)[^)]*\)/g),
      ([, link]) => link as string,
    );
    expect(links.length).toBeGreaterThan(0);
    for (const link of links) {
      if (link.startsWith("#")) expect(headings).toContain(link.slice(1));
      else expect(link).toMatch(/^https:/);
    }
  });

  test.each(programs.map((program, i) => [i + 1, program]))("program %i runs", (i, program) => {
    const file = join(folder, `program${i}.mjs`);
    const { code } = transformSync(program as string, {
      loader: "ts",
      target: "es2022",
      format: "esm",
    });
    writeFileSync(file, code);
    // In the runtime that runs the tests.
    const deno = "Deno" in globalThis;
    const out = run(process.execPath, deno ? ["run", "-A", file] : [file]);
    // What a comment beside console.log says is what it prints.
    const printed = (program as string).matchAll(/console\.log\(.*?\)+; \/\/ (.*)$/gm);
    for (const [, text] of printed) expect(out).toContain(text);
  });

  test.each(commands)("command: %s", (command) => {
    const [program, first, ...rest] = command.split(/\s+/) as [string, string, ...string[]];
    if (program === "npm") expect(Object.keys(scripts)).toContain(first);
    else {
      expect([program, first]).toEqual(["npx", "ttm-wasm"]);
      const bin = join(folder, "node_modules", ".bin", "ttm-wasm");
      const out = execFileSync(bin, rest, { cwd: root, encoding: "utf8", stdio: "pipe" });
      expect(out.length).toBeGreaterThan(0);
    }
  });
});
