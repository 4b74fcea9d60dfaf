/* As all.js, in CommonJS. */
const { createDevice, createDeviceSync, ramSwap } = require("ttm-wasm");
const { fileSwap } = require("ttm-wasm/swap/file");
const { ramSwap: sameRamSwap } = require("ttm-wasm/swap/ram");
const { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, TtmGlobal } = require("ttm-wasm/ttm");
const { run: basic } = require("./basic.cjs");

function kernelsLayer() {
  const device = createDeviceSync({ memory: "2 MiB" });
  if (!(device.global instanceof TtmGlobal)) throw new Error("ttm-wasm and /ttm are not one");
  const pool = new Pool(device.global, { orders: [4, 0] });
  const tt = new Tt(100, { caching: "uc" });
  populateTtSync(pool, tt);
  if (shrinkTtSync(pool, tt) !== 100) throw new Error("not all of a tt left");
  populateTtSync(pool, tt);
  finiTt(pool, tt);
  device.closeSync();
}

exports.run = async function run() {
  if (ramSwap !== sameRamSwap) throw new Error("ttm-wasm and /swap/ram are not one");
  kernelsLayer();
  const device = await createDevice({ memory: "1 MiB", swap: fileSwap({ size: "4 MiB" }) });
  const buffer = await device.bufferFrom(new Uint8Array(768 * 1024).fill(7));
  await device.shrink();
  const bytes = await buffer.read(0, new Uint8Array(buffer.size));
  await device.close({ force: true });
  if (!bytes.every((byte) => byte === 7)) throw new Error("a byte was lost in the file");
  return basic();
};
