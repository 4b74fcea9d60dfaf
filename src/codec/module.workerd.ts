import * as codec from "./codec.wasm";

/** The codec, compiled ahead by a runtime that forbids compiling bytes (workerd, edge). */
export function codecModule(): unknown {
  // Looked up by name, since bundlers that know no such export refuse to build what asks for it.
  return Reflect.get(codec, "default");
}
