/**
 * The bytes that scripts/module_text.js made this text of. A loop over single bytes, when it runs for the
 * first time, takes longer than compiling an engine: so the host encodes the text, and our loop takes four at a time.
 */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const parts = text.slice(3).split(text.charAt(0));
  const codes = parts.join("");
  const words = new Uint32Array(Math.ceil(codes.length / 4));
  const bytes = new Uint8Array(words.buffer, 0, codes.length);
  putCodes(codes, bytes);
  const mark = text.charCodeAt(0);
  const spare = text.charCodeAt(2);
  let at = 0;
  for (const part of parts) {
    at += part.length;
    // The last one is beyond the end, and nothing.
    const code = bytes[at] as number;
    bytes[at] = code === spare ? mark : code | 128;
  }
  const mask = text.charCodeAt(1) * 0x01010101;
  for (let i = 0; i < words.length; i++) words[i] = (words[i] as number) ^ mask;
  return bytes;
}

function putCodes(text: string, bytes: Uint8Array<ArrayBuffer>): void {
  const { TextEncoder } = globalThis;
  // Polyfills mostly have `encode` only: without `encodeInto` there is none of the host's own.
  const native = typeof TextEncoder?.prototype?.encodeInto === "function";
  if (native) new TextEncoder().encodeInto(text, bytes);
  else for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
}
