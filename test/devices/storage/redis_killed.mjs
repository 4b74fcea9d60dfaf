/* A Redis that is killed under load and comes back, with all it had or with nothing. */
import { createDevice } from "ttm-wasm";
import { storageSwap } from "ttm-wasm/swap/storage";
import { assert, equal, runTests, test } from "../../runtimes/check.mjs";
import { Model, seeded } from "./model.mjs";
import { withRedis } from "./redis_server.mjs";
import { disposeAll, storageOf } from "./stores.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A model on a server that is killed and restarted some times while it is used. */
async function killUnderLoad(settings, options, tolerates, judge) {
  await withRedis(settings, async (server) => {
    const storage = await storageOf(server.store);
    const swap = storageSwap({ storage, size: "32 MiB", ...options });
    const codes = new Map();
    const device = await createDevice({ memory: "1 MiB", swap });
    await seeded(async (random) => {
      const model = new Model(device, (error) => {
        codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
        return tolerates(error);
      });
      await model.run(random, 200);
      for (let kills = 0; kills < 3; kills++) {
        const running = model.run(random, 400);
        await sleep(50);
        await server.kill();
        await sleep(150);
        await server.restart();
        await running;
      }
      await judge(model, storage, codes);
    });
  });
}

test("with appendonly it has every page when it is back, and until then it is ENODEV", () =>
  killUnderLoad(
    // Every second, it may answer up to two seconds before it writes.
    { appendonly: "yes", appendfsync: "always" },
    { takeover: 3 },
    (error) => error.code === "ENODEV" && /cannot be reached/.test(error.message),
    async (model, storage, codes) => {
      assert(codes.get("ENODEV") > 0, "nothing failed while Redis was away");
      await model.verify();
      await model.end();
      // A record whose answer was lost with the connection is known all the same.
      equal((await storage.getKeys()).length, 0, "keys after close");
    },
  ));

test("without, what is gone is an EIO that names its record, and all else is as it was", () =>
  killUnderLoad(
    {},
    { takeover: 3 },
    ({ code, message }) =>
      code === "ENODEV" || (code === "EIO" && /record ttm:pages\.\S+ is gone/.test(message)),
    async (model, storage, codes) => {
      assert(codes.get("EIO") > 0, "nothing was lost");
      assert((await model.verifyOrFail()) > 0, "nothing stayed lost");
      // It is a store as before for what is new.
      await sleep(1500);
      model.forget();
      await seeded((random) => model.run(random, 300));
      await model.verify();
      await model.end();
      equal((await storage.getKeys()).length, 0, "keys after close");
    },
  ));

const result = await runTests();
await disposeAll();
console.log(JSON.stringify(result));
