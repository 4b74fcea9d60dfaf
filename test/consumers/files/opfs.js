/* A page whose buffers leave to a file that a worker of the package's has: the bundler must bring that along. */
import { createDevice } from "ttm-wasm";
import { opfsSwap } from "ttm-wasm/swap/opfs";

export async function run() {
  const device = await createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "8 MiB" }) });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer("512 KiB"));
  for (const [i, buffer] of buffers.entries())
    await buffer.write(0, new Uint8Array(524_288).fill(i));
  for (const [i, buffer] of buffers.entries()) {
    const bytes = await buffer.read(0, new Uint8Array(524_288));
    if (!bytes.every((byte) => byte === i)) throw new Error("bytes differ");
  }
  await device.close({ force: true });
  return "ok";
}
