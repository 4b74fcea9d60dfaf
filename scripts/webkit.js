/**
 * WebKit as Debian has it: GTK's small browser on a display that nobody sees, spoken to by the W3C's WebDriver
 * protocol.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** @returns {string | undefined} the browser, which lies beside its library and not on the PATH */
function findMiniBrowser() {
  const lib = "/usr/lib";
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .flatMap((arch) => ["4.1", "4.0"].map((api) => join(lib, arch, `webkit2gtk-${api}`)))
    .map((folder) => join(folder, "MiniBrowser"))
    .find((path) => existsSync(path));
}

/** @returns {Promise<number>} a port of loopback that is free */
async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  await new Promise((closed) => server.close(closed));
  return port;
}

/** @returns {Promise<{ display: string, end(): void }>} a display in memory */
async function openDisplay() {
  const child = spawn("Xvfb", ["-displayfd", "1", "-nolisten", "tcp"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  /** @type {string} */
  const number = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`Xvfb ended with ${code}`)));
    child.stdout.setEncoding("utf8").on("data", (text) => resolve(text.trim()));
  });
  return { display: `:${number}`, end: () => child.kill() };
}

/** How often a driver that has just been started is asked whether it is there. */
const TRIES_MAX = 100;

/**
 * @param {string} base address of the driver
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>} the value of the answer
 */
async function ask(base, method, path, body) {
  const response = await fetch(base + path, { method, body: body ? JSON.stringify(body) : null });
  const { value } = /** @type {any} */ (await response.json());
  if (!response.ok) throw new Error(`WebDriver: ${value?.message ?? response.status}`);
  return value;
}

/**
 * @param {string} base address of the driver
 * @returns {Promise<void>} when it answers
 */
async function awaitDriver(base) {
  for (let i = 0; i < TRIES_MAX; i++) {
    try {
      await ask(base, "GET", "/status");
      return;
    } catch {
      await sleep(100);
    }
  }
  throw new Error("WebKitWebDriver did not answer");
}

/**
 * @param {string} program of the driver
 * @param {(title: () => Promise<string>) => Promise<string>} awaitTitle
 * @returns {Promise<import("./browsers.js").Browser | undefined>}
 */
export async function openWebKit(program, awaitTitle) {
  const binary = findMiniBrowser();
  if (binary === undefined) return undefined;
  const { display, end } = await openDisplay();
  const port = await freePort();
  const driver = spawn(program, [`--port=${port}`, "--host=127.0.0.1"], {
    env: { ...process.env, DISPLAY: display, WEBKIT_DISABLE_COMPOSITING_MODE: "1" },
    stdio: "ignore",
  });
  const base = `http://127.0.0.1:${port}`;
  const close = () => {
    driver.kill();
    end();
  };
  try {
    await awaitDriver(base);
    const options = { binary, args: ["--automation"] };
    const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options } };
    const opened = await ask(base, "POST", "/session", { capabilities });
    const session = `/session/${opened.sessionId}`;
    return {
      version: opened.capabilities.browserVersion,
      async run(url) {
        await ask(base, "POST", `${session}/url`, { url });
        return awaitTitle(() => ask(base, "GET", `${session}/title`));
      },
      async close() {
        await ask(base, "DELETE", session);
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}
