/* In a Durable Object, whose database answers at once. */
import { DurableObject } from "cloudflare:workers";
import { LRUCache } from "lru-cache";
import { createDevice } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";
import { MIB, measure, pooled, spillingNow } from "../workload.mjs";

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
  run() {
    const { storage } = this.ctx;
    const settle = () => storage.sync();
    return measure({
      size: (QUICK ? 32 : 64) * MIB,
      rounds: QUICK ? 1 : 5,
      // Its clock stands still until the event loop has turned.
      clock: async () => {
        await scheduler.wait(1);
        return Date.now();
      },
      ours: pooled(
        createDevice,
        memory,
        (size) => durableObjectSwap(storage, { size: 2 * size }),
        settle,
      ),
      peer: spillingNow(LRUCache, memory, openByHand(storage), settle),
    });
  }
}

export default {
  async test(_controller, { OBJECTS }) {
    console.log(JSON.stringify(await OBJECTS.get(OBJECTS.idFromName("bench")).run()));
  },
};
