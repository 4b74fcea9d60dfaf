import type { View } from "../host_types.ts";

/**
 * Where pages go: a dumb block store of whole pages. Slot allocation, dirty state, retries and
 * checksums are the pool's business, so a device is 50 to 150 lines.
 *
 * Slots count from 1 to `slots`; slot 0 is never used, so a store may keep slot `s` at byte
 * `(s - 1) * PAGE_SIZE`. Rules:
 *
 * - `write` stores the views one after the other from `slot` on. When it fails, what the slots hold
 *   is unspecified, and the pages stay where they were.
 * - `read` fills all of the views or throws.
 * - Views are whole pages, and valid only until the call returns or its promise settles.
 * - No two calls overlap on a slot. A slot is read only after it was written.
 * - What a device throws reaches the user as the `cause` of a `TtmError`, whose code is the error's
 *   own `code` when that is `ENOSPC`, `ENOMEM`, `EINTR` or the like, and `EIO` otherwise.
 */
export interface BlockSwapDevice {
  /** For messages and statistics. */
  readonly name: string;
  /** Capacity in pages. */
  readonly slots: number;
  /** True when `read` and `write` return promises. */
  readonly async?: boolean;
  /** Called once, when a device is created on it. */
  open?(): void;
  /** Stores whole pages, one view after the other, from `slot` on. A promise if `async` is true. */
  write(slot: number, views: readonly View[]): void | Promise<void>;
  /** Fills the views with whole pages from `slot` on, or throws. A promise if `async` is true. */
  read(slot: number, views: readonly View[]): void | Promise<void>;
  /** Asks the store to write back what it buffers; best effort, called by the background loop. */
  flush?(): void | Promise<void>;
  /** Called once, when the device on it is closed. */
  close?(): void | Promise<void>;
}

/** Swap space inside linear memory itself: the engine copies. See `ramSwap`. */
export interface RamSwapDevice {
  /** For messages and statistics. */
  readonly name: "ram";
  /** Capacity in pages; 0: as many as there are page frames. */
  readonly slots: number;
  /** Tells it from a block device. */
  readonly ram: true;
}

/** Where the pages of a device go: a store of blocks, or space in the same linear memory. */
export type SwapDevice = BlockSwapDevice | RamSwapDevice;

export function isRam(swap: SwapDevice): swap is RamSwapDevice {
  return "ram" in swap;
}
