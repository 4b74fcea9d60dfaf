/*
 * Objects of up to 64 KiB, in the manner of the kernel's zsmalloc: those of one size share segments, and what is freed in
 * one is used again by that size, until what is left has been moved together and whole segments are free.
 */
import { Extent } from "./extent.ts";
import { type Block, Segment } from "./segment.ts";
import { classBytes, sizeClass } from "./sizes.ts";

/** An object's number: that of its segment, from 1 on, and its place in it. */
export const INDEX_SHIFT = 14;
const INDEX_MASK = 2 ** INDEX_SHIFT - 1;
const SEGMENTS_MAX = 2 ** (32 - INDEX_SHIFT) - 1;

/**
 * Extents that are kept for what comes next, two, or this part of those in use: memory that is given back and taken anew
 * costs a fault for each page, a sixth of the time to compress what is put there.
 */
const SPARE_MAX = 2;
const SPARE_PART = 1 / 32;

/** Hears which number a block has from now on. */
type Moved = (block: Block, object: number) => void;

/** All objects of a store. */
export class Objects {
  /** Bytes of memory that they lie in, with what is free between them. */
  storage = 0;
  /** Bytes of memory without that. */
  used = 0;
  readonly #segments: (Segment | undefined)[] = [undefined];
  readonly #freeIds: number[] = [];
  readonly #spare: Extent[] = [];
  /** By size, segments with room for more; the last one is filled first. */
  readonly #room: Segment[][] = [];
  readonly #moved: Moved;

  constructor(moved: Moved) {
    this.#moved = moved;
  }

  segmentOf(object: number): Segment {
    return this.#segments[object >>> INDEX_SHIFT] as Segment;
  }

  blockOf(object: number): Block {
    return this.segmentOf(object).blockOf(object & INDEX_MASK);
  }

  contentOf(object: number): Uint8Array {
    return this.segmentOf(object).contentOf(object & INDEX_MASK);
  }

  /** Other pages of a block count than did. At least one does, or it is to be freed. */
  setLive(object: number, live: number): void {
    this.segmentOf(object).live[object & INDEX_MASK] = live;
  }

  setBlank(object: number, blank: number): void {
    this.segmentOf(object).setBlank(object & INDEX_MASK, blank);
  }

  /** Ids of segments, those without one among them, are below this. */
  get segments(): number {
    return this.#segments.length;
  }

  /** Numbers of the objects of a segment. */
  inSegment(id: number): number[] {
    const objects: number[] = [];
    this.#segments[id]?.live.forEach((live, i) => {
      if (live !== 0) objects.push(id * 2 ** INDEX_SHIFT + i);
    });
    return objects;
  }

  /**
   * Puts a block, which lies at `from` in `source`, into an object. Returns its number; 0 when that would take
   * more than `limit` bytes of memory.
   *
   * @throws RangeError when the host has no memory for it
   */
  put(block: Block, source: Uint8Array, from: number, limit: number): number {
    const kind = sizeClass(block.bytes);
    const room = this.#roomOf(kind);
    const segment = room[room.length - 1] ?? this.#add(kind);
    if (segment === undefined) return 0;
    if (this.storage + segment.growth > limit) this.dropSpares();
    let index = -1;
    try {
      if (this.storage + segment.growth <= limit) index = this.#take(segment);
    } finally {
      if (segment.used === 0) this.#remove(segment);
    }
    if (index < 0) return 0;
    segment.fill(index, block, source, from);
    return numberOf(segment, index);
  }

  #roomOf(kind: number): Segment[] {
    this.#room[kind] ??= [];
    return this.#room[kind];
  }

  #add(kind: number): Segment | undefined {
    const id = this.#freeIds.pop() ?? this.#segments.length;
    if (id > SEGMENTS_MAX) return undefined;
    const segment = new Segment(id, this.#spare.pop() ?? new Extent(), classBytes(kind));
    this.#segments[id] = segment;
    this.#roomOf(kind).push(segment);
    return segment;
  }

  #take(segment: Segment): number {
    const before = segment.extent.touched;
    const index = segment.take();
    this.storage += segment.extent.touched - before;
    this.used += segment.size;
    if (segment.used === segment.capacity) this.#leaveRoom(segment);
    return index;
  }

  #leaveRoom(segment: Segment): void {
    const room = this.#roomOf(sizeClass(segment.size));
    room.splice(room.indexOf(segment), 1);
  }

  /** An object holds nothing any more. */
  free(object: number): void {
    const segment = this.segmentOf(object);
    if (segment.used === segment.capacity) this.#roomOf(sizeClass(segment.size)).unshift(segment);
    segment.give(object & INDEX_MASK);
    this.used -= segment.size;
    if (segment.used === 0) this.#remove(segment);
  }

  /** An empty segment goes; its memory stays, if little is kept. */
  #remove(segment: Segment): void {
    this.#leaveRoom(segment);
    this.#segments[segment.id] = undefined;
    this.#freeIds.push(segment.id);
    this.#spare.push(segment.extent);
    const most = Math.max((this.#segments.length - this.#freeIds.length) * SPARE_PART, SPARE_MAX);
    if (this.#spare.length > most) this.#drop(this.#spare.shift() as Extent);
  }

  #drop(extent: Extent): void {
    const before = extent.touched;
    extent.cut(0);
    this.storage += extent.touched - before;
  }

  /** Gives back memory that nothing lies in. */
  dropSpares(): void {
    for (const extent of this.#spare.splice(0)) this.#drop(extent);
  }

  /**
   * Moves objects together where a size has at least `least` bytes free between them, and gives back what is free then.
   * Ends when `most` bytes or more were moved.
   */
  compact(least: number, most: number = Number.POSITIVE_INFINITY): void {
    let left = most;
    for (const room of this.#room) {
      let free = 0;
      for (const { extent, used, size } of room ?? []) free += extent.touched - used * size;
      if (free < least || free === 0) continue;
      left -= this.#compactSize(room as Segment[], left);
      if (left <= 0) return;
    }
  }

  /** Empties the segment that has the fewest objects into that which has the most, again and again. */
  #compactSize(room: Segment[], most: number): number {
    let moved = 0;
    const move = (object: number): void => {
      moved += this.segmentOf(object).size;
      this.#moved(this.blockOf(object), object);
    };
    room.sort((a, b) => a.used - b.used);
    for (let [least] = room; room.length > 1 && moved < most; [least] = room) {
      const from = least as Segment;
      for (let i = 0; from.used > 0 && room.length > 1; i++) {
        if (from.live[i] === 0) continue;
        const to = room[room.length - 1] as Segment;
        const index = this.#take(to);
        from.copy(i, to, index);
        move(numberOf(to, index));
        from.give(i);
        this.used -= from.size;
      }
      if (from.used === 0) this.#remove(from);
    }
    const [last] = room;
    if (room.length === 1 && last) {
      const before = last.extent.touched;
      last.close((index) => move(numberOf(last, index)));
      this.storage += last.extent.touched - before;
    }
    return moved;
  }

  /** All objects are gone, and all memory is given back. */
  clear(): void {
    for (const segment of this.#segments) if (segment) this.#drop(segment.extent);
    this.dropSpares();
    this.#segments.length = 1;
    this.#freeIds.length = 0;
    this.#room.length = 0;
    this.used = 0;
  }
}

function numberOf({ id }: Segment, index: number): number {
  return id * 2 ** INDEX_SHIFT + index;
}
