/**
 * Fills the key of the checksums with random bytes: of `crypto` where there is one that gives them, else of
 * `Math.random`. Worklets have no `crypto`, and workerd's refuses outside of requests. Then a checksum sees
 * damage with the same chance, but whoever sees other numbers of `Math.random` may compute the key.
 */
export function drawKey(key: Uint8Array<ArrayBuffer>): void {
  try {
    globalThis.crypto.getRandomValues(key);
  } catch {
    for (let i = 0; i < key.length; i++) key[i] = Math.random() * 256;
  }
}
