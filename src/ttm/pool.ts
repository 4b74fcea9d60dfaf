import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { SwapDevice } from "../swap/types.ts";
import type { Released } from "./shrink.ts";
import type { Steps } from "./transfer.ts";
import { TT_FLAG_DONTNEED, type Tt } from "./tt.ts";

/** Running totals, in pages unless it says otherwise. */
export interface PoolStats {
  /** Pages written to swap. */
  pagesOut: number;
  /** Pages read from swap. */
  pagesIn: number;
  /** Pages thrown away because their buffers were marked `dontneed`. */
  pagesPurged: number;
  /** Restores that stopped on the way (a count). */
  interrupted: number;
  /** Restores that went on where an earlier one had stopped (a count). */
  resumed: number;
}

/**
 * Where the pages of tts come from and go to (struct ttm_pool). Cached pages are not pooled, as in
 * the kernel: they come from the engine's buddy allocator and go straight back to it.
 */
export class Pool {
  readonly engine: Engine;
  readonly swap: SwapDevice;
  /** Flags of the engine's walks. */
  readonly flags: number;
  readonly stats: PoolStats = {
    pagesOut: 0,
    pagesIn: 0,
    pagesPurged: 0,
    interrupted: 0,
    resumed: 0,
  };
  /** Frees frames of other tts when an allocation finds none; the device's business. */
  readonly reclaim: (pages: number) => Steps<Released>;

  constructor(
    engine: Engine,
    swap: SwapDevice,
    flags: number,
    reclaim: (pages: number) => Steps<Released>,
  ) {
    this.engine = engine;
    this.swap = swap;
    this.flags = flags;
    this.reclaim = reclaim;
  }

  /** Page frames in all (bytes). */
  get memory(): number {
    return this.engine.geometry.frames * PAGE_SIZE;
  }

  /**
   * Empties `tt` in whatever state it is: frames, swap slots and the chunk of an interrupted restore
   * are freed (ttm_pool_free, ttm_pool_release_shrunken). It reads as zeros afterwards. Returns
   * frames freed.
   */
  release(tt: Tt): number {
    if (tt.vector < 0) return 0;
    const freed = this.engine.vectorRelease(tt.vector, tt.numPages);
    tt.vector = -1;
    tt.resident = 0;
    tt.restore = undefined;
    tt.flags &= TT_FLAG_DONTNEED;
    return freed;
  }

  /** Throws away the content of a purgeable tt: needs no swap space. Returns frames freed. */
  purge(tt: Tt): number {
    tt.purged ||= tt.vector >= 0;
    const freed = this.release(tt);
    this.stats.pagesPurged += freed;
    return freed;
  }
}
