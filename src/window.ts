import { PAGE_SIZE } from "../assembly/abi.ts";
import { type Access, access, copying, withPages, withPagesSync } from "./access.ts";
import type { Accessed } from "./accessed.ts";
import type { Bdev } from "./bdev.ts";
import { assertLength, type CallerBytes, copyIn, copyOut } from "./bytes.ts";
import { TtmError } from "./errors.ts";
import type { Signal, View } from "./host_types.ts";
import { Lock } from "./lock.ts";
import type { Lru, LruNode } from "./lru.ts";
import { Mapping, type MapRequest } from "./mapping.ts";
import type { Range } from "./options.ts";
import type { ReadAhead } from "./read_ahead.ts";
import { type Loose, NOWHERE, OUT, PURGEABLE, type Resource, UNEVICTABLE } from "./resource.ts";
import { formatSize, pagesOf } from "./size.ts";
import type { Frames } from "./ttm/frames.ts";
import { OVERWRITES_NOTHING, type Overwritten, type Part } from "./ttm/restore.ts";
import { segmentsOf } from "./ttm/segments.ts";
import { assertShrinkable, Shrink } from "./ttm/shrink.ts";
import type { Released } from "./ttm/shrinker.ts";
import type { Task } from "./ttm/task.ts";
import { TT_FLAG_DONTNEED, Tt, type TtOptions } from "./ttm/tt.ts";

/** Pages of a window at most: those of a chunk of the largest order, 2 MiB. */
const WINDOW_PAGES_MAX = 512;

/** Windows of no more pages are brought in as a whole: that takes one call in any case. */
const PART_PAGES_MIN = 16;

/** What all windows of a buffer have in common. */
export interface WindowOptions extends TtOptions {
  readonly id: number;
  /** 0..3; pages of a lower priority leave first. */
  readonly priority: number;
}

/**
 * A stretch of a buffer, whose pages come and go by themselves: a tt, whose turn it is to use it, and a place in
 * the order in which pages leave. A small buffer is one window, a large one a row of them: so other parts of it
 * can be used at the same time, those not used lately leave first, and no operation needs more than a window.
 */
export class Window implements Accessed {
  lru: Lru<LruNode> | undefined = undefined;
  lruPrev: LruNode | undefined = undefined;
  lruNext: LruNode | undefined = undefined;
  nextLoose: Resource | null | undefined = undefined;
  /** All of its pages, in memory or not. */
  readonly pages: number;
  usedAt = 0;
  hot = false;

  /** First byte of the buffer that lies in it. */
  readonly start: number;
  /** Bytes of the buffer that lie in it. */
  readonly size: number;
  readonly tt: Tt;
  /** 0..3; pages of a lower priority leave first. */
  readonly priority: number;
  readonly turn: Lock = new Lock();
  destroyed = false;
  readonly #bdev: Bdev;
  readonly #frames: Frames;
  readonly #loose: Loose;
  #held = 0;

  constructor(bdev: Bdev, start: number, size: number, { priority, ...options }: WindowOptions) {
    this.start = start;
    this.size = size;
    this.pages = pagesOf(size);
    this.tt = new Tt(this.pages, options);
    this.tt.evictable = true;
    this.tt.start = start / PAGE_SIZE;
    this.#bdev = bdev;
    this.priority = priority;
    this.#frames = bdev.global.frames;
    this.#loose = bdev.reclaimer.resources.loose;
  }

  /** True while it is pinned or mapped: its pages stay where they are. */
  get pinned(): boolean {
    return this.#held > 0;
  }

  /** Pins and mappings (a count). */
  get holds(): number {
    return this.#held;
  }

  get gone(): boolean {
    return this.destroyed || this.#bdev.closed;
  }

  /** Whether it has content that is not in memory. */
  get inSwap(): boolean {
    return !this.destroyed && this.tt.vector >= 0 && !this.tt.populated;
  }

  /** Nothing was ever written, or it was purged: reads need no memory. */
  get blank(): boolean {
    return this.tt.vector < 0;
  }

