import { createDeviceSync } from "../../src/index.ts";

/** The least that can be done with the library: a device, a buffer, its first page written. */
export function run(): void {
  const device = createDeviceSync({ memory: "1 MiB" });
  const buffer = device.createBuffer("4 KiB");
  buffer.writeSync(0, new Uint8Array(4096).fill(1));
  if (buffer.readSync(100, new Uint8Array(1))[0] !== 1) throw new Error("a byte was lost");
  device.closeSync({ force: true });
}
