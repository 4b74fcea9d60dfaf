/* In a Durable Object, whose database answers at once. */
import { DurableObject } from "cloudflare:workers";
import { LRUCache } from "lru-cache";
import { createDevice } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";
import { MIB, measure, pooled, pooledInOne, spillingNow } from "../workload.mjs";

const memory = 8 * MIB;

/** A row for each object. */
function openByHand({ sql }) {
  return () => {
    sql.exec("CREATE TABLE spilled (id INTEGER PRIMARY KEY, bytes BLOB)");
    return {
      set: (i, bytes) => sql.exec("INSERT OR REPLACE INTO spilled VALUES (?, ?)", i, bytes),
      get(i) {
        const [[bytes]] = sql.exec("SELECT bytes FROM spilled WHERE id = ?", i).raw();
        return new Uint8Array(bytes);
      },
      close: () => void sql.exec("DROP TABLE spilled"),
    };
  };
}

export class Swapping extends DurableObject {
  async run() {
    const { storage } = this.ctx;
    const settle = () => storage.sync();
    const swap = (size) => durableObjectSwap(storage, { size: 2 * size });
    // Its clock stands still until the event loop has turned.
    const clock = async () => {
      await scheduler.wait(1);
      return Date.now();
    };
    const many = await measure({
      size: (QUICK ? 32 : 64) * MIB,
      rounds: QUICK ? 1 : 5,
      clock,
      ours: pooled(createDevice, memory, swap, settle),
      peer: spillingNow(LRUCache, memory, openByHand(storage), settle),
    });
    const size = QUICK ? 128 : 1024;
    const one = await measure({
      size: size * MIB,
      rounds: 1,
      clock,
      cases: [{ object: MIB, depth: 1, name: `${size} MiB in one buffer, through 16` }],
      ours: pooledInOne(createDevice, 2 * memory, swap, settle),
      peer: spillingNow(LRUCache, 2 * memory, openByHand(storage), settle),
    });
    return [...many, ...one];
  }
}

export default {
  async test(_controller, { OBJECTS }) {
    console.log(JSON.stringify(await OBJECTS.get(OBJECTS.idFromName("bench")).run()));
  },
};
