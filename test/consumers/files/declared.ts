/* Everything here has the type that is inferred: the declarations that are emitted must be able to name it. */
import { createDevice, createDeviceSync, ramSwap, TtmError } from "ttm-wasm";
import { fileSwap } from "ttm-wasm/swap/file";
import { Pool, Tt } from "ttm-wasm/ttm";

export const promised = createDevice({ memory: "1 MiB", swap: fileSwap({ size: "1 MiB" }) });
export const device = createDeviceSync({ memory: "1 MiB", swap: ramSwap() });
export const global = device.global;
export const { limits, faults, types } = global;
export const buffer = device.createBuffer("64 KiB");
export const mapped = buffer.mapSync();
export const segments = mapped.segments;
export const stats = device.stats();
export const pool = new Pool(global);
export const tt = new Tt(1);
export const swap = ramSwap();
export const create = () => ({ device, global, buffer, mapped, pool, tt });
export const failed = (error: unknown) => (error instanceof TtmError ? error : undefined);
export class Cache {
  readonly device = createDevice({ memory: "1 MiB" });
  buffers = [buffer];
}
