import { assertOptions } from "../options.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import type { RamSwapDevice } from "./types.ts";

/** Options of `ramSwap`. */
export interface RamSwapOptions {
  /** Swap space in bytes; rounded up to pages. Default: as much as the memory has page frames. */
  readonly size?: Size;
}

/**
 * Swap space in the same linear memory, behind the page frames. It gives no memory back to the host;
 * it is the fastest device, the one for tests and models, and the yardstick for the others.
 *
 * @throws TypeError, RangeError when `size` is not a size
 */
export function ramSwap(options: RamSwapOptions = {}): RamSwapDevice {
  assertOptions(options, ["size"], "ramSwap");
  const { size } = options;
  return {
    name: "ram",
    slots: size === undefined ? 0 : pagesOf(parseSize(size, "ramSwap size")),
    ram: true,
  };
}
