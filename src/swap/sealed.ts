/*
 * A store whose pages are sealed on their way out, and opened on their way back: each by itself, since they come back
 * in other runs than they went. What is stored has the size of what was given, so slots stay slots; what vouches for it
 * stays here.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { TtmError } from "../errors.ts";
import type { HostSignal, View } from "../host_types.ts";
import type { Aes, Ciphers, Context, Sealed } from "./aes.ts";
import { NONCE_BYTES, Seals, TAG_BYTES } from "./seals.ts";
import { type Store, shortOf } from "./store.ts";
import type { ShortWrite, SlotRange, SwapRun } from "./types.ts";

/** Bytes of the largest call: 1 MiB. Room for one is kept, and used again. */
const CALL_BYTES = 256 * PAGE_SIZE;
const KEY_BYTES = 32;

/** A page of a call: where it is to be, or is, and what is on its way to or from the store. */
interface Page {
  readonly slot: number;
  readonly view: View;
  readonly sealed: View;
}

/** A call on its way: its pages, room for what is stored of them, and the runs that it goes in. */
interface Call {
  readonly pages: readonly Page[];
  readonly room: View;
  readonly runs: readonly SwapRun[];
}

/** The seal that a page was given, which counts once the page is stored. */
interface Seal {
  readonly number: number;
  readonly tag: View;
}

/** A key that was made for one opening of a device, and is nowhere else; and all that it sealed. */
export class SealedStore {
  readonly #store: Store;
  readonly #seals: Seals;
  readonly #now: Aes<false> | undefined;
  readonly #later: Aes<true> | undefined;
  #room: View | undefined;
  readonly #nonce: View = new Uint8Array(NONCE_BYTES);
  readonly #beside: View = new Uint8Array(4);

  /** @param seals none yet */
  constructor(store: Store, { now, later }: Ciphers, seals: Seals = new Seals()) {
    this.#store = store;
    this.#seals = seals;
    const key = globalThis.crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    this.#now = now?.(key);
    this.#later = this.#now ? undefined : later?.(key);
    key.fill(0);
  }

  /** As `SyncSwapDevice.writeSync`; a promise if that of the store is one. */
  writeSync(runs: readonly SwapRun[]): void | ShortWrite | Promise<void | ShortWrite> {
    const call = this.#begin(runs);
    let seals: readonly Seal[] = [];
    return this.#finish(
      call,
      () => {
        seals = call.pages.map((page) => this.#sealNow(page));
        return this.#each(call, (part) => this.#store.writeSync(part));
      },
      (value) => this.#stored(call, seals, value),
      () => this.#lost(call),
    );
  }

