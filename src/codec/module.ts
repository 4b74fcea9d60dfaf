import { CODEC } from "../../build/codec.ts";
import { compile } from "../wasm/compile.ts";

let compiled: WebAssembly.Module | undefined;

/**
 * The codec, compiled once from the text inlined into this package.
 *
 * @throws TtmError ENOSYS when this host has no WebAssembly, or forbids to compile it
 */
export function codecModule(): WebAssembly.Module {
  compiled ??= compile(CODEC, "codec.wasm");
  return compiled;
}
