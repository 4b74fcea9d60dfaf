/* Records as files, by the fs driver. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { createDevice } from "ttm-wasm";
import { storageSwap } from "ttm-wasm/swap/storage";
import { swapDeviceTests } from "ttm-wasm/testing";
import { assert, equal, fails, pattern, runTests, same, test } from "../../runtimes/check.mjs";
import { Model, seeded } from "./model.mjs";
import { disposeAll, startOwner, storageOf, takeOver } from "./stores.mjs";

const folder = mkdtempSync(join(tmpdir(), "ttm-storage-"));

function files(base) {
  const entries = readdirSync(base, { recursive: true, withFileTypes: true });
  const found = entries.filter((entry) => entry.isFile());
  return found.map(({ parentPath, name }) => join(parentPath, name));
}

async function open(base, options = {}, memory = "1 MiB") {
  const storage = await storageOf({ kind: "fs", base });
  return createDevice({ memory, swap: storageSwap({ storage, size: "32 MiB", ...options }) });
}

test("a thousand operations of four users, and nothing stays", async () => {
  const base = join(folder, "model");
  await seeded(async (random) => {
    const model = new Model(await open(base));
    await model.run(random, 1500);
    await model.verify();
    await model.end();
    equal(files(base).length, 0, "files after close");
  });
});

test("an owner that was killed is succeeded once its time is over, and its files are removed", async () => {
  const base = join(folder, "owner");
  const options = { size: "32 MiB", takeover: 3 };
  const owner = await startOwner({ kind: "fs", base }, options);
  await fails("EBUSY", () => open(base, options));
  await owner.kill();
  assert(files(base).length > 10, "the owner had no files");
  const device = await takeOver(() => open(base, options));
  equal(
    files(base)
      .map((path) => basename(path))
      .join(),
    "lock",
    "files after a takeover",
  );
  await device.close();
  equal(files(base).length, 0, "files after close");
});

test("a disk that is full is ENOSPC, and keeps what it took", async () => {
  const base = mkdtempSync(join(folder, "small-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", base]);
  if (mounted.status !== 0) return console.log("a small disk cannot be made here");
  try {
    const device = await open(base);
    const buffers = [];
    const full = await fails("ENOSPC", async () => {
      for (let i = 0; i < 40; i++) {
        const buffer = device.createBuffer("128 KiB");
        await buffer.write(0, pattern(i, buffer.size));
        buffers.push(buffer);
      }
    });
    assert(full.cause === undefined || /ENOSPC/.test(String(full.cause)), `${full.cause}`);
    assert(buffers.length >= 16, `only ${buffers.length} buffers were taken`);
    for (const [i, buffer] of buffers.entries()) {
      same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `${i}`);
    }
    await device.close({ force: true });
    equal(files(base).length, 0, "files after close");
  } finally {
    spawnSync("umount", ["-l", base]);
  }
});

test("a file that somebody removed, or cut short, is an EIO that names it", async () => {
  const base = join(folder, "removed");
  const device = await open(base, { pagesPerRecord: 64 });
  const buffers = [];
  for (let i = 0; i < 8; i++) {
    const buffer = device.createBuffer("256 KiB");
    await buffer.write(0, pattern(i, buffer.size));
    buffers.push(buffer);
  }
  await device.shrink();
  const path = files(base).find((each) => basename(each).startsWith("pages."));
  rmSync(path);
  let failed = 0;
  for (const [i, buffer] of buffers.entries()) {
    try {
      same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `${i}`);
    } catch (error) {
      equal(error.code, "EIO", "code");
      assert(error.message.includes(`ttm:${basename(path)} is gone`), error.message);
      failed++;
    }
  }
  assert(failed === 1, `${failed} buffers failed`);
  await device.close({ force: true });
});

let made = 0;
const contract = {
  async create({ slots }, base = join(folder, `contract${made++}`)) {
    const storage = await storageOf({ kind: "fs", base });
    return { base, device: storageSwap({ storage, size: slots * 4096 }), slots };
  },
  async createSmall({ slots, pages }) {
    const base = mkdtempSync(join(folder, "small-"));
    spawnSync("mount", ["-t", "tmpfs", "-o", `size=${pages * 4 + 8}k`, "none", base]);
    return contract.create({ slots }, base);
  },
  second: async ({ base, slots }) => (await contract.create({ slots }, base)).device,
  bytes: ({ base }) =>
    files(base)
      .filter((path) => path.includes("pages."))
      .reduce((sum, path) => sum + statSync(path).size, 0),
  left: ({ base }) => (existsSync(base) ? files(base).length : 0),
  dispose: ({ base }) => spawnSync("umount", ["-l", base]),
};
const mounts = spawnSync("mount", ["--version"]).status === 0 && process.getuid() === 0;
if (!mounts) contract.createSmall = undefined;
for (const { name, run } of swapDeviceTests(contract)) test(`contract: ${name}`, run);

const result = await runTests();
await disposeAll();
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify(result));
