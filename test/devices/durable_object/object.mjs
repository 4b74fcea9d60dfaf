/* The class of the objects that tests run in. */
import { DurableObject } from "cloudflare:workers";
import { createDevice } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";
import { equal, pattern, runTests, same } from "../../runtimes/check.mjs";

/** What `test()` runs see of the object they run in. */
export let storage;

export class Swapping extends DurableObject {
  async run() {
    storage = this.ctx.storage;
    return runTests();
  }

  /** Evicts the object: what it has in memory is gone, and its next call makes a new one. */
  abort() {
    this.ctx.abort("evicted by a test");
  }

  tables() {
    return tablesOf(this.ctx.storage);
  }

  /** Leaves pages in swap, in a device that is never closed. */
  async leave() {
    const swap = durableObjectSwap(this.ctx.storage, { size: "8 MiB" });
    this.device = await createDevice({ memory: "1 MiB", swap });
    await this.device.createBuffer("512 KiB").write(0, pattern(1, 524_288));
    await this.device.shrink();
    await this.ctx.storage.sync();
  }

  again() {
    return roundTrip(this.ctx.storage);
  }
}

/** Opens a device, finds nothing of an earlier life in it, uses and closes it. */
export async function roundTrip(storage) {
  const swap = durableObjectSwap(storage, { size: "8 MiB" });
  const device = await createDevice({ memory: "1 MiB", swap });
  equal(tablesOf(storage).join(), "ttm_wasm_swap 0", "tables");
  const buffer = device.createBuffer("512 KiB");
  await buffer.write(0, pattern(2, 524_288));
  await device.shrink();
  same(await buffer.read(0, new Uint8Array(524_288)), pattern(2, 524_288));
  await device.close({ force: true });
  equal(tablesOf(storage).join(), "", "tables after close");
}

/** Tables with how many rows they have. */
export function tablesOf({ sql }) {
  const names = sql
    .exec(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
    )
    .toArray();
  return names.map(({ name }) => {
    const { rows } = sql.exec(`SELECT count(*) AS rows FROM ${name}`).one();
    return `${name} ${rows}`;
  });
}
