/*
 * Random operations on devices, against arrays of bytes: TTM_OPS=100000 for more of them, TTM_SEED for
 * those that failed. Memory and swap are so small that most operations push others out, and that
 * clean pages must give their slots up. Trims are operations as others are; on devices that fail some come in the midst
 * of others.
 */
import { expect, test } from "vitest";
import { createDeviceSync, type Device, PAGE_SIZE, ramSwap } from "../../src/index.ts";
import { compressedSwap } from "../../src/swap/compressed.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { ArraySwap } from "../support/array_swap.ts";
import { PackedSwap } from "../support/packed_swap.ts";
import { seeded } from "../support/random.ts";
import { Crumbs } from "./support/crumbs.ts";
import { DeviceModel, type ModelOptions } from "./support/device_model.ts";
import { OPS, OPS_TIMEOUT, SCATTER_STEPS } from "./support/ops.ts";

const FRAMES = 192;
const SLOTS = 256;
const MEMORY = FRAMES * PAGE_SIZE;

async function run(
  devices: (swap: ArraySwap) => { devices: readonly Device[]; fails?: boolean },
  options: ModelOptions,
): Promise<void> {
  await seeded(async (random) => {
    const swap = new ArraySwap(SLOTS);
    const { devices: created, fails = false } = devices(swap);
    const model = new DeviceModel(created, random, fails ? { ...options, swap } : options);
    const { global } = created[0] as Device;
    const { slots } = global.engine.geometry;
    let full = 0; // steps after which the store had less room than it promised
    const crumbs = new Crumbs(global, 4);
    // How soon a store is full is up to chance: as long as it takes.
    const wanted = () => options.fills === true && full === 0;
    for (let i = 0; i < OPS || (wanted() && i < 20 * OPS); i++) {
      if (i % SCATTER_STEPS === 0) crumbs.scatter();
      await model.step();
      if (global.space.slots.total < slots) full++;
    }
    crumbs.clear();
    const { stats } = global;
    const { trim } = (created[0] as Device).stats();
    await model.end();
    // That this was about something.
    const { pagesOut, pagesIn, pagesClean, pagesPurged, interrupted, resumed, faults } = stats;
    expect(Math.min(pagesOut, pagesIn)).toBeGreaterThan(OPS / 10);
    expect(Math.min(pagesClean, pagesPurged, interrupted, resumed, faults)).toBeGreaterThan(0);
    expect(trim.trims).toBeGreaterThan(OPS / 200);
    expect(full > 0).toBe(options.fills === true);
  });
}

const SMALL = { pagesMax: 100, forms: "both" } as const;

test("on RAM swap, with checksums", { timeout: OPS_TIMEOUT }, () =>
  run(() => {
    const swap = ramSwap({ size: SLOTS * PAGE_SIZE });
    return { devices: [createDeviceSync({ memory: MEMORY, swap, checksums: true })] };
  }, SMALL),
);

test("on a block device that fails", { timeout: OPS_TIMEOUT }, () =>
  run((swap) => {
    return { devices: [createDeviceSync({ memory: MEMORY, swap, transferPages: 2 })], fails: true };
  }, SMALL),
);

test("on compressed swap that fails", { timeout: OPS_TIMEOUT }, () => {
  const swap = new PackedSwap(SLOTS);
  return run(() => ({ devices: [createDeviceSync({ memory: MEMORY, swap, transferPages: 8 })] }), {
    ...SMALL,
    swap,
  });
});

test("on compressed swap that has less memory than slots", { timeout: OPS_TIMEOUT }, () =>
  run(
    () => {
      const swap = compressedSwap({ size: 4 * SLOTS * PAGE_SIZE, limit: "1 MiB" });
      return { devices: [createDeviceSync({ memory: MEMORY, swap, transferPages: 4 })] };
    },
    { ...SMALL, pagesMax: 190, fills: true },
  ),
);

test("on a file", { timeout: OPS_TIMEOUT }, () =>
  run(() => {
    const swap = fileSwap({ size: SLOTS * PAGE_SIZE });
    return { devices: [createDeviceSync({ memory: MEMORY, swap, transferPages: 8 })] };
  }, SMALL),
);

test("on a block device, with a background loop", { timeout: OPS_TIMEOUT }, () =>
  run(
    (swap) => {
      const watermarks = { min: 4, low: 20, high: 60 };
      return {
        devices: [createDeviceSync({ memory: MEMORY, swap, watermarks, transferPages: 4 })],
        fails: true,
      };
    },
    { pagesMax: 100, forms: "async" },
  ),
);

test(
  "on siblings: of any kind, of DMA32, of three orders, coherent",
  { timeout: OPS_TIMEOUT },
  () =>
    run(
      () => {
        const swap = new ArraySwap(1200);
        const device = createDeviceSync({
          memory: 1024 * PAGE_SIZE,
          dma32: "2 MiB",
          swap,
          transferPages: 8,
        });
        const siblings = [{ dma32: true }, { orders: [9, 4, 0] }, { coherent: true }];
        return { devices: [device, ...siblings.map((pool) => device.createSibling(pool))] };
      },
      { pagesMax: 400, forms: "both" },
    ),
);
