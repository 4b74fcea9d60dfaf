/* What probes have at hand. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { BufferObject, Device, DeviceOptions } from "../../../src/index.ts";
import type { Random } from "../../../src/testing/random.ts";
import type { Library } from "../library.ts";
import { Failure } from "../world.ts";

export interface Bench {
  readonly library: Library;
  readonly random: Random;
  /** A device that is closed when the probe has ended. */
  readonly device: (options: Omit<DeviceOptions, "memory">, frames: number) => Device;
  /** Runs turns and timers until there are none. */
  readonly settle: () => Promise<void>;
}

export type Probe = (bench: Bench) => void | Promise<void>;

/** @throws Failure unless it holds */
export function must(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Failure(text);
}

export function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}

/** The code of what `work` throws; `undefined`: nothing. */
export function thrown(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
}

/** `length` bytes that are not zeros, and differ by `mark`. */
export function bytes(length: number, mark: number): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(length);
  for (let i = 0; i < length; i++) made[i] = 1 + ((mark * 7 + i + (i >> 12) * 13) % 255);
  return made;
}

/** `pages` pages of them. */
export function filled(pages: number, mark: number): Uint8Array<ArrayBuffer> {
  return bytes(pages * PAGE_SIZE, mark);
}

export function written(device: Device, pages: number, mark: number): BufferObject {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  bo.writeSync(0, filled(pages, mark));
  return bo;
}

/** @throws Failure unless both are the same */
export function mustEqual(shown: Uint8Array, wanted: Uint8Array, what: string): void {
  const at = shown.findIndex((byte, i) => byte !== wanted[i]);
  must(at < 0, `${what}: byte ${at} is ${shown[at]} instead of ${wanted[at]}`);
}

/** @throws Failure unless the buffer shows `wanted` from byte `offset` on */
export function mustShow(bo: BufferObject, wanted: Uint8Array, offset = 0): void {
  const shown = bo.readSync(offset, new Uint8Array(wanted.length));
  mustEqual(shown, wanted, `buffer ${bo.id}, from byte ${offset} on`);
}

/** Leaves the bytes of somebody else in all frames. */
export function soil(device: Device): void {
  const { free } = device.stats().pages;
  written(device, free, 99).destroy();
}
