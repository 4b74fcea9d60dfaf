/*
 * The sizes of objects: 16 steps from one power of two to the next, so an object has 2 % more room than it needs at an
 * average. Whole pages are among them.
 */

/** Least bytes of an object: 2^7. */
const LEAST_SHIFT = 7;
/** Steps from a power of two to the next: 2^4. */
const STEP_SHIFT = 4;
const STEPS = 2 ** STEP_SHIFT;

/** Which size, counted from the smallest, an object of so many bytes has. */
export function sizeClass(bytes: number): number {
  const shift = 31 - Math.clz32(bytes - 1);
  if (bytes <= 2 ** LEAST_SHIFT) return 0;
  return (shift - LEAST_SHIFT) * STEPS + ((bytes - 1) >>> (shift - STEP_SHIFT)) - STEPS + 1;
}

/** Its bytes. */
export function classBytes(kind: number): number {
  if (kind === 0) return 2 ** LEAST_SHIFT;
  const shift = Math.floor((kind - 1) / STEPS) + LEAST_SHIFT;
  return (((kind - 1) % STEPS) + STEPS + 1) * 2 ** (shift - STEP_SHIFT);
}
