/*
 * The exchange area (assembly/exchange.ts), as the host reads and writes it: extents of the last prepare, and the
 * items of a shrink.
 */
import * as abi from "../../assembly/abi.ts";

/** Whose vector it is. Vectors are moved: where one begins is looked up for each call, and kept nowhere else. */
export interface VectorHolder {
  readonly vector: number;
}

/** A run of pages side by side in memory, in swap and in their vector. `at`: pages of the batch before it. */
export interface Extent {
  readonly address: number;
  readonly slot: number;
  readonly pages: number;
  readonly at: number;
}

/** One vector of a shrink batch: where its walk starts, ended, and what it released (pages). */
export interface ShrinkItem {
  readonly tt: VectorHolder;
  readonly entries: number;
  readonly start: number;
  next: number;
  released: number;
}

const ITEM_WORDS = abi.ITEM_BYTES / 4;
const EXTENT_WORDS = abi.EXTENT_BYTES / 4;

/** Views on it, and what they mean. */
export class Exchange {
  readonly #items: Uint32Array;
  readonly #extents: Uint32Array;

  constructor(memory: ArrayBuffer) {
    this.#items = new Uint32Array(memory, abi.ITEMS, ITEM_WORDS * abi.ITEMS_MAX);
    this.#extents = new Uint32Array(memory, abi.EXTENTS, EXTENT_WORDS * abi.EXTENTS_MAX);
  }

  /** Extent `index` of those that were written last; `base`: pages of the batch before all of them. */
  extent(index: number, base: number): Extent {
    const at = index * EXTENT_WORDS;
    const words = this.#extents;
    return {
      address: words[at + abi.X_ADDRESS] as number,
      slot: words[at + abi.X_SLOT] as number,
      pages: words[at + abi.X_PAGES] as number,
      at: (words[at + abi.X_AT] as number) + base,
    };
  }

  /** Writes the items of a batch down. */
  putItems(items: readonly ShrinkItem[]): void {
    let at = 0;
    for (const { tt, entries, start, next } of items) {
      this.#items[at + abi.I_VECTOR] = tt.vector;
      this.#items[at + abi.I_ENTRIES] = entries;
      this.#items[at + abi.I_START] = start;
      this.#items[at + abi.I_NEXT] = next;
      at += ITEM_WORDS;
    }
  }

  /** Notes where the walk of each item has ended. */
  takeNext(items: readonly ShrinkItem[]): void {
    items.forEach((item, i) => {
      item.next = this.#items[i * ITEM_WORDS + abi.I_NEXT] as number;
    });
  }

  /** Notes how many pages of each item were released. */
  takeReleased(items: readonly ShrinkItem[]): void {
    items.forEach((item, i) => {
      item.released = this.#items[i * ITEM_WORDS + abi.I_RELEASED] as number;
    });
  }
}
