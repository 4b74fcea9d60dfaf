/* Holes in tts of the kernel's layer: over every range, order and kind of page, all that is counted stays right. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/index.ts";
import { punchHole } from "../../src/ttm/hole.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt, type TtOptions } from "../../src/ttm.ts";
import { expectInvariants, expectUntouched } from "./support/invariants.ts";
import { type Kit, kit, ordersOf, pooledPages, type Written, written } from "./support/kit.ts";
import { expectContent, ttmErrorOf } from "./support/subject.ts";

const PAGES = 44;

const KINDS: readonly [string, TtOptions, { coherent?: boolean; orders?: number[] }][] = [
  ["cached", {}, {}],
  ["write-combined", { caching: "wc" }, {}],
  ["with bus addresses", { dma: true }, {}],
  ["uncached, with bus addresses", { caching: "uc", dma: true }, {}],
  ["of single pages", {}, { orders: [0] }],
  ["for coherent DMA", { dma: true }, { coherent: true }],
];

/** Where the pages are; `leaves` of them at least, if they can. */
const STATES: readonly [string, (k: Kit, pool: Pool, made: Written) => void][] = [
  ["in memory", () => {}],
  ["in swap", (_, pool, { tt }) => void shrinkTtSync(pool, tt)],
  ["half of them in swap", (_, pool, { tt }) => void shrinkTtSync(pool, tt, { pages: 20 })],
  [
    "clean",
    (_, pool, { tt }) => {
      shrinkTtSync(pool, tt);
      populateTtSync(pool, tt);
    },
  ],
  [
    "half restored",
    ({ swap, global }, pool, { tt }) => {
      global.transferPages = 1;
      shrinkTtSync(pool, tt);
      let reads = 0;
      const signal = {
        get aborted() {
          return swap.pagesIn > 0 && ++reads > 5;
        },
      };
      ttmErrorOf(() => populateTtSync(pool, tt, { signal }));
      expect(tt.restore).toBeDefined();
    },
  ],
];

const RANGES = [
  [0, PAGES],
  [0, 1],
  [43, 44],
  [3, 4],
  [3, 9],
  [31, 33],
  [32, 40],
  [7, 43],
  [9, 9],
] as const;

describe.each(KINDS)("a tt %s", (_, options, { coherent = false, orders = undefined }) => {
  const states = STATES.filter(([state]) => !coherent || state === "in memory");
  test.each(states)("%s", (_, prepare) => {
    for (const [from, to] of RANGES) {
      for (const stays of [false, true]) {
        const k = kit({ memory: 256 });
        const { global } = k;
        const pool = new Pool(global, { coherent, ...(orders ? { orders } : {}) });
        const made = written(pool, PAGES, 1, options);
        const { tt, bytes } = made;
        prepare(k, pool, made);
        const { populated, resident } = tt;
        const pages = global.engine.freePages + global.engine.pooledPages;
        const freed = punchHole(pool, tt, from, to, stays);
        expect(global.engine.freePages + global.engine.pooledPages).toBe(pages + freed);
        expect(tt.resident).toBe(resident - freed);
        expectInvariants(global, [{ pool, tt }]);
        if (stays || coherent) expect(tt.populated).toBe(populated);
        else if (to - from === PAGES) expect(tt.vector).toBe(-1);
        else if (to > from) expect(tt.shrunken).toBe(true);
        const { vector } = tt;
        const holes = vector < 0 ? 0 : global.engine.countEmpty(vector, 0, PAGES);
        expect(tt.gaps || holes === 0).toBe(true);
        bytes.fill(0, from * PAGE_SIZE, to * PAGE_SIZE);
        populateTtSync(pool, tt);
        expectInvariants(global, [{ pool, tt }]);
        expectContent(global, tt, bytes);
        if (!coherent) {
          shrinkTtSync(pool, tt);
          expectInvariants(global, [{ pool, tt }]);
          populateTtSync(pool, tt);
          expectContent(global, tt, bytes);
        }
        finiTt(pool, tt);
        pool.close();
        expectUntouched(global);
      }
    }
  });
});

describe("a chunk of 512 pages", () => {
  test("is split where a hole cuts it, and given back whole where it does not", () => {
    const { global } = kit({ memory: 2048 });
    const pool = new Pool(global);
    const { tt, bytes } = written(pool, 1024, 1);
    expect(ordersOf(global, tt)).toEqual([9, 9]);
    expect(punchHole(pool, tt, 512, 1024, false)).toBe(512);
    expect(global.engine.freeChunks()[9]).toBe(3);
    expect(punchHole(pool, tt, 100, 101, false)).toBe(1);
    expect(tt.resident).toBe(511);
    expectInvariants(global, [{ pool, tt }]);
    bytes.fill(0, 512 * PAGE_SIZE).fill(0, 100 * PAGE_SIZE, 101 * PAGE_SIZE);
    populateTtSync(pool, tt);
    expectContent(global, tt, bytes);
    finiTt(pool, tt);
    expectUntouched(global);
  });
});

test("pages of another caching go to their pool, cleared, within its limit", () => {
  const { global } = kit({ memory: 256 });
  const pool = new Pool(global);
  const { tt } = written(pool, 64, 1, { caching: "wc" });
  punchHole(pool, tt, 8, 24, false);
  expect(pooledPages(global, "wc")).toBe(16);
  global.limits.pagePoolSize = 4;
  punchHole(pool, tt, 24, 40, false);
  expect(pooledPages(global, "wc")).toBeLessThanOrEqual(4);
  expectInvariants(global, [{ pool, tt }]);
  finiTt(pool, tt);
  expectUntouched(global);
});

test("an empty tt has nothing to give up", () => {
  const { global } = kit({ memory: 64 });
  const pool = new Pool(global);
  const tt = new Tt(8);
  expect(punchHole(pool, tt, 0, 8, false)).toBe(0);
  expectUntouched(global);
});
