import {
  MAX_ORDER,
  NR_ORDERS,
  WALK_CACHING_SHIFT,
  WALK_DMA32,
  WALK_KEEP,
  WALK_POOL_SHIFT,
} from "../../assembly/abi.ts";
import { isPage } from "../engine/entry.ts";
import { show } from "../errors.ts";
import { assertBoolean, assertOptions, assertWhole } from "../options.ts";
import { assertStack } from "../stack.ts";
import { type Caching, COHERENT_TYPES, cachingCode } from "./caching.ts";
import type { DmaMapping } from "./dma.ts";
import { allocatedOf, countersOf, TtmGlobal } from "./global.ts";
import {
  type PageSource,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  type Tt,
} from "./tt.ts";

/** Options of a `Pool`. */
export interface PoolOptions {
  /** Chunks are allocated for coherent DMA and stay mapped while pooled; such a tt cannot be shrunk. */
  readonly coherent?: boolean;
  /** Pages come from the DMA32 zone only. */
  readonly dma32?: boolean;
  /** Orders to allocate, each 0..9, 0 among them. Default: all. `[9, 4, 0]` is the RFC's list. */
  readonly orders?: readonly number[];
  /** Largest order worth an effort, 0: no limit (beneficial_order). Chunks above it are not sought. */
  readonly beneficialOrder?: number;
}

/**
 * Where the pages of tts come from and go to (struct ttm_pool). Freed chunks whose caching is not the
 * default are kept, cleared, in a pool type for the next who wants that caching; coherent chunks
 * always. Cached ones are not pooled, as in the kernel: they go straight back to the allocator.
 */
export class Pool implements PageSource {
  /** What it shares with all pools on its memory. */
  readonly global: TtmGlobal;
  /** Whether its chunks are allocated for coherent DMA. */
  readonly coherent: boolean;
  /** Whether its pages come from the DMA32 zone only. */
  readonly dma32: boolean;
  readonly #orders: number;
  /** First of the pool types of its own, if it has some. */
  readonly #types: number;
  /** Coherent mappings, in use or pooled, by the address of their chunk. */
  readonly #mappings = new Map<number, DmaMapping>();
  /** Since when its own pool types are others': what comes back late goes to the system. */
  #closed = false;

  /**
   * @throws TypeError when `global` is no TtmGlobal, or of another copy of this package
   * @throws RangeError when an order is none
   */
  constructor(global: TtmGlobal, options: PoolOptions = {}) {
    if (!(global instanceof TtmGlobal)) {
      const text = "global must be the `global` of a device, and not of another copy of ttm-wasm";
      throw new TypeError(`${text}: import all of it, or require all of it`);
    }
    assertOptions(options, ["coherent", "dma32", "orders", "beneficialOrder"], "pool");
    const { coherent = false, dma32 = false, orders, beneficialOrder = 0 } = options;
    assertBoolean(coherent, "coherent");
    assertBoolean(dma32, "dma32");
    this.global = global;
    this.coherent = coherent;
    this.dma32 = dma32;
    this.#orders = orderMask(orders, beneficialOrder);
    const types = COHERENT_TYPES.map((type) => Object.freeze({ ...type, pool: this }));
    this.#types = coherent ? global.addTypes(types) : -1;
    Object.freeze(this);
  }

  /** @internal Pool type for a caching (ttm_pool_select_type), or -1: not pooled. */
  typeOf(caching: Caching): number {
    if (this.coherent) return this.#closed ? -1 : this.#types + cachingCode(caching);
    if (caching === "cached") return -1;
    return (caching === "wc" ? 0 : 1) + (this.dma32 ? 2 : 0);
  }

  /** @internal How the engine's walks are to treat pages of `tt`. */
  flags(tt: Tt): number {
    const { roomForClean } = this.global;
    return (
      this.#orders |
      (this.dma32 ? WALK_DMA32 : 0) |
      ((this.typeOf(tt.caching) + 1) << WALK_POOL_SHIFT) |
      (cachingCode(tt.caching) << WALK_CACHING_SHIFT) |
      (roomForClean ? WALK_KEEP : 0)
    );
  }

  /**
   * @internal
   * The same for pages that go to the system, not to a pool type; those for coherent DMA cannot.
   */
  flagsToSystem(tt: Tt): number {
    const types = ((1 << 8) - 1) << WALK_POOL_SHIFT;
    return this.coherent ? this.flags(tt) : this.flags(tt) & ~types;
  }

  /** @internal Orders it allocates, as a mask. */
  get orders(): number {
    return this.#orders;
  }

  /** @internal Free frames that it may allocate. */
  get free(): number {
    const { engine } = this.global;
    return this.dma32 ? engine.freeDma32 : engine.freePages;
  }

  /** @internal Pages in pool types that `tt` would take from, if it lacks so many. */
  pooledFor(tt: Tt, lacking: number): number {
    const type = this.typeOf(tt.caching);
    if (type < 0) return 0;
    let pages = 0;
    const most = Math.min(MAX_ORDER, 31 - Math.clz32(lacking));
    for (let order = 0; order <= most; order++) {
      pages += this.global.engine.poolCount(type, order) << order;
    }
    return pages;
  }

  /**
   * @internal
   * The mapping of a coherent chunk: made when it is new, kept as long as it is pooled.
   */
  coherentMapping(address: number, pages: number): DmaMapping {
    let mapping = this.#mappings.get(address);
    if (!mapping) {
      mapping = this.global.iommu.map(pages);
      this.#mappings.set(address, mapping);
    }
    return mapping;
  }

