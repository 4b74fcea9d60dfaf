import bytes from "../../build/engine.wasm";

/** The engine, compiled from bytes inlined into this package. */
export function engineModule(): WebAssembly.Module {
  return new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
}
