import { messageOf, TtmError } from "../errors.ts";
import { bytesOf } from "./text.ts";

/**
 * A module of the text that its bytes were inlined as; `file` is the same in the package.
 *
 * @throws TtmError ENOSYS when this host has no WebAssembly, or forbids to compile it
 */
export function compile(text: string, file: string): WebAssembly.Module {
  assertWebAssembly();
  try {
    return new WebAssembly.Module(bytesOf(text));
  } catch (error) {
    const text =
      `this host does not compile WebAssembly (${messageOf(error)}); where a policy forbids it, allow ` +
      `'wasm-unsafe-eval', or pass ttm-wasm/${file}, compiled ahead, as \`module\``;
    throw new TtmError("ENOSYS", "create", text, error);
  }
}

/** @throws TtmError ENOSYS */
export function assertWebAssembly(): void {
  if (typeof WebAssembly === "object") return;
  const text = "this host has no WebAssembly; on Node, start without --jitless";
  throw new TtmError("ENOSYS", "create", text);
}
