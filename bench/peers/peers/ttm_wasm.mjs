// user code
import { createDeviceSync } from "ttm-wasm";
import { fileSwap } from "ttm-wasm/swap/file";

export function open({ dir, objects, objectBytes, budget, checksums = true, swapTimes = 2 }) {
  const swap = fileSwap({ path: `${dir}/swap`, size: swapTimes * objects * objectBytes });
  const device = createDeviceSync({ memory: budget, swap, checksums });
  const buffers = Array.from({ length: objects }, () => device.createBuffer(objectBytes));
  return {
    put: (i, bytes) => buffers[i].writeSync(0, bytes),
    get(i, use) {
      const mapping = buffers[i].mapSync({ write: false });
      for (const segment of mapping.segments) use(segment);
      mapping.unmap();
    },
    close: () => device.closeSync({ force: true }),
  };
}
// end of user code
