import { ENGINE } from "../../build/engine.ts";
import { compile } from "./instance.ts";

let compiled: WebAssembly.Module | undefined;

/**
 * The engine, compiled once from the text inlined into this package.
 *
 * @throws TtmError ENOSYS when this host has no WebAssembly, or forbids to compile it
 */
export function engineModule(): WebAssembly.Module {
  compiled ??= compile(bytesOf(ENGINE));
  return compiled;
}

/** The bytes that scripts/engine_text.js made this text of. By hand: not every host has what decodes base64. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const mark = text.charCodeAt(0);
  const zero = text.charCodeAt(1);
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 2; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code === mark) code = text.charCodeAt(++i) ^ 128;
    bytes[length++] = code ^ zero;
  }
  return bytes.subarray(0, length);
}
