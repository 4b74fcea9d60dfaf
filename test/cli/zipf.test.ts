import { describe, expect, test } from "vitest";
import { zipf } from "../../src/cli/zipf.ts";

function draws(count: number, seed: number, n: number): number[] {
  const next = zipf(count, seed);
  return Array.from({ length: n }, next);
}

/** How often each index was drawn, most often first. */
function frequencies(indices: readonly number[], count: number): number[] {
  const seen = new Array<number>(count).fill(0);
  for (const index of indices) seen[index] = (seen[index] ?? 0) + 1;
  return seen.sort((a, b) => b - a);
}

describe("zipf", () => {
  test("frequencies fall as 1 / rank^0.99", () => {
    const count = 100;
    const n = 200_000;
    const seen = frequencies(draws(count, 7, n), count);
    const weights = Array.from({ length: count }, (_, rank) => (rank + 1) ** -0.99);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const rank of [0, 1, 3, 9, 31, 99]) {
      const expected = (n * (weights[rank] as number)) / total;
      expect(Math.abs((seen[rank] as number) - expected)).toBeLessThan(6 * Math.sqrt(expected));
    }
  });

  test("the same seed gives the same order, another seed other favourites", () => {
    expect(draws(1000, 3, 500)).toEqual(draws(1000, 3, 500));
    const favourite = (seed: number) => {
      const indices = draws(1000, seed, 2000);
      const seen = new Map<number, number>();
      for (const index of indices) seen.set(index, (seen.get(index) ?? 0) + 1);
      return [...seen].sort((a, b) => b[1] - a[1])[0]?.[0];
    };
    expect(new Set([1, 2, 3, 4, 5].map(favourite)).size).toBeGreaterThan(3);
  });

  test("every object can come up, and no other index", () => {
    const indices = draws(10, 1, 5000);
    expect([...new Set(indices)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(draws(1, 1, 10)).toEqual(new Array(10).fill(0));
  });
});
