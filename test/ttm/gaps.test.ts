/* Entries without content among others: what it costs to know of them. */
import { afterEach, expect, test, vi } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { createDeviceSync, PAGE_SIZE } from "../../src/index.ts";
import { ArraySwap } from "../support/array_swap.ts";
import { contentSync, expectSame } from "../support/bytes.ts";

const PAGES = 2048;

afterEach(() => {
  vi.restoreAllMocks();
});

test("a restore of a buffer that was zeros in part looks at each entry a few times, not once a batch", () => {
  const swap = new ArraySwap(PAGES);
  const memory = 2 * PAGES * PAGE_SIZE;
  const device = createDeviceSync({ memory, swap, transferPages: 4, pool: { orders: [0] } });
  const bo = device.createBuffer(PAGES * PAGE_SIZE);
  const model = new Uint8Array(bo.size);
  for (let page = 0; page < PAGES; page += 2) model[page * PAGE_SIZE] = 1;
  bo.writeSync(0, model);
  expect(bo.shrinkSync()).toBe(PAGES);
  expect(device.stats().pagesZero).toBe(PAGES / 2);
  let looked = 0;
  for (const walk of ["countEmpty", "countGaps", "firstMissing", "firstGap"] as const) {
    const own = Engine.prototype[walk];
    vi.spyOn(Engine.prototype, walk).mockImplementation(function (this: Engine, vector, from, to) {
      looked += to - from;
      return own.call(this, vector, from, to);
    });
  }
  bo.populateSync();
  expect(looked).toBeGreaterThan(0);
  // Batches of four pages: within a block of 256 entries some are looked at again.
  expect(looked).toBeLessThan((PAGES / 4) * 2 * 256 + 4 * PAGES);
  expectSame(contentSync(bo), model, "content");
  device.check();
});
