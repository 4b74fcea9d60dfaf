/*
 * `Memory.prototype.discard(offset, bytes)`, of WebAssembly's memory control proposal: no host ships it yet, so it is
 * looked for, and what it does is looked at, before it is used.
 */
import type { Release } from "../engine/trim.ts";

/** It gives back whole pages of WebAssembly (bytes). */
export const DISCARD_UNIT = 65536;

type Discard = (this: WebAssembly.Memory, offset: number, bytes: number) => void;

/** The method, as it is now; undefined where there is none. */
export function discardMethod(): Discard | undefined {
  const { discard } = WebAssembly.Memory.prototype as { discard?: Discard };
  return typeof discard === "function" ? discard : undefined;
}

/** What releases by it, whatever becomes of the prototype. */
export function discardBy(discard: Discard): Release {
  return (view, memory) => {
    discard.call(memory, view.byteOffset, view.byteLength);
    return true;
  };
}
