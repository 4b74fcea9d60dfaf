import text from "../../build/engine.wasm";

/** The engine, compiled from base64 inlined into this package. */
export function engineModule(): WebAssembly.Module {
  return new WebAssembly.Module(bytesOf(text));
}

/** Bytes of a base64 text, by the fastest means there is: a loop here costs more than compiling them. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const { Buffer } = globalThis;
  if (Buffer !== undefined) return Buffer.from(base64, "base64");
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
