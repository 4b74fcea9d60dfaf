import { giveUp, giveUpSync, withPages, withPagesSync } from "./access.ts";
import { type Advice, type AdviceRange, advised } from "./advice.ts";
import type { Bdev } from "./bdev.ts";
import { type Bytes, bytesWithin, type CallerBytes, clear, lengthOf } from "./bytes.ts";
import { discard, discardSync } from "./discard.ts";
import { TtmError } from "./errors.ts";
import { ignoreOutcome } from "./host.ts";
import type { Signal } from "./host_types.ts";
import { type MapOptions, type Mapping, mapOptions } from "./mapping.ts";
import { NOT_CLONED, notText } from "./not_bytes.ts";
import {
  type OperationOptions,
  type Range,
  type RangeOptions,
  rangeRequest,
  signalOf,
} from "./options.ts";
import { ReadAhead } from "./read_ahead.ts";
import {
  assertAllIdle,
  assertIdle,
  fill,
  fillSync,
  handOnAdvice,
  type Resized,
  resized,
} from "./resize.ts";
import { parseSize, type Size } from "./size.ts";
import { assertStack } from "./stack.ts";
import { across, acrossSync, bringIn, Held, reads, writes } from "./steps.ts";
import { Streamable } from "./streamable.ts";
import { partial } from "./ttm/shrink.ts";
import type { Released } from "./ttm/shrinker.ts";
import type { Task } from "./ttm/task.ts";
import type { Tt } from "./ttm/tt.ts";
import { type Window, type WindowOptions, windowsOf, windowWith } from "./window.ts";

/** Whose buffers they are. */
export interface BufferOwner {
  /** A buffer was destroyed. */
  removed(bo: BufferObject): void;
  /** Windows are no longer of a buffer. */
  dropped(windows: readonly Window[]): void;
}

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
export class BufferObject extends Streamable implements Disposable {
  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;

  readonly #bdev: Bdev;
  readonly #owner: BufferOwner;
  /** Of small ones, which come whole, only when there is advice. */
  #readAhead: ReadAhead | undefined;
  #size: number;
  #windows: readonly Window[];
  /** Pins of the user's. */
  #pins = 0;
  /** What takes one window after the other, or waits to. */
  readonly #takes = new Set<Held>();
  #destroyed = false;
  /** Its windows are being changed: nobody may use them. */
  #resizing = false;

