/* storageSwap on a Redis of the bench's own, and on files. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { install, isInstalled } from "../../../scripts/setup.js";
import { RedisServer } from "../../../test/devices/storage/redis_server.mjs";

const program = fileURLToPath(new URL("../programs/storage.mjs", import.meta.url));
const packages = fileURLToPath(new URL("../../../test/devices", import.meta.url));

function inNode(store, quick) {
  if (!isInstalled(packages)) install(packages, ["--ignore-scripts"]);
  const job = JSON.stringify({ store, quick });
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, job], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the program failed: ${stderr}`);
  return { version: `Node ${process.versions.node}`, rows: JSON.parse(stdout) };
}

async function onRedis({ quick }) {
  const server = await RedisServer.start();
  try {
    return inNode(server.store, quick);
  } finally {
    await server.stop();
  }
}

export const benches = [
  { name: "storage on redis", run: onRedis },
  {
    name: "storage on files",
    run: async ({ folder, quick }) =>
      inNode({ kind: "fs-lite", base: join(folder, "files") }, quick),
  },
];
