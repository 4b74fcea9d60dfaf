/*
 * A user of a swap file, in a process or a thread of its own, with the package as it is built: opens it,
 * says how that went, and does what it is told then, line by line.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { createDeviceSync } from "../../dist/index.js";
import { fileSwap } from "../../dist/swap/file.js";

const options = isMainThread ? JSON.parse(process.argv[2] ?? "{}") : workerData;
const say = (/** @type {string} */ text) => {
  if (isMainThread) process.stdout.write(`${text}\n`);
  else parentPort?.postMessage(text);
};
process.on("warning", (/** @type {Error & { code?: string }} */ { code, message }) => {
  say(`warning ${code} ${message}`);
});

/** @type {import("../../src/index.ts").Device | undefined} */
let device;
const content = Buffer.alloc(512 * 1024, "top secret ");

/** @type {Record<string, () => string>} */
const commands = {
  open() {
    device = createDeviceSync({ memory: "1 MiB", swap: fileSwap({ size: "8 MiB", ...options }) });
    return "opened";
  },
  fill() {
    if (!device) return "not open";
    const bo = device.createBuffer(content.length);
    bo.writeSync(0, content);
    return `released ${device.shrinkSync()}`;
  },
  close() {
    device?.closeSync({ force: true });
    device = undefined;
    return "closed";
  },
};

function run(/** @type {string} */ command) {
  try {
    say(commands[command]?.() ?? `no ${command}`);
  } catch (error) {
    const { code, message } = /** @type {Error & { code?: string }} */ (error);
    say(`error ${code} ${message}`);
  }
}

if (isMainThread) {
  createInterface({ input: process.stdin }).on("line", run);
} else parentPort?.on("message", run);
