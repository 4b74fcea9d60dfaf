/**
 * The engine as the text that src/engine/module.ts reads. A character for each byte, so that gzip finds again what
 * it would find in the bytes, and ASCII only, so that it passes through any page and any tool.
 */

/** Moves the bytes that are frequent in an engine to characters that need no escape in a string. */
const MASK = 0x35;

/**
 * Bytes below 128 are one character: `byte ^ MASK`. The others are two: a mark, and what they are without their
 * highest bit. The rarest byte lends its character as the mark; where it does occur it is marked, too. The
 * text begins with the mark and with the character of a zero.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function engineText(bytes) {
  const counts = new Uint32Array(128);
  for (const byte of bytes) if (byte < 128) counts[byte] = (counts[byte] ?? 0) + 1;
  const mark = counts.indexOf(Math.min(...counts)) ^ MASK;
  const codes = [mark, MASK];
  for (const byte of bytes) {
    const code = byte ^ MASK;
    if (code >= 128 || code === mark) codes.push(mark, code ^ 128);
    else codes.push(code);
  }
  return String.fromCharCode(...codes);
}