  /** As `SyncSwapDevice.readSync`; a promise if that of the store is one. */
  readSync(runs: readonly SwapRun[]): void | Promise<void> {
    this.#assertSealed(runs);
    const call = this.#begin(runs);
    return this.#finish(
      call,
      () => this.#each(call, (part) => this.#store.readSync(part)),
      () => {
        for (const page of call.pages) this.#openNow(page);
      },
    );
  }

  /** As `AsyncSwapDevice.write`. */
  async write(runs: readonly SwapRun[], signal?: HostSignal): Promise<void | ShortWrite> {
    const call = this.#begin(runs);
    const { pages } = call;
    try {
      const seals = this.#now
        ? pages.map((page) => this.#sealNow(page))
        : await all(pages.map((page) => this.#sealLater(page)));
      const value = await this.#each(call, (part) => this.#store.write(part, signal));
      return this.#stored(call, seals, value);
    } catch (error) {
      this.#lost(call);
      throw error;
    } finally {
      this.#end(call);
    }
  }

  /** As `AsyncSwapDevice.read`. */
  async read(runs: readonly SwapRun[], signal?: HostSignal): Promise<void> {
    this.#assertSealed(runs);
    const call = this.#begin(runs);
    const { pages } = call;
    try {
      await this.#each(call, (part) => this.#store.read(part, signal));
      if (this.#now) for (const page of pages) this.#openNow(page);
      else await all(pages.map((page) => this.#openLater(page)));
    } finally {
      this.#end(call);
    }
  }

  /** As `SwapDeviceBase.discard`. */
  discard(ranges: readonly SlotRange[], end: number): void | Promise<void> {
    this.#seals.forget(ranges);
    return this.#store.discard?.(ranges, end);
  }

  /** Room for the pages of a call, side by side, run by run. */
  #begin(runs: readonly SwapRun[]): Call {
    const bytes = runs.reduce((sum, { views }) => sum + lengthOf(views), 0);
    let room = this.#room;
    this.#room = undefined;
    if (!room || room.length < bytes) room = new Uint8Array(Math.max(bytes, CALL_BYTES));
    const pages: Page[] = [];
    let at = 0;
    const stored = runs.map(({ slot, views }) => {
      const from = at;
      for (const view of views) {
        for (let done = 0; done < view.length; done += PAGE_SIZE) {
          pages.push({
            slot: slot + (at - from) / PAGE_SIZE,
            view: view.subarray(done, done + PAGE_SIZE),
            sealed: (room as View).subarray(at, at + PAGE_SIZE),
          });
          at += PAGE_SIZE;
        }
      }
      return { slot, views: [(room as View).subarray(from, at)] };
    });
    return { pages, room, runs: stored };
  }

  /** The call has settled: its room may be used again. */
  #end({ room }: Call): void {
    this.#room ??= room;
  }

  /**
   * Does what a Sync call does, and what comes after it, then or when its promise has settled: a device that has both
   * pairs may return one where it cannot be done on the spot.
   */
  #finish<T>(
    call: Call,
    work: () => unknown,
    then: (value: unknown) => T,
    failed?: () => unknown,
  ): T | Promise<T> {
    let waits = false;
    try {
      const value = work();
      if (typeof (value as Promise<unknown> | undefined)?.then !== "function") return then(value);
      waits = true;
      return Promise.resolve(value)
        .catch((error) => {
          failed?.();
          throw error;
        })
        .then(then)
        .finally(() => this.#end(call));
    } catch (error) {
      failed?.();
      throw error;
    } finally {
      if (!waits) this.#end(call);
    }
  }

  /** Hands the runs of a call on: all of them, or one by one to a store that takes no more. */
  #each({ runs }: Call, make: (runs: readonly SwapRun[]) => unknown): unknown {
    if (runs.length <= this.#store.runs) return make(runs);
    let pending: Promise<unknown> | undefined;
    for (const run of runs) {
      if (pending) pending = pending.then(() => make([run]));
      else {
        const value = make([run]);
        if (typeof (value as Promise<unknown> | undefined)?.then === "function")
          pending = Promise.resolve(value);
      }
    }
    return pending?.then(() => {});
  }

  /** Takes down what was stored; of what was not, nobody knows what its slots hold. */
  #stored({ pages }: Call, seals: readonly Seal[], value: unknown): void | ShortWrite {
    const short = this.#store.short ? shortOf(value, pages.length) : undefined;
    const count = short ? short.pages : pages.length;
    for (const [i, { slot }] of pages.entries()) {
      const { number, tag } = seals[i] as Seal;
      if (i < count) this.#seals.set(slot, number, tag);
      else this.#seals.forget([{ slot, pages: 1 }]);
    }
    return short;
  }

  /** A write failed. */
  #lost({ pages }: Call): void {
    for (const { slot } of pages) this.#seals.forget([{ slot, pages: 1 }]);
  }

  #sealNow({ slot, view, sealed }: Page): Seal {
    const number = this.#seals.next();
    const { bytes, tag } = (this.#now as Aes<false>).seal(view, this.#context(slot, number));
    return keep(number, { bytes, tag }, sealed);
  }

  async #sealLater({ slot, view, sealed }: Page): Promise<Seal> {
    const number = this.#seals.next();
    const aes = this.#later as Aes<true>;
    return keep(number, await aes.seal(view, this.#ownContext(slot, number)), sealed);
  }

  #openNow({ slot, view, sealed }: Page): void {
    const [number, tag] = [this.#seals.numberOf(slot), this.#seals.tagOf(slot)];
    const aes = this.#now as Aes<false>;
    const page = aes.open({ bytes: sealed, tag }, this.#context(slot, number));
    if (!page) throw this.#changed(slot);
    view.set(page);
  }

  async #openLater({ slot, view, sealed }: Page): Promise<void> {
    const [number, tag] = [this.#seals.numberOf(slot), this.#seals.tagOf(slot)];
    const aes = this.#later as Aes<true>;
    const page = await aes.open({ bytes: sealed, tag }, this.#ownContext(slot, number));
    if (!page) throw this.#changed(slot);
    view.set(page);
  }

  /** What a page is sealed with in a slot: made anew in the same place, for a cipher that is done when it returns. */
  #context(slot: number, number: number): Context {
    this.#seals.nonce(number, this.#nonce);
    for (let i = 0; i < 4; i++) this.#beside[i] = (slot >>> (8 * i)) & 0xff;
    return { nonce: this.#nonce, beside: this.#beside };
  }

  #ownContext(slot: number, number: number): Context {
    const { nonce, beside } = this.#context(slot, number);
    return { nonce: nonce.slice(), beside: beside.slice() };
  }

  /** @throws TtmError EIO for a slot that holds nothing that was sealed for it, and is there by now */
  #assertSealed(runs: readonly SwapRun[]): void {
    for (const { slot, views } of runs) {
      const end = slot + lengthOf(views) / PAGE_SIZE;
      for (let at = slot; at < end; at++) if (this.#seals.numberOf(at) === 0) throw this.#none(at);
    }
  }

  #none(slot: number): TtmError {
    const text = `slot ${slot} of swap device ${this.#store.name} holds no page, or one whose write failed`;
    return new TtmError("EIO", "restore", text);
  }

  #changed(slot: number): TtmError {
    const text =
      `what came back from slot ${slot} of swap device ${this.#store.name} is not what was sealed for it: ` +
      "it was changed, or it is of another slot, or of an earlier time";
    return new TtmError("EIO", "restore", text);
  }
}

function lengthOf(views: readonly View[]): number {
  return views.reduce((sum, { length }) => sum + length, 0);
}

/** Puts what a cipher gave to where it leaves from. */
function keep(number: number, { bytes, tag }: Sealed, sealed: View): Seal {
  if (bytes.length !== sealed.length || tag.length !== TAG_BYTES) {
    throw new Error(`the cipher gave ${bytes.length} and ${tag.length} bytes`);
  }
  sealed.set(bytes);
  return { number, tag };
}

/** Waits for all, also when one fails: none has a later effect. Rejects with the first failure. */
async function all<T>(pending: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(pending);
  return Promise.all(pending);
}
