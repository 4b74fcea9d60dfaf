/**
 * A buffer's pages in memory, pinned until `unmap()`: views straight on linear memory, no copy.
 * Using a view after `unmap()` is an error that cannot be caught: it may show other content by then.
 */
export class Mapping implements Disposable {
  readonly #segments: readonly Uint8Array[];
  #unmap: (() => void) | undefined;

  /** @internal */
  constructor(segments: readonly Uint8Array[], unmap: () => void) {
    this.#segments = segments;
    this.#unmap = unmap;
  }

  /** The buffer's bytes in order; one view for each stretch of pages side by side. */
  get segments(): readonly Uint8Array[] {
    return this.#segments;
  }

  /** The whole buffer as one view when its pages lie side by side, else `undefined`. */
  get bytes(): Uint8Array | undefined {
    return this.#segments.length === 1 ? this.#segments[0] : undefined;
  }

  /** Ends the mapping; a second call does nothing. */
  unmap(): void {
    this.#unmap?.();
    this.#unmap = undefined;
  }

  [Symbol.dispose](): void {
    this.unmap();
  }
}
