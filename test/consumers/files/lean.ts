/* No types but the language's own: no DOM, no Node, no `using`. */
import { createDevice, createDeviceSync, ramSwap, TtmError } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";
import { fileSwap } from "ttm-wasm/swap/file";
import { opfsSwap } from "ttm-wasm/swap/opfs";
import { ramSwap as sameRamSwap } from "ttm-wasm/swap/ram";
import { finiTt, Pool, populateTtSync, Tt } from "ttm-wasm/ttm";

/** Devices for other hosts, without the types of those. */
export const elsewhere = [durableObjectSwap, opfsSwap];

async function* chunks(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(3).fill(7);
  yield new Uint8Array(4).fill(7);
}

async function streams(): Promise<void> {
  const device = createDeviceSync({ memory: "1 MiB" });
  const buffer = await device.bufferFrom(chunks());
  const copy = await device.bufferFrom(buffer.readable(), { size: buffer.size });
  const writer = copy.writable().getWriter();
  await writer.write(new Uint8Array(2).fill(8));
  const size: number = (await copy.blob()).size;
  const bytes = copy.readSync(0, new Uint8Array(7));
  if (size !== 7 || bytes.join() !== "8,8,7,7,7,7,7")
    throw new Error("a byte was lost in a stream");
  device.closeSync({ force: true });
}

export async function run(): Promise<string> {
  await streams();
  const device = await createDevice({ memory: "1 MiB", swap: fileSwap({ size: "4 MiB" }) });
  const buffer = device.createBuffer("512 KiB");
  let polls = 0;
  const signal = {
    get aborted() {
      return ++polls > 1000;
    },
  };
  await buffer.write(0, new Uint8Array(buffer.size).fill(7), { signal });
  const released: number = await device.shrink();
  const bytes: Uint8Array = await buffer.read(0, new Uint8Array(buffer.size));
  await device.close({ force: true });
  if (released !== 128 || !bytes.every((byte) => byte === 7)) throw new Error("a byte was lost");

  const other = createDeviceSync({ memory: "1 MiB", swap: ramSwap() });
  const pool = new Pool(other.global);
  const tt = new Tt(10);
  populateTtSync(pool, tt);
  finiTt(pool, tt);
  other.closeSync();
  const error: unknown = new TypeError("not ours");
  if (error instanceof TtmError || ramSwap !== sameRamSwap) throw new Error("not of one piece");
  return "ok";
}
