import type { Signal, View } from "./host_types.ts";
import { NOT_CLONED, notText } from "./not_bytes.ts";
import {
  asSignal,
  assertBoolean,
  RANGE_OPTIONS,
  type Range,
  type RangeOptions,
  rangeOf,
  type Sized,
  takeOptions,
} from "./options.ts";

/** Options of `map`. */
export interface MapOptions extends RangeOptions {
  /** Whether the views may be written to. Default: yes. */
  readonly write?: boolean;
}

const MAP_OPTIONS: readonly (keyof MapOptions)[] = ["write", ...RANGE_OPTIONS];

/** What is to be mapped, and how. */
export interface MapRequest extends Range {
  readonly signal: Signal | undefined;
  readonly write: boolean;
}

/** @throws TypeError, RangeError for options that there are not, or that cannot be meant of the bytes of `of` */
export function mapOptions(options: MapOptions | undefined, of: Sized): MapRequest {
  if (options === undefined) return { signal: undefined, write: true, offset: 0, length: of.size };
  const given = takeOptions(options, MAP_OPTIONS, "map");
  const { write = true } = given;
  assertBoolean(write, "write");
  const signal = asSignal(given.signal);
  const { offset, length } = rangeOf(given, of.size);
  return { signal, write, offset, length };
}

/**
 * A buffer's pages in memory, or some of them, pinned until `unmap()`: views straight on linear memory, no copy.
 *
 * A view that is kept after `unmap()` still lies on the same frames. Their next owners are other pages, of this buffer
 * or of others: it shows what is in them then, and what is written to it gets into them, without an error, there or
 * later; checksums do not tell, since they are of what leaves. Nothing can catch that here; `debug: true` of
 * `createDevice` finds it while you develop.
 *
 * A view's `buffer` is the whole memory. It cannot be transferred (Node 20 makes a clone then), and a clone of the view
 * (`structuredClone`, `postMessage`, IndexedDB) takes all of that along, other buffers' bytes included: of 64 KiB, on a
 * device of 64 MiB, it takes 0.3 seconds and 130 MiB. Post `view.slice()`.
 */
export class Mapping implements Disposable {
  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;
  readonly #segments: readonly View[];
  #unmap: (() => void) | undefined;

  /** @internal */
  constructor(segments: readonly View[], unmap: () => void) {
    this.#segments = segments;
    this.#unmap = unmap;
  }

  /** The bytes that are mapped, in order; one view for each stretch of pages side by side. */
  get segments(): readonly Uint8Array[] {
    return this.#segments;
  }

  /** All that is mapped as one view when its pages lie side by side, else `undefined`. */
  get bytes(): View | undefined {
    return this.#segments.length === 1 ? this.#segments[0] : undefined;
  }

  /** Ends the mapping; a second call does nothing. */
  unmap(): void {
    this.#unmap?.();
    this.#unmap = undefined;
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
