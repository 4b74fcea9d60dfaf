/**
 * What the first word of a step of test/consumers/rows/ means:
 *
 * - `node`, `deno`, `bun`: the runtime;
 * - `package:command`: a command of a package in test/consumers/;
 * - `./path`: a program that an earlier step has made;
 * - `workerd dist/main.js`: that module and those beside it, with `workerd test`; perhaps with a class of Durable Objects;
 * - `chromium dist/index.html`, or another browser: that page, served from the project under a strict policy;
 *   or, after `--`, a command that serves it and prints where;
 * - `fetch path`: what is served there, without a browser, and again by a command after `--`.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { BROWSERS, openBrowser, serve } from "./browsers.js";
import { root } from "./paths.js";
import { findRuntime, versionOf } from "./runtimes.js";
import { workerdTest } from "./workerd.js";

/** @typedef {{ status: number | string, output: string, missing?: string }} Outcome */

/** What holds the tools: its lockfile names them all. */
export const toolsDir = join(root, "test", "consumers");

const STEP_MS_MAX = 180_000;

/** So that tools neither ask, nor colour, nor call home. */
const ENV = {
  ...process.env,
  CI: "1",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  DO_NOT_TRACK: "1",
  NEXT_TELEMETRY_DISABLED: "1",
  NO_COLOR: "1",
  NO_UPDATE_NOTIFIER: "1",
  WRANGLER_SEND_METRICS: "false",
};

/** @param {string} path @returns {boolean} whether it is a script, which Node must run */
function isScript(path) {
  const start = Buffer.alloc(2);
  const fd = openSync(path, "r");
  readSync(fd, start, 0, 2, 0);
  closeSync(fd);
  return start.toString() === "#!" || /\.[cm]?js$/.test(path);
}

/** @param {string} name @returns {any} the manifest of a package in test/consumers/, if it is there */
function manifestOf(name) {
  const file = join(toolsDir, "node_modules", name, "package.json");
  // Optional packages are for some systems only.
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

/**
 * @param {string} word the first of a step
 * @param {string} folder of the project
 * @returns {string[] | undefined} the command to start, unless it is not there
 */
function commandOf(word, folder) {
  if (word.startsWith("./")) return [join(folder, word)];
  const [name = "", command = ""] = word.split(":");
  if (command === "") {
    const path = findRuntime(/** @type {import("./runtimes.js").RuntimeName} */ (name));
    return path === undefined ? undefined : [path];
  }
  const manifest = manifestOf(name);
  if (manifest === undefined) return undefined;
  const { bin } = manifest;
  const path = join(toolsDir, "node_modules", name, typeof bin === "string" ? bin : bin[command]);
  return isScript(path) ? [process.execPath, path] : [path];
}

/**
 * @param {string[]} command
 * @param {string} cwd
 * @param {Record<string, string>} env
 */
function start([program = "", ...args], cwd, env) {
  const child = spawn(program, args, {
    cwd,
    env: { ...ENV, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that what it starts ends with it.
    detached: process.platform !== "win32",
  });
  const end = () => {
    if (child.pid === undefined || child.exitCode !== null) return;
    process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
  };
  let output = "";
  /** @type {(() => void)[]} */
  const listeners = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
      for (const listener of listeners) listener();
    });
  }
  /** @type {Promise<number | string>} */
  const status = new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(code ?? signal ?? "nothing"));
  });
  return { end, status, output: () => output, onOutput: listeners.push.bind(listeners) };
}

/**
 * @param {string[]} command
 * @param {string} cwd
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
async function run(command, cwd, env) {
  const { end, status, output } = start(command, cwd, env);
  const timer = setTimeout(end, STEP_MS_MAX);
  const ended = await status;
  clearTimeout(timer);
  return { status: ended, output: output() };
}

/** @type {Map<string, ReturnType<typeof openBrowser>>} one of a kind, for all pages */
const browsers = new Map();

/** @param {string} name */
function browserOf(name) {
  const open = browsers.get(name) ?? openBrowser(name);
  browsers.set(name, open);
  return open;
}

