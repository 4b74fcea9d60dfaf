/* What stands in an entry of a page vector. */

import { describe, expect, test } from "vitest";
import { H_SWAP_MAP, HEADER } from "../../../assembly/abi.ts";
import { Engine } from "../../../src/engine/engine.ts";
import { isHandle } from "../../../src/engine/entry.ts";
import { engineModule } from "../../../src/engine/module.ts";
import { PAGE_SIZE } from "../../../src/index.ts";
import { adopt } from "../../../src/swap/store.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, TtmGlobal } from "../../../src/ttm.ts";
import { codeOf, Rig, Store, stopAt } from "./rig.ts";

describe("entries", () => {
  test("a handle is odd and decodes to its slot, up to the largest slot there can be", () => {
    const largest = 2 ** 31 - 1;
    const geometry = { frames: 16, slots: largest, entries: 64, ram: false, dma32: 16 };
    const engine = new Engine(geometry, engineModule());
    const store = new Store(largest);
    const global = new TtmGlobal(engine, adopt(store), { keepClean: false });
    const pool = new Pool(global);
    const memory = engine.view(0, PAGE_SIZE).buffer;
    const map = new Uint32Array(memory, HEADER)[H_SWAP_MAP] as number;
    for (const slot of [1, 2, 3, 2 ** 20, 2 ** 30 - 1, 2 ** 30, largest - 1, largest]) {
      // Where the search for a free slot starts, and up to where slots were used so far.
      new Uint32Array(memory, map)[2] = slot - 1;
      new Uint32Array(memory, map)[12] = slot;
      const tt = new Tt(1);
      populateTtSync(pool, tt);
      engine.view(engine.entry(tt.vector), PAGE_SIZE).fill(slot % 251);
      expect(shrinkTtSync(pool, tt)).toBe(1);
      expect(store.writes.at(-1)).toBe(slot);
      expect(engine.entry(tt.vector)).toBe(slot * 2 + 1);
      populateTtSync(pool, tt);
      expect(store.reads.at(-1)).toBe(slot);
      expect(engine.view(engine.entry(tt.vector), PAGE_SIZE)[PAGE_SIZE - 1]).toBe(slot % 251);
      finiTt(pool, tt);
      expect(engine.freeSlots).toBe(largest);
    }
  });

  test("a page is its aligned address, which is no handle; an entry without either is 0", () => {
    using rig = new Rig();
    const tt = rig.filled(19);
    for (const entry of rig.entries(tt)) expect(entry % PAGE_SIZE).toBe(0);
    expect(rig.entries(tt)).not.toContain(0);
    const holed = rig.holed(4, 3);
    expect(rig.shape(holed)).toBe("HHH.");
    expect(rig.entries(holed)[3]).toBe(0);
    expect(finiTt(rig.pool, tt)).toBe(19);
  });

  test("slots count from 1, so that no handle is the value 1 in any state", () => {
    using rig = new Rig({ memory: 16, slots: 16 });
    const tt = rig.filled(16);
    shrinkTtSync(rig.pool, tt);
    expect(rig.swap.writes).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    expect(Math.min(...rig.entries(tt))).toBe(3);
    const handles = rig.entries(tt);
    for (let stop = 1; stop <= 16; stop++) {
      codeOf(() => populateTtSync(rig.pool, tt, { signal: stopAt(2) }));
      const values = rig.entries(tt);
      expect(values.every((entry, i) => !isHandle(entry) || entry === handles[i])).toBe(true);
      expect(values).not.toContain(1);
    }
  });

  test("dropping a handle frees its slot and not the next one", () => {
    using rig = new Rig();
    const tts = [rig.filled(1), rig.filled(1), rig.filled(1)] as const;
    for (const tt of tts) shrinkTtSync(rig.pool, tt);
    expect(rig.swap.writes).toEqual([1, 2, 3]);
    finiTt(rig.pool, tts[1]);
    expect(rig.facts().slots).toBe(2);
    for (const tt of [tts[0], tts[2]]) {
      populateTtSync(rig.pool, tt);
      rig.expectMarked(tt);
    }
  });
});
