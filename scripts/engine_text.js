/**
 * The engine as the text that src/engine/module.ts reads. A character for each byte, so that gzip finds again what
 * it would find in the bytes, and ASCII only, so that it passes through any page and any tool.
 */

/** Moves the bytes that are frequent in an engine to characters that need no escape in a string. */
const MASK = 0x35;

/**
 * Bytes below 128 are one character: `byte ^ MASK`. The others are two: a mark, and what they are without their
 * highest bit. The mark is the character of a byte that does not occur, with its highest bit or without. The text begins with it, and with the character
 * of a zero.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function engineText(bytes) {
  let free = 0;
  while (free < 128 && (bytes.includes(free) || bytes.includes(free | 128))) free++;
  const mark = free ^ MASK;
  const codes = [mark, MASK];
  for (const byte of bytes) {
    if (byte >= 128) codes.push(mark);
    codes.push((byte & 127) ^ MASK);
  }
  return String.fromCharCode(...codes);
}
