/* Storages, and processes that use them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createStorage } from "unstorage";

const storages = [];

/** A storage by data, so that another process can make the same. */
export async function storageOf({ kind, ...options }) {
  const { default: driver } = await import(`unstorage/drivers/${kind}`);
  const storage = createStorage({ driver: driver(options) });
  // Else the client prints what the calls fail with anyway.
  if (kind === "redis")
    storage
      .getMount()
      .driver.getInstance()
      .on("error", () => {});
  storages.push(storage);
  return storage;
}

/** Ends all connections, those of tests that failed too. */
export async function disposeAll() {
  for (const storage of storages) await storage.dispose();
}

/** Another process that owns a prefix, and has filled it. */
export async function startOwner(store, options) {
  const script = fileURLToPath(new URL("owner.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ store, options })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const [first] = await Promise.race([once(child.stdout, "data"), ended]);
  if (!String(first).startsWith("filled")) throw new Error(`the owner ended with ${first}`);
  return {
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** What `open` opens as soon as the prefix is free; it must have been refused before. */
export async function takeOver(open) {
  for (let refused = 0; ; refused++) {
    try {
      const device = await open();
      if (refused === 0) throw new Error("a prefix was taken from who had just used it");
      return device;
    } catch (error) {
      if (error.code !== "EBUSY" || refused > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
