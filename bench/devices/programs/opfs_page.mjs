/* On a page: both sides have a worker with the file. */
import { LRUCache } from "lru-cache";
import { createDevice } from "ttm-wasm";
import { opfsSwap } from "ttm-wasm/swap/opfs";
import { MIB, measure, pooled, spillingLater } from "../workload.mjs";

const quick = new URLSearchParams(location.search).has("quick");
const memory = 32 * MIB;

/** The page's side of opfs_spill.mjs: objects are transferred, there and back. */
async function openByHand(_count, object) {
  const worker = new Worker("./opfs_spill.js", { type: "module" });
  const waiting = new Map();
  let lastId = 0;
  worker.onmessage = ({ data: { id, bytes } }) => {
    waiting.get(id)(bytes);
    waiting.delete(id);
  };
  const call = (message, transfer = []) =>
    new Promise((done) => {
      waiting.set(++lastId, done);
      worker.postMessage({ id: lastId, ...message }, transfer);
    });
  await call({ op: "open" });
  return {
    // A copy, for the object may be read while it leaves.
    set(i, bytes) {
      const copy = bytes.slice();
      return call({ op: "set", at: i * object, bytes: copy }, [copy.buffer]);
    },
    get: (i) => call({ op: "get", at: i * object, length: object }),
    async close() {
      await call({ op: "close" });
      worker.terminate();
    },
  };
}

const rows = await measure({
  size: (quick ? 64 : 256) * MIB,
  rounds: quick ? 1 : 5,
  ours: pooled(createDevice, memory, (bytes) => opfsSwap({ size: 2 * bytes })),
  peer: spillingLater(LRUCache, memory, openByHand),
});
document.title = JSON.stringify(rows);
