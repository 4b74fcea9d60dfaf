import { TtmError } from "../errors.ts";
import type { Ciphers } from "./aes.ts";
import { heapSwap } from "./heap.ts";
import { SealedStore } from "./sealed.ts";
import { closeSwap, openSwap } from "./space.ts";
import { adopt, type Store } from "./store.ts";
import type { AsyncSwapDevice, SwapDevice, SwapDeviceBase, SyncSwapDevice } from "./types.ts";

/** Calls in flight where the store does not say how many it likes: one is sealed while another is stored. */
const QUEUE_DEPTH = 4;

/** A device whose pages are sealed: see `encryptedSwap`. */
export function sealedDevice(
  device: SwapDevice,
  { now, later }: Ciphers,
): SyncSwapDevice | AsyncSwapDevice {
  const store = asCalled(adopt(device));
  if (!now && !later) {
    const text =
      "encryptedSwap needs node:crypto or crypto.subtle, which this host does not have; " +
      "pages have the second in secure contexts (https) only";
    throw new TtmError("ENOSYS", "open", text);
  }
  let sealed: SealedStore | undefined;
  const opened = () => {
    sealed = new SealedStore(store, { now, later });
  };
  const open = (): SealedStore => {
    if (sealed) return sealed;
    throw new TtmError("ENODEV", "open", `swap device encrypted ${store.name} is not open`);
  };
  const base: SwapDeviceBase = {
    name: `encrypted ${store.name}`,
    slots: store.slots,
    open: () => openSwap(store)?.then(opened) ?? opened(),
    discard: (ranges, end) => sealed?.discard(ranges, end),
    close() {
      sealed = undefined;
      return closeSwap(store);
    },
  };
  const sync = now !== undefined && store.sync;
  const { trim, memoryBytes } = store;
  const swap = {
    ...base,
    ...(trim && { trim }),
    ...(sync && {
      readSync: (runs) => open().readSync(runs),
      writeSync: (runs) => open().writeSync(runs),
    }),
    ...((store.async || !sync) && {
      queueDepth: Number.isFinite(store.queueDepth) && store.async ? store.queueDepth : QUEUE_DEPTH,
      read: async (runs, signal) => open().read(runs, signal),
      write: async (runs, signal) => open().write(runs, signal),
    }),
  } as SyncSwapDevice | AsyncSwapDevice;
  // Only what has it: a device with it is told of slots earlier.
  if (memoryBytes)
    Object.defineProperty(swap, "memoryBytes", { get: memoryBytes, enumerable: true });
  return swap;
}

/** A store that is called: linear memory is not, so its pages go elsewhere. */
function asCalled(store: Store): Store {
  if (!store.ram) return store;
  if (store.slots === 0) {
    throw new RangeError('encryptedSwap needs a size of ramSwap: ramSwap({ size: "64 MiB" })');
  }
  return adopt(heapSwap(store.name, store.slots));
}
