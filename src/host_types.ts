/* Types of the host's that a user's compiler may lack, or know by another name. */
import type { Signal } from "./ttm/task.ts";

/** A compiled engine: a `WebAssembly.Module`, of any realm. Its bytes are none, nor is an instance. */
export interface EngineModule {
  /** Bytes have one. */
  readonly byteLength?: undefined;
  /** Instances have some. */
  readonly exports?: undefined;
}

/** A view on pages: `Uint8Array<ArrayBuffer>`; `Uint8Array` to TypeScript before 5.7. */
export type View = ReturnType<Uint8ArrayConstructor["of"]>;

/** The host's `AbortSignal`, to be handed on to what takes one; its two fields where the compiler knows none. */
export type HostSignal = typeof globalThis extends { AbortSignal: { prototype: infer T } }
  ? T
  : Signal;
