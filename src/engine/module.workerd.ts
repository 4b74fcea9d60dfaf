import * as engine from "./engine.wasm";
import { assertModule } from "./instance.ts";

/**
 * The engine, compiled ahead by a runtime that forbids compiling bytes (workerd, edge).
 *
 * @throws TypeError when the bundler made something else of `engine.wasm`
 */
export function engineModule(): WebAssembly.Module {
  // Looked up by name, since bundlers that know no such export refuse to build what asks for it.
  const module: unknown = Reflect.get(engine, "default");
  assertModule(module, "engine.wasm, as this bundler imports it,");
  return module;
}
