// user code
import { LRUCache } from "lru-cache";
import { compress, decompress } from "lz4-wasm-nodejs";

export function open({ objectBytes, budget }) {
  const compressed = new Map();
  const cache = new LRUCache({
    max: Math.floor(budget / objectBytes),
    dispose(bytes, i) {
      if (!compressed.has(i)) compressed.set(i, compress(bytes));
    },
  });
  return {
    put(i, bytes) {
      compressed.delete(i);
      cache.set(i, bytes);
    },
    get(i, use) {
      let bytes = cache.get(i);
      if (!bytes) {
        bytes = decompress(compressed.get(i));
        cache.set(i, bytes);
      }
      use(bytes);
    },
    close() {},
  };
}
// end of user code

export const keeps = true;
