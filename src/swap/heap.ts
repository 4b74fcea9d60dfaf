import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { View } from "../host_types.ts";
import type { SyncSwapDevice } from "./types.ts";

/** Pages of a piece of memory that is allocated, and given back, together: 256 KiB. */
const PIECE_PAGES = 64;

/** Swap space in the heap of JavaScript, allocated as it is used. */
export function heapSwap(name: string, slots: number): SyncSwapDevice {
  const pieces = new Map<number, View>();
  const pageOf = (slot: number, make: boolean): View => {
    const index = Math.floor((slot - 1) / PIECE_PAGES);
    let piece = pieces.get(index);
    if (!piece) {
      if (!make) throw new Error(`slot ${slot} holds nothing`);
      piece = new Uint8Array(PIECE_PAGES * PAGE_SIZE);
      pieces.set(index, piece);
    }
    const at = ((slot - 1) % PIECE_PAGES) * PAGE_SIZE;
    return piece.subarray(at, at + PAGE_SIZE);
  };
  return {
    name,
    slots,
    writeSync(runs) {
      for (let { slot, views } of runs) {
        for (const view of views) {
          for (let at = 0; at < view.length; at += PAGE_SIZE) {
            pageOf(slot++, true).set(view.subarray(at, at + PAGE_SIZE));
          }
        }
      }
    },
    readSync(runs) {
      for (let { slot, views } of runs) {
        for (const view of views) {
          for (let at = 0; at < view.length; at += PAGE_SIZE) view.set(pageOf(slot++, false), at);
        }
      }
    },
    discard(_, end) {
      // Like a file: what lies before something that is kept stays.
      for (const index of pieces.keys()) if (index * PIECE_PAGES >= end) pieces.delete(index);
    },
    close: () => pieces.clear(),
  };
}
