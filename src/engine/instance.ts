/*
 * Where the host's WebAssembly is asked for something: to instantiate, for memory. What it may refuse there is said
 * in a way that tells what to do.
 */
import { assertWebAssembly } from "../wasm/compile.ts";
import { noMemory } from "../wasm/memory.ts";
import type { Exports } from "./exports.ts";

const WASM_PAGE = 65536;

/**
 * Looks at what the host says of its exports, not at its class: a module may be of another realm.
 *
 * @param name what the caller calls it
 * @throws TypeError when it is no module, or not the engine
 */
export function assertModule(value: unknown, name: string): asserts value is WebAssembly.Module {
  assertWebAssembly();
  const exports = exportsOf(value);
  if (exports?.some((each) => each.name === "memoryPages")) return;
  const bytes = ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
  const is = exports
    ? "is another WebAssembly.Module"
    : bytes
      ? "is bytes: pass new WebAssembly.Module(bytes)"
      : `is ${typeof value === "object" ? Object.prototype.toString.call(value) : typeof value}`;
  throw new TypeError(`${name} must be ttm-wasm/engine.wasm as a WebAssembly.Module, but ${is}`);
}

function exportsOf(value: unknown): WebAssembly.ModuleExportDescriptor[] | undefined {
  try {
    return WebAssembly.Module.exports(value as WebAssembly.Module);
  } catch {
    return undefined;
  }
}

/**
 * @param bytes its memory will have, for the message
 * @throws TtmError ENOMEM when the host has no room for its memory
 */
export function instantiate(module: WebAssembly.Module, bytes: number): Exports {
  return allocated(bytes, () => {
    return new WebAssembly.Instance(module, {}).exports as unknown as Exports;
  });
}

/**
 * Grows the memory of a new instance to `pages` pages of 64 KiB, once and for all.
 *
 * @throws TtmError ENOMEM when the host has no room for it
 */
export function size({ memory }: Exports, pages: number): void {
  allocated(pages * WASM_PAGE, () => memory.grow(pages - memory.buffer.byteLength / WASM_PAGE));
}

function allocated<T>(bytes: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw noMemory("create", bytes, error);
  }
}
