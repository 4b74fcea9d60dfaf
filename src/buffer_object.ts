import { PAGE_SIZE } from "../assembly/abi.ts";
import {
  type Access,
  access,
  copying,
  withPages,
  withPagesSync,
  workAsync,
  workSync,
} from "./access.ts";
import type { Bdev } from "./bdev.ts";
import {
  assertLength,
  type Bytes,
  bytesWithin,
  type CallerBytes,
  clear,
  copyIn,
  copyOut,
  lengthOf,
} from "./bytes.ts";
import { type Discard, discard, discardSync } from "./discard.ts";
import { show, TtmError } from "./errors.ts";
import { Lock } from "./lock.ts";
import type { Lru, LruNode } from "./lru.ts";
import { type MapOptions, Mapping, type MapRequest, mapOptions } from "./mapping.ts";
import { NOT_CLONED, notText } from "./not_bytes.ts";
import {
  asSignal,
  type OperationOptions,
  RANGE_OPTIONS,
  type RangeOptions,
  rangeOf,
  signalOf,
  takeOptions,
} from "./options.ts";
import { ReadAhead, type ReadingAdvice } from "./read_ahead.ts";
import { type Loose, NOWHERE, PURGEABLE, type Resource, UNEVICTABLE } from "./resource.ts";
import { pagesOf } from "./size.ts";
import { assertStack } from "./stack.ts";
import type { Frames } from "./ttm/frames.ts";
import { OVERWRITES_NOTHING, type Overwritten, type Part } from "./ttm/restore.ts";
import { segmentsOf } from "./ttm/segments.ts";
import { assertShrinkable, partial, Shrink } from "./ttm/shrink.ts";
import type { Released } from "./ttm/shrinker.ts";
import type { Task } from "./ttm/task.ts";
import { TT_FLAG_DONTNEED, Tt, type TtOptions } from "./ttm/tt.ts";

/**
 * `"dontneed"`: the content may be thrown away under pressure; `"willneed"`: no longer. `"random"`: nothing is read
 * ahead; `"sequential"`: as much as can be, from the first read on; `"normal"`: of reads that go on in a row.
 */
export type Advice = "dontneed" | "willneed" | ReadingAdvice;

const ADVICE: readonly Advice[] = ["dontneed", "willneed", "normal", "random", "sequential"];

/** Buffers of no more pages are brought in as a whole: that takes one call in any case. */
const PART_PAGES_MIN = 16;

/**
 * A buffer whose pages come and go (struct ttm_buffer_object). A new one reads as zeros and holds
 * no memory. Every operation that may move pages has an async form and a `...Sync` form.
 *
 * All of them throw
 * - `TtmError` `ENOMEM` (memory too small, or too much of it pinned), `ENOSPC` (swap full), `EIO` (swap
 *   device failed), `EINTR` (signal aborted), `EBUSY` (Sync form while an async one is in flight),
 *   `EWOULDBLOCK` (Sync form, and the swap device is asynchronous);
 * - `TypeError`, `RangeError` for arguments that cannot be meant, and for a destroyed buffer.
 */
export class BufferObject implements Disposable {
  /** @internal */
  lru: Lru<LruNode> | undefined = undefined;
  /** @internal */
  lruPrev: LruNode | undefined = undefined;
  /** @internal */
  lruNext: LruNode | undefined = undefined;
  /** @internal The next of those whose pins ended, `null` behind the last; `undefined`: it is not among them. */
  nextLoose: Resource | null | undefined = undefined;

  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;

  readonly #bdev: Bdev;
  readonly #removed: (bo: BufferObject) => void;
  readonly #readAhead = new ReadAhead();
  readonly #size: number;
  readonly #priority: number;
  readonly #tt: Tt;
  readonly #turn: Lock = new Lock();
  readonly #frames: Frames;
  readonly #loose: Loose;
  #pins = 0;
  /** Pins of the user's, and those and mappings together. */
  #held = 0;
  #destroyed = false;

