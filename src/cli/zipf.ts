import { Random } from "../random.ts";

/** Skew of the accesses: that of the usual key-value benchmarks (YCSB). */
const EXPONENT = 0.99;

/**
 * Indices 0..count-1 in a zipf order: the object of rank r comes up in proportion to 1 / r^0.99, and
 * which object has which rank is drawn from the seed, so that neither size nor place in the list
 * decides. The sums of the weights are computed once; a draw is a binary search in them.
 */
export function zipf(count: number, seed: number): () => number {
  const random = new Random(seed);
  const sums = new Float64Array(count);
  const ranked = new Uint32Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -EXPONENT;
    sums[rank] = sum;
    // Fisher-Yates, from the front: each object ends up in each place with the same probability.
    const other = Math.floor(random.fraction() * (rank + 1));
    ranked[rank] = ranked[other] as number;
    ranked[other] = rank;
  }
  return () => ranked[firstAbove(sums, random.fraction() * sum)] as number;
}

/** Index of the first sum above `value`; the last one at most. */
function firstAbove(sums: Float64Array, value: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
