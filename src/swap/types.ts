import type { HostSignal, View } from "../host_types.ts";

/** Pages that lie side by side in swap, from `slot` on: `views` one after the other. */
export interface SwapRun {
  /** Slot of the first page, from 1 on. */
  readonly slot: number;
  /** Whole pages in linear memory; good until the call has settled, and not to be kept or posted. */
  readonly views: readonly View[];
}

/** Slots side by side. */
export interface SlotRange {
  /** The first one, from 1 on. */
  readonly slot: number;
  /** How many (pages). */
  readonly pages: number;
}

/** What a write returns that stored only the first pages of its runs, in order. */
export interface ShortWrite {
  /** Pages that were stored, 0 or more, fewer than it was asked for. */
  readonly pages: number;
  /** Why it stopped: what a write that stored nothing would throw. */
  readonly error: unknown;
}

/**
 * Where pages go: a dumb store of pages by number. Slots, dirty state, retries and checksums are the pool's
 * business, so a device is 50 to 150 lines. It has `readSync` and `writeSync`, or `read` and `write`, or
 * both pairs; a Sync operation needs the first.
 *
 * Slots count from 1 to `slots`; slot 0 is never used, so a store may keep slot `s` at byte
 * `(s - 1) * PAGE_SIZE`. Rules for the pool:
 *
 * - A call carries runs of slots, at most 256 pages in all. Views are whole pages, and lie in one large memory:
 *   to post a view, or to keep one, takes all of that along; copy the bytes.
 * - No two calls overlap on a slot, discards included. A slot is read only after it was written; but reads
 *   may come in other runs than the writes went out, so a store of records that hold several pages each has to
 *   find the pages in them (`ttm-wasm/testing` shows how).
 * - Fields are read, and methods looked for, once, when a pool is created on the device.
 * - A device object serves one pool at a time: a second is refused before it is opened.
 *
 * Rules for the device:
 *
 * - A call that has settled has no later effect. Until then its slots and frames are set aside, also when
 *   the caller has long been told that its operation was aborted.
 * - A write that throws has stored nothing that counts: what the slots hold is unspecified, and the pages stay
 *   where they were. One that stored the first pages may say so (`ShortWrite`).
 * - A read fills all of the views or throws.
 * - What it throws reaches the user as the `cause` of a `TtmError`. Its code tells full (`ENOSPC`: also
 *   `EDQUOT`, `EFBIG`, `QuotaExceededError`, ...), denied (`EPERM`, `EACCES`) and gone (`ENOENT`, `ENODEV`)
 *   from what else there is; what is not known is `EIO`. A Sync call that would have to wait throws `EWOULDBLOCK`.
 * - `slots` may be more than the store turns out to have. What it has taken when it first refuses a write as full
 *   is its capacity from then on; now and then a page shows whether there is more. Slots whose write failed
 *   otherwise are used again when no others are free.
 */
export interface SwapDeviceBase {
  /** For messages and statistics. */
  readonly name: string;
  /** Capacity in pages, 1 to 2^31 - 1: a promise, which the store may break by refusing a write as full. */
  readonly slots: number;
  /**
   * Called once, when a pool is created on it. What others may not have at the same time, it takes here: a second
   * user of one file, key prefix or database is an error now, not lost bytes later. A promise is awaited by
   * `createDevice`; `createDeviceSync` refuses such a device.
   */
  open?(): void | Promise<void>;
  /**
   * Slots that hold nothing any more, in ascending order: their space may go. Called when that is half of what
   * the store holds, or all of it; a small part of it, if that takes memory (`memoryBytes`). `end`: the last slot
   * that still holds something, 0 when none does. Best effort: what it throws is ignored. Writes wait for its promise.
   */
  discard?(ranges: readonly SlotRange[], end: number): void | Promise<void>;
  /**
   * Gives memory of the host back that it has and does not need now, buffers of its own for one. Returns bytes. Called
   * when a device is trimmed, at any time; what it throws is told there, and changes nothing.
   */
  trim?(): number | Promise<number>;
  /** Memory of the host that what it holds takes (bytes), for a store that lies there; looked at now and then. */
  readonly memoryBytes?: number;
  /** Called once, when the pool is closed. Nothing of the content should stay anywhere. */
  close?(): void | Promise<void>;
}

/** A swap device that is done when a call returns. */
export interface SyncSwapDevice extends SwapDeviceBase {
  /** Fills the views of all runs, or throws. */
  readSync(runs: readonly SwapRun[]): void;
  /** Stores the views of all runs, or throws, or says how far it came. */
  writeSync(runs: readonly SwapRun[]): void | ShortWrite;
}

/** A swap device whose calls take time. */
export interface AsyncSwapDevice extends SwapDeviceBase {
  /** Calls that it likes to have in flight at the same time, all operations together: 1 to 1024. */
  readonly queueDepth: number;
  /** Fills the views of all runs, or rejects. `signal`: nobody waits for it any more; it may give up. */
  read(runs: readonly SwapRun[], signal?: HostSignal): Promise<void>;
  /** Stores the views of all runs, or rejects, or says how far it came. `signal`: as for `read`. */
  write(runs: readonly SwapRun[], signal?: HostSignal): Promise<void | ShortWrite>;
}

/**
 * The first edition of the contract: one run a call, and a flag that says whether calls return promises. A
 * device without `readSync` and without `queueDepth` is taken for one.
 *
 * @deprecated implement `SyncSwapDevice` or `AsyncSwapDevice`
 */
export interface BlockSwapDevice {
  /** For messages and statistics. */
  readonly name: string;
  /** Capacity in pages. */
  readonly slots: number;
  /** True when `read` and `write` return promises. */
  readonly async?: boolean;
  /** Stores whole pages, one view after the other, from `slot` on. A promise if `async` is true. */
  write(slot: number, views: readonly View[]): void | Promise<void>;
  /** Fills the views with whole pages from `slot` on, or throws. A promise if `async` is true. */
  read(slot: number, views: readonly View[]): void | Promise<void>;
  /**
   * No slot above `slots` (0: none at all) holds anything now: their space may go. Called when that is half
   * of what was written or more. Must be done when it returns.
   */
  truncate?(slots: number): void;
  /** Called once, when a pool is created on it. */
  open?(): void;
  /** Called once, when the pool is closed. */
  close?(): void | Promise<void>;
}

/** Swap space inside linear memory itself: the engine copies. See `ramSwap`. */
export interface RamSwapDevice {
  /** For messages and statistics. */
  readonly name: "ram";
  /** Capacity in pages; 0: as many as there are page frames. */
  readonly slots: number;
  /** Tells it from a device with calls of its own. */
  readonly ram: true;
}

/** Where the pages of a device go. */
export type SwapDevice = SyncSwapDevice | AsyncSwapDevice | BlockSwapDevice | RamSwapDevice;
