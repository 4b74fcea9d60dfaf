import { codecModule } from "../codec/module.ts";
import { type CompressedSwap, type CompressedSwapOptions, makeSwap } from "./compressed/device.ts";

export type {
  CompressedAlgorithm,
  CompressedSwap,
  CompressedSwapOptions,
  CompressedSwapStats,
} from "./compressed/device.ts";

/**
 * Swap space in memory beside the pool's, compressed: synchronous, and there on every host. What it
 * holds no more it gives back to the system, as far as the host has resizable ArrayBuffers.
 *
 * @throws TypeError, RangeError when an option is not what it should be. Opening it, in `createDevice`, fails with
 *   `ENOSYS` where WebAssembly may not be compiled, and no `module` was given
 */
export function compressedSwap(options: CompressedSwapOptions): CompressedSwap {
  return makeSwap(options, codecModule);
}
