/* A segment: an extent full of objects of one size, each a block of pages. */
import { EXTENT_BYTES, type Extent } from "./extent.ts";

/** Ends a list of free objects. */
const NONE = 0xffffffff;

/** What is to be in an object. */
export interface Block {
  /** Slot of its first page. */
  readonly first: number;
  /** Its pages. */
  readonly pages: number;
  /** Which of them count: a bit each. */
  readonly live: number;
  /** How many of the others take next to nothing, as they are zeros now. */
  readonly blank: number;
  /** Bytes that they are compressed to; as many as they have when they are not. */
  readonly bytes: number;
}

/** Objects of one size, side by side. */
export class Segment {
  readonly id: number;
  readonly extent: Extent;
  /** Bytes of an object, and how many there is room for. */
  readonly size: number;
  readonly capacity: number;
  /** Objects in use. */
  used = 0;
  /** Of each object which of its pages count; 0: it is free. */
  readonly live: Uint16Array;
  /** Slot of its first page; of a free one the next that is free. */
  readonly #first: Uint32Array;
  /** Its bytes less one, its pages less one, and those of them that are blank: 16, 4 and 4 bits. */
  readonly #shape: Uint32Array;
  /** Objects from here on were not in use since the extent was cut. */
  #high = 0;
  #free = NONE;

  constructor(id: number, extent: Extent, size: number) {
    this.id = id;
    this.extent = extent;
    this.size = size;
    this.capacity = Math.floor(EXTENT_BYTES / size);
    this.live = new Uint16Array(this.capacity);
    this.#first = new Uint32Array(this.capacity);
    this.#shape = new Uint32Array(this.capacity);
  }

  /** Bytes of memory that one object more would take. */
  get growth(): number {
    return this.#free === NONE ? this.extent.growth((this.#high + 1) * this.size) : 0;
  }

  /**
   * Takes a free object, of which there must be one.
   *
   * @throws RangeError when the host has no memory for it
   */
  take(): number {
    let index = this.#free;
    if (index !== NONE) this.#free = this.#first[index] as number;
    else {
      index = this.#high;
      this.extent.grow((index + 1) * this.size);
      this.#high++;
    }
    this.used++;
    return index;
  }

  give(index: number): void {
    this.live[index] = 0;
    this.#first[index] = this.#free;
    this.#free = index;
    this.used--;
  }

  /** Fills an object that was taken with a block that lies at `from` in `source`. */
  fill(index: number, block: Block, source: Uint8Array, from: number): void {
    const { first, pages, live, blank, bytes } = block;
    this.live[index] = live;
    this.#first[index] = first;
    this.#shape[index] = (blank << 20) | ((pages - 1) << 16) | (bytes - 1);
    this.extent.bytes.set(source.subarray(from, from + bytes), index * this.size);
  }

  /** What was put into one of its objects, as far as it counts now. */
  blockOf(index: number): Block {
    const shape = this.#shape[index] as number;
    return {
      first: this.#first[index] as number,
      pages: ((shape >>> 16) & 15) + 1,
      live: this.live[index] as number,
      blank: shape >>> 20,
      bytes: (shape & 0xffff) + 1,
    };
  }

  /** All pages of an object that do not count are blank. */
  setBlank(index: number, blank: number): void {
    this.#shape[index] = ((this.#shape[index] as number) & 0xfffff) | (blank << 20);
  }

  /** Copies an object to one that was taken, of a segment of the same size. */
  copy(index: number, to: Segment, free: number): void {
    to.live[free] = this.live[index] as number;
    to.#first[free] = this.#first[index] as number;
    to.#shape[free] = this.#shape[index] as number;
    to.extent.bytes.set(this.contentOf(index), free * to.size);
  }

  /** Its bytes, where they lie. */
  contentOf(index: number): Uint8Array {
    const at = index * this.size;
    return this.extent.bytes.subarray(at, at + ((this.#shape[index] as number) & 0xffff) + 1);
  }

  /** Closes the gaps between the objects, `moved` one by one, and gives back what lies behind the last one. */
  close(moved: (index: number) => void): void {
    let to = 0;
    for (let from = this.#high - 1; this.used > 0; from--) {
      while (this.live[from] === 0) from--;
      while (this.live[to] !== 0 && to < from) to++;
      if (to >= from) break;
      this.copy(from, this, to);
      this.live[from] = 0;
      moved(to);
    }
    this.#high = this.used;
    this.#free = NONE;
    this.extent.cut(this.used * this.size);
  }
}