/** Ends what steps have in common. */
export async function closePrograms() {
  for (const browser of browsers.values()) await (await browser)?.close();
  browsers.clear();
}

/**
 * @param {string[]} command of a server
 * @param {string} cwd
 * @param {Record<string, string>} env
 * @returns {Promise<{ url: string, close(): void }>}
 */
async function startServer(command, cwd, env) {
  const { end, status, output, onOutput } = start(command, cwd, env);
  const timer = setTimeout(end, STEP_MS_MAX);
  /** @type {Promise<string>} */
  const printed = new Promise((resolve) => {
    onOutput(() => {
      const [url] = /http:\/\/(127\.0\.0\.1|localhost):\d+(?=[/\s])/.exec(output()) ?? [];
      if (url !== undefined) resolve(`${url}/`);
    });
  });
  const ended = status.then((code) => {
    throw new Error(`${command.join(" ")} ended with ${code}: ${output()}`);
  });
  ended.catch(() => {});
  const url = await Promise.race([printed, ended]);
  clearTimeout(timer);
  return { url, close: end };
}

/**
 * @param {string} name of a browser
 * @param {string[]} args page, and perhaps `--` and a command
 * @param {string} folder
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
async function runPage(name, args, folder, env) {
  const browser = await browserOf(name);
  if (browser === undefined) return { status: 1, output: "", missing: `${name} is not installed` };
  return withServer(args, folder, env, async (url) => ({
    status: 0,
    output: await browser.run(url),
  }));
}

/**
 * @param {string} url
 * @returns {Promise<Outcome>}
 */
async function fetched(url) {
  const response = await fetch(url);
  return { status: response.ok ? 0 : response.status, output: await response.text() };
}

/**
 * @param {string[]} args path, and perhaps `--` and a command that serves it
 * @param {string} folder
 * @param {Record<string, string>} env
 * @param {(url: string) => Promise<Outcome>} use
 * @returns {Promise<Outcome>}
 */
async function withServer([path = "", , word, ...args], folder, env, use) {
  const command = word === undefined ? undefined : commandOf(word, folder);
  const server = command
    ? await startServer([...command, ...args], folder, env)
    : await serve(folder);
  try {
    return await use(server.url + path);
  } finally {
    server.close();
  }
}

/**
 * @param {string} program
 * @param {string} path of the main module
 * @param {string | undefined} durable a class of Durable Objects in it
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
async function runWorkerd(program, path, durable, env) {
  if (!existsSync(path)) return { status: 1, output: `${path} was not made` };
  const folder = dirname(path);
  const { status, output } = await run(
    [program, ...workerdTest(folder, basename(path), durable)],
    folder,
    env,
  );
  // A test that fails ends workerd with another code than 0.
  return { status, output: status === 0 ? `${output}\nok\n` : output };
}

/**
 * @param {string[]} step
 * @param {string} folder of the project
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
export async function runStep([word = "", ...args], folder, env) {
  if (word in BROWSERS) return runPage(word, args, folder, env);
  if (word === "fetch") return withServer(args, folder, env, fetched);
  const command = commandOf(word, folder);
  if (command === undefined) return { status: 1, output: "", missing: `${word} is not installed` };
  if (word === "workerd") {
    const [main = "", durable] = args;
    return runWorkerd(command[0] ?? "", join(folder, main), durable, env);
  }
  return run([...command, ...args], folder, env);
}

/**
 * @param {string} word as in a step
 * @returns {Promise<string>} its version
 */
export async function versionOfProgram(word) {
  const [name = "", command] = word.split(":");
  if (command !== undefined) return manifestOf(name)?.version?.replace(/^v/, "") ?? "none";
  if (name in BROWSERS) return (await browserOf(name))?.version ?? "none";
  const [path] = commandOf(word, "") ?? [];
  const text = path === undefined ? "none" : (versionOf(path) ?? "none");
  return /\d[\w.-]*/.exec(text)?.[0] ?? text;
}
