/** A number in [0, 1), the next of its series. */
export type Random = () => number;

/** mulberry32 (T. Ettinger): 32 bits of state, the same series for a seed on every runtime. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Skew of the accesses: that of the usual key-value benchmarks (YCSB). */
const EXPONENT = 0.99;

/**
 * Indices 0..count-1 in a zipf order: the object of rank r comes up in proportion to 1 / r^0.99, and
 * which object has which rank is drawn from the seed, so that neither size nor place in the list
 * decides. The sums of the weights are computed once; a draw is a binary search in them.
 */
export function zipf(count: number, seed: number): () => number {
  const next = random(seed);
  const sums = new Float64Array(count);
  const ranked = new Uint32Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -EXPONENT;
    sums[rank] = sum;
    // Fisher-Yates, from the front: each object ends up in each place with the same probability.
    const other = Math.floor(next() * (rank + 1));
    ranked[rank] = ranked[other] as number;
    ranked[other] = rank;
  }
  return () => ranked[firstAbove(sums, next() * sum)] as number;
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
