/* As basic.js, by the address of the file: no bundler, no import map. */
import { createDevice } from "./node_modules/ttm-wasm/dist/index.js";

/** Resolves to "ok", or rejects. */
export async function run() {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("256 KiB");
  const bytes = Uint8Array.from({ length: 256 * 1024 }, (_, i) => i * 31 + (i >>> 12));
  await buffer.write(0, bytes);
  const released = await device.shrink();
  const back = await buffer.read(0, new Uint8Array(bytes.length));
  await device.close({ force: true });
  if (released !== 64 || !back.every((byte, i) => byte === bytes[i])) throw new Error("lost");
  return "ok";
}
