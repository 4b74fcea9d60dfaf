/* A Redis of the test's own: on loopback, with a port and a folder of its own; gone when it is stopped. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const PROGRAM = "redis-server";

/** Installs it from Debian's packages where it is missing. */
function install() {
  if (spawnSync(PROGRAM, ["--version"]).status === 0) return;
  const sudo = process.getuid?.() === 0 ? [] : ["sudo"];
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", PROGRAM]]) {
    const [program, ...rest] = [...apt, ...args];
    const { error, status } = spawnSync(program, rest, { stdio: ["ignore", "ignore", "inherit"] });
    if (error) throw error;
    if (status !== 0) throw new Error(`apt-get ${args[0]} ended with code ${status}`);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class RedisServer {
  #folder;
  #args;
  #child;

  /** Options for the driver, without retries that would take longer than a test. */
  store;

  /** @param settings as in redis.conf, by name */
  static async start(settings = {}) {
    install();
    const server = new RedisServer();
    const port = await freePort();
    server.#folder = mkdtempSync(join(tmpdir(), "ttm-redis-"));
    const all = { port, bind: "127.0.0.1", dir: server.#folder, save: "", ...settings };
    server.#args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    server.store = { kind: "redis", port, host: "127.0.0.1", maxRetriesPerRequest: 1 };
    await server.restart();
    return server;
  }

  /** Starts it, again too; resolves when it takes commands. */
  async restart() {
    this.#child = spawn(PROGRAM, this.#args, { stdio: ["ignore", "pipe", "inherit"] });
    const ready = new Promise((resolve) => {
      this.#child.stdout.setEncoding("utf8").on("data", (text) => {
        if (text.includes("Ready to accept connections")) resolve();
      });
    });
    const ended = once(this.#child, "exit").then(([code]) => {
      throw new Error(`${PROGRAM} ended with ${code}`);
    });
    ended.catch(() => {});
    await Promise.race([ready, ended]);
  }

  async kill() {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Runs with a server of its own. */
export async function withRedis(settings, run) {
  const server = await RedisServer.start(settings);
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}
