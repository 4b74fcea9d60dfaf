/* All subpaths and their types, with `using`; compiled as an ES module and as CommonJS. */
import {
  type BlockSwapDevice,
  type BufferFromOptions,
  type BufferObject,
  type BufferOptions,
  type ByteSource,
  createDevice,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  type DeviceStats,
  type HostReadable,
  type Mapping,
  type OperationOptions,
  PAGE_SIZE,
  ramSwap,
  type ShrinkOptions,
  type Signal,
  type Size,
  type SwapDevice,
  TtmError,
  type TtmErrorCode,
} from "ttm-wasm";
import {
  type DurableObjectStorageLike,
  type DurableObjectSwapOptions,
  durableObjectSwap,
} from "ttm-wasm/swap/durable-object";
import { type FileSwapOptions, fileSwap } from "ttm-wasm/swap/file";
import { type OpfsSwapOptions, type OpfsWorker, opfsSwap, serveOpfsSwap } from "ttm-wasm/swap/opfs";
import { type RamSwapOptions, ramSwap as sameRamSwap } from "ttm-wasm/swap/ram";
import { finiTt, Pool, populateTtSync, shrinkTtSync, type TraceEvent, Tt } from "ttm-wasm/ttm";

function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

const pages = new Map<number, Uint8Array>();
const mapSwap: BlockSwapDevice = {
  name: "map",
  slots: 64,
  async: true,
  async write(slot, views) {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        pages.set(slot++, view.slice(at, at + PAGE_SIZE));
      }
    }
  },
  async read(slot, views) {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        view.set(pages.get(slot++) as Uint8Array, at);
      }
    }
  },
};

/** What `@cloudflare/workers-types` declares, as far as it matters. */
type SqlValue = ArrayBuffer | string | number | null;
interface SqlCursor<T extends Record<string, SqlValue>> {
  one(): T;
  raw<U extends SqlValue[]>(): IterableIterator<U>;
}
interface ObjectStorage {
  sql: {
    // biome-ignore lint/suspicious/noExplicitAny: as it is declared there.
    exec<T extends Record<string, SqlValue>>(query: string, ...bindings: any[]): SqlCursor<T>;
    databaseSize: number;
  };
  sync(): Promise<void>;
}

/** Never called here: devices for browsers and Durable Objects, with the types of those. */
export function elsewhere(storage: ObjectStorage): SwapDevice[] {
  serveOpfsSwap();
  const worker: () => OpfsWorker = () => new Worker("worker.js", { type: "module" });
  const inFile: OpfsSwapOptions = { size: "1 GiB", name: "swap", worker };
  const inTable: DurableObjectSwapOptions = { size: "1 GiB", table: "swap" };
  const like: DurableObjectStorageLike = storage;
  return [opfsSwap(inFile), durableObjectSwap(like, inTable)];
}

async function roundTrip(swap: SwapDevice): Promise<DeviceStats> {
  const memory: Size = "256 KiB";
  const options: DeviceOptions = { memory, swap };
  await using device: Device = await createDevice(options);
  const bufferOptions: BufferOptions = { priority: 1, caching: "cached" };
  const buffer: BufferObject = device.createBuffer(10 * PAGE_SIZE, bufferOptions);
  const signal: Signal = new AbortController().signal;
  const operation: OperationOptions = { signal };
  await buffer.write(0, new Float64Array([1, 2, 3]), operation);
  const shrink: ShrinkOptions = { pages: 10, signal };
  assert((await device.shrink(shrink)) === 10, "not all pages left");
  const numbers: Float64Array = await buffer.read(0, new Float64Array(3));
  assert(numbers[2] === 3, "a number was lost");
  {
    using mapping: Mapping = await buffer.map({ write: false });
    const first: Uint8Array | undefined = mapping.segments[0];
    assert(first !== undefined && buffer.pinned, "a mapping without a segment");
  }
  const stats = device.stats();
  const free: number = stats.pages.free;
  assert(free >= 0, "free pages below zero");
  return stats;
}

async function streams(): Promise<void> {
  using device = createDeviceSync({ memory: "1 MiB" });
  const bytes = new Uint8Array(10).fill(3);
  const options: BufferFromOptions = { size: "10 B", priority: 1 };
  const given: ReadableStream<Uint8Array> = new Blob([bytes]).stream();
  const sources: ByteSource[] = [bytes, new Blob([bytes]), new Response(bytes), given, [bytes]];
  for (const source of sources) {
    const buffer: BufferObject = await device.bufferFrom(source, options);
    const copy = device.createBuffer(buffer.size);
    const stream: HostReadable = buffer.readable();
    await stream.pipeTo(copy.writable());
    const made: Blob = await copy.blob({ type: "text/plain" });
    const body: ReadableStream<Uint8Array> = copy.readable({ offset: 2 });
    const [text, rest] = [await made.arrayBuffer(), await new Response(body).arrayBuffer()];
    assert(text.byteLength === 10 && rest.byteLength === 8, "a byte was lost in a stream");
  }
}

function kernelsLayer(): void {
  using device = createDeviceSync({ memory: "1 MiB" });
  const events: TraceEvent[] = [];
  device.trace = (event) => events.push(event);
  const pool = new Pool(device.global, { orders: [4, 0] });
  const tt = new Tt(100, { caching: "uc" });
  populateTtSync(pool, tt);
  assert(shrinkTtSync(pool, tt) === 100 && events.length > 0, "not all of a tt left");
  finiTt(pool, tt);
}

function failure(): TtmErrorCode {
  using device = createDeviceSync({ memory: "64 KiB" });
  try {
    device.createBuffer("1 MiB");
  } catch (error) {
    if (error instanceof TtmError) return error.code;
  }
  throw new Error("a buffer larger than the memory was made");
}

export async function run(): Promise<string> {
  const file: FileSwapOptions = { size: "1 MiB" };
  const ram: RamSwapOptions = { size: "1 MiB" };
  assert(ramSwap === sameRamSwap, "ttm-wasm and ttm-wasm/swap/ram are not one");
  for (const swap of [ramSwap(ram), fileSwap(file), mapSwap]) await roundTrip(swap);
  await streams();
  kernelsLayer();
  assert(failure() === "ENOMEM", "another code than ENOMEM");
  return "ok";
}
