/* All subpaths, where there is node:fs. */
import { createDevice } from "ttm-wasm";
import { encryptedSwap } from "ttm-wasm/swap/encrypted";
import { fileSwap } from "ttm-wasm/swap/file";
import { run as subpaths } from "./subpaths.js";

async function use(swap) {
  const device = await createDevice({ memory: "1 MiB", swap });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer("768 KiB"));
  for (const [i, buffer] of buffers.entries()) {
    await buffer.write(0, new Uint8Array(buffer.size).fill(i + 1));
  }
  for (const [i, buffer] of buffers.entries()) {
    const bytes = await buffer.read(0, new Uint8Array(buffer.size));
    if (!bytes.every((byte) => byte === i + 1)) throw new Error("a byte was lost in the file");
  }
  await device.close({ force: true });
}

export async function run() {
  await use(fileSwap({ size: "4 MiB" }));
  await use(encryptedSwap(fileSwap({ size: "4 MiB" })));
  return subpaths();
}
