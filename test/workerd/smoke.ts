/*
 * What `workerd test` runs, against the built package: shrink, interrupt, resume, compare. It fails
 * when something here throws.
 */
import { type BlockSwapDevice, createDevice, PAGE_SIZE, type SwapDevice } from "ttm-wasm";
import { compressedSwap } from "ttm-wasm/swap/compressed";

const SIZE = 2 * 1024 * 1024 - 100; // one window, more than one call of the device

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** Bytes that differ from page to page. */
function pattern(): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  for (let i = 0; i < SIZE; i++) bytes[i] = (i * 2654435761) >>> 24;
  return bytes;
}

/** A block store in a map; `onRead` runs after each read. */
function mapSwap(async: boolean, onRead: () => void): BlockSwapDevice & { pagesRead: number } {
  const pages = new Map<number, Uint8Array>();
  const write = (slot: number, views: readonly Uint8Array[]) => {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        pages.set(slot++, view.slice(at, at + PAGE_SIZE));
      }
    }
  };
  const read = (slot: number, views: readonly Uint8Array[]) => {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        view.set(pages.get(slot++) as Uint8Array, at);
        device.pagesRead++;
      }
    }
    onRead();
  };
  const device = {
    name: "map",
    slots: 4096,
    async,
    pagesRead: 0,
    write: (slot: number, views: readonly Uint8Array[]) =>
      async ? Promise.resolve().then(() => write(slot, views)) : write(slot, views),
    read: (slot: number, views: readonly Uint8Array[]) =>
      async ? Promise.resolve().then(() => read(slot, views)) : read(slot, views),
  };
  return device;
}

async function roundTrip(swap: SwapDevice | undefined, abort?: AbortController): Promise<void> {
  await using device = await createDevice({ memory: "4 MiB", ...(swap ? { swap } : {}) });
  const bytes = pattern();
  const bo = device.createBuffer(SIZE);
  await bo.write(0, bytes);
  const pages = Math.ceil(SIZE / PAGE_SIZE);
  assert((await device.shrink()) === pages, "shrink did not release every page");
  assert(bo.residentPages === 0, "a shrunken buffer still holds pages");

  let interrupted = 0;
  const target = new Uint8Array(SIZE);
  try {
    await bo.read(0, target, abort ? { signal: abort.signal } : {});
  } catch (error) {
    assert((error as { code?: string }).code === "EINTR", `unexpected: ${error}`);
    interrupted++;
  }
  assert(interrupted === (abort ? 1 : 0), `interrupted ${interrupted} times`);
  await bo.read(0, target);
  assert(
    target.every((byte, i) => byte === bytes[i]),
    "bytes differ",
  );
  assert(device.stats().resumed === interrupted, "the restore was not resumed");
  if (swap && "pagesRead" in swap) assert(swap.pagesRead === pages, "a page was read twice");
  device.check();
}

/** Compressed swap, whose codec is a module of its own: text comes back, and its memory is given back. */
async function compressed(): Promise<void> {
  const swap = compressedSwap({ size: "64 MiB", limit: "8 MiB" });
  await using device = await createDevice({ memory: "1 MiB", swap });
  const text = new TextEncoder().encode("not one byte is lost ".repeat(3000));
  const buffers = Array.from({ length: 100 }, () => device.createBuffer(text.length));
  for (const bo of buffers) bo.writeSync(0, text);
  device.shrinkSync();
  assert(swap.stats().ratio > 10, `text shrank ${swap.stats().ratio} times`);
  for (const bo of buffers) {
    const back = bo.readSync(0, new Uint8Array(text.length));
    assert(
      back.every((byte, i) => byte === text[i]),
      "compressed bytes differ",
    );
    bo.destroy();
  }
  swap.trim();
  assert(swap.stats().storageBytes === 0, "memory was not given back");
}

export default {
  async test(): Promise<void> {
    await roundTrip(undefined);
    await compressed();
    for (const async of [false, true]) {
      const controller = new AbortController();
      let reads = 0;
      const swap = mapSwap(async, () => {
        if (++reads === 1) controller.abort();
      });
      await roundTrip(swap, controller);
    }
  },
};
