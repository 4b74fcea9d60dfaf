/* Records in a Redis that runs: what they weigh, who may use them, and how long they stay. */
import { createDevice } from "ttm-wasm";
import { storageSwap } from "ttm-wasm/swap/storage";
import { swapDeviceTests } from "ttm-wasm/testing";
import { createStorage, prefixStorage } from "unstorage";
import memoryDriver from "unstorage/drivers/memory";
import { assert, equal, fails, pattern, runTests, same, test } from "../../runtimes/check.mjs";
import { Model, seeded } from "./model.mjs";
import { RedisServer, withRedis } from "./redis_server.mjs";
import { disposeAll, startOwner, storageOf, takeOver } from "./stores.mjs";

const MiB = 2 ** 20;
const clientOf = (storage) => storage.getMount().driver.getInstance();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function open(storage, options = {}) {
  return createDevice({ memory: MiB, swap: storageSwap({ storage, size: "32 MiB", ...options }) });
}

/** Runs with a server and a storage on it. */
function withStorage(settings, run) {
  return withRedis(settings, async (server) => {
    const storage = await storageOf(server.store);
    await run(storage, clientOf(storage), server);
  });
}

async function fill(device, count, bytes = MiB / 4) {
  const buffers = Array.from({ length: count }, () => device.createBuffer(bytes));
  for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, bytes));
  return buffers;
}

async function check(buffers) {
  for (const [i, buffer] of buffers.entries()) {
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `${i}`);
  }
}

test("a thousand operations of four users, and nothing stays", () =>
  withStorage({}, async (storage, client) => {
    await seeded(async (random) => {
      const model = new Model(await open(storage));
      await model.run(random, 3000);
      await model.verify();
      await model.end();
      equal(await client.dbsize(), 0, "keys after close");
    });
  }));

test("records have the bytes of their pages, no more", () =>
  withStorage({}, async (storage, client) => {
    const device = await open(storage);
    await fill(device, 16);
    await device.shrink();
    const keys = await client.keys("ttm:pages.*");
    const sizes = await Promise.all(keys.map((key) => client.strlen(key)));
    equal(
      sizes.reduce((sum, size) => sum + size, 0),
      4 * MiB,
      "bytes in Redis",
    );
    equal(Math.max(...sizes), 65536, "bytes of the largest record");
    await device.close({ force: true });
  }));

test("the keys are where the storage has them: with a base, mounted, and behind a prefix", () =>
  withRedis({}, async (server) => {
    const based = await storageOf({ ...server.store, base: "app:swap" });
    const client = clientOf(based);
    const root = createStorage({ driver: memoryDriver() });
    root.mount("far", based.getMount().driver);
    const cases = [
      [based, "ttm", "app:swap:ttm:", 65536],
      [root, "far:ttm", "app:swap:ttm:", 65536],
      // What stands before the keys cannot be seen here, so it goes through the storage, in base64.
      [prefixStorage(based, "under"), "ttm", "app:swap:under:ttm:", 87391],
    ];
    for (const [storage, prefix, start, most] of cases) {
      const device = await open(storage, { prefix });
      const buffers = await fill(device, 8);
      const keys = await client.keys("*");
      assert(keys.length > 10 && keys.every((key) => key.startsWith(start)), `keys: ${keys}`);
      const sizes = await Promise.all(keys.map((key) => client.strlen(key)));
      equal(Math.max(...sizes.map(Number)), most, `bytes of a record under ${start}`);
      await fails("EBUSY", () => open(storage, { prefix }));
      await check(buffers);
      await device.close({ force: true });
      equal(await client.dbsize(), 0, "keys after close");
    }
  }));

test("a second owner is refused, also one of another storage, and one that claims by other means", () =>
  withStorage({}, async (storage, client, server) => {
    const other = await storageOf(server.store);
    const device = await open(storage, { takeover: 3 });
    const error = await fails("EBUSY", () => open(other, { takeover: 3 }));
    assert(/the prefix "ttm" .* in use by another pool/.test(error.message), error.message);
    await fails("EBUSY", () => open({ ...other, getMount: undefined }, { takeover: 3 }));
    await device.close();
    await (await open(other)).close();
    const both = await Promise.allSettled([open(storage), open(other)]);
    equal(both.filter(({ status }) => status === "fulfilled").length, 1, "owners of two at once");
    await both.find(({ status }) => status === "fulfilled").value.close();
    equal(await client.dbsize(), 0, "keys after close");
  }));

