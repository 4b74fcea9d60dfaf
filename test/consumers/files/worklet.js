/* A scope with neither timers, nor TextDecoder, nor atob: only the Sync forms have a place there. */
import { createDeviceSync } from "./node_modules/ttm-wasm/dist/index.js";

function run() {
  const device = createDeviceSync({ memory: "1 MiB" });
  const buffer = device.createBuffer("256 KiB");
  const bytes = Uint8Array.from({ length: 256 * 1024 }, (_, i) => i * 31 + (i >>> 12));
  buffer.writeSync(0, bytes);
  const released = device.shrinkSync();
  const back = buffer.readSync(0, new Uint8Array(bytes.length));
  device.closeSync({ force: true });
  if (released !== 64 || !back.every((byte, i) => byte === bytes[i])) throw new Error("lost");
  return "ok";
}

function runNow() {
  try {
    return run();
  } catch (error) {
    return `failed: ${error?.stack ?? error}`;
  }
}

class Consumer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.port.postMessage(runNow());
  }

  process() {
    return false;
  }
}

registerProcessor("consumer", Consumer);
