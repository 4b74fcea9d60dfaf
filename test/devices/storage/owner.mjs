/*
 * An owner to be killed: `node owner.mjs JSON`. Fills what it is told to, says so, and goes on using it.
 */
import process from "node:process";
import { createDevice } from "ttm-wasm";
import { storageSwap } from "ttm-wasm/swap/storage";
import { pattern } from "../../runtimes/check.mjs";
import { storageOf } from "./stores.mjs";

const { store, options } = JSON.parse(process.argv[2]);
const storage = await storageOf(store);
const device = await createDevice({ memory: "1 MiB", swap: storageSwap({ storage, ...options }) });
const buffers = Array.from({ length: 16 }, () => device.createBuffer("256 KiB"));
for (const buffer of buffers) await buffer.write(0, pattern(1, buffer.size));
console.log("filled");
for (let i = 0; ; i++) {
  await buffers[i % buffers.length].write(0, pattern(i, 256 * 1024));
  await new Promise((resolve) => setTimeout(resolve, 5));
}