  placeOf(pinned: boolean): number {
    const { vector, resident, purgeable, pool } = this.tt;
    if (vector < 0) return NOWHERE;
    if (resident === 0) return OUT;
    if (pinned) return UNEVICTABLE;
    if (purgeable) return PURGEABLE;
    // Pages for coherent DMA stay, unless they can be purged.
    return pool?.coherent ? UNEVICTABLE : this.priority;
  }

  assertAlive(): void {
    this.#bdev.assertOpen();
    if (this.destroyed) throw new TypeError("this buffer is destroyed, or was resized meanwhile");
  }

  /** Whether reads of a part bring in what they need of it. */
  get comesInParts(): boolean {
    return this.tt.numPages > PART_PAGES_MIN;
  }

  /** What windows of the same buffer have in common with it. */
  get options(): WindowOptions {
    const { priority, tt } = this;
    return { priority, id: tt.id, caching: tt.caching, dma: tt.dma !== undefined };
  }

  /** The pages that bytes [offset, offset + length) of it lie in; `undefined`: all are brought in together. */
  part(offset: number, length: number): Part | undefined {
    const { numPages, caching, dma } = this.tt;
    const [from, to] = [Math.floor(offset / PAGE_SIZE), pagesOf(offset + length)];
    if (!this.comesInParts || to - from === numPages) return undefined;
    if (caching !== "cached" || dma || this.#bdev.pool.coherent) return undefined;
    return { from, to };
  }

  /** An access that copies bytes of it out, and what is worth to be read ahead of it. */
  reading(
    signal: Signal | undefined,
    offset: number,
    length: number,
    readAhead: ReadAhead | undefined,
  ): Access {
    const part = this.part(offset, length);
    const { start } = this.tt;
    // Reads of all of it go on with those before, too.
    const from = start + Math.floor(offset / PAGE_SIZE);
    const ahead = readAhead?.take({ from, to: start + pagesOf(offset + length) }) ?? 0;
    return copying(signal, offset, length, part, ahead);
  }

  /** An access that overwrites bytes of it, which are needed now. */
  writing(signal: Signal | undefined, offset: number, length: number): Access {
    this.needed();
    return this.overwriting(signal, offset, length);
  }

  /** The same of bytes that were needed from the call on: what was advised since comes later. */
  overwriting(signal: Signal | undefined, offset: number, length: number): Access {
    const part = this.part(offset, length);
    return access("populate", signal, this.#overwritten(offset, length), part);
  }

  /** An access that brings bytes of it into memory. */
  bringing(
    op: "populate" | "map",
    signal: Signal | undefined,
    offset: number,
    length: number,
  ): Access {
    return access(op, signal, OVERWRITES_NOTHING, this.part(offset, length));
  }

  /** Pages that a write is about, and those that it covers whole: the last one, too, if it goes to the end. */
  #overwritten(offset: number, length: number): Overwritten {
    const end = pagesOf(offset + length);
    return {
      first: Math.floor(offset / PAGE_SIZE),
      from: pagesOf(offset),
      to: offset + length === this.size ? end : Math.floor((offset + length) / PAGE_SIZE),
      end,
    };
  }

  /**
   * Copies `source` to byte `offset` of it, where pages are in memory, or with `held` to frames that are held to be
   * overwritten.
   */
  copyIn(offset: number, length: number, source: CallerBytes, held: boolean): void {
    assertLength(source, length, "source");
    const { pool, global } = this.#bdev;
    const { engine } = global;
    const { tt } = this;
    const end = offset + length;
    tt.purged = false;
    const first = Math.floor(offset / PAGE_SIZE);
    const pages = pagesOf(end) - first;
    // What is written whole gets slots side by side again when it leaves. What is written in part keeps its slots,
    // or its content would be scattered over swap.
    pool.dirty(tt, first, pages, global.roomForClean && pages < tt.numPages);
    this.used();
    // What lies behind the last byte of the buffer is overwritten with it.
    const rest = end === this.size ? pagesOf(end) * PAGE_SIZE - end : 0;
    if (rest > 0) for (const each of segmentsOf(engine, tt, end, rest, held)) each.fill(0);
    copyIn(segmentsOf(engine, tt, offset, length, held), source);
  }

  /** Fills `target` with the bytes from `offset` on, whose pages are in memory. */
  copyOut(offset: number, length: number, target: CallerBytes, readAhead?: ReadAhead): void {
    assertLength(target, length, "target");
    // What is read once, in a row, leaves first when it was read to its end.
    if (readAhead?.once && offset + length === this.size) this.#bdev.reclaimer.resources.done(this);
    else this.used();
    copyOut(segmentsOf(this.#bdev.global.engine, this.tt, offset, length), target);
  }

  /** Views on bytes of it whose pages are in memory, `write`: to be written to. */
  views(offset: number, length: number, write: boolean): View[] {
    const { pool, global } = this.#bdev;
    const segments = segmentsOf(global.engine, this.tt, offset, length);
    if (write) {
      const first = Math.floor(offset / PAGE_SIZE);
      pool.dirty(this.tt, first, pagesOf(offset + length) - first, false);
      this.tt.purged = false;
    }
    return segments;
  }

  /** What is written now is needed, whatever was advised before: pressure may no longer throw it away. */
  needed(): void {
    if (!this.tt.purgeable) return;
    this.tt.flags &= ~TT_FLAG_DONTNEED;
    this.#bdev.reclaimer.resources.settle(this);
  }

  /** What brings in bytes of the buffer that lie in it and are to be mapped. */
  mapping({ signal, write, offset, length }: MapRequest): Access {
    if (write) this.needed();
    return this.bringing("map", signal, offset - this.start, length);
  }

  /** Maps bytes of the buffer that lie in it, whose pages are in memory. */
  map({ write, offset, length }: MapRequest): Mapping {
    const views = this.views(offset - this.start, length, write);
    const mapping = new Mapping(views, () => this.unhold());
    this.hold();
    return mapping;
  }

  /** Brings in bytes of the buffer that lie in it. */
  async populate({ offset, length }: Range, signal: Signal | undefined): Promise<void> {
    const a = this.bringing("populate", signal, offset - this.start, length);
    await withPages(this.#bdev, this, a, () => this.#fetched());
  }

  populateSync({ offset, length }: Range, signal: Signal | undefined): void {
    const a = this.bringing("populate", signal, offset - this.start, length);
    withPagesSync(this.#bdev, this, a, () => this.#fetched());
  }

  /** Lets its pages go: what is not needed is thrown away, the rest is to be moved to swap. */
  leaving(task: Task): Released | Shrink {
    const { pool, global } = this.#bdev;
    const { tt } = this;
    if (this.pinned) return { released: 0 };
    if (tt.purgeable) return { released: pool.purge(tt) };
    assertShrinkable(pool, tt);
    return new Shrink(global, task, [tt], tt.resident);
  }

  /** Says whether pressure may throw its content away: if all of it is in swap, that goes at once. */
  advise(needed: boolean): void {
    const { tt } = this;
    if (needed) tt.flags &= ~TT_FLAG_DONTNEED;
    else tt.flags |= TT_FLAG_DONTNEED;
    if (tt.lock.tryLock()) this.unlock();
    this.#bdev.reclaimer.resources.settle(this);
  }

  used(): void {
    this.#bdev.reclaimer.resources.used(this);
  }

  /** It was brought in, which is no use yet: that is still to come, or was before a hibernation. */
  #fetched(): void {
    this.#bdev.reclaimer.resources.fetched(this);
  }

  /** Pins it once more. The calls come first, as they may fail; then the counts change together. */
  hold(): void {
    const { tt } = this;
    this.#bdev.reclaimer.resources.held(this);
    if (tt.evictable) this.#frames.stuck += tt.resident;
    tt.evictable = false;
    this.#held++;
  }

  /**
   * Ends one pin or mapping. It calls no other function, so that it cannot fail for want of stack; the LRU lists
   * are brought up to date when they are looked at next.
   */
  unhold(): void {
    this.#held--;
    if (this.#held > 0 || this.destroyed) return;
    this.tt.evictable = true;
    this.#frames.stuck -= this.tt.resident;
    if (this.nextLoose !== undefined) return;
    this.nextLoose = this.#loose.first;
    this.#loose.first = this;
  }

  /**
   * Lets go of the pages. What was asked for while they were locked takes effect now: what is destroyed is freed,
   * what is not needed and all in swap is purged. One of which only zeros left holds nothing more.
   */
  unlock(): void {
    const { tt } = this;
    const { pool, reclaimer, global } = this.#bdev;
    const isOut = tt.resident === 0 && tt.vector >= 0;
    if (this.destroyed) pool.release(tt);
    else if (isOut && tt.purgeable) pool.purge(tt);
    // Zeros are all that it held: it is as one that was never written.
    else if (isOut && global.engine.isBlank(tt.vector, tt.numPages)) pool.release(tt);
    if (tt.vector < 0) reclaimer.resources.settle(this);
    tt.lock.unlock();
  }

  /** Frees everything, at once or when whoever moves its pages lets go of them. */
  end(): void {
    this.destroyed = true;
    if (this.tt.lock.tryLock()) this.unlock();
  }
}

/**
 * The windows of a buffer of `size` bytes, in order. One that fits the memory and a window is one. Others are made
 * so small that an operation, which needs a window at a time, leaves others most of the memory.
 *
 * @throws TtmError ENOMEM unless so many bytes can be in memory and in swap together
 */
export function windowsOf(
  bdev: Bdev,
  size: number,
  options: WindowOptions,
  op: "create" | "resize",
): Window[] {
  const { frames } = bdev.global.engine.geometry;
  const pages = pagesOf(size);
  assertRoom(bdev, size, op);
  if (pages <= Math.min(frames, WINDOW_PAGES_MAX)) return [new Window(bdev, 0, size, options)];
  const quarter = 2 ** Math.floor(Math.log2(frames / 4));
  const bytes = Math.min(quarter, WINDOW_PAGES_MAX) * PAGE_SIZE;
  return Array.from({ length: Math.ceil(size / bytes) }, (_, i) => {
    const start = i * bytes;
    return new Window(bdev, start, Math.min(bytes, size - start), options);
  });
}

function assertRoom(bdev: Bdev, size: number, op: "create" | "resize"): void {
  const { frames, slots } = bdev.global.engine.geometry;
  // Pages for coherent DMA do not leave. The last page that is free is what others are exchanged through.
  const room = bdev.pool.coherent ? frames : frames + slots - 1;
  if (pagesOf(size) <= room) return;
  const text =
    `a buffer of ${formatSize(size)} fits neither the memory of ${formatSize(bdev.global.memory)} ` +
    `nor that and the swap of ${formatSize(slots * PAGE_SIZE)}; use a smaller one, or more swap`;
  throw new TtmError("ENOMEM", op, text);
}

/** The window that bytes [offset, offset + length) of a buffer lie in, if it is one. */
export function windowWith(
  windows: readonly Window[],
  offset: number,
  length: number,
): Window | undefined {
  const first = windows[0] as Window;
  if (windows.length === 1) return first;
  const window = windows[Math.floor(offset / first.size)] as Window;
  return offset + length <= window.start + window.size ? window : undefined;
}

/** Bytes of a buffer that lie in one window. */
export interface Piece {
  readonly window: Window;
  /** First byte, counted from the window's first. */
  readonly offset: number;
  readonly length: number;
  /** Bytes asked for that lie before it. */
  readonly done: number;
}

/** The pieces that bytes [offset, offset + length) of a buffer are made of, in order. */
export function piecesOf(windows: readonly Window[], offset: number, length: number): Piece[] {
  const { size } = windows[0] as Window;
  const [first, last] = [Math.floor(offset / size), Math.floor((offset + length - 1) / size)];
  return windows.slice(first, last + 1).map((window) => {
    const from = Math.max(offset, window.start);
    const to = Math.min(offset + length, window.start + window.size);
    return { window, offset: from - window.start, length: to - from, done: from - offset };
  });
}
