import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadFile, Objects } from "../../src/cli/objects.ts";
import { interruption, Reader, salvage } from "../../src/cli/reader.ts";
import type { Device, SwapDevice } from "../../src/index.ts";
import { createDeviceSync, ramSwap, TtmError } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { tempFolder, writeNoise } from "./folder.ts";

const folder = tempFolder();
const MIB = 2 ** 20;

/** Objects of `size` bytes, out of one file, in 4 MiB of memory. */
function setUp(
  swap: SwapDevice,
  size: number,
  count: number,
): { device: Device; objects: Objects } {
  const path = writeNoise(join(folder, `noise-${size}-${count}`), size * count);
  const device = createDeviceSync({ memory: 4 * MIB, swap });
  const objects = new Objects();
  loadFile({ device }, { path, size: size * count }, size, 1e12, objects, () => {});
  return { device, objects };
}

describe("Reader", () => {
  test("interrupts restores inside, and resumes them there", () => {
    const { device, objects } = setUp(fileSwap({ size: "32 MiB" }), 2 * MIB, 6);
    const reader = new Reader(objects, 1, 1, false);
    for (let index = 0; index < 6; index++) reader.read(index);
    expect(reader.counts).toEqual({ mismatches: 0, interrupted: 6, resumed: 6 });
    // The pool counts only those that had begun to arrive.
    expect(device.stats()).toMatchObject({ interrupted: 6, resumed: 6 });
    device.check();
    device.closeSync({ force: true });
  });

  test("interrupts a restore of one transfer before it", () => {
    const { device, objects } = setUp(fileSwap({ size: "32 MiB" }), 65536, 100);
    const reader = new Reader(objects, 1, 1, false);
    for (let index = 0; index < 30; index++) reader.read(index);
    expect(reader.counts).toEqual({ mismatches: 0, interrupted: 30, resumed: 30 });
    expect(device.stats()).toMatchObject({ interrupted: 30, resumed: 0 });
    device.closeSync({ force: true });
  });

  test("interrupts with RAM swap too, and only the share it was told", () => {
    const { device, objects } = setUp(ramSwap({ size: "32 MiB" }), 65536, 200);
    const reader = new Reader(objects, 0.3, 1, true);
    for (let index = 0; index < 130; index++) reader.read(index);
    expect(reader.counts.mismatches).toBe(0);
    expect(reader.counts.resumed).toBe(reader.counts.interrupted);
    expect(reader.counts.interrupted).toBeGreaterThan(20);
    expect(reader.counts.interrupted).toBeLessThan(60);
    device.closeSync({ force: true });
  });

  test("leaves resident objects alone", () => {
    const { device, objects } = setUp(fileSwap({ size: "8 MiB" }), 65536, 10);
    const reader = new Reader(objects, 1, 1, false);
    for (let index = 0; index < 10; index++) reader.read(index);
    expect(reader.counts).toEqual({ mismatches: 0, interrupted: 0, resumed: 0 });
    device.closeSync({ force: true });
  });

  test("counts content that is not what was read", () => {
    const { device, objects } = setUp(fileSwap({ size: "8 MiB" }), 65536, 10);
    const last = objects.at(3);
    const byte = last.readSync(65535, new Uint8Array(1));
    last.writeSync(65535, Uint8Array.of((byte[0] as number) ^ 1));
    const reader = new Reader(objects, 0, 1, false);
    for (let index = 0; index < 10; index++) reader.read(index);
    expect(reader.counts.mismatches).toBe(1);
    device.closeSync({ force: true });
  });
});

describe("interruption", () => {
  test("aborts at once for 0, and never a buffer whose pages do not move", () => {
    const { device, objects } = setUp(ramSwap(), 65536, 2);
    expect(interruption(objects.at(0), 0).aborted).toBe(true);
    const signal = interruption(objects.at(0), 1);
    for (let i = 0; i < 10; i++) expect(signal.aborted).toBe(false);
    device.closeSync({ force: true });
  });
});

describe("salvage", () => {
  test("reads everything back although memory and swap are full", () => {
    const path = writeNoise(join(folder, "too-much"), 12 * MIB);
    const device = createDeviceSync({ memory: 4 * MIB, swap: ramSwap({ size: "2 MiB" }) });
    const objects = new Objects();
    const load = () =>
      loadFile({ device }, { path, size: 12 * MIB }, 512 * 1024, 1e12, objects, () => {});
    expect(load).toThrow(TtmError);
    const { count, bytes } = objects;
    expect(bytes).toBeGreaterThan(5 * MIB);
    expect(salvage(objects)).toEqual({ intact: count, bytes, failed: 0 });
    device.check();
    device.closeSync({ force: true });
  });
});
