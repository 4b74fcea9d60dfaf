/*
 * The engine traps, as it never should: here because its state was broken by hand. It is known then that nothing
 * is known any more. Whoever is at work is told, nothing more is begun, and the device can still be closed.
 */
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { H_ENTRY, H_PAGE_TABLE, H_SHADOW, HEADER } from "../assembly/abi.ts";
import { type BufferObject, createDeviceSync, type Device, PAGE_SIZE } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { blockDevice, filled } from "./support/devices.ts";
import { fails } from "./support/errors.ts";
import { HAS_PROC, openFiles, TempFolder } from "./support/files.ts";
import { MapSwap } from "./support/map_swap.ts";

/** Has a region of the engine begin where there is no memory any more. */
function breakEngine({ global }: Device, region: number): void {
  const { buffer } = global.engine.view(0, 4);
  new Uint32Array(buffer)[HEADER / 4 + region] = 0xfffffff0;
}

const REGIONS: readonly (readonly [string, number])[] = [
  ["page table", H_PAGE_TABLE],
  ["entries", H_ENTRY],
  ["shadows", H_SHADOW],
];

interface Scene {
  readonly device: Device;
  readonly inMemory: BufferObject;
  readonly inSwap: BufferObject;
}

/** Whatever traps: a call that has the engine go through all of it. */
const CALLS: readonly (readonly [string, (scene: Scene) => unknown])[] = [
  ["shrink", ({ device }) => device.shrink()],
  ["shrinkSync", ({ device }) => device.shrinkSync()],
  ["read", ({ inSwap }) => inSwap.read(0, new Uint8Array(inSwap.size))],
  ["writeSync", ({ inSwap }) => inSwap.writeSync(5, new Uint8Array(9))],
  ["discard", ({ inMemory }) => inMemory.discard()],
  ["destroy", ({ inMemory }) => inMemory.destroy()],
  ["check", ({ device }) => device.check()],
];

describe.each(REGIONS)("without its %s", (_, region) => {
  test.each(CALLS)(
    "%s ends in an error, if it does not do without, and close in none",
    async (_, call) => {
      const swap = new MapSwap({ slots: 64 });
      const device = blockDevice(16, swap);
      const inSwap = filled(device, 6, 1);
      device.shrinkSync();
      const scene = { device, inSwap, inMemory: filled(device, 6, 2) };
      breakEngine(device, region);
      let error: unknown;
      try {
        await call(scene);
      } catch (thrown) {
        error = thrown;
      }
      // What was refused, or found to be broken, has not trapped, and changed nothing.
      if (String(error).includes("close the device")) {
        await fails("EFAULT", (async () => device.createBuffer(1))());
        await fails("EFAULT", scene.inSwap.read(0, new Uint8Array(1)));
      } else expect(String(error)).not.toMatch(/RuntimeError|out of bounds|unreachable/);
      await device.close({ force: true });
      expect(swap.closed).toBe(1);
      expect(device.closed).toBe(true);
    },
  );
});

test("a trap says what it was, and what to do; other devices go on", async () => {
  const other = blockDevice(16, new MapSwap({ slots: 64 }));
  const bo = filled(other, 12, 3);
  const device = blockDevice(16, new MapSwap({ slots: 64 }));
  filled(device, 6, 1);
  breakEngine(device, H_ENTRY);
  const error = await fails("EFAULT", device.shrink());
  expect(error.message).toMatch(/the engine trapped \(.+\).*close the device, and create another/);
  expect((error.cause as Error).name).toBe("RuntimeError");
  const again = await fails("EFAULT", device.shrink());
  expect(again.message).toMatch(/not known any more.*close the device, and create another one/);
  other.shrinkSync();
  expectSame(contentSync(bo), pattern(3, bo.size), "another device's");
  other.check();
  await device.close({ force: true });
});

test.skipIf(!HAS_PROC)("its swap file is closed and gone (needs /proc)", () => {
  using folder = new TempFolder();
  const before = openFiles().length;
  const swap = fileSwap({ size: "1 MiB", path: folder.file("swap") });
  const device = createDeviceSync({ memory: 16 * PAGE_SIZE, swap });
  filled(device, 6, 1);
  breakEngine(device, H_PAGE_TABLE);
  device.closeSync({ force: true });
  expect(openFiles().length).toBe(before);
  expect(readdirSync(folder.path)).toEqual([]);
});
