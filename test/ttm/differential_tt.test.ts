/*
 * Random operations on tts of pools of every kind, against arrays of bytes: TTM_OPS=100000 for more of
 * them, TTM_SEED for those that failed.
 */
import { expect, test } from "vitest";
import { createDeviceSync, PAGE_SIZE, ramSwap } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import type { SwapDevice } from "../../src/swap/types.ts";
import { Pool, type TtmGlobalOptions } from "../../src/ttm.ts";
import { ArraySwap } from "../support/array_swap.ts";
import { PackedSwap } from "../support/packed_swap.ts";
import { seeded } from "../support/random.ts";
import { Crumbs } from "./support/crumbs.ts";
import { OPS, OPS_TIMEOUT, SCATTER_STEPS } from "./support/ops.ts";
import { TtModel } from "./support/tt_model.ts";

const SLOTS = 800;

async function run(swap: SwapDevice, options: TtmGlobalOptions, fails?: ArraySwap): Promise<void> {
  await seeded(async (random) => {
    const memory = 600 * PAGE_SIZE;
    using device = createDeviceSync({ memory, dma32: "2 MiB", swap, ...options });
    const { global } = device;
    const pools = [
      {},
      { orders: [9, 4, 0] },
      { orders: [0] },
      { beneficialOrder: 3 },
      { dma32: true },
      { coherent: true },
      { coherent: true, dma32: true },
    ].map((kind) => new Pool(global, kind));
    const model = new TtModel(device, pools, random, fails);
    const crumbs = new Crumbs(global, 4);
    for (let i = 0; i < OPS; i++) {
      if (i % SCATTER_STEPS === 0) crumbs.scatter();
      await model.step();
    }
    crumbs.clear();
    await model.end();
    for (const pool of pools) pool.close();
    // That this was about something.
    const { pagesOut, pagesIn, pagesClean, pagesZero, pagesPurged } = global.stats;
    const { interrupted, resumed, faults } = global.stats;
    expect(Math.min(pagesOut, pagesIn)).toBeGreaterThan(OPS / 4);
    expect(Math.min(interrupted, resumed, faults, pagesPurged, pagesZero)).toBeGreaterThan(0);
    expect(pagesClean > 0).toBe(options.keepClean !== false);
    expect(device.stats().trim.trims).toBeGreaterThan(OPS / 200);
  });
}

test("on RAM swap", { timeout: OPS_TIMEOUT }, () =>
  run(ramSwap({ size: SLOTS * PAGE_SIZE }), { checksums: true }),
);

test("on a block device that fails", { timeout: OPS_TIMEOUT }, () => {
  const swap = new ArraySwap(SLOTS);
  return run(swap, { transferPages: 2 }, swap);
});

test("on a block device, with clean pages given up", { timeout: OPS_TIMEOUT }, () =>
  run(new ArraySwap(SLOTS), { transferPages: 5, keepClean: false }),
);

test("on compressed swap that fails", { timeout: OPS_TIMEOUT }, () => {
  const swap = new PackedSwap(SLOTS);
  return run(swap, { transferPages: 32 }, swap);
});

test("on a file", { timeout: OPS_TIMEOUT }, () =>
  run(fileSwap({ size: SLOTS * PAGE_SIZE }), { transferPages: 8 }),
);
