import { MAX_ORDER, NR_ORDERS } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { PoolType } from "./caching.ts";
import { SHRINK_EMPTY, SHRINK_STOP, type ShrinkControl, type Shrinker } from "./shrinker.ts";

/** A memory with pool types: a `TtmGlobal`. */
export interface PoolMemory {
  /** @internal */
  readonly engine: Engine;
  /** Pool types by their index in the engine. */
  readonly types: readonly (PoolType | undefined)[];
}

/**
 * Gives pooled chunks back to the allocator, one list (type and order) after the other, so that none
 * is drained before the others (ttm_pool_shrinker_count, _scan).
 */
export class PoolShrinker implements Shrinker {
  /** For messages. */
  readonly name = "drm-ttm_pool";
  /** A pooled page costs little to get back. */
  readonly seeks = 1;
  /** Pages of one scan. */
  readonly batch: number = (1 << (MAX_ORDER >> 1)) * NR_ORDERS;
  readonly #memory: PoolMemory;
  #next = 0;

  /** A device has one: `global.poolShrinker`. */
  constructor(memory: PoolMemory) {
    this.#memory = memory;
    Object.freeze(this);
  }

  /** Pages in pools, or SHRINK_EMPTY. */
  countObjects(): number {
    return this.#memory.engine.pooledPages || SHRINK_EMPTY;
  }

  /** Frees about `nrToScan` pages; SHRINK_STOP when there were none. */
  scanObjects(control: ShrinkControl): number {
    let freed = 0;
    while (freed < control.nrToScan) {
      const pages = this.#freeOne();
      if (pages === 0) break;
      freed += pages;
    }
    control.nrScanned = freed;
    return freed || SHRINK_STOP;
  }

  /** Frees until at most `limit` pages are pooled. */
  drain(limit: number): void {
    while (this.#memory.engine.pooledPages > limit) this.#freeOne();
  }

  /** Frees one chunk of the next list that has one. Returns its pages, 0 when all are empty. */
  #freeOne(): number {
    const { engine, types } = this.#memory;
    const lists = types.length * NR_ORDERS;
    for (let tried = 0; tried < lists; tried++) {
      const list = this.#next % lists;
      this.#next = list + 1;
      const type = Math.floor(list / NR_ORDERS);
      const address = engine.poolShrink(type, list % NR_ORDERS);
      if (address === undefined) continue;
      types[type]?.pool?.unpooled(address);
      return 1 << (list % NR_ORDERS);
    }
    return 0;
  }
}
