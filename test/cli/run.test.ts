/*
 * The built command, as it is installed: dist/cli/main.js in a process of its own, whatever runtime
 * the tests themselves run in.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { findRuntime } from "../../src/cli/runtimes.ts";
import { tempFolder, writeNoise } from "./folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const script = join(root, "dist", "cli", "main.js");
const node = findRuntime("node", root)?.path as string;
const MIB = 2 ** 20;

const folder = tempFolder();
const files = join(folder, "files");
writeNoise(join(files, "large"), 5 * MIB + 123);
writeNoise(join(files, "deep", "medium"), 300_000);
for (let i = 0; i < 40; i++) writeNoise(join(files, `small-${i}`), 1 + i * 350);
writeNoise(join(files, "empty"), 0);

/** For what the command itself puts into the temp folder. */
const temp = join(folder, "temp");
mkdirSync(temp);
const env = { ...process.env, TMPDIR: temp, TMP: temp, TEMP: temp };

function ttm(...argv: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr, error } = spawnSync(node, [script, ...argv], {
    encoding: "utf8",
    cwd: folder,
    env,
  });
  if (error) throw error;
  return { code: status, stdout, stderr };
}

/** `run` on the test's files, small enough for a test. */
function run(...argv: string[]): ReturnType<typeof ttm> {
  const small = ["--size", "24MiB", "--memory", "8MiB", "--accesses", "400", "--runtime", "node"];
  return ttm("run", files, ...small, "--object-size", "2MiB", ...argv);
}

function oneLine(text: string): string {
  expect(text).not.toContain("    at ");
  const lines = text.split("\n").filter((line) => line.startsWith("ttm-wasm: "));
  expect(lines).toHaveLength(1);
  return lines[0] as string;
}

test("there is a node to run it, and a build", () => {
  expect(node).toBeTypeOf("string");
  expect(existsSync(script)).toBe(true);
});

