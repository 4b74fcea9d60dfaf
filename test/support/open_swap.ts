/* A store that anybody can get at: for tests of what is made of pages that were changed there. */
import {
  type AsyncSwapDevice,
  PAGE_SIZE,
  type SlotRange,
  type SwapRun,
  type SyncSwapDevice,
} from "../../src/index.ts";
import { turn } from "./delays.ts";
import type { Random } from "./random.ts";

/** Pages by slot, to be looked at and changed. */
export class Pages extends Map<number, Uint8Array<ArrayBuffer>> {
  write(runs: readonly SwapRun[]): void {
    for (const [slot, page] of pagesOf(runs)) this.set(slot, page.slice());
  }

  read(runs: readonly SwapRun[]): void {
    for (const [slot, page] of pagesOf(runs)) page.set(this.of(slot));
  }

  of(slot: number): Uint8Array<ArrayBuffer> {
    const page = this.get(slot);
    if (!page) throw new Error(`slot ${slot} holds nothing`);
    return page;
  }
}

function* pagesOf(runs: readonly SwapRun[]): Generator<[number, Uint8Array<ArrayBuffer>]> {
  for (let { slot, views } of runs) {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        yield [slot++, view.subarray(at, at + PAGE_SIZE)];
      }
    }
  }
}

export type OpenSwap = SyncSwapDevice & { readonly pages: Pages };
export type OpenAsyncSwap = AsyncSwapDevice & { readonly pages: Pages };

/** What both have. */
function baseOf(pages: Pages, slots: number) {
  return {
    name: "open",
    slots,
    pages,
    discard(ranges: readonly SlotRange[]) {
      for (const { slot, pages: count } of ranges) {
        for (let at = slot; at < slot + count; at++) pages.delete(at);
      }
    },
    close: () => pages.clear(),
  };
}

export function openSwap(slots: number): OpenSwap {
  const pages = new Pages();
  return {
    ...baseOf(pages, slots),
    readSync: (runs) => pages.read(runs),
    writeSync: (runs) => pages.write(runs),
  };
}

export function openAsyncSwap(slots: number): OpenAsyncSwap {
  const pages = new Pages();
  return {
    ...baseOf(pages, slots),
    queueDepth: 4,
    async read(runs) {
      await turn();
      pages.read(runs);
    },
    async write(runs) {
      await turn();
      pages.write(runs);
    },
  };
}

/** What may become of a page in a store; each leaves it other than it was. */
export const HARMS: Readonly<Record<string, (random: Random, page: Uint8Array) => void>> = {
  "a bit that was flipped": (random, page) => {
    const at = random.below(page.length);
    page[at] = (page[at] as number) ^ (1 << random.below(8));
  },
  "all of it zeros": (_, page) => {
    page[0] = (page[0] as number) | 1; // lest it was zeros
    page.fill(0);
  },
  "a write torn within": (random, page) => {
    const from = random.below(page.length);
    const old = (page[from] as number) ^ 0xff;
    page.fill(old, from);
  },
};
