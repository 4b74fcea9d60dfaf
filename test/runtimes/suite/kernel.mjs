import { createDeviceSync } from "ttm-wasm";
import {
  finiTt,
  Pool,
  populateTt,
  populateTtSync,
  shrinkTt,
  shrinkTtSync,
  swapoutTtSync,
  Tt,
  TtmGlobal,
} from "ttm-wasm/ttm";
import { assert, equal, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

function rig(options = {}) {
  const device = createDeviceSync({ memory: "8 MiB", ...options });
  return { device, pool: new Pool(device.global, { orders: [9, 4, 0] }) };
}

test("the kernel's layer is of one piece with the devices", () => {
  const { device } = rig();
  assert(device.global instanceof TtmGlobal, "device.global is another class");
  device.closeSync();
});

test("a tt is populated, shrunk, restored and freed", () => {
  const { device, pool } = rig();
  const tt = new Tt(600, { caching: "uc", dma: true });
  populateTtSync(pool, tt);
  assert(tt.populated && tt.dmaAddress(599) !== undefined, "no bus address");
  equal(shrinkTtSync(pool, tt, { pages: 100 }), 512, "pages released");
  assert(!tt.populated, "populated although pages left");
  populateTtSync(pool, tt);
  assert(tt.populated, "not restored");
  finiTt(pool, tt);
  device.check();
  device.closeSync();
});

test("the same on an asynchronous device", async () => {
  const { device, pool } = rig({ swap: mapSwap({ async: true }) });
  const tt = new Tt(100);
  await populateTt(pool, tt);
  equal(await shrinkTt(pool, tt), 100, "pages released");
  await populateTt(pool, tt);
  assert(tt.populated, "not restored");
  finiTt(pool, tt);
  await device.close();
});

test("swapout takes a whole tt, and a trace sees it", () => {
  const { device, pool } = rig();
  const events = [];
  device.trace = (event) => events.push(event.type);
  const tt = new Tt(100);
  populateTtSync(pool, tt);
  swapoutTtSync(pool, tt);
  assert(!tt.populated, "still populated");
  populateTtSync(pool, tt);
  assert(events.includes("populate") && events.includes("restore"), `events: ${events}`);
  finiTt(pool, tt);
  device.closeSync();
});

test("debugfs has the pools", () => {
  const { device } = rig();
  assert(device.debugfs("page_pool").length > 100, "no table");
  device.closeSync();
});
