/*
 * What is done to the bytes of pages, wherever they lie: copies, zeros, checksums. Nothing here knows whose
 * they are.
 *
 * The checksum of a page, 32 bits. Whatever two pages hold, the chance that different ones have the same
 * is at most 2^-30 + 2^-32, over a key that each device draws at random.
 *
 * NH, signed (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, CRYPTO 1999). Word i of two vectors side by
 * side, x in the first and y in the second, is a pair with the key words k and l in the same places:
 *
 *   sum = of all pairs, (x + k) * (y + l), modulo 2^32; x + k and y + l wrap to 16 bits, signed
 *
 * Two pages with a pair that differs, say in y; with the same y it is in x, and the same holds for l. Let all
 * key words be fixed but k. The sums are equal if A * u - B * u' is one certain number, where u = x + k and
 * u' = x' + k, and A = y + l is not B = y' + l. As k takes its 2^16 values u does, and u' is u + (x' - x), or
 * 2^16 away from that where it wraps. For each of the two (A - B) * u is one certain number modulo 2^32,
 * and since |A - B| < 2^16, one u at most fits. So 2 of 2^16 keys fit, a chance of 2^-15.
 *
 * The second sum uses the same key moved on by one step, two vectors (UMAC's Toeplitz construction). Of pairs that
 * differ and lie in the same place of their vectors, the last one meets key words there which the first sum
 * multiplies with equal words only: a chance of 2^-15 again, whatever the first sum does. Both: 2^-30.
 *
 * The two sums p, q become (a * p + b * q + c) mod 2^64, of which the upper half: equal for different sums with
 * a chance of 2^-32 (Dietzfelbinger: Universal hashing and k-wise independent random variables via integer
 * arithmetic without primes, STACS 1996).
 */
import { PAGE_SHIFT, PAGE_SIZE, SUM_KEY, SUM_KEY_BYTES } from "./abi";

// @ts-ignore: decorator
@inline
export function copyBytes(to: usize, from: usize, pages: u32): void {
  memory.copy(to, from, (<usize>pages) << PAGE_SHIFT);
}

// @ts-ignore: decorator
@inline
export function clearPages(address: usize, pages: u32): void {
  memory.fill(address, 0, (<usize>pages) << PAGE_SHIFT);
}

/** True when all 4096 bytes are zero; stops at the first 64 that are not. */
export function isZero(address: usize): bool {
  for (let at = address; at < address + PAGE_SIZE; at += 64) {
    const any = v128.or(
      v128.or(v128.load(at), v128.load(at, 16)),
      v128.or(v128.load(at, 32), v128.load(at, 48)),
    );
    if (v128.any_true(any)) return false;
  }
  return true;
}

/** Bytes of a step: two vectors. */
const STEP: usize = 32;
/** Where a, b and c lie, behind the words of a page and of one step. */
const JOIN: usize = <usize>SUM_KEY + PAGE_SIZE + STEP;

/** The products of eight pairs, two and two added. */
// @ts-ignore: decorator
@inline
function products(x: v128, y: v128, k: v128, l: v128): v128 {
  return i32x4.dot_i16x8_s(i16x8.add(x, k), i16x8.add(y, l));
}

// @ts-ignore: decorator
@inline
function total(lanes: v128): u64 {
  return <u32>(
    (i32x4.extract_lane(lanes, 0) +
      i32x4.extract_lane(lanes, 1) +
      i32x4.extract_lane(lanes, 2) +
      i32x4.extract_lane(lanes, 3))
  );
}

/** The checksum of the page at `address`. Two steps a turn and two sums of each: the most V8 has registers for. */
export function checksum(address: usize): u32 {
  let p = i32x4.splat(0);
  let q = p;
  let p2 = p;
  let q2 = p;
  let k0 = v128.load(SUM_KEY);
  let l0 = v128.load(SUM_KEY, 16);
  for (let i: usize = 0; i < <usize>PAGE_SIZE; i += 2 * STEP) {
    const at = address + i;
    const key = <usize>SUM_KEY + i;
    const x0 = v128.load(at);
    const y0 = v128.load(at, 16);
    const k1 = v128.load(key, STEP);
    const l1 = v128.load(key, STEP + 16);
    p = i32x4.add(p, products(x0, y0, k0, l0));
    q = i32x4.add(q, products(x0, y0, k1, l1));
    const x1 = v128.load(at, STEP);
    const y1 = v128.load(at, STEP + 16);
    const k2 = v128.load(key, 2 * STEP);
    const l2 = v128.load(key, 2 * STEP + 16);
    p2 = i32x4.add(p2, products(x1, y1, k1, l1));
    q2 = i32x4.add(q2, products(x1, y1, k2, l2));
    k0 = k2;
    l0 = l2;
  }
  const a = load<u64>(JOIN);
  const b = load<u64>(JOIN, 8);
  const c = load<u64>(JOIN, 16);
  return <u32>((a * total(i32x4.add(p, p2)) + b * total(i32x4.add(q, q2)) + c) >> 32);
}

/** A key to begin with, always the same (splitmix64): who wants the chances above draws another over it. */
export function layKey(): void {
  let state: u64 = 0;
  for (let at: usize = SUM_KEY; at < <usize>SUM_KEY + SUM_KEY_BYTES; at += 8) {
    state += 0x9e3779b97f4a7c15;
    let word = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    store<u64>(at, word ^ (word >> 31));
  }
}
