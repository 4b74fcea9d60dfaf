import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../../src/index.ts";
import { expectSame, pattern } from "./bytes.ts";
import { MapSwap } from "./map_swap.ts";
import { roomySwap } from "./packed_swap.ts";

/** Sizes of a device, in pages. */
export interface Pages {
  readonly memory: number;
  readonly swap: number;
}

/** Every page that leaves is written: clean pages have tests of their own. */
const PLAIN = { keepClean: false };

export function ramDevice({ memory, swap }: Pages): Device {
  const size = swap * PAGE_SIZE;
  return createDeviceSync({ ...PLAIN, memory: memory * PAGE_SIZE, swap: ramSwap({ size }) });
}

export function blockDevice(memory: number, swap: SwapDevice): Device {
  return createDeviceSync({ ...PLAIN, memory: memory * PAGE_SIZE, swap });
}

export interface Kind {
  readonly kind: string;
  create(pages: Pages): Device;
}

/** Swap devices on which the same tests run: inside linear memory, and outside it. */
export const KINDS: readonly Kind[] = [
  { kind: "ram", create: ramDevice },
  {
    kind: "block",
    create: ({ memory, swap }) => blockDevice(memory, new MapSwap({ slots: swap })),
  },
  {
    kind: "compressed",
    create: ({ memory, swap }) => blockDevice(memory, roomySwap(swap)),
  },
];

/** The same, with all options as they are by default: for tests that look at content only. */
export const DEFAULT_KINDS: readonly Kind[] = [
  {
    kind: "ram",
    create: ({ memory, swap }) => defaultDevice(memory, ramSwap({ size: swap * PAGE_SIZE })),
  },
  {
    kind: "block",
    create: ({ memory, swap }) => defaultDevice(memory, new MapSwap({ slots: swap })),
  },
  {
    kind: "compressed",
    create: ({ memory, swap }) => defaultDevice(memory, roomySwap(swap)),
  },
];

export function defaultDevice(memory: number, swap: SwapDevice): Device {
  return createDeviceSync({ memory: memory * PAGE_SIZE, swap });
}

/** A buffer filled with `pattern(seed)`. */
export function filled(device: Device, pages: number, seed: number): BufferObject {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  bo.writeSync(0, pattern(seed, bo.size));
  return bo;
}

/** @throws Error when an invariant is broken, or a page or a slot is not free */
export function expectAllFree(device: Device): void {
  device.check();
  const { pages, slots } = device.stats();
  if (pages.free !== pages.total) throw new Error(`${pages.total - pages.free} pages leaked`);
  if (slots.free !== slots.total) throw new Error(`${slots.total - slots.free} slots leaked`);
}

/** One-page buffers in every other swap slot: no two of the free slots lie side by side. */
export function scatterSlots(device: Device): BufferObject[] {
  const { free } = device.stats().slots;
  const all = Array.from({ length: free }, (_, i) => filled(device, 1, 1e6 + i));
  device.shrinkSync();
  return all.filter((bo, i) => {
    if (i % 2 === 0) bo.destroy();
    return i % 2 === 1;
  });
}

/** Pinned one-page buffers in every other page frame: no two of the free frames lie side by side. */
export function scatterFrames(device: Device): BufferObject[] {
  const { free } = device.stats().pages;
  const all = Array.from({ length: free }, (_, i) => filled(device, 1, 2e6 + i));
  for (const bo of all) bo.pinSync();
  return all.filter((bo, i) => {
    if (i % 2 === 1) return true;
    bo.unpin();
    bo.destroy();
    return false;
  });
}

/** @throws Error when one of `scatterSlots` or `scatterFrames` lost its content */
export function expectScattered(device: Device, kept: readonly BufferObject[], seed: number): void {
  kept.forEach((bo, i) => {
    const bytes = bo.readSync(0, new Uint8Array(bo.size));
    expectSame(bytes, pattern(seed + 2 * i + 1, bo.size), `scattered buffer ${i}`);
  });
  device.check();
}
