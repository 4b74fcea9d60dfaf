/* What the host's only way into the engine refuses, and what it lets be seen. */
import { describe, expect, test } from "vitest";
import { H_CLEAN, H_FREE_PAGES, H_HELD, H_MOVING, HEADER } from "../../assembly/abi.ts";
import { createDevice, PAGE_SIZE } from "../../src/index.ts";
import { filled } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";
import { kit } from "../ttm/support/kit.ts";

describe("the address of an entry", () => {
  test("is had of a page only", () => {
    const { device, global } = kit({ memory: 16 });
    const { engine } = global;
    const bo = filled(device, 3, 1);
    const { vector } = bo.tt;
    expect(engine.pageAt(vector + 1)).toBe(engine.entry(vector + 1));
    bo.shrinkSync();
    for (const index of [vector, vector + 3, -1, 2 ** 32]) {
      const error = failsSync("EFAULT", () => engine.pageAt(index));
      expect(error.message).toContain(`entry ${index} is not a page in memory`);
    }
  });

  // As when a page left while nobody should have let it.
  test("is not had when bytes are copied or mapped", () => {
    const { device, global } = kit({ memory: 16 });
    const { engine } = global;
    for (const pages of [1, 5]) {
      const bo = filled(device, pages, 1);
      const { tt } = bo;
      const items = [{ tt, entries: pages, start: 0, next: 0, released: 0 }];
      expect(engine.shrinkPrepare(items, pages)).toBe(pages);
      expect(engine.shrinkCommit(items, pages)).toBe(pages);
      failsSync("EFAULT", () => bo.readSync(0, new Uint8Array(pages * PAGE_SIZE)));
      failsSync("EFAULT", () => bo.readSync(0, new Uint8Array(8)));
      failsSync("EFAULT", () => bo.writeSync(8, new Uint8Array(8)));
      failsSync("EFAULT", () => bo.mapSync());
    }
  });
});

describe("a check that fails", () => {
  test.each([
    ["H_FREE_PAGES", H_FREE_PAGES, "a free list is broken"],
    ["H_CLEAN", H_CLEAN, "the count of clean pages is wrong"],
    ["H_MOVING", H_MOVING, "the count of pages being moved is wrong"],
    ["H_HELD", H_HELD, "the count of held frames is wrong"],
  ])("names what is wrong, with %s off by one", (_, field, text) => {
    const { device, global } = kit({ memory: 16 });
    filled(device, 3, 1);
    const { buffer, byteOffset } = global.engine.view(HEADER + 4 * field, 4);
    const word = new Uint32Array(buffer, byteOffset, 1);
    word[0] = (word[0] as number) + 1;
    expect(() => device.check()).toThrow(`the engine's state is broken: ${text}`);
    word[0] = (word[0] as number) - 1;
    device.check();
  });
});

describe("what is being moved", () => {
  test("is counted, and check() misses who moves it", () => {
    const { device, global } = kit({ memory: 16 });
    const { engine } = global;
    const bo = filled(device, 5, 1);
    const { tt } = bo;
    const items = [{ tt, entries: tt.numPages, start: 0, next: 0, released: 0 }];
    expect(engine.movingPages).toBe(0);
    engine.shrinkPrepare(items, 5);
    expect(engine.movingPages).toBe(5);
    expect(() => device.check()).toThrow("5 pages are to move, and nobody moves them");
    engine.shrinkCommit(items, 0);
    expect(engine.movingPages).toBe(0);
    device.check();
    failsSync("EFAULT", () => engine.shrinkCommit(items, 0));
  });

  test("frames held by an interrupted restore are counted until they are given back", () => {
    const { device, global } = kit({ memory: 16 }, { transferPages: 1 });
    const bo = filled(device, 8, 1);
    bo.shrinkSync();
    failsSync("EINTR", () => bo.populateSync({ signal: new CountingSignal(4) }));
    expect(global.engine.heldFrames).toBe(8);
    expect(global.engine.movingPages).toBe(0);
    device.check();
    bo.populateSync();
    expect(global.engine.heldFrames).toBe(0);
    device.check();
  });

  test.each([false, true])(
    "is no fault while it is, on a device that is async: %s",
    async (async) => {
      const swap = new MapSwap({ slots: 64, ...(async ? { delay: async () => {} } : {}) });
      const device = await createDevice({ memory: 16 * PAGE_SIZE, swap });
      const bo = filled(device, 8, 1);
      const seen: number[] = [];
      swap.before = () => {
        seen.push(device.global.engine.movingPages);
        device.check();
      };
      await bo.shrink();
      await bo.populate();
      if (!async) {
        bo.shrinkSync();
        bo.populateSync();
      }
      expect(seen.every((pages) => pages > 0)).toBe(true);
      expect(seen.length).toBeGreaterThan(1);
      expect([device.global.admission.inside, device.global.engine.movingPages]).toEqual([0, 0]);
      device.check();
    },
  );

  test("a task that fails is not counted as one at work for ever", async () => {
    const swap = new MapSwap({ slots: 64, delay: async () => {} });
    const device = await createDevice({ memory: 16 * PAGE_SIZE, swap });
    const bo = filled(device, 8, 1);
    swap.before = () => {
      throw new Error("the disk is gone");
    };
    await expect(bo.shrink()).rejects.toThrow("the disk is gone");
    expect(device.global.admission.inside).toBe(0);
    device.check();
  });
});