  /** @internal The chunk at `address` was given back before it was ever seen. */
  unmapHeld(address: number, mapping: DmaMapping): void {
    if (!this.coherent) this.global.iommu.unmap(mapping);
    else if (!this.global.engine.chunk(address).pooled) this.unpooled(address);
  }

  /**
   * @internal
   * Empties `tt` in whatever state it is: chunks go to their pools or the system, swap slots and the
   * chunk of an interrupted restore are freed (ttm_pool_free, ttm_pool_release_shrunken). It reads as
   * zeros afterwards. Returns frames freed.
   */
  release(tt: Tt): number {
    return this.#release(tt, this.flags(tt));
  }

  /**
   * @internal
   * Throws away the content of a tt: to the system, without swap space. Returns frames freed.
   */
  purge(tt: Tt): number {
    const { trace } = this.global;
    tt.purged ||= tt.vector >= 0;
    const freed = this.#release(tt, this.flagsToSystem(tt));
    countersOf(this.global).pagesPurged += freed;
    trace?.({ type: "purge", tt: tt.id, pages: freed });
    return freed;
  }

  #release(tt: Tt, flags: number): number {
    const freed = tt.vector < 0 ? 0 : this.#drop(tt, flags);
    tt.restore = undefined;
    tt.gaps = false;
    tt.flags &= ~(TT_FLAG_PRIV_POPULATED | TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED);
    return freed;
  }

  #drop(tt: Tt, flags: number): number {
    const { engine } = this.global;
    this.dropMappings(tt);
    const chunks = this.coherent ? this.#chunks(tt) : [];
    const freed = engine.vectorDrop(tt.vector, tt.numPages, flags);
    for (const address of chunks) {
      if (!engine.chunk(address).pooled) this.unpooled(address);
    }
    this.account(tt, 0 - tt.resident); // never -0, which is no small integer
    this.global.clean.delete(tt);
    this.global.vectors.remove(tt);
    tt.pool = undefined;
    this.global.space.trim();
    this.global.poolShrinker.drain(this.global.limits.pagePoolSize);
    return freed;
  }

  /**
   * @internal
   * Undoes the mappings of a tt that is no longer to be used for DMA; coherent ones stay.
   */
  dropMappings(tt: Tt): void {
    const held = tt.restore?.mapping;
    if (!this.coherent) {
      for (const mapping of tt.dma?.values() ?? []) this.global.iommu.unmap(mapping);
      if (held) this.global.iommu.unmap(held);
    }
    if (tt.restore) tt.restore.mapping = undefined;
    tt.dma?.clear();
  }

  /** Addresses of the chunks of a tt, the held one included. */
  #chunks(tt: Tt): number[] {
    const { engine } = this.global;
    const addresses: number[] = [];
    for (let i = 0; i < tt.numPages; ) {
      const entry = engine.entry(tt.vector + i);
      const address = isPage(entry) ? entry : engine.shadow(tt.vector + i);
      if (address !== 0) addresses.push(address);
      i += address === 0 ? 1 : 1 << engine.chunk(address).order;
    }
    return addresses;
  }

  /**
   * @internal
   * Entries [start, start + count) may be written: their copies in swap are no longer valid. With `keep`
   * they leave to the same slots again. Returns slots freed.
   */
  dirty(tt: Tt, start: number, count: number, keep: boolean): number {
    const { clean, engine } = this.global;
    if (!clean.has(tt)) return 0;
    assertStack();
    return engine.vectorDirty(tt.vector, tt.numPages, start, count, keep);
  }

  /** @internal Notes that `tt` holds `pages` more, or fewer. */
  account(tt: Tt, pages: number): void {
    tt.resident += pages;
    if (!tt.evictable) this.global.frames.stuck += pages;
    if (!tt.counted) return;
    const allocated = allocatedOf(this.global);
    allocated.pages += pages;
    if (this.dma32) allocated.dma32Pages += pages;
  }

  /** @internal A pooled chunk of its own has gone back to the allocator. */
  unpooled(address: number): void {
    const mapping = this.#mappings.get(address);
    if (!mapping) return;
    this.#mappings.delete(address);
    this.global.iommu.unmap(mapping);
  }

  /** Gives its own pooled chunks back; its tts must be released before (ttm_pool_fini). */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.coherent) this.global.removeTypes(this.#types, COHERENT_TYPES.length);
  }
}

/** The pool of a tt that has a vector. */
export function poolOf(tt: Tt): Pool {
  return tt.pool as Pool;
}

function orderMask(orders: readonly number[] | undefined, beneficialOrder: number): number {
  assertWhole(beneficialOrder, "beneficialOrder", 0, MAX_ORDER);
  const largest = beneficialOrder || MAX_ORDER;
  let mask = 0;
  for (const order of ordersOf(orders)) {
    if (!Number.isInteger(order) || order < 0 || order > MAX_ORDER) {
      throw new RangeError(
        `orders must be whole numbers from 0 to ${MAX_ORDER}, not ${show(order)}`,
      );
    }
    if (mask & (1 << order)) throw new RangeError(`orders name ${order} twice`);
    mask |= 1 << order;
  }
  if ((mask & 1) === 0) throw new RangeError("orders must include 0, the last resort");
  return mask & (2 * 2 ** largest - 1);
}

function ordersOf(orders: unknown): number[] {
  if (orders === undefined) return Array.from({ length: NR_ORDERS }, (_, order) => order);
  if (Array.isArray(orders) && orders.length <= NR_ORDERS) {
    // Holes come out as `undefined`.
    return Array.from({ length: orders.length }, (_, i) => orders[i]);
  }
  throw new TypeError(
    `orders must be an array of at most ${NR_ORDERS} orders, not ${show(orders)}`,
  );
}
