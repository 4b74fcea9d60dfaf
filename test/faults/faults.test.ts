/*
 * What happens to processes: they are killed, run out of disk, descriptors and addresses, lose a folder, or end
 * threads. The built package, in each runtime there is, in processes of their own (programs.mjs). Each has to end in
 * a clear error, with the process unharmed and all bytes there.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, readdirSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { findRuntime } from "../../src/cli/runtimes.ts";
import { createDeviceSync } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { TempFolder } from "../support/files.ts";
import { Random, SEED } from "../support/random.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PROGRAMS = fileURLToPath(new URL("programs.mjs", import.meta.url));

const RUNTIMES = (["node", "deno", "bun"] as const).map((name) => {
  const path = findRuntime(name, ROOT)?.path;
  const argv = name === "deno" ? [path, "run", "--allow-all", "--no-lock"] : [path];
  return { name, argv: argv as string[], there: path !== undefined };
});

/** What a process has. */
interface Has {
  readonly files: number;
  readonly listeners: number;
  /** Bytes. */
  readonly rss: number;
}

/** What programs say, each some of it. */
interface Said extends Record<"before" | "tenth" | "end", Has> {
  readonly error: { readonly name: string; readonly code: string; readonly message: string };
  /** How many there are, and of how many all bytes are there. */
  readonly buffers: number;
  readonly devices: number;
  readonly kept: number;
  readonly intact: number;
  /** Descriptors more than before. */
  readonly files: number;
  readonly left: readonly string[];
}

/** What a program said that has come to its end, run by bash under limits. */
function said(argv: readonly string[], program: string, options: object, limit = "true"): Said {
  const command = [...argv, PROGRAMS, program, JSON.stringify(options)];
  const { stdout, stderr, status, signal } = spawnSync(
    "bash",
    ["-c", `${limit}; exec "$@"`, "bash", ...command],
    { encoding: "utf8", timeout: 150_000 },
  );
  const line = stdout.trim().split("\n").at(-1) ?? "";
  if (status === 0 && line.startsWith("{")) return JSON.parse(line);
  throw new Error(`${program} ended with ${signal ?? status}: ${stdout}${stderr.slice(0, 2000)}`);
}

/** Starts a program that works until it is killed; resolves when it is at work. */
async function atWork(argv: readonly string[], program: string, options: object) {
  const [command, ...args] = [...argv, PROGRAMS, program, JSON.stringify(options)];
  const child = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  const lines = createInterface({ input: child.stdout });
  await Promise.race([once(lines, "line"), ended]);
  return async () => {
    child.kill("SIGKILL");
    return (await ended)[1];
  };
}

const LINUX = process.platform === "linux";
const ROUNDS = 6;

describe.skipIf(!LINUX).each(RUNTIMES)("on $name", ({ name, argv, there }) => {
  test("it is there", () => {
    expect(there).toBe(true);
  });

  test("a kill at any moment leaves no file, and no lock", async () => {
    using folder = new TempFolder();
    const random = new Random(SEED);
    const path = folder.file("swap");
    for (let round = 0; round < ROUNDS; round++) {
      const named = round % 2 === 0;
      const kill = await atWork(argv, "load", named ? { path } : { directory: folder.path });
      const wait = random.below(120);
      await new Promise((resolve) => setTimeout(resolve, wait));
      expect(await kill(), `TTM_SEED=${SEED}, round ${round}, ${wait} ms`).toBe("SIGKILL");
      // A link to nowhere may be left; no bytes are.
      expect(readdirSync(folder.path)).toEqual(named ? ["swap"] : []);
      if (!named) continue;
      expect(lstatSync(path).isSymbolicLink() && !existsSync(path)).toBe(true);
      createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB", path }) }).closeSync();
      expect(readdirSync(folder.path)).toEqual([]);
    }
  });

  test("a file that may not be larger (ulimit -f) is a full disk; all that was written is there", () => {
    using folder = new TempFolder();
    const options = { directory: folder.path };
    const { error, buffers, intact } = said(argv, "limit", options, "ulimit -f 4096");
    expect(error).toMatchObject({ name: "TtmError", code: "ENOSPC" });
    expect(error.message).toMatch(
      /swap device file failed to write: .*too large|^ENOSPC: swap is full/i,
    );
    expect(buffers).toBeGreaterThan(20);
    expect(intact).toBe(buffers);
  });

  test("the folder of a swap file may go; the next device is told so", () => {
    using folder = new TempFolder();
    const { error, buffers, kept, intact } = said(argv, "folder", { folder: folder.path });
    expect(error).toMatchObject({ name: "TtmError", code: "ENOENT" });
    expect(error.message).toMatch(/its folder does not exist/);
    expect([kept, intact]).toEqual([buffers, buffers]);
  });

  test("no more descriptors (ulimit -n) is an error of one device; the others work, and it does later", () => {
    const { error, devices, intact } = said(argv, "descriptors", {}, "ulimit -n 80");
    expect(error).toMatchObject({ name: "TtmError", code: "EMFILE" });
    expect(error.message).toMatch(/cannot open swap file .* too many files open; close some/);
    expect(devices).toBeGreaterThan(20);
    expect(intact).toBe(devices);
  });

  // Where it is V8 that sets less aside, what it lacks next is as likely memory of its own, at which it ends itself.
  test.runIf(name === "node")(
    "no more addresses (ulimit -v) are an error that says what to do; what there is works",
    () => {
      const { error, devices, intact } = said(argv, "addresses", {}, "ulimit -v 100000000");
      expect(error).toMatchObject({ name: "TtmError", code: "ENOMEM" });
      expect(error.message).toMatch(
        /use a smaller memory, or fewer devices; .*--disable-wasm-trap/,
      );
      expect(devices).toBeGreaterThan(1);
      expect(intact).toBe(devices);
    },
  );

  test("ten thousand devices, made and closed, leave no descriptor, listener or memory behind", () => {
    const { before, tenth, end } = said(argv, "many", { devices: 10_000 });
    console.log(`${name}: ${JSON.stringify({ before, tenth, end })}`);
    // Runtimes open a few of their own; a quarter of the devices had a swap file.
    expect(end.files - tenth.files).toBeLessThan(50);
    expect(end.listeners).toBe(before.listeners);
    // If they were kept, 9,000 devices would have some 1.5 GB.
    expect(end.rss - tenth.rss).toBeLessThan(400 * 2 ** 20);
  });

  test("threads that are ended at work leave the others and the folder alone", () => {
    using folder = new TempFolder();
    const { buffers, intact, files, left } = said(argv, "threads", { folder: folder.path });
    expect(intact).toBe(buffers);
    expect(left).toEqual([]);
    // Deno and Bun keep what threads have opened until the process ends.
    if (name === "node") expect(files).toBe(0);
  });
});
