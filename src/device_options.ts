/* Options of a device's calls, and what it tells of itself. */
import type { Signal } from "./host_types.ts";
import { assertBoolean, assertOptions } from "./options.ts";
import type { Size } from "./size.ts";
import type { TrimStats } from "./trim/trimmer.ts";
import type { Caching } from "./ttm/caching.ts";
import type { TtmStats } from "./ttm/global.ts";

/** Options of `createBuffer`. */
export interface BufferOptions {
  /** How the CPU caches its pages; simulated, and pooled by it. Default: cached. */
  readonly caching?: Caching;
  /** Gives its pages bus addresses while they are in memory; simulated. Default: no. */
  readonly dma?: boolean;
  /** 0..3, default 0; buffers of a lower priority are reclaimed first. */
  readonly priority?: number;
}

/** Options of `bufferFrom`: those of the buffer, and these. */
export interface BufferFromOptions extends BufferOptions {
  /** Bytes that the source has at most; a buffer of that size is filled without a copy. */
  readonly size?: Size;
  /** Once aborted, all that was made is destroyed, and it fails with EINTR. */
  readonly signal?: Signal | undefined;
}

/** Options of `shrink`. */
export interface ShrinkOptions {
  /** Pages to release; a chunk leaves whole, so it may be more. Default: all that can be. */
  readonly pages?: number;
  /** Looked at between two transfers; once aborted, it returns what left, or fails with EINTR. */
  readonly signal?: Signal | undefined;
  /** Give what is free then back to the host, as `trim` does. Default: no. */
  readonly trim?: boolean;
}

/** What `stats()` tells: pages unless it says otherwise. */
export interface DeviceStats extends TtmStats {
  /** Frames: in all, free, in pools, and in memory with a valid copy in swap. */
  readonly pages: {
    readonly total: number;
    readonly free: number;
    readonly pooled: number;
    readonly clean: number;
  };
  /** Swap slots: as many as the swap device promised, less those that it was too full for; and free ones. */
  readonly slots: { readonly total: number; readonly free: number };
  /** Buffers alive (a count). */
  readonly buffers: number;
  /** Pages whose caching was changed, and in how many runs. */
  readonly caching: { readonly pages: number; readonly runs: number };
  /** DMA mappings alive (a count). */
  readonly mappings: number;
  /** Linear memory (bytes): page frames, metadata and RAM swap. */
  readonly memoryBytes: number;
  /** What was given back to the host, and how. */
  readonly trim: Readonly<TrimStats>;
}

/** Options of `close`. */
export interface CloseOptions {
  /**
   * Destroy buffers that are alive, pinned and mapped ones too, and abort operations in flight (EINTR).
   * Default: refuse while buffers are alive, and wait for operations.
   */
  readonly force?: boolean;
}

export const BUFFER_OPTIONS: readonly (keyof BufferOptions)[] = ["caching", "dma", "priority"];
export const SHRINK_OPTIONS: readonly (keyof ShrinkOptions)[] = ["pages", "signal", "trim"];
const CLOSE_OPTIONS: readonly (keyof CloseOptions)[] = ["force"];

/** @throws TypeError for options of `close` that cannot be meant */
export function forced(options: CloseOptions): boolean {
  assertOptions(options, CLOSE_OPTIONS, "close");
  const { force = false } = options;
  assertBoolean(force, "force");
  return force;
}