describe("run", () => {
  const KEYS = [
    "runtime",
    "version",
    "objects",
    "bytes",
    "memoryBytes",
    "accesses",
    "mismatches",
    "interrupted",
    "resumed",
    "pagesOut",
    "pagesIn",
    "ratio",
    "p50us",
    "p99us",
    "rssIdleBytes",
    "rssPeakBytes",
  ];

  test("--json prints one object and nothing else", () => {
    const { code, stdout, stderr } = run("--json", "--interrupt", "0.5");
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const { runtimes } = JSON.parse(stdout);
    expect(runtimes).toHaveLength(1);
    const [report] = runtimes;
    for (const key of KEYS) expect(report).toHaveProperty(key);
    expect(report).toMatchObject({
      runtime: "node",
      memoryBytes: 8 * MIB,
      accesses: 400,
      mismatches: 0,
    });
    expect(report.bytes).toBeGreaterThanOrEqual(24 * MIB);
    expect(report.objects).toBeGreaterThan(100);
    expect(report.interrupted).toBeGreaterThan(0);
    expect(report.resumed).toBe(report.interrupted);
    expect(report.pagesOut).toBeGreaterThan(4096);
    expect(report.pagesIn).toBeGreaterThan(4096);
    expect(report.p99us).toBeGreaterThanOrEqual(report.p50us);
    expect(report.rssPeakBytes).toBeGreaterThan(report.rssIdleBytes);
    for (const ratio of ["shrink", "restore", "populate", "ramShrink", "ramRestore"]) {
      expect(report.ratio[ratio]).toBeGreaterThan(0);
    }
  });

  test("--trim gives memory back, reads everything again, and says what that came to", () => {
    const { code, stdout, stderr } = run("--json", "--trim");
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const [{ trim, mismatches }] = JSON.parse(stdout).runtimes;
    expect(mismatches).toBe(0);
    expect(trim).toMatchObject({ bytes: 8 * MIB });
    expect(["move", "madvise"]).toContain(trim.means);
    expect(trim.declined.length).toBeGreaterThan(0);
    for (const at of ["Before", "After", "Restored"]) {
      expect(trim[`rss${at}Bytes`]).toBeGreaterThan(0);
    }
    const { stdout: table } = run("--trim");
    expect(table).toMatch(/^trimmed by +\w+$/m);
    expect(table).toMatch(/^RSS after it +[\d.]+ MiB$/m);
  });

  test("the same seed moves the same pages", () => {
    const counts = () => {
      const [report] = JSON.parse(run("--json", "--seed", "3").stdout).runtimes;
      const { objects, bytes, pagesOut, pagesIn, interrupted } = report;
      return { objects, bytes, pagesOut, pagesIn, interrupted };
    };
    expect(counts()).toEqual(counts());
  });

  test("prints plain lines and a table", () => {
    const { code, stdout, stderr } = run("--swap", "ram", "--interrupt", "1");
    expect(code).toBe(0);
    expect(stderr).toContain("node: loading 100 %\n");
    expect(stderr).toContain("node: reading in zipf order 100 %\n");
    expect(`${stdout}${stderr}`).not.toContain("\x1b");
    expect(stdout).toMatch(/^ +node \d+\.\d+\.\d+$/m);
    expect(stdout).toMatch(/^mismatches +0$/m);
    expect(stdout).toMatch(/^shrink to RAM +[\d.]+ GB\/s$/m);
    expect(stdout).not.toContain("shrink to file");
    // All but the line that names the files.
    expect(
      stdout
        .split("\n")
        .slice(1)
        .filter((line) => line.length > 100),
    ).toEqual([]);
  });

  test("swaps to compressed memory, and measures RAM swap beside it", () => {
    const { code, stdout } = run("--swap", "compressed", "--interrupt", "0.5");
    expect(code).toBe(0);
    expect(stdout).toContain("swap: compressed (in memory beside the pages)");
    expect(stdout).toMatch(/^mismatches +0$/m);
    expect(stdout).toMatch(/^shrink to RAM +[\d.]+ GB\/s$/m);
    expect(stdout).not.toContain("file:");
  });

  test("a named swap file is left as it was found", () => {
    const path = join(folder, "swap");
    expect(run("--json", "--swap", `file:${path}`).code).toBe(0);
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, "");
    expect(run("--json", "--swap", `file:${path}`).code).toBe(0);
    expect(statSync(path).size).toBe(0);
    writeFileSync(path, "precious");
    const { code, stderr } = run("--swap", `file:${path}`);
    expect(code).toBe(1);
    expect(oneLine(stderr)).toContain(`--swap: ${path} is not empty`);
    expect(statSync(path).size).toBe(8);
  });

  test("private files do not stay behind", () => {
    expect(run("--json").code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test("content that changed in swap is found by its checksum, and the exit code says so", async () => {
    const swap = join(folder, "scribbled");
    let fd: number | undefined;
    // Over all that is in swap, again and again, as long as the command runs: a link leads to it then.
    const scribble = setInterval(() => {
      if (fd === undefined && existsSync(swap)) fd = openSync(swap, "r+");
      if (fd === undefined) return;
      for (let at = 17; at < fstatSync(fd).size; at += 65536) writeSync(fd, "scribble", at);
    }, 10);
    const small = ["--size", "24MiB", "--memory", "8MiB", "--runtime", "node"];
    const argv = [script, "run", files, ...small, "--accesses", "2000", "--swap", `file:${swap}`];
    const child = spawn(node, argv, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    const [stdout, stderr, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number | null>((resolve) => child.on("close", resolve)),
    ]);
    clearInterval(scribble);
    if (fd !== undefined) closeSync(fd);
    expect(oneLine(stderr)).toMatch(/EIO: checksum mismatch: page \d+ of buffer \d+ .* slot \d+/);
    expect(stdout).toBe("");
    expect(code).toBe(1);
  });
});

describe("full swap", () => {
  test.each(["ram", "compressed", "file"])("of %s: says so, and that nothing is lost", (swap) => {
    const { code, stdout, stderr } = run("--swap", swap, "--swap-size", "2MiB");
    expect(code).toBe(1);
    expect(stdout).toBe("");
    const line = oneLine(stderr);
    expect(line).toMatch(
      /ENOSPC: swap is full: .*; raise --swap-size \(now 2 MiB\); all \d+ objects/,
    );
    expect(line).toContain("were read back and are intact");
  });

  test("with --json prints no half result", () => {
    const { code, stdout, stderr } = run("--json", "--swap", "ram", "--swap-size", "1MiB");
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(oneLine(stderr)).toContain("--swap-size");
  });
});

describe("bad input", () => {
  test.each([
    [["run", "missing"], 1, "cannot read missing: no such file or folder"],
    [["run", "files/empty"], 1, "nothing to load in files/empty"],
    [["run", "files", "--sizes", "1"], 2, "unknown option --sizes"],
    [["run", "files", "--size", "many"], 2, '--size is "many"'],
    [["run", "files", "--memory", "1KiB"], 2, "--memory 1KiB is out of range"],
    [["run", "files", "--swap", "file:no/where", "--runtime", "node"], 1, "--swap: ENOENT"],
    [["run", "files", "--object-size", "1", "--runtime", "node"], 1, "lower --size"],
    [["walk"], 2, '"walk" is not a command'],
    [[], 2, "no command is given"],
  ])("%j", (argv, exitCode, message) => {
    const { code, stdout, stderr } = ttm(...argv);
    expect(oneLine(stderr)).toContain(message);
    expect(stdout).toBe("");
    expect(code).toBe(exitCode);
  });
});

test("--help and --version", () => {
  expect(ttm("--help").stdout).toContain("ttm-wasm run");
  const help = ttm("run", "--help");
  expect(help.code).toBe(0);
  for (const option of [
    "size",
    "object-size",
    "memory",
    "accesses",
    "seed",
    "interrupt",
    "fault",
  ]) {
    expect(help.stdout).toContain(`--${option} `);
  }
  expect(help.stdout.split("\n").every((line) => line.length <= 100)).toBe(true);
  expect(ttm("--version").stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});
