/* A storage of unstorage is one that storageSwap takes, in the eyes of the compiler. */
import { type AsyncSwapDevice, createDevice } from "ttm-wasm";
import { type StorageLike, type StorageSwapOptions, storageSwap } from "ttm-wasm/swap/storage";
import { createStorage, prefixStorage, type Storage } from "unstorage";
import memoryDriver from "unstorage/drivers/memory";

const storage: Storage = createStorage({ driver: memoryDriver() });
const like: StorageLike = prefixStorage(storage, "under");
const options: StorageSwapOptions = { storage: like, size: "4 MiB", prefix: "pages" };
for (const swap of [storageSwap(options), storageSwap({ storage, size: "4 MiB" })]) {
  const known: AsyncSwapDevice = swap;
  await using device = await createDevice({ memory: "1 MiB", swap: known });
  const buffer = device.createBuffer("512 KiB");
  await buffer.write(0, new Uint8Array(buffer.size).fill(7));
  await device.shrink();
  const bytes = await buffer.read(0, new Uint8Array(buffer.size));
  if (!bytes.every((byte) => byte === 7)) throw new Error("a byte was lost");
}
if ((await storage.getKeys()).length > 0) throw new Error("keys were left");
console.log("ok");
