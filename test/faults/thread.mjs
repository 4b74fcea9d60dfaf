/* A pool in a thread, at work until it is ended. */
import { parentPort, workerData } from "node:worker_threads";
import { createDeviceSync } from "../../dist/index.js";
import { fileSwap } from "../../dist/swap/file.js";

const swap = fileSwap({ size: "16 MiB", directory: workerData });
const device = createDeviceSync({ memory: "1 MiB", swap });
const buffers = Array.from({ length: 16 }, () => device.createBuffer("128 KiB"));
for (let i = 0; ; i++) {
  const buffer = buffers[i % 16];
  await buffer?.write(0, new Uint8Array(buffer.size).fill(i));
  await device.shrink({ pages: 64 });
  if (i === 20) parentPort?.postMessage("at work");
}
