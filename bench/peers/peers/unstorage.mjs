// user code
import { LRUCache } from "lru-cache";
import { createStorage } from "unstorage";
import fsDriver from "unstorage/drivers/fs-lite";

export function open({ dir, objects, objectBytes, budget, inFlight = 1 }) {
  const storage = createStorage({ driver: fsDriver({ base: dir }) });
  const written = new Uint8Array(objects);
  const writing = new Map();
  const cache = new LRUCache({
    max: Math.floor(budget / objectBytes),
    dispose(bytes, i) {
      if (written[i]) return;
      written[i] = 1;
      writing.set(
        i,
        storage.setItemRaw(String(i), bytes).then(() => writing.delete(i)),
      );
    },
  });
  const oldest = () => (writing.size < inFlight ? undefined : writing.values().next().value);
  async function load(i, use) {
    await writing.get(i);
    const bytes = await storage.getItemRaw(String(i));
    cache.set(i, bytes);
    await oldest();
    use(bytes);
  }
  return {
    put(i, bytes) {
      written[i] = 0;
      cache.set(i, bytes);
      return oldest();
    },
    flush: () => Promise.all(writing.values()),
    get(i, use) {
      const bytes = cache.get(i);
      return bytes ? use(bytes) : load(i, use);
    },
    close: () => storage.dispose(),
  };
}
// end of user code

export const keeps = true;