test("an owner that was killed is succeeded once its time is over, and its records are removed", () =>
  withStorage({}, async (storage, client, server) => {
    await client.set("ttm:mine", "1");
    const options = { size: "32 MiB", takeover: 3 };
    const owner = await startOwner(server.store, options);
    await fails("EBUSY", () => open(storage, options));
    await owner.kill();
    assert((await client.dbsize()) > 10, "the owner had no records");
    const device = await takeOver(() => open(storage, options));
    equal((await client.keys("*")).sort().join(), "ttm:lock,ttm:mine", "keys after a takeover");
    await device.close();
    equal((await client.keys("*")).join(), "ttm:mine", "keys after close");
  }));

test("records outlive their time while their owner lives, and expire when it was killed", () =>
  withStorage({}, async (storage, client, server) => {
    const options = { size: "32 MiB", takeover: 3, ttl: 6 };
    const device = await open(storage, { ...options, prefix: "lives" });
    const buffers = await fill(device, 16);
    const owner = await startOwner(server.store, options);
    const keys = await client.keys("lives:pages.*");
    await sleep(8000);
    equal(await client.exists(...keys), keys.length, "records after 8 s");
    await check(buffers);
    await device.close({ force: true });
    await owner.kill();
    assert((await client.dbsize()) > 10, "the owner had no records");
    for (let waits = 0; waits < 200 && (await client.dbsize()) > 0; waits++) await sleep(100);
    equal(await client.dbsize(), 0, "keys long after a kill");
  }));

test("a Redis that is full is ENOSPC, keeps what it took, and goes on when it has room again", () =>
  withStorage({ maxmemory: "6mb" }, async (storage, client) => {
    const device = await open(storage, { takeover: 3 });
    const buffers = [];
    const full = await fails("ENOSPC", async () => {
      for (let i = 0; i < 200; i++) {
        const buffer = device.createBuffer(MiB / 8);
        await buffer.write(0, pattern(i, buffer.size));
        buffers.push(buffer);
      }
    });
    assert(/OOM/.test(full.message), full.message);
    assert(buffers.length > 16, `only ${buffers.length} buffers were taken`);
    // Longer than a lock is good for: a full Redis must take its beats.
    await sleep(4000);
    await fails("EBUSY", () => open(storage, { takeover: 3 }));
    await check(buffers);
    await client.config("SET", "maxmemory", "64mb");
    await fill(device, 16);
    await check(buffers);
    await device.close({ force: true });
    equal(await client.dbsize(), 0, "keys after close");
  }));

test("a Redis that would drop pages is refused", () =>
  withStorage({ maxmemory: "64mb", "maxmemory-policy": "allkeys-lru" }, async (storage, client) => {
    const error = await fails("EINVAL", () => open(storage));
    assert(/maxmemory-policy to noeviction/.test(error.message), error.message);
    await client.config("SET", "maxmemory-policy", "volatile-lru");
    await fails("EINVAL", () => open(storage));
    const device = await open(storage, { ttl: 0 });
    await fill(device, 8);
    const [key] = await client.keys("ttm:pages.*");
    equal(await client.ttl(key), -1, "time of a record");
    await device.close({ force: true });
  }));

const contract = {
  async create({ slots }, settings = {}) {
    const server = await RedisServer.start(settings);
    const storage = await storageOf(server.store);
    const device = storageSwap({ storage, size: slots * 4096 });
    return { server, client: clientOf(storage), device };
  },
  async createSmall({ slots, pages }) {
    const fixture = await contract.create({ slots });
    const used = Number(/used_memory:(\d+)/.exec(await fixture.client.info("memory"))[1]);
    await fixture.client.config("SET", "maxmemory", used + pages * 4096);
    return fixture;
  },
  async second({ server, device }) {
    return storageSwap({ storage: await storageOf(server.store), size: device.slots * 4096 });
  },
  async bytes({ client }) {
    const keys = await client.keys("ttm:pages.*");
    const sizes = await Promise.all(keys.map((key) => client.strlen(key)));
    return sizes.reduce((sum, size) => sum + size, 0);
  },
  left: ({ client }) => client.dbsize(),
  async dispose({ server, client }) {
    client.disconnect();
    await server.stop();
  },
};
for (const { name, run } of swapDeviceTests(contract)) test(`contract: ${name}`, run);

const result = await runTests();
await disposeAll();
console.log(JSON.stringify(result));