  /** @internal Use `device.createBuffer`. */
  constructor(bdev: Bdev, owner: BufferOwner, size: number, options: WindowOptions) {
    super();
    this.#bdev = bdev;
    this.#owner = owner;
    this.#size = size;
    this.#windows = windowsOf(bdev, size, options, "create");
    if (this.#first.comesInParts) this.#readAhead = this.#newReadAhead();
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** 0..3; buffers of a lower priority are reclaimed first. */
  get priority(): number {
    return this.#first.priority;
  }

  /** Number of it on its device, for messages and traces. */
  get id(): number {
    return this.#first.tt.id;
  }

  /** @internal */
  get windows(): readonly Window[] {
    return this.#windows;
  }

  /** @internal The tt of its first window: all of it, unless it is a large one. */
  get tt(): Tt {
    return this.#first.tt;
  }

  /** Pages of it that are in memory now. */
  get residentPages(): number {
    return this.#windows.reduce((pages, { tt }) => pages + tt.resident, 0);
  }

  /** True while it, or a part of it, is pinned or mapped: these pages stay where they are. */
  get pinned(): boolean {
    return this.#windows.some(({ pinned }) => pinned);
  }

  /** Whether `destroy` was called, or its device closed. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /**
   * Copies the bytes of `source` into the buffer, from byte `offset` on. What is not in memory of
   * the pages that these lie in is brought in first.
   *
   * @throws TypeError, RangeError when `source` holds no bytes, or they do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: nothing was written; the same call may be made again
   */
  async write(offset: number, source: Bytes, options?: OperationOptions): Promise<void> {
    const signal = signalOf(options, "write");
    const bytes = this.#range(offset, source, "source");
    const length = lengthOf(bytes);
    if (length === 0) return;
    const window = windowWith(this.#windows, offset, length);
    if (!window) {
      const task = { op: "populate", signal } as const;
      const steps = writes(this.#windows, offset, bytes, length);
      return across(this.#bdev, this.#windows, task, { offset, length }, steps);
    }
    const at = offset - window.start;
    const a = window.writing(signal, at, length);
    await withPages(this.#bdev, window, a, (held) => window.copyIn(at, length, bytes, held));
  }

  /**
   * As `write`, at once.
   *
   * @throws TypeError, RangeError, TtmError as `write` does; EBUSY while an async operation on it is in flight;
   *   EWOULDBLOCK when it needs I/O of an asynchronous swap device
   */
  writeSync(offset: number, source: Bytes, options?: OperationOptions): void {
    const signal = signalOf(options, "write");
    const bytes = this.#range(offset, source, "source");
    const length = lengthOf(bytes);
    if (length === 0) return;
    const window = windowWith(this.#windows, offset, length);
    if (!window) {
      const task = { op: "populate", signal } as const;
      const steps = writes(this.#windows, offset, bytes, length);
      acrossSync(this.#bdev, this.#windows, task, { offset, length }, steps);
      return;
    }
    const at = offset - window.start;
    const a = window.writing(signal, at, length);
    withPagesSync(this.#bdev, window, a, (held) => window.copyIn(at, length, bytes, held));
  }

  /**
   * Fills `target` with the bytes from `offset` on, and returns it. What is not in memory
   * is brought in first, and more ahead of reads in a row; what was never written reads as zeros.
   *
   * @throws TypeError, RangeError when `target` holds no bytes, or they do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: the same call goes on where this one stopped
   */
  async read<T extends Bytes>(offset: number, target: T, options?: OperationOptions): Promise<T> {
    const signal = signalOf(options, "read");
    const bytes = this.#range(offset, target, "target");
    const length = lengthOf(bytes);
    if (length === 0) return target;
    const window = windowWith(this.#windows, offset, length);
    if (!window) {
      await this.#readAcross(signal, { offset, length }, bytes);
      return target;
    }
    const at = offset - window.start;
    const a = window.reading(signal, at, length, this.#readAhead);
    if (window.blank && !window.turn.held) clear(bytes);
    else
      await withPages(this.#bdev, window, a, () =>
        window.copyOut(at, length, bytes, this.#readAhead),
      );
    return target;
  }

  /**
   * As `read`, at once.
   *
   * @throws TypeError, RangeError, TtmError as `read` does; EBUSY while an async operation on it is in flight;
   *   EWOULDBLOCK when it needs I/O of an asynchronous swap device
   */
  readSync<T extends Bytes>(offset: number, target: T, options?: OperationOptions): T {
    const signal = signalOf(options, "read");
    const bytes = this.#range(offset, target, "target");
    const length = lengthOf(bytes);
    if (length === 0) return target;
    const window = windowWith(this.#windows, offset, length);
    if (!window) {
      const steps = reads(bytes, length, this.#readAhead);
      const task = { op: "restore", signal } as const;
      acrossSync(this.#bdev, this.#windows, task, { offset, length }, steps);
      return target;
    }
    const at = offset - window.start;
    const a = window.reading(signal, at, length, this.#readAhead);
    if (window.blank && !window.turn.held) clear(bytes);
    else
      withPagesSync(this.#bdev, window, a, () =>
        window.copyOut(at, length, bytes, this.#readAhead),
      );
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
    const asked = mapOptions(options, this);
    const window = windowWith(this.#windows, asked.offset, asked.length);
    if (window) {
      return withPages(this.#bdev, window, window.mapping(asked), () => window.map(asked));
    }
    const held = new Held(asked);
    await this.#take(held, { op: "map", signal: asked.signal }, asked);
    return held.mapping as Mapping;
  }

  /**
   * As `map`, at once.
   *
   * @throws TtmError as `map` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when it
   *   needs I/O of an asynchronous swap device
   */
  mapSync(options?: MapOptions): Mapping {
    this.assertAlive();
    const asked = mapOptions(options, this);
    const window = windowWith(this.#windows, asked.offset, asked.length);
    if (window) {
      return withPagesSync(this.#bdev, window, window.mapping(asked), () => window.map(asked));
    }
    const held = new Held(asked);
    this.#takeSync(held, { op: "map", signal: asked.signal }, asked);
    return held.mapping as Mapping;
  }

  /**
   * Brings all pages into memory, where they stay until as many `unpin()` (ttm_bo_pin).
   *
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: it is not pinned; the same call goes on where it stopped
   */
  async pin(options?: OperationOptions): Promise<void> {
    this.assertAlive();
    const held = new Held();
    const signal = signalOf(options, "pin");
    await this.#take(held, { op: "populate", signal }, this.#all);
    this.#pins++;
  }

  /**
   * As `pin`, at once.
   *
   * @throws TtmError as `pin` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when it
   *   needs I/O of an asynchronous swap device
   */
  pinSync(options?: OperationOptions): void {
    this.assertAlive();
    const held = new Held();
    const signal = signalOf(options, "pin");
    this.#takeSync(held, { op: "populate", signal }, this.#all);
    this.#pins++;
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
    for (const window of this.#windows) window.unhold();
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
    const asked = rangeRequest(options, this, "populate");
    const window = windowWith(this.#windows, asked.offset, asked.length);
    if (window) return window.populate(asked, asked.signal);
    const held = new Held();
    await this.#take(held, { op: "populate", signal: asked.signal }, asked);
    held.letGo();
  }

  /**
   * As `populate`, at once.
   *
   * @throws TtmError as `populate` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when
   *   it needs I/O of an asynchronous swap device
   */
  populateSync(options?: RangeOptions): void {
    this.assertAlive();
    const asked = rangeRequest(options, this, "populate");
    const window = windowWith(this.#windows, asked.offset, asked.length);
    if (window) {
      window.populateSync(asked, asked.signal);
      return;
    }
    const held = new Held();
    this.#takeSync(held, { op: "populate", signal: asked.signal }, asked);
    held.letGo();
  }

  /**
   * Moves the pages of this buffer to swap, or throws them away if it is purgeable (ttm_bo_shrink).
   * Returns pages released: a part of them when it was stopped on the way.
   *
   * @throws TtmError EBUSY while it is pinned or mapped; what stopped it, when nothing was released
   */
  async shrink(options?: OperationOptions): Promise<number> {
    this.assertAlive();
    const task = { op: "shrink", signal: signalOf(options, "shrink") } as const;
    const shrunk = await giveUp(this.#bdev, this.#windows, task, leaving);
    return this.#released(shrunk);
  }

  /**
   * As `shrink`, at once. Returns pages released.
   *
   * @throws TtmError as `shrink` does; EBUSY while an async operation on it is in flight, too; EWOULDBLOCK
   *   when the swap device is asynchronous
   */
  shrinkSync(options?: OperationOptions): number {
    this.assertAlive();
    const task = { op: "shrink", signal: signalOf(options, "shrink") } as const;
    return this.#released(giveUpSync(this.#bdev, this.#windows, task, leaving));
  }

  /**
   * Makes all bytes zeros, or `length` from `offset` on, and gives up what holds them (fallocate's PUNCH_HOLE): pages
   * that these cover whole need neither memory nor swap any more. Pages that they cover in part are brought in, and
   * cleared there; so are those of a pinned or mapped buffer that are in memory, which stay.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: of a page that is covered in part; the same call may be made again
   */
  async discard(options?: RangeOptions): Promise<void> {
    this.assertAlive();
    const asked = rangeRequest(options, this, "discard");
    await discard(this.#bdev, this.#windows, asked);
  }

  /**
   * As `discard`, at once.
   *
   * @throws TtmError as `discard` does; EBUSY while an async operation on it is in flight; EWOULDBLOCK when
   *   it needs I/O of an asynchronous swap device
   */
  discardSync(options?: RangeOptions): void {
    this.assertAlive();
    const asked = rangeRequest(options, this, "discard");
    discardSync(this.#bdev, this.#windows, asked);
  }

  /**
   * Says whether the content is needed (the madvise of GPU drivers). `"dontneed"` lets pressure throw
   * it away without I/O, after which it reads as zeros; if all of it is in swap, that goes at once.
   * `"willneed"` takes it back; with a range (bytes) it also begins to bring that in, without being waited for.
   * `"random"`, `"sequential"` and `"normal"` say how it will be read. Each window of a large buffer goes by
   * itself. Returns whether all content is still there.
   *
   * @throws TypeError, RangeError for other advice, and for a range that does not lie within the buffer
   */
  advise(advice: Advice, range?: AdviceRange): boolean {
    this.assertAlive();
    const ahead = advised(advice, range, this);
    assertStack();
    if (advice === "dontneed" || advice === "willneed") {
      for (const window of this.#windows) window.advise(advice === "willneed");
    } else {
      this.#readAhead ??= this.#newReadAhead();
      this.#readAhead.advice = advice;
    }
    if (ahead) ignoreOutcome(bringIn(this.#windows, ahead));
    return !this.#windows.some(({ tt }) => tt.purged);
  }

  /**
   * Makes it `size` bytes: what is beyond is given up, what is new reads as zeros. Until it has come to its end, all
   * else that is asked of the buffer is EBUSY.
   *
   * @throws TypeError, RangeError for what is no size
   * @throws TtmError EBUSY while it is in use, pinned or mapped; ENOMEM for more than memory and swap; ENOSPC, EIO,
   *   EINTR: it is as before
   */
  async resize(size: Size, options?: OperationOptions): Promise<void> {
    this.assertAlive();
    const signal = signalOf(options, "resize");
    const bytes = parseSize(size, "size");
    const next = this.#next(bytes);
    this.#resizing = true;
    try {
      await fill(this.#bdev, this.#windows, next, signal);
    } finally {
      this.#resizing = false;
    }
    this.#resized(bytes, next);
  }

  /**
   * As `resize`, at once.
   *
   * @throws TtmError as `resize` does; EWOULDBLOCK when it needs I/O of an asynchronous swap device
   */
  resizeSync(size: Size, options?: OperationOptions): void {
    this.assertAlive();
    const signal = signalOf(options, "resize");
    const bytes = parseSize(size, "size");
    const next = this.#next(bytes);
    this.#resizing = true;
    try {
      fillSync(this.#bdev, this.#windows, next, signal);
    } finally {
      this.#resizing = false;
    }
    this.#resized(bytes, next);
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
    // What somebody holds until all is there is nothing that the user could unpin.
    const takes = [...this.#takes];
    const isPinned = (window: Window) =>
      window.holds > takes.filter((held) => held.holds(window)).length;
    if (this.#windows.some(isPinned)) this.#assertUnpinned("destroy");
    assertStack();
    for (const held of takes) held.letGo();
    this.#owner.removed(this);
    this.#owner.dropped(this.#windows);
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
    for (const window of this.#windows) window.end();
  }

  /** As `destroy`, but does nothing to a destroyed buffer or one whose device is closed. */
  [Symbol.dispose](): void {
    if (!this.#destroyed && !this.#bdev.closed) this.destroy();
  }

  /** @internal */
  assertAlive(): void {
    this.#bdev.assertOpen();
    if (this.#destroyed) throw new TypeError("this buffer is destroyed");
    if (this.#resizing)
      throw new TtmError("EBUSY", "resize", "the buffer is being resized; await that");
  }

  #readAcross(signal: Signal | undefined, range: Range, bytes: CallerBytes): Promise<void> {
    const steps = reads(bytes, range.length, this.#readAhead);
    return across(this.#bdev, this.#windows, { op: "restore", signal }, range, steps);
  }

  /** Has `held` take its windows, which stay the same until it has come to its end. */
  async #take(held: Held, task: Task, range: Range): Promise<void> {
    this.#takes.add(held);
    try {
      await held.take(this.#bdev, this.#windows, task, range);
      // It may have been destroyed after the last one was taken.
      this.assertAlive();
    } finally {
      this.#takes.delete(held);
    }
  }

  /** The same, at once. */
  #takeSync(held: Held, task: Task, range: Range): void {
    this.#takes.add(held);
    try {
      held.takeSync(this.#bdev, this.#windows, task, range);
      this.assertAlive();
    } finally {
      this.#takes.delete(held);
    }
  }

  /** Its windows for another size. A pin is one of all of them, so of those that would be kept, too. */
  #next(size: number): Resized {
    assertIdle(this.#pins > 0, this.#takes.size > 0);
    return resized(this.#bdev, this.#windows, size);
  }

  #resized(size: number, next: Resized): void {
    try {
      // Of a call whose signal's getter began it.
      if (!this.#destroyed) assertAllIdle(next.dropped);
    } catch (error) {
      for (const window of next.made) window.end();
      throw error;
    }
    // Its device may have been closed meanwhile.
    if (this.#destroyed) for (const window of next.made) window.end();
    else handOnAdvice(next);
    this.#windows = next.windows;
    if (this.#first.comesInParts) this.#readAhead ??= this.#newReadAhead();
    this.#size = size;
    this.#owner.dropped(next.dropped);
    for (const window of next.dropped) window.end();
  }

  #newReadAhead(): ReadAhead {
    return new ReadAhead(this.#bdev.global.engine.geometry.frames);
  }

  #assertUnpinned(op: "destroy" | "shrink"): void {
    if (!this.pinned) return;
    throw new TtmError("EBUSY", op, `cannot ${op} a pinned buffer; unmap or unpin it first`);
  }

  get #first(): Window {
    return this.#windows[0] as Window;
  }

  get #all(): Range {
    return { offset: 0, length: this.#size };
  }

  /** The bytes of a caller's buffer, if they fit at `offset`. */
  #range(offset: number, value: Bytes, name: "source" | "target"): CallerBytes {
    this.assertAlive();
    return bytesWithin(this.#size, offset, value, name);
  }

  /** Pages released. @throws TtmError what stopped it, or EBUSY when all that could leave is pinned */
  #released(shrunk: Released): number {
    const released = partial(shrunk);
    // Who brings several windows in holds them until all are there: nobody has to unpin these.
    if (released === 0 && this.#takes.size === 0) this.#assertUnpinned("shrink");
    return released;
  }
}

const leaving = (window: Window, task: Task) => window.leaving(task);
