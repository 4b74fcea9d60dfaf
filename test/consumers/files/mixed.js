/* Both module systems in one process: errors of the one are known to the other. */
import { createRequire } from "node:module";
import { createDeviceSync, TtmError } from "ttm-wasm";
import { run as all } from "./all.js";

const required = createRequire(import.meta.url)("ttm-wasm");

function failure(create) {
  const device = create({ memory: "64 KiB" });
  try {
    device.createBuffer("1 MiB");
  } catch (error) {
    return error;
  } finally {
    device.closeSync();
  }
}

export async function run() {
  if (!(failure(required.createDeviceSync) instanceof TtmError)) throw new Error("required error");
  if (!(failure(createDeviceSync) instanceof required.TtmError)) throw new Error("imported error");
  return all();
}
