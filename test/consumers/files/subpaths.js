/* All that runs without a file system, and that its subpaths are of one piece. */
import { createDevice, createDeviceSync, ramSwap, TtmError } from "ttm-wasm";
import { ramSwap as sameRamSwap } from "ttm-wasm/swap/ram";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, TtmGlobal } from "ttm-wasm/ttm";
import { run as basic } from "./basic.js";

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

function kernelsLayer() {
  const device = createDeviceSync({ memory: "2 MiB", swap: ramSwap({ size: "4 MiB" }) });
  assert(device.global instanceof TtmGlobal, "ttm-wasm and ttm-wasm/ttm are not one");
  const pool = new Pool(device.global, { orders: [4, 0] });
  const tt = new Tt(100, { caching: "uc" });
  populateTtSync(pool, tt);
  assert(shrinkTtSync(pool, tt) === 100, "not all of a tt left");
  populateTtSync(pool, tt);
  finiTt(pool, tt);
  device.check();
  device.closeSync();
}

async function streams() {
  const device = createDeviceSync({ memory: "2 MiB" });
  const chunks = [new Uint8Array(300000).fill(1), new Uint8Array(300000).fill(2)];
  const buffer = await device.bufferFrom(chunks);
  assert(buffer.size === 600000, "a buffer of another size than its chunks");
  // Test runners that play a page have none.
  if (typeof ReadableStream === "function") {
    const copy = await device.bufferFrom(buffer.readable());
    await copy.readable({ offset: 300000 }).pipeTo(copy.writable());
    const bytes = copy.readSync(0, new Uint8Array(600000));
    assert(
      bytes.every((byte) => byte === 2),
      "a byte was lost in a stream",
    );
  }
  device.closeSync({ force: true });
}

export async function run() {
  await streams();
  assert(ramSwap === sameRamSwap, "ttm-wasm and ttm-wasm/swap/ram are not one");
  kernelsLayer();
  const device = await createDevice({ memory: "64 KiB" });
  try {
    device.createBuffer("1 MiB");
    assert(false, "a buffer larger than the memory was made");
  } catch (error) {
    assert(error instanceof TtmError && error.code === "ENOMEM", `unexpected: ${error}`);
  }
  await device.close();
  return basic();
}
