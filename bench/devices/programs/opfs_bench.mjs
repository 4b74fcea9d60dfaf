/* In a web worker, where both sides are synchronous. */
import { LRUCache } from "lru-cache";
import { createDevice } from "ttm-wasm";
import { opfsSwap } from "ttm-wasm/swap/opfs";
import { MIB, measure, pooled, spillingNow } from "../workload.mjs";
import { openFile } from "./opfs_store.mjs";

const quick = new URLSearchParams(location.search).has("quick");
const memory = 32 * MIB;

async function openByHand(_count, object) {
  const { handle, close } = await openFile();
  return {
    set: (i, bytes) => handle.write(bytes, { at: i * object }),
    get(i) {
      const bytes = new Uint8Array(object);
      handle.read(bytes, { at: i * object });
      return bytes;
    },
    close,
  };
}

const rows = await measure({
  size: (quick ? 64 : 256) * MIB,
  rounds: quick ? 1 : 5,
  ours: pooled(createDevice, memory, (bytes) => opfsSwap({ size: 2 * bytes })),
  peer: spillingNow(LRUCache, memory, openByHand),
});
postMessage(JSON.stringify(rows));
