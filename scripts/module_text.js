/**
 * A module, such as the engine, as the text that src/wasm/text.ts reads. A character for each byte, so that gzip finds again what
 * it would find in the bytes, and ASCII only, so that it passes through any page and any tool.
 */

/** Moves the bytes that are frequent in an engine to characters that need no escape in a string. */
const MASK = 0x35;

/**
 * Bytes below 128 are one character: `byte ^ MASK`. The others are two: a mark, and what they are without their
 * highest bit. The mark is the character of the rarest byte of those that do not occur with their highest bit, one
 * that needs no escape if there is such a one. Where that byte itself occurs, it is the mark and the character of
 * another such byte, the spare. The text begins with the mark, the character of a zero, and the spare.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function moduleText(bytes) {
  const counts = new Array(256).fill(0);
  for (const byte of bytes) counts[byte]++;
  const free = Array.from({ length: 128 }, (_, byte) => byte)
    .filter((byte) => counts[byte | 128] === 0)
    .sort((a, b) => Number(isEscaped(a)) - Number(isEscaped(b)) || counts[a] - counts[b]);
  // No engine has all bytes there are; what has them gets a mark that is no ASCII.
  const [rare = 128, spare = 128] = free.length > 1 ? free : [];
  const mark = rare ^ MASK;
  const codes = [mark, MASK, spare ^ MASK];
  for (const byte of bytes) {
    if (byte >= 128) codes.push(mark, (byte & 127) ^ MASK);
    else if (byte === rare) codes.push(mark, spare ^ MASK);
    else codes.push(byte ^ MASK);
  }
  return String.fromCharCode(...codes);
}

/** @param {number} byte one whose character is not the same in a string of a program, wherever that is */
function isEscaped(byte) {
  return !/[\w !#%&()*+,./:;<=>?@^|~-]/.test(String.fromCharCode(byte ^ MASK));
}
