/*
 * The invariants, each looked at after every step of a life: three tts that are populated, shrunken in
 * part, stopped, shrunken in the middle of a restore, restored, purged and ended, on top of each other.
 */

import { describe, expect, test } from "vitest";
import { isHandle, isPage } from "../../../src/engine/entry.ts";
import { PAGE_SIZE } from "../../../src/index.ts";
import {
  finiTt,
  Pool,
  populateTtSync,
  shrinkTtSync,
  type Tt,
  unpopulateTt,
} from "../../../src/ttm.ts";
import { codeOf, Rig, stopAt } from "./rig.ts";

type Look = (life: Life, step: string) => void;

class Life {
  readonly rig: Rig;
  readonly tts: Tt[];

  constructor(rig: Rig) {
    this.rig = rig;
    this.tts = [
      rig.tt(19),
      rig.tt(7, { caching: "wc", dma: true }),
      rig.tt(12, { caching: "uc", dma: true }),
    ];
  }

  /** Entries of all tts: what each holds, its shadow, and whose it is. */
  *entries(): Generator<{ tt: Tt; index: number; entry: number; shadow: number }> {
    const { engine } = this.rig.global;
    for (const tt of this.tts) {
      for (const [index, entry] of this.rig.entries(tt).entries()) {
        yield { tt, index, entry, shadow: engine.shadow(tt.vector + index) };
      }
    }
  }
}

/** Lives through a life, and looks after every step of it. */
function live(keepClean: boolean, look: Look): void {
  using rig = new Rig({ keepClean, memory: 64, slots: 64 });
  const life = new Life(rig);
  const { pool, swap } = rig;
  const [a, b, c] = life.tts as [Tt, Tt, Tt];
  const stop = (tt: Tt, k: number) => codeOf(() => populateTtSync(pool, tt, { signal: stopAt(k) }));
  const failing = (out: boolean, k: number, run: () => unknown) => {
    swap.failAt(out, k);
    codeOf(run);
    swap.forget();
  };
  const faulty = (site: "alloc" | "map" | "caching", times: number, run: () => unknown) => {
    rig.device.injectFault(site, { probability: 100, times });
    codeOf(run);
    rig.device.injectFault(site, {});
  };
  const steps: [string, () => unknown][] = [
    ["fail to populate", () => faulty("alloc", 3, () => populateTtSync(pool, b))],
    ["populate", () => life.tts.map((tt) => populateTtSync(pool, tt))],
    ["write", () => life.tts.map((tt) => rig.mark(tt))],
    ["shrink a part", () => failing(true, 6, () => shrinkTtSync(pool, a))],
    ["shrink", () => shrinkTtSync(pool, b)],
    ["shrink more", () => shrinkTtSync(pool, a)],
    ["stop in a chunk", () => stop(a, 4)],
    ["fail to map", () => faulty("map", 1, () => populateTtSync(pool, b))],
    ["shrink in the middle", () => shrinkTtSync(pool, a)],
    ["stop between chunks", () => failing(false, 5, () => populateTtSync(pool, b))],
    ["shrink the third", () => shrinkTtSync(pool, c, { pages: 5 })],
    ["restore", () => populateTtSync(pool, a)],
    ["write a part", () => rig.mark(a, 3, 9)],
    ["shrink a part", () => failing(true, 4, () => shrinkTtSync(pool, a))],
    ["fail to apply caching", () => faulty("caching", 1, () => populateTtSync(pool, b))],
    ["restore the others", () => [b, c].map((tt) => populateTtSync(pool, tt))],
    ["shrink what is clean", () => shrinkTtSync(pool, c)],
    ["restore with what stayed", () => populateTtSync(pool, a)],
    ["unpopulate", () => unpopulateTt(pool, b)],
    ["purge", () => shrinkTtSync(pool, c, { purge: true })],
    ["end", () => life.tts.map((tt) => finiTt(pool, tt))],
  ];
  look(life, "begin");
  for (const [step, run] of steps) {
    run();
    look(life, step);
  }
}

