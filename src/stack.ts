/** Frames of `probe`: together some 2 KiB, more than anything of ours takes between two calls of foreign code. */
const DEPTH = 16;

/**
 * Makes sure that the stack has room for an operation, before anything is changed: one that ended in the
 * middle would leave locks held and pages half moved. What the user's devices and signals need beyond that
 * is theirs: what they throw is a failure like any other.
 *
 * @throws RangeError the host's own: too much recursion
 */
export function assertStack(): void {
  probe(DEPTH, 0, 0, 0, 0, 0, 0, 0, 0);
}

/** Arguments lie on the stack, so a few of them save many calls. */
function probe(
  depth: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
  g: number,
  h: number,
): number {
  return depth === 0 ? a : probe(depth - 1, b, c, d, e, f, g, h, a);
}
