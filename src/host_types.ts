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
