import * as abi from "../../assembly/abi.ts";
import { formatSize } from "../size.ts";

/**
 * Sizes of an engine: page frames, swap slots, vector entries; whether slots lie in memory too; and how
 * many of the frames, the first ones, are the DMA32 zone.
 */
export interface EngineGeometry {
  readonly frames: number;
  readonly slots: number;
  readonly entries: number;
  readonly ram: boolean;
  readonly dma32: number;
}

const WASM_PAGE = 65536;
/** The last wasm page of 4 GiB stays out of use. */
const WASM_PAGES_MAX = 65535;
/** Bytes of linear memory that a geometry comes to, for a first look and for people. */
function parts({ frames, slots, entries, ram }: EngineGeometry) {
  const bits = ((slots + entries) / 8) * (1 + 1 / 63) + (3 * slots) / 8;
  return {
    memory: frames * abi.PAGE_SIZE,
    swap: ram ? slots * abi.PAGE_SIZE : 0,
    metadata: abi.FIXED_END + frames * abi.PAGE_STRUCT_BYTES + entries * 3 * abi.ENTRY_BYTES + bits,
  };
}

/**
 * Bytes that are about to be asked of the host.
 *
 * @throws RangeError when they do not fit one memory
 */
export function bytesNeeded(geometry: EngineGeometry): number {
  const { memory, swap, metadata } = parts(geometry);
  const bytes = memory + swap + metadata;
  assertFits(geometry, bytes / WASM_PAGE);
  return bytes;
}

/** @throws RangeError when that many pages of WASM, of 64 KiB, are more than a memory can have */
export function assertFits(geometry: EngineGeometry, wasmPages: number): void {
  if (wasmPages > WASM_PAGES_MAX) throw new RangeError(tooLarge(geometry));
}

function tooLarge(geometry: EngineGeometry): string {
  const { memory, swap, metadata } = parts(geometry);
  const over = (memory + swap + metadata) * 1.001 + WASM_PAGE - WASM_PAGES_MAX * WASM_PAGE;
  const names = [
    `${formatSize(memory)} of page frames`,
    ...(geometry.ram ? [`${formatSize(swap)} of RAM swap`] : []),
    `${formatSize(metadata)} of metadata`,
  ];
  const large = metadata > memory + swap ? "the swap space" : "the memory";
  const what = geometry.ram ? "the memory or the RAM swap" : large;
  const much = what === "the swap space" ? "" : ` by ${Math.ceil(over / 2 ** 20) + 1} MiB`;
  return (
    `memory: ${names.join(" and ")} do not fit the 4 GiB of a WASM memory; ` +
    `make ${what} smaller${much}`
  );
}
