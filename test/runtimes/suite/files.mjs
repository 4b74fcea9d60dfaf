/* Where there is node:fs. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDevice, createDeviceSync } from "ttm-wasm";
import { fileSwap } from "ttm-wasm/swap/file";
import { assert, equal, fails, pattern, same, test } from "../check.mjs";

for (const sync of [false, true]) {
  test(`on a file, four times the memory comes back, ${sync ? "Sync" : "async"}`, async () => {
    const device = await createDevice({ memory: "1 MiB", swap: fileSwap({ size: "8 MiB" }) });
    const buffers = Array.from({ length: 16 }, () => device.createBuffer("250 KiB"));
    for (const [i, buffer] of buffers.entries()) {
      const bytes = pattern(i, buffer.size);
      if (sync) buffer.writeSync(0, bytes);
      else await buffer.write(0, bytes);
    }
    for (const [i, buffer] of buffers.entries()) {
      const target = new Uint8Array(buffer.size);
      const bytes = sync ? buffer.readSync(0, target) : await buffer.read(0, target);
      same(bytes, pattern(i, buffer.size), `buffer ${i}`);
    }
    device.check();
    await device.close({ force: true });
  });
}

test("on a file, scattered pages come back each to its place", async () => {
  const swap = fileSwap({ size: "8 MiB" });
  const device = createDeviceSync({ memory: "1 MiB", swap, transferPages: 16 });
  const buffers = Array.from({ length: 60 }, (_, i) => device.createBuffer(4096 * (1 + (i % 5))));
  for (const [i, buffer] of buffers.entries()) buffer.writeSync(0, pattern(i, buffer.size));
  for (const [i, buffer] of buffers.entries()) if (i % 3 === 0) buffer.destroy();
  device.shrinkSync();
  for (const [i, buffer] of buffers.entries()) {
    if (i % 3 === 0) continue;
    same(buffer.readSync(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `buffer ${i}`);
  }
  device.closeSync({ force: true });
});

test("a file by path: made, refused when it holds something, taken with overwrite", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ttm-runtimes-"));
  const path = join(folder, "swap");
  const open = (options) => createDevice({ memory: "1 MiB", swap: fileSwap(options) });
  const device = await open({ size: "4 MiB", path });
  assert(existsSync(path), "no file was made");
  await device.close();
  writeFileSync(path, "mine");
  await fails("EEXIST", () => open({ size: "4 MiB", path }));
  await (await open({ size: "4 MiB", path, overwrite: true })).close();
  const missing = join(folder, "missing", "swap");
  const error = await fails("ENOENT", () => open({ size: "4 MiB", path: missing }));
  assert(error.message.includes(missing), "the message does not name the path");
  equal(error.op, "open");
  rmSync(folder, { recursive: true });
});
