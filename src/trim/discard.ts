/*
 * `Memory.prototype.discard(offset, bytes)`, of WebAssembly's memory control proposal: no host ships it yet, so it is
 * looked for, and what it does is looked at, before it is used.
 */
import type { Release } from "../engine/trim.ts";

/** It gives back whole pages of WebAssembly (bytes). */
export const DISCARD_UNIT = 65536;

type Discarding = { discard?(offset: number, bytes: number): void };

/** Undefined where there is none. */
export function findDiscard(): Release | undefined {
  const { discard } = WebAssembly.Memory.prototype as Discarding;
  if (typeof discard !== "function") return undefined;
  return (view, memory) => {
    (memory as Discarding).discard?.(view.byteOffset, view.byteLength);
    return true;
  };
}
