/* Copies that go by whole vectors: up to 16 bytes more than asked for are read, and written. */

// @ts-ignore: decorator
@inline
export function copyVectors(to: usize, from: usize, bytes: usize): void {
  const end = to + bytes;
  do {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
  } while (to < end);
}
