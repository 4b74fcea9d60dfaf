import { codecModule } from "./codec/module.ts";
import {
  type BuiltIn,
  createDevice as create,
  createDeviceSync as createSync,
  type DeviceOptions,
} from "./create.ts";
import type { Device } from "./device.ts";
import { engineModule } from "./engine/module.ts";

export { PAGE_SIZE } from "../assembly/abi.ts";
export type { Advice, AdviceRange } from "./advice.ts";
export type { BufferObject } from "./buffer_object.ts";
export type { Bytes } from "./bytes.ts";
export type { DeviceOptions } from "./create.ts";
export type { MapMisuse } from "./debug/checked_mapping.ts";
export type { DebugOptions } from "./debug/maps.ts";
export type { DebugfsName } from "./debugfs.ts";
export type { Device } from "./device.ts";
export type {
  BufferFromOptions,
  BufferOptions,
  CloseOptions,
  DeviceStats,
  ShrinkOptions,
} from "./device_options.ts";
export { TtmError, type TtmErrorCode, type TtmOperation } from "./errors.ts";
export type { EngineModule, HostSignal, Signal, View } from "./host_types.ts";
export type { MapOptions, Mapping } from "./mapping.ts";
export type { OperationOptions, RangeOptions } from "./options.ts";
export type { ReadingAdvice } from "./read_ahead.ts";
export type { Salvaged } from "./salvage.ts";
export type { Size } from "./size.ts";
export type { Streamable } from "./streamable.ts";
export type {
  BlobLike,
  BlobOptions,
  BodyLike,
  ByteSource,
  HostBlob,
  HostReadable,
  HostWritable,
  ReadableLike,
  WritableLike,
} from "./streams/types.ts";
export { type RamSwapOptions, ramSwap } from "./swap/ram.ts";
export type {
  AsyncSwapDevice,
  BlockSwapDevice,
  RamSwapDevice,
  ShortWrite,
  SlotRange,
  SwapDevice,
  SwapDeviceBase,
  SwapRun,
  SyncSwapDevice,
} from "./swap/types.ts";
export type { Declined, TrimMeans, Trimmed, TrimOptions } from "./trim/options.ts";
export type { Rss, TrimStats } from "./trim/trimmer.ts";
export type { Caching } from "./ttm/caching.ts";
export type { FaultOptions, FaultSite } from "./ttm/fault.ts";
export type {
  Trace,
  TraceEvent,
  TtmGlobal,
  TtmGlobalOptions,
  TtmStats,
} from "./ttm/global.ts";
export type { Limits, Watermarks } from "./ttm/limits.ts";
export type { PoolOptions } from "./ttm/pool.ts";

const BUILT_IN: BuiltIn = { engine: engineModule, codec: codecModule };

/**
 * Creates a device: its memory, sized once and for all, on a swap device.
 *
 * @throws TypeError, RangeError for an option that cannot be meant
 * @throws TtmError `ENOMEM` when the host has no room for the memory, `ENOSYS` when it has no WebAssembly
 *   or forbids to compile it; what the swap device fails with when it is opened, such as `EACCES`
 */
export async function createDevice(options: DeviceOptions): Promise<Device> {
  return create(options, BUILT_IN);
}

/**
 * Creates a device as `createDevice` does, at once.
 *
 * @throws TypeError, RangeError for an option that cannot be meant
 * @throws TtmError `ENOMEM` when the host has no room for the memory, `ENOSYS` when it has no WebAssembly
 *   or forbids to compile it; what the swap device fails with when it is opened, such as `EACCES`
 */
export function createDeviceSync(options: DeviceOptions): Device {
  return createSync(options, BUILT_IN);
}
