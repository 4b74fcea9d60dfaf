/*
 * Executes every code block of README: programs against the built package, commands of the package's
 * own line by line. `npm start` and `npm test` are stages of CI; here they must exist.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const scripts = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;

function blocks(language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms");
  return Array.from(readme.matchAll(pattern), (match) => match[1] as string);
}

const programs = blocks("ts");
const commands = blocks("sh")
  .flatMap((block) => block.split("\n"))
  .map((line) => line.replace(/\s+#.*/, ""))
  .filter((line) => line !== "");

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
  test("has code blocks of no other kind", () => {
    const all = readme.match(/^```\w+/gm) ?? [];
    expect(all.length).toBe(programs.length + blocks("sh").length);
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
    if (i === 1) expect(out).toBe("EINTR\nnot one byte is lost 1\n");
  });

  test.each(commands)("command: %s", (command) => {
    const [program, first, ...rest] = command.split(/\s+/) as [string, string, ...string[]];
    if (program === "npm" && first !== "install") expect(Object.keys(scripts)).toContain(first);
    else if (program === "npm") {
      expect(rest).toEqual(["ttm-wasm"]); // beforeAll has installed just that
      expect(run("npm", ["ls", "ttm-wasm"])).toContain("ttm-wasm@");
    } else {
      expect([program, first]).toEqual(["npx", "ttm-wasm"]);
      const bin = join(folder, "node_modules", ".bin", "ttm-wasm");
      const out = execFileSync(bin, rest, { cwd: root, encoding: "utf8", stdio: "pipe" });
      expect(out.length).toBeGreaterThan(0);
    }
  });
});
