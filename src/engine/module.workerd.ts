import module from "./engine.wasm";

/** The engine, compiled ahead by a runtime that forbids compiling bytes (workerd, edge). */
export function engineModule(): WebAssembly.Module {
  return module as unknown as WebAssembly.Module;
}
