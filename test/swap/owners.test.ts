/*
 * Who owns a swap file, and what stays of it: other processes and threads, and such as were killed. They run
 * the built package, in the runtime that the tests run in.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
  symlinkSync,
} from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { findRuntime } from "../../src/cli/runtimes.ts";
import { createDeviceSync } from "../../src/index.ts";
import { type FileSwapOptions, fileSwap } from "../../src/swap/file.ts";
import { failsSync } from "../support/errors.ts";
import { HAS_PROC, TempFolder } from "../support/files.ts";

const SCRIPT = fileURLToPath(new URL("owner.mjs", import.meta.url));
type Options = Omit<FileSwapOptions, "size">;

/** What it says, one line after the other. */
class Lines {
  readonly #said: string[] = [];
  readonly #waiting: ((line: string) => void)[] = [];

  add(line: string): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(line);
    else this.#said.push(line);
  }

  next(): Promise<string> {
    const said = this.#said.shift();
    if (said !== undefined) return Promise.resolve(said);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

interface Owner extends AsyncDisposable {
  tell(command: string): Promise<string>;
  /** What it says without being told to do anything. */
  readonly lines: Lines;
}

/** The runtime that the tests run in, and what comes before a script. */
const HERE: readonly string[] =
  "Deno" in globalThis ? [process.execPath, "run", "--allow-all", "--no-lock"] : [process.execPath];

class OtherProcess implements Owner {
  readonly child: ChildProcess;
  readonly lines = new Lines();
  readonly #ended: Promise<void>;

  constructor(options: Options, env: Record<string, string> = {}, runtime = HERE) {
    const [command, ...argv] = [...runtime, SCRIPT, JSON.stringify(options)];
    this.child = spawn(command as string, argv, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    this.#ended = new Promise((resolve) => this.child.on("close", () => resolve()));
    const { stdout } = this.child;
    if (stdout) createInterface({ input: stdout }).on("line", (line) => this.lines.add(line));
  }

  tell(command: string): Promise<string> {
    this.child.stdin?.write(`${command}\n`);
    return this.lines.next();
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

class OtherThread implements Owner {
  readonly lines = new Lines();
  readonly #worker: Worker;

  constructor(options: Options) {
    this.#worker = new Worker(SCRIPT, { workerData: options });
    this.#worker.on("message", (line) => this.lines.add(line));
  }

  tell(command: string): Promise<string> {
    this.#worker.postMessage(command);
    return this.lines.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}

const KINDS: readonly { kind: string; make: (options: Options) => Owner }[] = [
  { kind: "process", make: (options) => new OtherProcess(options) },
  { kind: "thread", make: (options) => new OtherThread(options) },
];

describe.skipIf(!HAS_PROC)("a path (needs /proc)", () => {
  test.each(KINDS)("that another $kind uses is EBUSY, until that closes it", async ({ make }) => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    await using first = make({ path });
    await using second = make({ path, overwrite: true });
    expect(await first.tell("open")).toBe("opened");
    expect(await first.tell("fill")).toBe("released 128");
    expect(await second.tell("open")).toMatch(/^error EBUSY .*swap is in use by process \d+; name/);
    const error = failsSync("EBUSY", () =>
      createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB", path }) }),
    );
    expect(error.message).toContain(path);
    expect(statSync(path).size).toBe(512 * 1024);
    expect(await first.tell("close")).toBe("closed");
    expect(readdirSync(folder.path)).toEqual([]);
    expect(await second.tell("open")).toBe("opened");
    expect(await second.tell("fill")).toBe("released 128");
  });

  test("that several open at once is one's", async () => {
    using folder = new TempFolder();
    for (const stale of [false, true]) {
      const path = folder.file(`swap-${stale}`);
      if (stale) symlinkSync("/proc/999999999/fd/3", path);
      const all = Array.from({ length: 4 }, () => new OtherProcess({ path }));
      const said = await Promise.all(all.map((one) => one.tell("open")));
      expect(said.filter((line) => line === "opened").length).toBe(1);
      expect(said.filter((line) => line.startsWith("error EBUSY")).length).toBe(3);
      await Promise.all(all.map((one) => one.kill()));
    }
  });

  test("of one that was killed can be opened; of its bytes nothing is left", async () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    for (let round = 0; round < 2; round++) {
      await using owner = new OtherProcess({ path });
      expect(await owner.tell("open")).toBe("opened");
      expect(await owner.tell("fill")).toBe("released 128");
      expect(readFileSync(path, "latin1")).toContain("top secret");
      await owner.kill();
      expect(existsSync(path)).toBe(false);
      expect(readdirSync(folder.path)).toEqual(["swap"]); // a link to nowhere
      expect(lstatSync(path).isSymbolicLink()).toBe(true);
    }
    createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB", path }) }).closeSync();
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("is not taken for one in use because another process has the number now", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    const fd = openSync(fileURLToPath(import.meta.url), "r");
    // A file of ours, but not of this path; one that is no swap file; a number that is not open.
    using other = createDeviceSync({
      memory: "64 KiB",
      swap: fileSwap({ size: "1 MiB", path: folder.file("other") }),
    });
    for (const target of [readlinkSync(folder.file("other")), `/proc/self/fd/${fd}`]) {
      symlinkSync(target.replace("self", String(process.pid)), path);
      createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB", path }) }).closeSync();
      expect(readdirSync(folder.path)).toEqual(["other"]);
    }
    other.check();
  });

  test("that the number of its own file leads to is opened", () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    // The next run of a container: the same pid, and the same descriptors.
    for (let fd = 3; fd < 60; fd++) {
      symlinkSync(`/proc/${process.pid}/fd/${fd}`, path);
      createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB", path }) }).closeSync();
    }
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

test("a private file of a process that was killed leaves nothing", async () => {
  using folder = new TempFolder();
  await using owner = new OtherProcess({ directory: folder.path });
  expect(await owner.tell("open")).toBe("opened");
  expect(await owner.tell("fill")).toBe("released 128");
  expect(readdirSync(folder.path)).toEqual([]);
  await owner.kill();
  expect(readdirSync(folder.path)).toEqual([]);
});

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DENO = findRuntime("deno", ROOT)?.path;

describe.skipIf(!DENO)("on Deno, with few permissions", () => {
  /** What it may do, beside reading the package. */
  function deno(options: Options, ...allow: string[]): OtherProcess {
    const runtime = [DENO as string, "run", "--no-prompt", "--no-lock", ...allow];
    return new OtherProcess(options, {}, runtime);
  }

  test("a directory that may be written is enough", async () => {
    using folder = new TempFolder();
    const allow = [`--allow-read=${ROOT},${folder.path}`, `--allow-write=${folder.path}`];
    for (const options of [{ directory: folder.path }, { path: folder.file("swap") }]) {
      await using owner = deno(options, ...allow);
      expect(await owner.tell("open")).toBe("opened");
      expect(await owner.tell("fill")).toBe("released 128");
      expect(readdirSync(folder.path)).toEqual([]);
      expect(await owner.tell("close")).toBe("closed");
    }
  });

  test("without one, what is lacking is said", async () => {
    await using first = deno({}, `--allow-read=${ROOT}`);
    expect(await first.tell("open")).toMatch(
      /^error EPERM .*cannot find the temp folder: .*--allow-env.*; allow that, or name a directory/,
    );
    await using second = deno({ directory: "/var/tmp" }, `--allow-read=${ROOT}`);
    expect(await second.tell("open")).toMatch(
      /^error EPERM .*cannot open swap file \/var\/tmp\/ttm-swap-.*--allow-(read|write)/,
    );
  });

  test.skipIf(!HAS_PROC)("a path is one's where links may be made (needs /proc)", async () => {
    using folder = new TempFolder();
    const path = folder.file("swap");
    await using first = deno({ path }, "--allow-read", "--allow-write");
    await using second = deno({ path }, "--allow-read", "--allow-write");
    expect(await first.tell("open")).toBe("opened");
    expect(await first.tell("fill")).toBe("released 128");
    expect(await second.tell("open")).toMatch(/^error EBUSY .*in use by process \d+/);
    expect(statSync(path).size).toBe(512 * 1024);
    await first.kill();
    expect(await second.tell("open")).toBe("opened");
  });
});

const SHM = "/dev/shm";
const TMPFS = 0x01021994;

describe.skipIf(!existsSync(SHM) || statfsSync(SHM).type !== TMPFS)("a folder in memory", () => {
  test.each<[string, Options, Record<string, string>]>([
    ["the temp folder", {}, { TMPDIR: SHM }],
    ["a directory", { directory: SHM }, {}],
    ["the folder of a path", { path: `${SHM}/ttm-owners-test` }, {}],
  ])("is warned of, once: %s", async (_, options, env) => {
    await using owner = new OtherProcess(options, env);
    const said = [await owner.tell("open"), await owner.lines.next()].sort();
    expect(said[0]).toBe("opened");
    expect(said[1]).toMatch(/^warning TTM_SWAP_IN_RAM swap files in \/dev\/shm .* directory/);
    expect(await owner.tell("close")).toBe("closed");
    expect(await owner.tell("open")).toBe("opened");
    expect(await owner.tell("close")).toBe("closed");
  });
});
