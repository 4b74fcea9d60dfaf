/* Which orders a populate chooses. */
import { describe, expect, test } from "vitest";
import { finiTt, Pool, populateTtSync, shrinkTtSync } from "../../../src/ttm.ts";
import { codeOf, Rig } from "./rig.ts";

const RFC = [9, 4, 0];

function ordersOf(pages: number, orders?: readonly number[], beneficialOrder = 0): number[] {
  using rig = new Rig({ memory: 1024, slots: 1024 });
  const pool = new Pool(rig.global, { beneficialOrder, ...(orders ? { orders } : {}) });
  return rig.orders(rig.filled(pages, {}, pool));
}

describe("orders", () => {
  test("with the RFC's list the largest of 9, 4 and 0 that fits what remains", () => {
    const zeros = (n: number) => Array.from({ length: n }, () => 0);
    expect(ordersOf(19, RFC)).toEqual([4, ...zeros(3)]);
    expect(ordersOf(531, RFC)).toEqual([9, 4, ...zeros(3)]);
    expect(ordersOf(600, RFC)).toEqual([9, 4, 4, 4, 4, 4, ...zeros(8)]);
    expect(ordersOf(15, RFC)).toEqual(zeros(15));
  });

  test("by default every order is tried, from the highest bit of what remains down", () => {
    expect(ordersOf(1)).toEqual([0]);
    expect(ordersOf(19)).toEqual([4, 1, 0]);
    expect(ordersOf(531)).toEqual([9, 4, 1, 0]);
    expect(ordersOf(600)).toEqual([9, 6, 4, 3]);
  });

  test("a restore chooses its orders in the same way", () => {
    using rig = new Rig({ memory: 1024, slots: 1024 });
    const pool = new Pool(rig.global, { orders: RFC });
    const tt = rig.filled(531, {}, pool);
    shrinkTtSync(pool, tt);
    populateTtSync(pool, tt);
    expect(rig.orders(tt)).toEqual([9, 4, 0, 0, 0]);
    rig.expectMarked(tt);
  });

  test("no order is above 9, and 0 is always among them", () => {
    using rig = new Rig();
    for (const orders of [[10, 0], [0, -1], [0, 1.5], [], [9, 4]]) {
      expect(() => new Pool(rig.global, { orders }), `${orders}`).toThrow(RangeError);
    }
    expect(() => new Pool(rig.global, { beneficialOrder: 10 })).toThrow(RangeError);
    expect(Math.max(...ordersOf(1024))).toBe(9);
  });

  test("a chunk that cannot be had is tried one order lower", () => {
    for (const [failures, first] of [
      [1, 3],
      [2, 2],
      [4, 0],
    ] as const) {
      using rig = new Rig();
      rig.device.injectFault("alloc", { probability: 100, times: failures });
      expect(rig.orders(rig.filled(16))[0], `after ${failures} failures`).toBe(first);
    }
    // The RFC's list has nothing between 4 and 0.
    using rig = new Rig();
    rig.device.injectFault("alloc", { probability: 100, times: 1 });
    const pool = new Pool(rig.global, { orders: RFC });
    expect(rig.orders(rig.filled(18, {}, pool))[0]).toBe(0);
  });

  test("in fragmented memory single pages are found, and without any it is ENOMEM", () => {
    using rig = new Rig({ memory: 16 });
    const singles = Array.from({ length: 16 }, () => rig.filled(1));
    for (const tt of singles.filter((_, i) => i % 2 === 0)) finiTt(rig.pool, tt);
    const tt = rig.filled(8);
    expect(rig.orders(tt)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(codeOf(() => rig.filled(1))).toBe("ENOMEM");
    rig.device.injectFault("alloc", { probability: 100, times: 1 });
    finiTt(rig.pool, tt);
    expect(codeOf(() => rig.filled(1))).toBe("ENOMEM");
  });

  test("the next chunk may be larger again", () => {
    using rig = new Rig();
    rig.device.injectFault("alloc", { probability: 100, times: 3 });
    expect(rig.orders(rig.filled(16))).toEqual([1, 3, 2, 1]);
  });

  test("above the beneficial order no chunk is sought", () => {
    expect(ordersOf(600, undefined, 4)).toEqual([...Array.from({ length: 37 }, () => 4), 3]);
    expect(ordersOf(19, undefined, 9)).toEqual([4, 1, 0]);
    expect(ordersOf(19, RFC, 3)).toEqual(Array.from({ length: 19 }, () => 0));
  });
});
