/* Types of the host's that a user's compiler may lack, or know by another name. */

/** A compiled engine: a `WebAssembly.Module`, of any realm. Its bytes are none, nor is an instance. */
export interface EngineModule {
  /** Bytes have one. */
  readonly byteLength?: undefined;
  /** Instances have some. */
  readonly exports?: undefined;
}

/** A view on pages: `Uint8Array<ArrayBuffer>`; `Uint8Array` to TypeScript before 5.7. */
export type View = ReturnType<Uint8ArrayConstructor["of"]>;

/** What is looked at between two transfers: an `AbortSignal`, or anything with its two fields. */
export interface Signal {
  /** Whether the operation is to stop. */
  readonly aborted: boolean;
  /** Why; becomes the `cause` of the EINTR. */
  readonly reason?: unknown;
}

/** The host's `AbortSignal`, to be handed on to what takes one; its two fields where the compiler knows none. */
export type HostSignal = typeof globalThis extends { AbortSignal: { prototype: infer T } }
  ? T
  : Signal;
