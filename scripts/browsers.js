/**
 * Pages in real browsers: serves a folder on loopback, opens a page of it, and gives back the title that
 * its script sets in the end. `node scripts/browsers.js` lists the browsers, with `--install` it first
 * installs those that are missing, from Debian's packages.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { delimiter, extname, join, normalize } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { isMain, root } from "./paths.js";
import { openWebKit } from "./webkit.js";

/** What pages have as their title until their script is done. */
const WAITING = "waiting";
const PAGE_MS_MAX = 30_000;

/** @type {Record<string, string>} */
const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".map": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/**
 * The strictest policy under which scripts, workers and WebAssembly run at all. An import map can only
 * stand in the page itself, so its hash is allowed.
 *
 * @param {string} html
 * @returns {string}
 */
function policy(html) {
  const hashes = [...html.matchAll(/<script type="?importmap"?>([\s\S]*?)<\/script>/g)].map(
    ([, text]) =>
      `'sha256-${createHash("sha256")
        .update(text ?? "")
        .digest("base64")}'`,
  );
  const scripts = ["'self'", "'wasm-unsafe-eval'", ...hashes].join(" ");
  return `default-src 'none'; script-src ${scripts}; worker-src 'self'`;
}

/**
 * @param {string} folder
 * @returns {Promise<{ url: string, close(): void }>} a server of its files, on loopback
 */
export async function serve(folder) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const file = join(folder, normalize(path));
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    const body = readFileSync(file);
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-security-policy": policy(extname(file) === ".html" ? body.toString() : ""),
    });
    response.end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * @param {() => Promise<string>} title of the page
 * @param {number} [most] how long it may take (ms)
 * @returns {Promise<string>} the title that its script has set
 */
async function awaitTitle(title, most = PAGE_MS_MAX) {
  const until = Date.now() + most;
  for (;;) {
    const text = await title();
    if (text !== WAITING && text !== "") return text;
    if (Date.now() > until) return `failed: nothing in ${most / 1000} s`;
    await sleep(50);
  }
}

/**
 * @typedef {object} Browser
 * @property {string} version
 * @property {(url: string, most?: number) => Promise<string>} run opens a page and gives back its last title, for
 *   which it may take some time (ms)
 * @property {() => Promise<void>} close
 */

/**
 * @param {string[]} names of a program
 * @returns {string | undefined} where it is
 */
function findProgram(names) {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return names
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((path) => existsSync(path));
}

/** So that it asks nobody for anything but the page. */
const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * Gives a page `setQuota`, which sets how many bytes its origin may store; none: as many as before.
 *
 * @param {any} page
 * @param {string} origin
 */
async function exposeQuota(page, origin) {
  const session = await page.createCDPSession();
  const setQuota = (/** @type {number | null} */ bytes) =>
    session.send("Storage.overrideQuotaForOrigin", {
      origin,
      ...(bytes === null ? {} : { quotaSize: bytes }),
    });
  await page.exposeFunction("setQuota", setQuota);
}

/**
 * @param {"chrome" | "firefox"} browser
 * @param {string} path of its program
 * @returns {Promise<Browser>}
 */
async function openPuppeteer(browser, path) {
  const require = createRequire(join(root, "test", "consumers", "package.json"));
  const { launch } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);
  const args = browser === "chrome" ? CHROMIUM_FLAGS : [];
  const opened = await launch({ browser, executablePath: path, headless: true, args });
  return {
    version: (await opened.version()).replace(/^.*\//, ""),
    async run(url, most) {
      const page = await opened.newPage();
      /** @type {string | undefined} */
      let failure;
      page.on("pageerror", (/** @type {any} */ error) => {
        const text = String(error?.stack ?? error);
        // Firefox wants an icon, may not have it, and calls that an error of the page's; so it does with a
        // worker that is not there, which the page hears of by an event.
        if (!/favicon\.ico|Loading Worker/.test(text)) failure ??= `failed: ${text}`;
      });
      try {
        if (browser === "chrome") await exposeQuota(page, new URL(url).origin);
        await page.goto(url);
        return await awaitTitle(async () => failure ?? (await page.title()), most);
      } finally {
        await page.close();
      }
    },
    close: () => opened.close(),
  };
}

/**
 * What the driver's program may be called, how to open it, and which packages of Debian's it needs.
 *
 * @typedef {object} BrowserKind
 * @property {string[]} programs
 * @property {string[]} packages
 * @property {(path: string) => Promise<Browser | undefined>} open
 */

/** @type {Record<string, BrowserKind>} */
export const BROWSERS = {
  chromium: {
    programs: ["chromium", "chromium-browser", "google-chrome"],
    packages: ["chromium"],
    open: (path) => openPuppeteer("chrome", path),
  },
  firefox: {
    programs: ["firefox-esr", "firefox"],
    packages: ["firefox-esr"],
    open: (path) => openPuppeteer("firefox", path),
  },
  webkit: {
    programs: ["WebKitWebDriver"],
    packages: ["webkit2gtk-driver", "xvfb"],
    open: (path) => openWebKit(path, awaitTitle),
  },
};

/**
 * @param {string} name of a browser
 * @returns {Promise<Browser | undefined>} it, unless it is not installed
 */
export async function openBrowser(name) {
  const browser = BROWSERS[name];
  if (browser === undefined) throw new Error(`there is no browser ${name}`);
  const path = findProgram(browser.programs);
  return path === undefined ? undefined : browser.open(path);
}

/** Installs the browsers that are missing. */
function installMissing() {
  const missing = Object.values(BROWSERS).filter(({ programs }) => !findProgram(programs));
  if (missing.length === 0) return;
  const packages = missing.flatMap((browser) => browser.packages);
  const sudo = process.getuid?.() === 0 ? [] : ["sudo"];
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", ...packages]]) {
    const [program = "", ...rest] = [...apt, ...args];
    const { error, status } = spawnSync(program, rest, { stdio: ["ignore", "ignore", "inherit"] });
    if (error) throw error;
    if (status !== 0) throw new Error(`apt-get ${args[0]} ended with code ${status}`);
  }
}

if (isMain(import.meta.url)) {
  try {
    if (process.argv.includes("--install")) installMissing();
    for (const [name, { programs }] of Object.entries(BROWSERS)) {
      console.log(`${name}: ${findProgram(programs) ?? "not found"}`);
    }
  } catch (error) {
    console.error(`browsers: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
