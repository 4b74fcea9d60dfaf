/* An object on a disk that is too small. It is reset when that is full, so what it saw is printed. */
import { DurableObject } from "cloudflare:workers";
import { createDevice } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";

export class Swapping extends DurableObject {
  async run() {
    const swap = durableObjectSwap(this.ctx.storage, { size: "64 MiB" });
    const device = await createDevice({ memory: "1 MiB", swap });
    for (let i = 0; i < 64; i++) {
      try {
        device.createBuffer("512 KiB").writeSync(0, new Uint8Array(524_288).fill(i + 1));
      } catch (error) {
        console.log(`after ${i} buffers: ${error.code}, ${error.cause?.code}`);
        return;
      }
    }
    console.log("never full");
  }
}

export default {
  async test(_controller, { OBJECTS }) {
    await OBJECTS.get(OBJECTS.idFromName("full"))
      .run()
      .catch(() => {});
  },
};
