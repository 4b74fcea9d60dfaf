/*
 * A store that unstorage reaches: through storageSwap, and by hand with an LRU cache in front. Both have the
 * same client and records of the same size. Prints rows as JSON.
 */
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { createDevice } from "../../../dist/index.js";
import { storageSwap } from "../../../dist/swap/storage.js";
import { KIB, MIB, measure, pooled, spillingLater } from "../workload.mjs";

const RECORD = 64 * KIB;

const { resolve } = createRequire(new URL("../../../test/devices/package.json", import.meta.url));
const load = (name) => import(pathToFileURL(resolve(name)).href);

const { store, quick } = JSON.parse(process.argv[2]);
const { createStorage } = await load("unstorage");
const { LRUCache } = await load("lru-cache");
const { default: driver } = await load(`unstorage/drivers/${store.kind}`);
const storage = createStorage({ driver: (driver.default ?? driver)(store) });

/** In Redis by the client itself, as who looks at what its driver writes would do: that is base64. */
function recordsOf() {
  if (store.kind !== "redis") {
    return {
      set: (key, bytes) => storage.setItemRaw(key, bytes),
      get: (key) => storage.getItemRaw(key),
      remove: (keys) => Promise.all(keys.map((key) => storage.removeItem(key))),
    };
  }
  const client = storage.getMount().driver.getInstance();
  return {
    set: (key, bytes) => client.set(key, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)),
    get: (key) => client.getBuffer(key),
    remove: (keys) => client.unlink(...keys),
  };
}

/** Objects as records, those of one in flight together. */
async function open(_count, bytesOfOne) {
  const records = recordsOf();
  const stored = new Set();
  const keysOf = (i) => Array.from({ length: bytesOfOne / RECORD }, (_, n) => `hand:${i}.${n}`);
  return {
    async set(i, bytes) {
      stored.add(i);
      const pieces = keysOf(i).map((key, n) =>
        records.set(key, bytes.subarray(n * RECORD, (n + 1) * RECORD)),
      );
      await Promise.all(pieces);
    },
    async get(i) {
      const pieces = await Promise.all(keysOf(i).map((key) => records.get(key)));
      if (pieces.length === 1) return pieces[0];
      const bytes = new Uint8Array(bytesOfOne);
      for (const [n, piece] of pieces.entries()) bytes.set(piece, n * RECORD);
      return bytes;
    },
    async close() {
      for (const i of stored) await records.remove(keysOf(i));
    },
  };
}

const size = (quick ? 32 : 256) * MIB;
const memory = size / 8;
const rows = await measure({
  ours: pooled(createDevice, memory, (bytes) =>
    storageSwap({ storage, size: 2 * bytes, pagesPerRecord: RECORD / 4096 }),
  ),
  peer: spillingLater(LRUCache, memory, open),
  size,
  rounds: quick ? 2 : 5,
});
await storage.dispose();
console.log(JSON.stringify(rows));
