// user code
import { createDeviceSync } from "ttm-wasm";
import { fileSwap } from "ttm-wasm/swap/file";

export function open({ dir, objects, objectBytes, budget, checksums = true }) {
  const swap = fileSwap({ path: `${dir}/swap`, size: 2 * objects * objectBytes });
  const device = createDeviceSync({ memory: budget, swap, checksums });
  const buffers = Array.from({ length: objects }, () => device.createBuffer(objectBytes));
  const target = new Uint8Array(objectBytes);
  return {
    put: (i, bytes) => buffers[i].writeSync(0, bytes),
    get: (i, use) => use(buffers[i].readSync(0, target)),
    close: () => device.closeSync({ force: true }),
  };
}
// end of user code
