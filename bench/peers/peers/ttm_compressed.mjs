// user code
import { createDeviceSync } from "ttm-wasm";
import { compressedSwap } from "ttm-wasm/swap/compressed";

export function open({ objects, objectBytes, budget, checksums = true }) {
  const swap = compressedSwap({ size: objects * objectBytes });
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
