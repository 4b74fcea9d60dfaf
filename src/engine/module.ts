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

/** Bytes of a hexadecimal text, by what the host has: a loop here takes longer than compiling them. */
function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  const { Buffer } = globalThis;
  if (Buffer !== undefined) return Buffer.from(hex, "hex");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (digit(hex.charCodeAt(2 * i)) << 4) | digit(hex.charCodeAt(2 * i + 1));
  }
  return bytes;
}

/** Value of a digit, 0-9 or a-f, from its character code. */
function digit(code: number): number {
  return (code & 15) + 9 * (code >> 6);
}
