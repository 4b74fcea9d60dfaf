/*
 * The kernel's layer as it is under `Device` and `BufferObject`: pools, tts, shrinkers, limits, faults.
 * `device.global` is the `TtmGlobal` of a device; more pools and tts can be made on it.
 */
export type { Adopted } from "./swap/adopt.ts";
export type { Caching } from "./ttm/caching.ts";
export { type DmaMapping, Iommu } from "./ttm/dma.ts";
export type { Step, Steps } from "./ttm/driver.ts";
export { FAULT_SITES, FaultAttr, type FaultOptions, type FaultSite, Faults } from "./ttm/fault.ts";
export {
  type Allocated,
  type PoolType,
  type TraceEvent,
  TtmGlobal,
  type TtmGlobalOptions,
  type TtmStats,
} from "./ttm/global.ts";
export type { Limits, Watermarks } from "./ttm/limits.ts";
export {
  finiTt,
  kmapTt,
  type OperationContext,
  populateTt,
  populateTtSync,
  type ShrinkTtOptions,
  shrinkTt,
  shrinkTtSync,
  swapoutTt,
  swapoutTtSync,
  unpopulateTt,
} from "./ttm/operation.ts";
export { Pool, type PoolOptions } from "./ttm/pool.ts";
export { PoolShrinker } from "./ttm/pool_shrinker.ts";
export type { RestoreState } from "./ttm/restore.ts";
export {
  SHRINK_EMPTY,
  SHRINK_STOP,
  type ShrinkControl,
  type Shrinker,
  ShrinkerRegistry,
} from "./ttm/shrinker.ts";
export type { Transfer } from "./ttm/transfer.ts";
export {
  TT_FLAG_DONTNEED,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  TT_FLAG_ZERO_ALLOC,
  Tt,
  type TtOptions,
} from "./ttm/tt.ts";
export type { WaitQueue } from "./wait_queue.ts";
