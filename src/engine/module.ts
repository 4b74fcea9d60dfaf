import { ENGINE } from "../../build/engine.ts";
import { compile } from "../wasm/compile.ts";

let compiled: WebAssembly.Module | undefined;

/**
 * The engine, compiled once from the text inlined into this package.
 *
 * @throws TtmError ENOSYS when this host has no WebAssembly, or forbids to compile it
 */
export function engineModule(): WebAssembly.Module {
  compiled ??= compile(ENGINE, "engine.wasm");
  return compiled;
}