  /** @internal Use `device.createBuffer`. */
  constructor(
    bdev: Bdev,
    removed: (bo: BufferObject) => void,
    size: number,
    priority: number,
    tt: TtOptions & { id: number },
  ) {
    this.#bdev = bdev;
    this.#removed = removed;
    this.#size = size;
    this.#priority = priority;
    this.#tt = new Tt(pagesOf(size), tt);
    this.#tt.evictable = true;
    this.#frames = bdev.global.frames;
    this.#loose = bdev.reclaimer.resources.loose;
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** 0..3; buffers of a lower priority are reclaimed first. */
  get priority(): number {
    return this.#priority;
  }

  /** Number of it on its device, for messages and traces. */
  get id(): number {
    return this.#tt.id;
  }

  /** @internal */
  get tt(): Tt {
    return this.#tt;
  }

  /** @internal Whose turn it is; the pages have a lock of their own, which reclaim tries too. */
  get turn(): Lock {
    return this.#turn;
  }

  /** @internal Where it stands in the order in which buffers leave. */
  placeOf(pinned: boolean): number {
    const { vector, resident, purgeable, pool } = this.#tt;
    if (vector < 0) return NOWHERE;
    if (resident === 0 || pinned) return UNEVICTABLE;
    if (purgeable) return PURGEABLE;
    // Pages for coherent DMA stay, unless they can be purged.
    return pool?.coherent ? UNEVICTABLE : this.#priority;
  }

  /** Pages of it that are in memory now. */
  get residentPages(): number {
    return this.#tt.resident;
  }

  /** True while it is pinned or mapped: its pages stay where they are. */
  get pinned(): boolean {
    return this.#held > 0;
  }

  /** Whether `destroy` was called, or its device closed. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** @internal Whether it is destroyed, or about to be, as its device is closed. */
  get gone(): boolean {
    return this.#destroyed || this.#bdev.closed;
  }

  /** @internal Whether it has content that is not in memory. */
  get inSwap(): boolean {
    return !this.#destroyed && this.#tt.vector >= 0 && !this.#tt.populated;
  }

  /**
   * Copies the bytes of `source` into the buffer, from byte `offset` on. What is not in memory of
   * the pages that these lie in is brought in first.
   *
   * @throws TypeError, RangeError when `source` holds no bytes, or they do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: nothing was written; the same call may be made again
   */
  async write(offset: number, source: Bytes, options?: OperationOptions): Promise<void> {
    const bytes = this.#range(offset, source, "source");
    const length = lengthOf(bytes);
    if (length === 0) return;
    const part = this.partOf(offset, length);
    const a = access(
      "populate",
      signalOf(options, "write"),
      this.#overwritten(offset, length),
      part,
    );
    this.#needed();
    await withPages(this.#bdev, this, a, (held) => this.#copyIn(offset, length, bytes, held));
  }

  /**
   * As `write`, at once.
   *
   * @throws TypeError, RangeError, TtmError as `write` does; EBUSY while an async operation on it is in flight;
   *   EWOULDBLOCK when it needs I/O of an asynchronous swap device
   */
  writeSync(offset: number, source: Bytes, options?: OperationOptions): void {
    const bytes = this.#range(offset, source, "source");
    const length = lengthOf(bytes);
    if (length === 0) return;
    const part = this.partOf(offset, length);
    const a = access(
      "populate",
      signalOf(options, "write"),
      this.#overwritten(offset, length),
      part,
    );
    this.#needed();
    withPagesSync(this.#bdev, this, a, (held) => this.#copyIn(offset, length, bytes, held));
  }

  /**
   * Fills `target` with the bytes from `offset` on, and returns it. What is not in memory
   * is brought in first, and more ahead of reads in a row; what was never written reads as zeros.
   *
   * @throws TypeError, RangeError when `target` holds no bytes, or they do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: the same call goes on where this one stopped
   */
  async read<T extends Bytes>(offset: number, target: T, options?: OperationOptions): Promise<T> {
    const bytes = this.#range(offset, target, "target");
    const length = lengthOf(bytes);
    if (length === 0) return target;
    const part = this.partOf(offset, length);
    const a = copying(signalOf(options, "read"), part, this.#ahead(part));
    if (this.#empty) clear(bytes);
    else await withPages(this.#bdev, this, a, () => this.#copyOut(offset, length, bytes));
    return target;
  }

  /**
   * As `read`, at once.
   *
   * @throws TypeError, RangeError, TtmError as `read` does; EBUSY while an async operation on it is in flight;
   *   EWOULDBLOCK when it needs I/O of an asynchronous swap device
   */
  readSync<T extends Bytes>(offset: number, target: T, options?: OperationOptions): T {
    const bytes = this.#range(offset, target, "target");
    const length = lengthOf(bytes);
    if (length === 0) return target;
    const part = this.partOf(offset, length);
    const a = copying(signalOf(options, "read"), part, this.#ahead(part));
    if (this.#empty) clear(bytes);
    else withPagesSync(this.#bdev, this, a, () => this.#copyOut(offset, length, bytes));
    return target;
  }

  /**
   * Views on the buffer's pages, pinned until the mapping is ended: to read and to write, or with `write: false`
   * to read only, so that pages which swap still has can leave again for free. With `offset` and `length`
   * (bytes) on those that these lie in; until it is ended all pages stay that are in memory.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: nothing is mapped; the same call goes on where it stopped
   */
  async map(options?: MapOptions): Promise<Mapping> {
    this.assertAlive();
    const asked = mapOptions(options, this.#size);
    return withPages(this.#bdev, this, this.#mappingOf(asked), () => this.#mapping(asked));
  }

  /**
   * As `map`, at once.
   *
   * @throws TtmError as `map` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when it
   *   needs I/O of an asynchronous swap device
   */
  mapSync(options?: MapOptions): Mapping {
    this.assertAlive();
    const asked = mapOptions(options, this.#size);
    return withPagesSync(this.#bdev, this, this.#mappingOf(asked), () => this.#mapping(asked));
  }

  /**
   * Brings all pages into memory, where they stay until as many `unpin()` (ttm_bo_pin).
   *
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: it is not pinned; the same call goes on where it stopped
   */
  async pin(options?: OperationOptions): Promise<void> {
    this.assertAlive();
    await withPages(this.#bdev, this, access("populate", signalOf(options, "pin")), () =>
      this.#pin(),
    );
  }

  /**
   * As `pin`, at once.
   *
   * @throws TtmError as `pin` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when it
   *   needs I/O of an asynchronous swap device
   */
  pinSync(options?: OperationOptions): void {
    this.assertAlive();
    withPagesSync(this.#bdev, this, access("populate", signalOf(options, "pin")), () =>
      this.#pin(),
    );
  }

  /**
   * Takes one `pin` back. After the last one its pages may leave again.
   *
   * @throws TypeError when it was unpinned as often as it was pinned
   */
  unpin(): void {
    // No call comes before the counts change, so that an unpin cannot fail for want of stack.
    if (this.#pins === 0 || this.#destroyed) {
      this.assertAlive();
      throw new TypeError("unpin: this buffer is not pinned");
    }
    this.#unhold();
    this.#pins--;
  }

  /**
   * Brings all pages into memory, or those that `offset` and `length` (bytes) lie in; they may leave again at any
   * time (ttm_bo_populate).
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: the same call goes on where this one stopped
   */
  async populate(options?: RangeOptions): Promise<void> {
    this.assertAlive();
    await withPages(this.#bdev, this, this.#populating(options), () => this.#used());
  }

  /**
   * As `populate`, at once.
   *
   * @throws TtmError as `populate` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when
   *   it needs I/O of an asynchronous swap device
   */
  populateSync(options?: RangeOptions): void {
    this.assertAlive();
    withPagesSync(this.#bdev, this, this.#populating(options), () => this.#used());
  }

  /**
   * Moves the pages of this buffer to swap, or throws them away if it is purgeable (ttm_bo_shrink).
   * Returns pages released: a part of them when it was stopped on the way.
   *
   * @throws TtmError EBUSY while it is pinned or mapped; what stopped it, when nothing was released
   */
  async shrink(options?: OperationOptions): Promise<number> {
    this.assertAlive();
    const a = access("shrink", signalOf(options, "shrink"));
    return partial(await workAsync(this.#bdev, this, a, (task) => this.#shrinkWork(task)));
  }

  /**
   * As `shrink`, at once. Returns pages released.
   *
   * @throws TtmError as `shrink` does; EBUSY while an async operation on it is in flight, too; EWOULDBLOCK
   *   when the swap device is asynchronous
   */
  shrinkSync(options?: OperationOptions): number {
    this.assertAlive();
    const a = access("shrink", signalOf(options, "shrink"));
    return partial(workSync(this.#bdev, this, a, (task) => this.#shrinkWork(task)));
  }

  /**
   * Makes all bytes zeros, or `length` from `offset` on, and gives up what holds them (fallocate's PUNCH_HOLE): pages
   * that these cover whole need neither memory nor swap any more. Pages that they cover in part are brought in, and
   * cleared there; so are those of a pinned or mapped buffer that are in memory, which stay.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: of a page that is covered in part; at most bytes of such are zeros
   *   by then, and the same call may be made again
   */
  async discard(options?: RangeOptions): Promise<void> {
    this.assertAlive();
    await discard(this.#bdev, this, this.#discarding(options));
  }

  /**
   * As `discard`, at once.
   *
   * @throws TtmError as `discard` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when
   *   it needs I/O of an asynchronous swap device
   */
  discardSync(options?: RangeOptions): void {
    this.assertAlive();
    discardSync(this.#bdev, this, this.#discarding(options));
  }

  /**
   * Says whether the content is needed (the madvise of GPU drivers). `"dontneed"` lets pressure throw
   * it away without I/O, after which it reads as zeros; if all of it is in swap, that goes at once.
   * `"willneed"` takes it back. `"random"`, `"sequential"` and `"normal"` say how it will be read. Returns
   * whether the content is still there.
   */
  advise(advice: Advice): boolean {
    this.assertAlive();
    if (!ADVICE.includes(advice)) {
      const all = ADVICE.map((each) => `"${each}"`).join(", ");
      throw new TypeError(`advise: advice must be one of ${all}, not ${show(advice)}`);
    }
    assertStack();
    const tt = this.#tt;
    if (advice !== "dontneed" && advice !== "willneed") {
      this.#readAhead.advice = advice;
      return !tt.purged;
    }
    if (advice === "willneed") tt.flags &= ~TT_FLAG_DONTNEED;
    else tt.flags |= TT_FLAG_DONTNEED;
    if (tt.lock.tryLock()) this.unlock();
    this.#bdev.reclaimer.resources.settle(this);
    return !tt.purged;
  }

  /**
   * Frees everything the buffer holds, in whatever state it is. An operation in flight on it stops at
   * its next step and fails.
   *
   * @throws TypeError when it is destroyed already
   * @throws TtmError EBUSY while it is pinned or mapped
   */
  destroy(): void {
    this.assertAlive();
    this.#assertUnpinned("destroy");
    assertStack();
    this.#removed(this);
    this.end();
  }

  /** What `JSON.stringify` shows of it: a description, no bytes. */
  toJSON(): object {
    const { id, size, priority, residentPages, pinned, destroyed } = this;
    return { id, size, priority, residentPages, pinned, destroyed };
  }

  /** @throws TypeError always: `new Blob([buffer])` and the like would hold a text, not the bytes */
  [Symbol.toPrimitive](): never {
    return notText("what read() gives, or the segments of map()");
  }

  /** @internal Frees everything, at once or when whoever moves its pages lets go of them. */
  end(): void {
    this.#destroyed = true;
    if (this.#tt.lock.tryLock()) this.unlock();
  }

  /** As `destroy`, but does nothing to a destroyed buffer or one whose device is closed. */
  [Symbol.dispose](): void {
    if (!this.#destroyed && !this.#bdev.closed) this.destroy();
  }

  /**
   * @internal Lets go of the pages. What was asked for while they were locked takes effect now: a destroyed buffer
   * is freed, one that is not needed and all in swap is purged. One of which only zeros left holds nothing more.
   */
  unlock(): void {
    const tt = this.#tt;
    const { pool, reclaimer, global } = this.#bdev;
    const isOut = tt.resident === 0 && tt.vector >= 0;
    if (this.#destroyed) pool.release(tt);
    else if (isOut && tt.purgeable) pool.purge(tt);
    // Zeros are all that it held: it is as one that was never written.
    else if (isOut && global.engine.isBlank(tt.vector, tt.numPages)) pool.release(tt);
    if (tt.vector < 0) reclaimer.resources.settle(this);
    tt.lock.unlock();
  }

  /** @internal */
  assertAlive(): void {
    this.#bdev.assertOpen();
    if (this.#destroyed) throw new TypeError("this buffer is destroyed");
  }

  #assertUnpinned(op: "destroy" | "shrink"): void {
    if (!this.pinned) return;
    throw new TtmError("EBUSY", op, `cannot ${op} a pinned buffer; unmap or unpin it first`);
  }

  /** Nothing was ever written, or it was purged: reads need no memory. */
  get #empty(): boolean {
    return this.#tt.vector < 0 && !this.#turn.held;
  }

  /** The bytes of a caller's buffer, if they fit at `offset`. */
  #range(offset: number, value: Bytes, name: "source" | "target"): CallerBytes {
    this.assertAlive();
    return bytesWithin(this.#size, offset, value, name);
  }

  /** @internal The pages that bytes [offset, offset + length) lie in; `undefined`: all come in together. */
  partOf(offset: number, length: number): Part | undefined {
    const { numPages, caching, dma } = this.#tt;
    const { pool } = this.#bdev;
    const [from, to] = [Math.floor(offset / PAGE_SIZE), pagesOf(offset + length)];
    if (numPages <= PART_PAGES_MIN || to - from === numPages) return undefined;
    if (caching !== "cached" || dma || pool.coherent) return undefined;
    return { from, to };
  }

  /** Pages to be read ahead, an eighth of the memory at most. */
  #ahead(part: Part | undefined): number {
    return part ? this.#readAhead.take(part, this.#bdev.global.engine.geometry.frames >>> 3) : 0;
  }

  /** Pages that a write is about, and those that it covers whole: the last one, too, if it goes to the end. */
  #overwritten(offset: number, length: number): Overwritten {
    const end = pagesOf(offset + length);
    return {
      first: Math.floor(offset / PAGE_SIZE),
      from: pagesOf(offset),
      to: offset + length === this.#size ? end : Math.floor((offset + length) / PAGE_SIZE),
      end,
    };
  }

  /** A populate of all, or of a part. */
  #populating(options: RangeOptions | undefined): Access {
    if (options === undefined) return access("populate", undefined);
    const given = takeOptions(options, RANGE_OPTIONS, "populate");
    const { offset, length } = rangeOf(given, this.#size);
    const part = this.partOf(offset, length);
    return access("populate", asSignal(given.signal), OVERWRITES_NOTHING, part);
  }

  #discarding(options: RangeOptions | undefined): Discard {
    const given = takeOptions(options, RANGE_OPTIONS, "discard");
    return { ...rangeOf(given, this.#size), signal: asSignal(given.signal) };
  }

  /** What brings in all that is to be mapped. */
  #mappingOf({ signal, write, offset, length }: MapRequest): Access {
    if (write) this.#needed();
    const part = this.partOf(offset, length);
    return access("map", signal, OVERWRITES_NOTHING, part);
  }

  #shrinkWork(task: Task): Released | Shrink {
    this.#assertUnpinned("shrink");
    const { pool, global } = this.#bdev;
    if (this.#tt.purgeable) return { released: pool.purge(this.#tt) };
    assertShrinkable(pool, this.#tt);
    return new Shrink(global, task, [this.#tt], this.#tt.resident);
  }

  /** What is written now is needed, whatever was advised before: pressure may no longer throw it away. */
  #needed(): void {
    if (!this.#tt.purgeable) return;
    this.#tt.flags &= ~TT_FLAG_DONTNEED;
    this.#bdev.reclaimer.resources.settle(this);
  }

  #used(): void {
    this.#bdev.reclaimer.resources.used(this);
  }

  /** Pins it once more. The calls come first, as they may fail; then the counts change together. */
  #hold(): void {
    const tt = this.#tt;
    this.#bdev.reclaimer.resources.used(this, true);
    if (tt.evictable) this.#frames.stuck += tt.resident;
    tt.evictable = false;
    this.#held++;
  }

  /**
   * Ends one pin or mapping. It calls no other function, so that it cannot fail for want of stack; the LRU lists
   * are brought up to date when they are looked at next.
   */
  #unhold(): void {
    this.#held--;
    if (this.#held > 0 || this.#destroyed) return;
    this.#tt.evictable = true;
    this.#frames.stuck -= this.#tt.resident;
    if (this.nextLoose !== undefined) return;
    this.nextLoose = this.#loose.first;
    this.#loose.first = this;
  }

  #pin(): void {
    this.#hold();
    this.#pins++;
  }

  #mapping({ write, offset, length }: MapRequest): Mapping {
    const { pool, global } = this.#bdev;
    const segments = segmentsOf(global.engine, this.#tt, offset, length);
    if (write) {
      const first = Math.floor(offset / PAGE_SIZE);
      pool.dirty(this.#tt, first, pagesOf(offset + length) - first, false);
      this.#tt.purged = false;
    }
    const mapping = new Mapping(segments, () => this.#unhold());
    this.#hold();
    return mapping;
  }

  #copyIn(offset: number, length: number, source: CallerBytes, held: boolean): void {
    assertLength(source, length, "source");
    const { pool, global } = this.#bdev;
    const { engine } = global;
    const end = offset + length;
    this.#tt.purged = false;
    const first = Math.floor(offset / PAGE_SIZE);
    const pages = pagesOf(end) - first;
    // A buffer written whole gets slots side by side again when it leaves. One written in part keeps its slots, or
    // its content would be scattered over swap.
    pool.dirty(this.#tt, first, pages, global.roomForClean && pages < this.#tt.numPages);
    this.#used();
    // What lies behind the last byte of the buffer is overwritten with it.
    const rest = end === this.#size ? pagesOf(end) * PAGE_SIZE - end : 0;
    if (rest > 0) for (const each of segmentsOf(engine, this.#tt, end, rest, held)) each.fill(0);
    copyIn(segmentsOf(engine, this.#tt, offset, length, held), source);
  }

  #copyOut(offset: number, length: number, target: CallerBytes): void {
    assertLength(target, length, "target");
    this.#used();
    copyOut(segmentsOf(this.#bdev.global.engine, this.#tt, offset, length), target);
  }
}
