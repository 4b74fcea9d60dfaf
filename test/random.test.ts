import { describe, expect, test } from "vitest";
import { Random } from "../src/random.ts";

describe("random numbers", () => {
  test("are the same series for a seed, on every runtime", () => {
    const random = new Random(1);
    // The first outputs of mulberry32 with seed 1.
    const expected = [2693262067, 11749833, 2265367787, 4213581821];
    expect(Array.from({ length: 4 }, () => random.next())).toEqual(expected);
  });

  test("stay in [0, 1) and differ between seeds", () => {
    const a = new Random(1);
    const b = new Random(2);
    for (let i = 0; i < 1000; i++) {
      const value = a.fraction();
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
      expect(b.fraction()).not.toBe(value);
    }
  });
});
