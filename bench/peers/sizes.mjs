const UNITS = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

export const MIB = UNITS.MiB;

/** Bytes of a size such as 64KiB. */
export function bytesOf(text) {
  const [, count, unit] = /^(\d+)\s*(KiB|MiB|GiB)$/.exec(text) ?? [];
  if (!unit) throw new RangeError(`${text} is not a size such as 64KiB, 128MiB or 1GiB`);
  return Number(count) * UNITS[unit];
}