/** Both with pages that keep their copy in swap, and without. */
function bothWays(look: Look): void {
  for (const keepClean of [false, true]) live(keepClean, look);
}

describe("invariants", () => {
  test("a slot in use is named by one entry: as its handle, or as what its page keeps", () => {
    let clean = 0;
    bothWays((life, step) => {
      const { rig } = life;
      const named: number[] = [];
      for (const { entry, shadow } of life.entries()) {
        if (isHandle(entry)) named.push(entry >>> 1);
        else if (isPage(entry) && shadow !== 0) named.push(shadow >>> 1);
      }
      expect(new Set(named).size, step).toBe(named.length);
      expect(named.length, step).toBe(rig.facts().slots);
      clean += rig.global.engine.cleanPages;
    });
    expect(clean).toBeGreaterThan(0);
  });

  test("the content of a page is where its entry says; of a clean one in swap as well", () => {
    let written = false;
    bothWays((life, step) => {
      const { rig } = life;
      written = step === "write" || (written && step !== "begin");
      for (const { tt, index, entry, shadow } of written ? life.entries() : []) {
        const expectMark = (words: Uint32Array) => {
          expect(words[7], `${step}: page ${index} of tt ${tt.id}`).toBe(tt.id * 65536 + index + 1);
        };
        if (isPage(entry)) expectMark(rig.words(tt, index));
        const { cursor, read } = tt.restore ?? { cursor: 0, read: 0 };
        if (isHandle(entry) && index < cursor + read) expectMark(rig.wordsAt(shadow));
        const slot = isHandle(entry) ? entry : isPage(entry) && isHandle(shadow) ? shadow : 0;
        if (slot === 0) continue;
        const copy = rig.swap.stored.get(slot >>> 1) as Uint8Array;
        expectMark(new Uint32Array(copy.buffer));
      }
    });
  });

  test("frames in use are pages, retained pages and held chunks; when all ends none is", () => {
    bothWays(({ rig, tts }, step) => {
      let frames = 0;
      for (const tt of tts) {
        const shape = rig.shape(tt);
        const held = shape.replaceAll(/[^Ph,]/g, "").length;
        expect(tt.resident, `${step}: ${shape}`).toBe(held);
        frames += held;
      }
      expect(rig.facts()).toMatchObject({ held: frames, broken: undefined });
      if (step === "end") expect(rig.facts()).toMatchObject({ held: 0, slots: 0, mappings: 0 });
    });
  });

  test("no tt is both populated and shrunken, and only a shrunken one has a restore state", () => {
    bothWays(({ rig, tts }, step) => {
      for (const tt of tts) {
        const shape = rig.shape(tt);
        expect(tt.populated && tt.shrunken, step).toBe(false);
        expect(tt.shrunken || tt.restore === undefined, step).toBe(true);
        expect(tt.populated, `${step}: ${shape}`).toBe(/^P+$/.test(shape) && !tt.restore);
        expect(tt.populated || tt.shrunken, step).toBe(tt.vector >= 0);
      }
    });
  });

  test("pooled pages have their pool's caching, are zero and unmapped; free ones are write-back", () => {
    let pooled = 0;
    bothWays(({ rig }, step) => {
      // check() walks the free lists and the pools for just this.
      expect(rig.facts().broken, step).toBe(undefined);
      pooled += rig.facts().pooled;
    });
    expect(pooled).toBeGreaterThan(0);
    using rig = new Rig();
    const tt = rig.filled(1, { caching: "wc" });
    const [page] = rig.entries(tt) as [number];
    unpopulateTt(rig.pool, tt);
    expect(rig.facts().broken).toBe(undefined);
    rig.global.engine.view(page, PAGE_SIZE)[4095] = 1;
    expect(rig.facts().broken).toContain("pool");
    rig.global.engine.view(page, PAGE_SIZE)[4095] = 0;
  });

  test("each mapping is undone once, with the size it was made with", () => {
    let most = 0;
    bothWays(({ rig, tts }, step) => {
      const mappings = tts.flatMap((tt) => {
        const held = tt.restore?.mapping;
        return [...(tt.dma?.values() ?? []), ...(held ? [held] : [])];
      });
      const pages = mappings.reduce((sum, mapping) => sum + mapping.pages, 0);
      expect(mappings.length, step).toBe(rig.facts().mappings);
      expect(pages, step).toBe(rig.global.iommu.pages);
      most = Math.max(most, pages);
    });
    expect(most).toBeGreaterThanOrEqual(19);
    using rig = new Rig();
    const mapping = rig.global.iommu.map(2);
    expect(codeOf(() => rig.global.iommu.unmap({ ...mapping, pages: 1 }))).toBe("EFAULT");
    rig.global.iommu.unmap(mapping);
    expect(codeOf(() => rig.global.iommu.unmap(mapping))).toBe("EFAULT");
  });

  test("stopped before every page and resumed, content and number of copies are the same", () => {
    for (const pages of [1, 7, 19]) {
      using rig = new Rig();
      const tt = rig.filled(pages, { caching: "wc" });
      shrinkTtSync(rig.pool, tt);
      for (let k = 1; k <= pages; k++) {
        // One page further each time: the second look at the signal stops it.
        expect(codeOf(() => populateTtSync(rig.pool, tt, { signal: stopAt(2) }))).toBe(
          k < pages ? "EINTR" : undefined,
        );
      }
      rig.expectMarked(tt);
      expect(rig.swap.reads).toEqual(Array.from({ length: pages }, (_, i) => i + 1));
    }
  });

  test("what a shrink returns is what the tt lost and what swap, or free memory, gained", () => {
    for (const keepClean of [false, true]) {
      for (const purge of [false, true]) {
        for (let k = 1; k <= 20; k++) {
          using rig = new Rig({ keepClean });
          const tt = rig.filled(19, { caching: "wc" });
          shrinkTtSync(rig.pool, tt);
          populateTtSync(rig.pool, tt);
          rig.mark(tt, 4, 8);
          const before = { ...rig.facts(), clean: rig.global.engine.cleanPages };
          const { resident } = tt;
          rig.swap.failAt(true, k);
          let released = 0;
          const code = codeOf(() => {
            released = shrinkTtSync(rig.pool, tt, { purge });
          });
          const after = { ...rig.facts(), clean: rig.global.engine.cleanPages };
          const stored = after.slots - after.clean - (before.slots - before.clean);
          expect(resident - tt.resident, `${code} at ${k}`).toBe(released);
          expect(before.held - after.held).toBe(released);
          expect(stored).toBe(purge ? 0 : released);
        }
      }
    }
  });

  test("out of memory at every allocation, a restore ends populated once there is memory", () => {
    for (let space = 0; space < 12; space++) {
      using rig = new Rig();
      const pool = new Pool(rig.global, { orders: [2, 1, 0] });
      const tt = rig.filled(19, { caching: "uc", dma: true }, pool);
      shrinkTtSync(pool, tt);
      rig.swap.forget();
      rig.device.injectFault("alloc", { probability: 100, times: 3, space });
      for (let attempt = 0; !tt.populated; attempt++) {
        expect(attempt).toBeLessThan(4);
        const code = codeOf(() => populateTtSync(pool, tt));
        expect(["ENOMEM", undefined]).toContain(code);
      }
      rig.expectMarked(tt);
      expect(rig.swap.reads).toEqual(Array.from({ length: 19 }, (_, i) => i + 1));
      expect(rig.global.iommu.pages).toBe(19);
      expect(rig.caching(tt)).toEqual(Array.from({ length: 19 }, () => 2));
    }
  });
});
