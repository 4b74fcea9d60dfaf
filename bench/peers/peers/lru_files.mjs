// user code
import { readFileSync, writeFileSync } from "node:fs";
import { LRUCache } from "lru-cache";

export function open({ dir, objects, objectBytes, budget }) {
  const written = new Uint8Array(objects);
  const cache = new LRUCache({
    max: Math.floor(budget / objectBytes),
    dispose(bytes, i) {
      if (!written[i]) writeFileSync(`${dir}/${i}`, bytes);
      written[i] = 1;
    },
  });
  return {
    put(i, bytes) {
      written[i] = 0;
      cache.set(i, bytes);
    },
    get(i, use) {
      let bytes = cache.get(i);
      if (!bytes) {
        bytes = readFileSync(`${dir}/${i}`);
        cache.set(i, bytes);
      }
      use(bytes);
    },
    close() {},
  };
}
// end of user code

export const keeps = true;
