/* Pools on scripted devices, which watch them: `broken` is the first rule of the contract that a pool broke. */
import {
  type BufferObject,
  createDevice,
  type Device,
  type DeviceOptions,
  PAGE_SIZE,
} from "../../src/index.ts";
import { type ScriptedSwap, type ScriptedSwapOptions, scriptedSwap } from "../../src/testing.ts";
import { content, expectSame, pattern } from "./bytes.ts";
import { settles } from "./delays.ts";
import { expectAllFree } from "./devices.ts";

/** The devices of a test, all of which have to have kept the rules at its end. */
const swaps: ScriptedSwap[] = [];

/** @throws Error when a pool broke a rule on one of the devices that `scripted` made; for `afterEach` */
export function expectRulesKept(): void {
  for (const { broken } of swaps.splice(0)) if (broken !== undefined) throw new Error(broken);
}

/** A device whose pool is held to the rules. */
export function scripted(options: Partial<ScriptedSwapOptions> = {}): ScriptedSwap {
  const swap = scriptedSwap({ slots: 1024, pairs: "async", ...options });
  swaps.push(swap);
  return swap;
}

/** A device of so many pages of memory on it. */
export function open(
  swap: ScriptedSwap,
  memory = 64,
  options: Partial<DeviceOptions> = {},
): Promise<Device> {
  return createDevice({ memory: memory * PAGE_SIZE, swap, ...options });
}

/** A buffer of so many pages, with `pattern(seed)` in it. */
export async function filled(device: Device, pages: number, seed: number): Promise<BufferObject> {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  await bo.write(0, pattern(seed, bo.size));
  return bo;
}

/** Buffers of so many pages each, all of them in swap; `pattern(i)` is what the i-th one holds. */
export async function inSwap(device: Device, ...pages: number[]): Promise<BufferObject[]> {
  const bos: BufferObject[] = [];
  for (const [i, each] of pages.entries()) {
    const bo = await filled(device, each, i);
    await bo.shrink();
    bos.push(bo);
  }
  return bos;
}

/** @throws Error when it holds other bytes than `pattern(seed)`, or takes for ever */
export async function expectContent(bo: BufferObject | undefined, seed: number): Promise<void> {
  const bytes = await settles(content(bo as BufferObject));
  expectSame(bytes, pattern(seed, bytes.length), `buffer ${seed}`);
}

/** @throws Error when something is left of `device` but these buffers */
export async function endOf(device: Device, bos: readonly BufferObject[]): Promise<void> {
  for (const bo of bos) bo.destroy();
  expectAllFree(device);
  await settles(device.close());
}
