/* Swap devices that only benchmarks need. */
import { type BlockSwapDevice, PAGE_SIZE } from "../src/index.ts";

/**
 * Swap space outside the linear memory that starts over at its end: it really copies, into pages that
 * are not in any cache, but what it holds of more than `bytes` is overwritten. For costs of sizes that
 * would not fit twice into this machine; what comes back is somebody else's, so no checksums.
 */
export function wrappingStore(slots: number, bytes: number): BlockSwapDevice {
  const { buffer } = new WebAssembly.Memory({ initial: bytes / 65536 });
  const store = new Uint8Array(buffer).fill(1);
  const at = (slot: number) => ((slot - 1) * PAGE_SIZE) % bytes;
  const pieces = (slot: number, views: readonly Uint8Array[], move: Move) => {
    let from = at(slot);
    for (const view of views) {
      for (let done = 0; done < view.length; ) {
        const length = Math.min(view.length - done, bytes - from);
        move(view.subarray(done, done + length), from);
        done += length;
        from = (from + length) % bytes;
      }
    }
  };
  return {
    name: "wrapping",
    slots,
    write(slot, views) {
      pieces(slot, views, (view, from) => store.set(view, from));
    },
    read(slot, views) {
      pieces(slot, views, (view, from) => view.set(store.subarray(from, from + view.length)));
    },
  };
}

type Move = (view: Uint8Array, at: number) => void;
