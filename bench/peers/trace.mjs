/** Random numbers 0..1 of a seed: mulberry32 (T. Ettinger). */
function mulberry32(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Objects to access: zipf with exponent `theta`, the same for the same seed. Which object has which
 * rank is random too, so that popular ones do not lie side by side.
 */
export function zipf(objects, accesses, theta = 0.99, seed = 42) {
  const random = mulberry32(seed);
  const byRank = Uint32Array.from({ length: objects }, (_, i) => i);
  for (let i = objects - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [byRank[i], byRank[j]] = [byRank[j], byRank[i]];
  }
  const sums = new Float64Array(objects);
  for (let i = 0, sum = 0; i < objects; i++) {
    sum += (i + 1) ** -theta;
    sums[i] = sum;
  }
  return Uint32Array.from({ length: accesses }, () => {
    const at = random() * sums[objects - 1];
    let low = 0;
    let high = objects - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle] < at) low = middle + 1;
      else high = middle;
    }
    return byRank[low];
  });
}
