import type { BufferObject, Device } from "../src/index.ts";

/** Buffers of `bytes` each, written whole. */
export function filled(device: Device, count: number, bytes: number): BufferObject[] {
  const source = new Uint8Array(bytes).fill(0x5a);
  return Array.from({ length: count }, () => {
    const buffer = device.createBuffer(bytes);
    buffer.writeSync(0, source);
    return buffer;
  });
}
