/*
 * The space behind the slots: who uses a swap device, what it is good for, and what it gets back. `slots` is
 * a promise that a store may break: what it refuses as full, it does not have, and what it took once, it has.
 */
import { BAD, LOST } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { TtmErrorCode } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import { type Adopted, isRam, sourceOf } from "./adopt.ts";
import type { BlockSwapDevice, SwapDevice } from "./types.ts";

/** Swap devices that are in use: two pools on one would mix their pages. */
const inUse = new WeakSet<SwapDevice>();

/**
 * Opens a swap device for one pool. A promise: it opens asynchronously.
 *
 * @throws TypeError when it is in use already; what its `open` throws
 */
export function openSwap(swap: Adopted): void | Promise<void> {
  if (isRam(swap)) return; // it has no state
  const source = sourceOf(swap);
  if (inUse.has(source)) {
    const text = `swap device ${swap.name} is in use by another device`;
    throw new TypeError(`${text}; create one for each, or a sibling of that device`);
  }
  inUse.add(source);
  const failed = (error: unknown): never => {
    inUse.delete(source);
    throw error;
  };
  try {
    const pending = swap.open?.();
    if (typeof pending?.then === "function") return Promise.resolve(pending).catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Once it is closed, another device may open it. */
export function closeSwap(swap: Adopted): void | Promise<void> {
  if (isRam(swap)) return;
  const closed = () => {
    inUse.delete(sourceOf(swap));
  };
  let pending: void | Promise<void>;
  try {
    pending = swap.close?.();
  } catch (error) {
    closed();
    throw error;
  }
  if (typeof pending?.then === "function") return Promise.resolve(pending).finally(closed);
  closed();
}

/** What of the slots can be had. */
export class SwapSpace {
  readonly #engine: Engine;
  /** The store behind the slots, if it is not linear memory, which keeps its promise. */
  readonly #store: Pick<BlockSwapDevice, "truncate"> | undefined;

  constructor(engine: Engine, swap: Adopted) {
    this.#engine = engine;
    this.#store = isRam(swap) ? undefined : swap;
  }

  /**
   * Free slots that new content may count on for exchange: such that the store has had a page in. As long
   * as no page is in swap only, none has to come back, and all count.
   */
  get spare(): number {
    const engine = this.#engine;
    return this.#store && engine.swappedPages > 0 ? engine.backedFree : engine.freeSlots;
  }

  /** Slots: those there are, without such that the store was too full for; and how many of them are free. */
  get slots(): { readonly total: number; readonly free: number } {
    const { freeSlots, geometry, lostSlots } = this.#engine;
    return { total: geometry.slots - lostSlots, free: freeSlots };
  }

  /**
   * With no slot left, lets some be taken that were set aside: up to `most` bad ones; or with `lost` one that
   * the store was too full for, as it may have room again. Returns why they were, or 0 when there are none.
   */
  retry(most: number, lost: boolean): number {
    let bad = 0;
    while (bad < most && this.#engine.slotRetry(false) > 0) bad++;
    if (bad > 0) return BAD;
    return lost ? this.#engine.slotRetry(true) : 0;
  }

  /** A write to slots failed that are free again. Only these two codes say something of them. */
  refused(slot: number, pages: number, code: TtmErrorCode): void {
    if (code === "ENOSPC") this.#engine.slotsAside(slot, pages, LOST);
    if (code === "EIO") this.#engine.slotsAside(slot, pages, BAD);
  }

  /** Slots were given back: so is their space, if it is much, or all. */
  trim(): void {
    const engine = this.#engine;
    const { usedSlots } = engine;
    if (usedSlots > 0 && usedSlots * 2 >= engine.slotsEnd) return;
    if (usedSlots === 0 && engine.lostSlots > 0) engine.slotsBack();
    const { slotsEnd } = engine;
    if (slotsEnd === 0 || !this.#store?.truncate) return;
    const slots = engine.slotsTrim();
    if (slots === slotsEnd) return;
    try {
      ignoreOutcome(this.#store.truncate(slots));
    } catch {
      // Best effort: nothing is lost, and there is nobody to hear it.
    }
  }
}
