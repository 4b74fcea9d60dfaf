/* All subpaths, where there is node:fs. */
import { createDevice } from "ttm-wasm";
import { fileSwap } from "ttm-wasm/swap/file";
import { run as subpaths } from "./subpaths.js";

export async function run() {
  const device = await createDevice({ memory: "1 MiB", swap: fileSwap({ size: "4 MiB" }) });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer("768 KiB"));
  for (const [i, buffer] of buffers.entries()) {
    await buffer.write(0, new Uint8Array(buffer.size).fill(i + 1));
  }
  for (const [i, buffer] of buffers.entries()) {
    const bytes = await buffer.read(0, new Uint8Array(buffer.size));
    if (!bytes.every((byte) => byte === i + 1)) throw new Error("a byte was lost in the file");
  }
  await device.close({ force: true });
  return subpaths();
}
