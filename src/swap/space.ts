/*
 * The space behind the slots: who uses a swap device, what it is good for, what is on its way to it, and what it
 * gets back. `slots` is a promise that a store may break: what it refuses as full, it does not have, and what it
 * took once, it has.
 */
import { BAD, LOST, TRIM_SPARE } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { TtmErrorCode } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import { WaitQueue } from "../wait_queue.ts";
import { type Store, sourceOf } from "./store.ts";
import type { SlotRange, SwapDevice } from "./types.ts";

/** Swap devices that are in use: two pools on one would mix their pages. */
const inUse = new WeakSet<SwapDevice>();

/**
 * Opens a swap device for one pool. A promise: it opens asynchronously.
 *
 * @throws TypeError when it is in use already; what its `open` throws
 */
export function openSwap(store: Store): void | Promise<void> {
  const source = sourceOf(store);
  if (!source) return; // linear memory has no state
  if (inUse.has(source)) {
    const text = `swap device ${store.name} is in use by another device`;
    throw new TypeError(`${text}; create one for each, or a sibling of that device`);
  }
  inUse.add(source);
  const failed = (error: unknown): never => {
    inUse.delete(source);
    throw error;
  };
  try {
    const pending = store.open?.();
    if (typeof pending?.then === "function") return Promise.resolve(pending).catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Once it is closed, another device may open it. */
export function closeSwap(store: Store): void | Promise<void> {
  const source = sourceOf(store);
  if (!source) return;
  const closed = () => {
    inUse.delete(source);
  };
  let pending: void | Promise<void>;
  try {
    pending = store.close?.();
  } catch (error) {
    closed();
    throw error;
  }
  if (typeof pending?.then === "function") return Promise.resolve(pending).finally(closed);
  closed();
}

/** Of so many slots that the store may hold at least one has to be free before it is told. */
const DISCARD_SHIFT = 6;

/** And so many, of those in use, if the store lies in memory, which others could use. */
const DISCARD_EARLY_SHIFT = 5;

/** Who has a call to make, and can wait for its turn. */
interface Caller {
  wait(queue: WaitQueue, wants: undefined): Promise<void>;
}

/** The slots of one memory, and what becomes of them in its store. */
export class SwapSpace {
  readonly #engine: Engine;
  readonly #store: Store;
  /** Calls in flight, and those that wait for their turn. */
  #flying = 0;
  readonly #queue: WaitQueue = new WaitQueue();
  /** A discard under way: until it has settled nothing is written, and who wants to waits here. */
  #discarding: Promise<void> | undefined;
  /** Discards that the store has not returned from (a count): it may use the pool meanwhile. */
  #telling = 0;
  readonly #writers: WaitQueue = new WaitQueue();
  #closed = false;

  constructor(engine: Engine, store: Store) {
    this.#engine = engine;
    this.#store = store;
  }

  /** Whether a discard is under way, which a write has to wait for. */
  get discarding(): boolean {
    return this.#telling > 0 || this.#discarding !== undefined;
  }

  /**
   * Waits for the turn of an async call; `leave` is to be called after it. A promise only when there is
   * something to wait for.
   *
   * @throws TtmError what stopped the caller, when that comes first
   */
  enter(caller: Caller, out: boolean): void | Promise<void> {
    if (this.#flying < this.#store.queueDepth && !(out && this.discarding)) {
      this.#flying++;
      return undefined;
    }
    return this.#enterLater(caller, out);
  }

  /** For who waited: a discard may have been begun between its turn and this moment, which it waits for, too. */
  enterAgain(caller: Caller, out: boolean): void | Promise<void> {
    if (!out || !this.discarding) return undefined;
    this.leave();
    return this.enter(caller, out);
  }

  async #enterLater(caller: Caller, out: boolean): Promise<void> {
    for (;;) {
      if (out && this.discarding) await caller.wait(this.#writers, undefined);
      else if (this.#flying < this.#store.queueDepth) {
        this.#flying++;
        return;
      } else {
        await caller.wait(this.#queue, undefined); // whoever leaves hands its turn on
        return;
      }
    }
  }

  /** A call has settled. */
  leave(): void {
    const next = this.#queue.shift();
    if (next) next.wake();
    else this.#flying--;
  }

  /**
   * Free slots that new content may count on for exchange: such that the store has had a page in. As long
   * as no page is in swap only, none has to come back, and all count.
   */
  get spare(): number {
    const engine = this.#engine;
    return !this.#store.ram && engine.swappedPages > 0 ? engine.backedFree : engine.freeSlots;
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

  /**
   * Pages came back. The space of their slots stays with the device, as it does where they keep them: what came back
   * leaves again, and then a file would have to grow anew. Memory that others could use does not stay.
   */
  cameBack(): void {
    if (this.#store.inMemory) this.trim();
    else this.#tryLost();
  }

  /** Slots that were lost are tried again when nothing is in swap only: pages that keep slots can do without them. */
  #tryLost(): void {
    const engine = this.#engine;
    if (engine.lostSlots > 0 && engine.swappedPages === 0 && !this.#closed) engine.slotsBack();
  }

  /** Content was given up, and its slots: so is their space, if it is much, or all. */
  trim(): void {
    if (this.#closed) return;
    this.#tryLost();
    const engine = this.#engine;
    const { usedSlots } = engine;
    if (engine.slotsEnd === 0 || !this.#store.discard) return;
    if (usedSlots > 0 && !this.#holdsMuch(usedSlots)) return;
    const ranges = engine.slotsDiscard();
    // Slots count that a write on its way may have filled, although it has not said so yet.
    this.#discard(ranges, Math.max(engine.slotsReach - TRIM_SPARE, 0));
  }

  /**
   * Whether the store holds twice what is in use, or could be cut in half; one in memory, whether it holds a part more.
   * To go through the slots costs a step for 64 of them, so there has to be a part of them to give back, too.
   */
  #holdsMuch(used: number): boolean {
    const { backedFree, slotsEnd } = this.#engine;
    const enough = this.#store.inMemory ? used >>> DISCARD_EARLY_SHIFT : used;
    if (backedFree > enough && backedFree >= slotsEnd >>> DISCARD_SHIFT) return true;
    return used * 2 < slotsEnd && this.#engine.slotsReach * 2 <= slotsEnd;
  }

  #discard(ranges: readonly SlotRange[], end: number): void {
    const pending = this.#tell(ranges, end);
    ignoreOutcome(pending);
    const { async, short } = this.#store;
    // A synchronous device of the first edition is done when it returns, whatever that is.
    if (pending && (async || short)) {
      const discarding = Promise.allSettled([pending, this.#discarding]).then(() => {
        if (this.#discarding !== discarding) return;
        this.#discarding = undefined;
        this.#wakeWriters();
      });
      this.#discarding = discarding;
    } else this.#wakeWriters();
  }

  #tell(ranges: readonly SlotRange[], end: number): void | Promise<void> {
    this.#telling++;
    try {
      const pending = this.#store.discard?.(ranges, end);
      return typeof pending?.then === "function" ? pending : undefined;
    } catch {
      return; // best effort: nothing is lost, and there is nobody to hear it
    } finally {
      this.#telling--;
    }
  }

  #wakeWriters(): void {
    if (this.discarding) return;
    for (let next = this.#writers.shift(); next; next = this.#writers.shift()) next.wake();
  }

  /** Settles, never rejecting, when no discard is under way. */
  async discarded(): Promise<void> {
    while (this.#discarding) await this.#discarding;
  }

  /** Closes the store. Calls that end later have it asked for nothing more. */
  close(): void | Promise<void> {
    this.#closed = true;
    return closeSwap(this.#store);
  }
}
