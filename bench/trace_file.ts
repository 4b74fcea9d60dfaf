/* References of real programs to pages, as files: what bench/policies.bench.ts says of them. */

/** Page numbers are kept as 32-bit integers. */
const PAGE_MAX = 2 ** 31 - 1;

/**
 * The pages that a trace refers to, in order: a varint for each reference, zigzag of the number less the one before,
 * times 2.
 *
 * @throws RangeError naming the byte of a reference that is cut off, or is to a page that cannot be
 */
export function readReferences(bytes: Uint8Array): number[] {
  const uses: number[] = [];
  let page = 0;
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    let value = 0;
    for (let unit = 1, more = true; more; unit *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError(`the reference at byte ${start} is cut off`);
      value += (byte & 127) * unit;
      more = byte > 127;
    }
    const zigzag = Math.floor(value / 2);
    page += zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2;
    if (!(page >= 0 && page <= PAGE_MAX)) {
      throw new RangeError(`the reference at byte ${start} is to page ${page}`);
    }
    uses.push(page);
  }
  return uses;
}
