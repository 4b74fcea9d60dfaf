import type { BufferObject } from "../buffer_object.ts";
import { TtmError } from "../errors.ts";
import type { View } from "../host_types.ts";
import { Mapping } from "../mapping.ts";

/** A use of a view that is none: a `TtmError` `EFAULT`, whose cause tells where it was mapped, and unmapped. */
export type MapMisuse = TtmError;

/** What a view reads as that is used too late, and what lies before and behind every view. */
const POISON = 0xdb;
/** Bytes of it on either side. A view on real pages lies somewhere in a large memory, too. */
const ZONE = 4096;
/** Bytes that are compared together. */
const WORD = 4;
const POISON_WORD = 0xdbdbdbdb;

/** A stretch of pages, and the copy that the user has of it. */
interface Stretch {
  readonly pages: View;
  readonly copy: View;
  /** What both held when they were the same. */
  readonly base: View;
}

/** A mapping whose views are copies of the pages. */
export class CheckedMapping {
  readonly bo: BufferObject;
  /** What the user has. */
  readonly given: Mapping;
  /** Bytes that the copies take. */
  readonly bytes: number;
  readonly #pages: Mapping;
  readonly #stretches: readonly Stretch[];
  readonly #offset: number;
  readonly #write: boolean;
  readonly #tell: (misuse: MapMisuse) => void;
  readonly #mapped: Error = new Error("it was mapped here");
  #unmapped: Error | undefined;
  #ended = false;
  /** Whether a view was transferred. */
  #lost = false;

  /** @param unmap is called when the user unmaps it, and is to call `end` */
  constructor(
    bo: BufferObject,
    pages: Mapping,
    offset: number,
    write: boolean,
    tell: (misuse: MapMisuse) => void,
    unmap: () => void,
  ) {
    this.bo = bo;
    this.#pages = pages;
    this.#offset = offset;
    this.#write = write;
    this.#tell = tell;
    this.#stretches = pages.segments.map((segment) => {
      const { length } = segment;
      const zoned = new Uint8Array(ZONE + Math.ceil(length / WORD) * WORD + ZONE).fill(POISON);
      const copy = new Uint8Array(zoned.buffer, ZONE, length);
      copy.set(segment);
      return { pages: segment as View, copy, base: copy.slice() };
    });
    this.bytes = this.#stretches.reduce((sum, { copy }) => sum + copy.length + 2 * ZONE, 0);
    this.given = new Mapping(
      this.#stretches.map(({ copy }) => copy),
      () => {
        if (!this.#ended) unmap();
      },
    );
  }

  /** Brings pages and copies up to date: what was written to a copy goes to the pages, and the other way. */
  sync(): void {
    let at = this.#offset;
    for (const stretch of this.#stretches) {
      const { copy, base } = stretch;
      if (copy.length !== base.length) {
        if (!this.#lost) this.#misused(at, "was transferred: views on pages cannot be");
        this.#lost = true;
      } else {
        const written = merge(stretch, this.#write);
        if (written >= 0) {
          this.#misused(at + written, "was written to, and is of map({ write: false })");
        }
      }
      at += base.length;
    }
  }

  /** Ends it: its pages may go, and the copies become poison. What was not brought up to date is lost. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unmapped = new Error(
      this.bo.destroyed ? "its buffer was gone here" : "it was unmapped here",
    );
    let at = this.#offset;
    for (const { copy, base } of this.#stretches) {
      const all = whole(copy);
      const end = ZONE + base.length;
      if (!(isAll(all, POISON, 0, Math.min(ZONE, all.length)) && isAll(all, POISON, end))) {
        this.#misused(at, "was written to beyond its ends, through its buffer");
      }
      all.fill(POISON);
      at += base.length;
    }
    this.#pages.unmap();
  }

  /** Whether nobody has written to what is poison; if somebody has, that is told. */
  isPoison(): boolean {
    let at = this.#offset;
    for (const { copy, base } of this.#stretches) {
      const all = whole(copy);
      if (!isAll(new Uint32Array(all.buffer), POISON_WORD)) {
        const byte = Math.max(all.findIndex((value) => value !== POISON) - ZONE, 0);
        this.#misused(at + byte, "was written to after it was unmapped");
        return false;
      }
      at += base.length;
    }
    return true;
  }

  /** Has whoever uses a copy from now on hear of it at once. */
  detach(): void {
    for (const { copy } of this.#stretches) {
      try {
        structuredClone(copy.buffer, { transfer: [copy.buffer] });
      } catch {
        // It was transferred before; or the host cannot, and it stays poison.
      }
    }
  }

  #misused(byte: number, how: string): void {
    const text = `a view of buffer ${this.bo.id} ${how} (at byte ${byte} of the buffer)`;
    const cause = this.#unmapped ?? this.#mapped;
    if (cause !== this.#mapped) cause.cause = this.#mapped;
    this.#tell(new TtmError("EFAULT", "map", text, cause));
  }
}

/**
 * Makes pages and copy the same. Where both have changed the copy counts. With `write` false nothing may have been
 * written to it: the first byte that was is returned; else -1.
 */
function merge({ pages, copy, base }: Stretch, write: boolean): number {
  let first = -1;
  for (let i = 0; i < base.length; i++) {
    const value = copy[i] as number;
    if (value !== base[i]) {
      if (write) pages[i] = value;
      else if (first < 0) first = i;
    }
    copy[i] = base[i] = pages[i] as number;
  }
  return first;
}

/** All of the memory of a copy; none of one that was transferred. */
function whole({ buffer }: View): View {
  return new Uint8Array(buffer.byteLength === 0 ? new ArrayBuffer(0) : buffer);
}

function isAll(values: View | Uint32Array, value: number, from = 0, to = values.length): boolean {
  for (let i = from; i < to; i++) if (values[i] !== value) return false;
  return true;
}
