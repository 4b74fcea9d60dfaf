import text from "../../build/engine.wasm";

let compiled: WebAssembly.Module | undefined;

/** The engine, compiled once from base64 inlined into this package. */
export function engineModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(bytesOf(text));
  return compiled;
}

/** Bytes of a base64 text, by the fastest means there is: a loop here takes longer than compiling them. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const { atob, Buffer } = globalThis;
  if (Buffer !== undefined) return Buffer.from(base64, "base64");
  if (atob === undefined) {
    throw new TypeError("there is no atob here to decode the engine; pass it as `module`");
  }
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
