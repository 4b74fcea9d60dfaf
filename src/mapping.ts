import type { View } from "./host_types.ts";
import { NOT_CLONED, notText } from "./not_bytes.ts";

/**
 * A buffer's pages in memory, pinned until `unmap()`: views straight on linear memory, no copy.
 * Using a view after `unmap()` is an error that cannot be caught: it may show other content by then.
 */
export class Mapping implements Disposable {
  /** The buffer's bytes in order; one view for each stretch of pages side by side. */
  readonly segments: readonly View[];
  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;
  #unmap: (() => void) | undefined;

  /** @internal */
  constructor(segments: readonly View[], unmap: () => void) {
    this.segments = segments;
    this.#unmap = unmap;
  }

  /** The whole buffer as one view when its pages lie side by side, else `undefined`. */
  get bytes(): View | undefined {
    return this.segments.length === 1 ? this.segments[0] : undefined;
  }

  /** Ends the mapping; a second call does nothing. */
  unmap(): void {
    const unmap = this.#unmap;
    this.#unmap = undefined;
    unmap?.();
  }

  /** What `JSON.stringify` shows of it: the lengths of its segments (bytes). */
  toJSON(): object {
    return { segments: this.segments.map(({ length }) => length) };
  }

  /** @throws TypeError always: `new Blob([mapping])` and the like would hold a text, not the bytes */
  [Symbol.toPrimitive](): never {
    return notText("the segments, as in new Blob([...mapping.segments])");
  }

  /** As `unmap`. */
  [Symbol.dispose](): void {
    this.unmap();
  }
}
