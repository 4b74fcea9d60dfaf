export { PAGE_SIZE } from "../assembly/abi.ts";
export type { Advice, BufferObject, OperationOptions } from "./buffer_object.ts";
export type { Bytes } from "./bytes.ts";
export {
  type BufferOptions,
  type CloseOptions,
  createDevice,
  createDeviceSync,
  type Device,
  type DeviceOptions,
  type DeviceStats,
  type ShrinkOptions,
} from "./device.ts";
export { TtmError, type TtmErrorCode, type TtmOperation } from "./errors.ts";
export type { Mapping } from "./mapping.ts";
export type { Size } from "./size.ts";
export { type RamSwapOptions, ramSwap } from "./swap/ram.ts";
export type { BlockSwapDevice, RamSwapDevice, SwapDevice } from "./swap/types.ts";
export type { Signal } from "./ttm/task.ts";
