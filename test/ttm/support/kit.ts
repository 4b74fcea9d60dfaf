import { isHandle } from "../../../src/engine/entry.ts";
import {
  createDeviceSync,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
} from "../../../src/index.ts";
import { type Pool, populateTtSync, Tt, type TtmGlobal, type TtOptions } from "../../../src/ttm.ts";
import { ArraySwap } from "../../support/array_swap.ts";
import { pattern } from "../../support/bytes.ts";
import { writeContent } from "./subject.ts";

/** A device of so many pages, and the swap device that it has. */
export interface Kit {
  readonly device: Device;
  readonly global: TtmGlobal;
  readonly swap: ArraySwap;
}

export function kit(
  pages: { readonly memory: number; readonly swap?: number },
  options: Omit<DeviceOptions, "memory" | "swap"> = {},
): Kit {
  const swap = new ArraySwap(pages.swap ?? pages.memory);
  const device = createDeviceSync({ memory: pages.memory * PAGE_SIZE, swap, ...options });
  return { device, global: device.global, swap };
}

/** A populated tt, and what was written to it. */
export interface Written {
  readonly tt: Tt;
  readonly bytes: Uint8Array;
}

export function written(pool: Pool, pages: number, seed: number, options: TtOptions = {}): Written {
  const tt = new Tt(pages, options);
  populateTtSync(pool, tt);
  const bytes = pattern(seed, pages * PAGE_SIZE);
  writeContent(pool, tt, bytes);
  return { tt, bytes };
}

/** Orders of the chunks of a tt that is in memory. */
export function ordersOf({ engine }: TtmGlobal, tt: Tt): number[] {
  const orders: number[] = [];
  for (let i = 0; i < tt.numPages; ) {
    const { order } = engine.chunk(engine.entry(tt.vector + i));
    orders.push(order);
    i += 1 << order;
  }
  return orders;
}

/** Addresses of the pages of a tt that is in memory. */
export function addressesOf({ engine }: TtmGlobal, { vector, numPages }: Tt): number[] {
  return Array.from({ length: numPages }, (_, i) => engine.entry(vector + i));
}

/** The slot of page `index` of a tt that has one: as a handle, or as a clean page. */
export function slotOf({ engine }: TtmGlobal, { vector }: Tt, index: number): number {
  const entry = engine.entry(vector + index);
  const handle = isHandle(entry) ? entry : engine.shadow(vector + index);
  if (!isHandle(handle)) throw new Error(`page ${index} has no slot`);
  return handle >>> 1;
}

/** Chunks in the pool type of a name, by order. */
export function pooledChunks({ engine, types }: TtmGlobal, name: string): number[] {
  const index = types.findIndex((type) => type?.name === name);
  if (index < 0) throw new Error(`there is no pool type ${name}`);
  return Array.from({ length: 10 }, (_, order) => engine.poolCount(index, order));
}

/** Pages in the pool type of a name. */
export function pooledPages(global: TtmGlobal, name: string): number {
  return pooledChunks(global, name).reduce((sum, count, order) => sum + (count << order), 0);
}
