import { Bdev, type Memory } from "./bdev.ts";
import { BufferObject, type BufferOwner } from "./buffer_object.ts";
import { type DebugfsName, debugfs } from "./debugfs.ts";
import {
  BUFFER_OPTIONS,
  type BufferFromOptions,
  type BufferOptions,
  type CloseOptions,
  type DeviceStats,
  forced,
  SHRINK_OPTIONS,
  type ShrinkOptions,
} from "./device_options.ts";
import { show, TtmError } from "./errors.ts";
import type { Hibernation } from "./hibernation.ts";
import { ignoreOutcome } from "./host.ts";
import type { Signal } from "./host_types.ts";
import type { Kswapd } from "./kswapd.ts";
import { NOT_CLONED } from "./not_bytes.ts";
import {
  asSignal,
  assertBoolean,
  assertOptions,
  type OperationOptions,
  signalOf,
} from "./options.ts";
import type { Reclaim } from "./reclaim.ts";
import { PRIORITIES } from "./resource.ts";
import { parseSize, type Size } from "./size.ts";
import { assertStack } from "./stack.ts";
import { bufferFrom } from "./streams/buffer_from.ts";
import type { ByteSource } from "./streams/types.ts";
import { Force, type Tasks } from "./tasks.ts";
import { TRIM_DEFAULT, type Trimmed, type TrimOptions, trimRequest } from "./trim/options.ts";
import { type Rss, rssOf, type Trimmer } from "./trim/trimmer.ts";
import { cachingCode } from "./ttm/caching.ts";
import type { FaultOptions, FaultSite } from "./ttm/fault.ts";
import type { TraceEvent, TtmGlobal } from "./ttm/global.ts";
import type { Pool, PoolOptions } from "./ttm/pool.ts";
import { assertTarget, partial } from "./ttm/shrink.ts";
import type { Shrunk } from "./ttm/shrinker.ts";
import { run, runSync } from "./ttm/work.ts";

/** What the devices on one memory share. */
interface Shared extends Memory {
  readonly hibernation: Hibernation;
  readonly trimmer: Trimmer;
}

/** Owner of the memory, of the swap device and of all buffers (struct ttm_device). */
export class Device implements Disposable, AsyncDisposable {
  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;
  readonly #bdev: Bdev;
  readonly #shared: Shared;
  readonly #buffers = new Set<BufferObject>();
  #closing: Promise<void> | undefined;
  readonly #force = new Force();

  /** @internal Use `createDevice` or `createDeviceSync`. */
  constructor(shared: Shared, options: PoolOptions) {
    this.#shared = shared;
    this.#bdev = new Bdev(shared, options);
    if (shared.global.closed) {
      // By a getter of the options.
      this.#bdev.pool.close();
      throw new TypeError("this device is closed");
    }
    shared.global.addDevice();
  }

  /** @internal */
  get pool(): Pool {
    return this.#bdev.pool;
  }

  /** @internal */
  get reclaimer(): Reclaim {
    return this.#bdev.reclaimer;
  }

  /** @internal */
  get tasks(): Tasks {
    return this.#bdev.tasks;
  }

  /** @internal */
  get kswapd(): Kswapd {
    return this.#bdev.kswapd;
  }

  /** The kernel's layer under this device, for `ttm-wasm/ttm`. */
  get global(): TtmGlobal {
    return this.#bdev.global;
  }

  /**
   * Another device on the same memory and swap: buffers of its own, and a pool of its own kind, but
   * shared pool types, limits and reclaim. The swap device is closed with the last of them.
   */
  createSibling(options: PoolOptions = {}): Device {
    this.assertOpen();
    return new Device(this.#shared, options);
  }

  /** Whether it is closed, or being closed: nothing new is begun then. */
  get closed(): boolean {
    return this.#bdev.closed;
  }

  /**
   * A new buffer of `size` bytes. It takes memory when it is first written or mapped. It may be larger than the
   * memory: what is used of it is brought in.
   *
   * @throws TtmError ENOMEM when it is larger than memory and swap together
   */
  createBuffer(size: Size, options: BufferOptions = {}): BufferObject {
    this.assertOpen();
    const bytes = parseSize(size, "size");
    assertOptions(options, BUFFER_OPTIONS, "createBuffer");
    const { priority = 0, caching = "cached", dma = false } = options;
    cachingCode(caching);
    assertBoolean(dma, "dma");
    if (!Number.isInteger(priority) || priority < 0 || priority >= PRIORITIES) {
      throw new RangeError(`priority must be 0 to ${PRIORITIES - 1}, not ${show(priority)}`);
    }
    this.assertOpen(); // getters of the options may do anything
    const id = this.global.nextId();
    const bo = new BufferObject(this.#bdev, this.#owner, bytes, { caching, dma, priority, id });
    this.#buffers.add(bo);
    return bo;
  }

  /**
   * A new buffer with the content of `source`, and of just that size: bytes, a `Response`, `ReadableStream` or `Blob`,
   * or an iterable, async or not, of chunks of bytes. What says how much it has (bytes, a blob, `content-length` of
   * a response that is not compressed), or has as much as `size` says, is written straight into that buffer. Anything
   * else is collected in buffers of 2 MiB, and moved into the one that is returned, piece by piece, when its end has
   * come; outside of the device's memory there is never more of it than a chunk and 256 KiB.
   *
   * When it fails, nothing of it is left on the device, and the source is cancelled, or its iterator returned, with
   * that awaited, unless `signal` was aborted.
   *
   * @throws TypeError for what is no source, a chunk that is no bytes, and a source that somebody else reads
   * @throws RangeError when there are more bytes than `size`, or none: a buffer has one or more
   * @throws TtmError what `createBuffer`, `read` and `write` fail with; EINTR once `signal` is aborted
   * @throws what the source fails with
   */
  async bufferFrom(source: ByteSource, options?: BufferFromOptions): Promise<BufferObject> {
    return bufferFrom<BufferObject, BufferOptions>(this, source, options, BUFFER_OPTIONS);
  }

  /**
   * Gives memory back: purges and shrinks buffers, least recently used first, until `pages` pages are
   * released. What a memory-pressure handler calls. Returns pages released: fewer when there was no
   * more to take, or when it was stopped on the way.
   *
   * @throws TtmError what stopped it, when nothing was released: ENOSPC, EIO, EINTR
   */
  async shrink(options: ShrinkOptions = {}): Promise<number> {
    const { pages, signal, trim } = this.#shrinkOptions(options);
    const { admission, shrinkers } = this.global;
    let shrunk: Shrunk | undefined;
    await this.tasks.start("shrink", signal, undefined, (task) =>
      admission.giveUp(task, async () => {
        const slab = shrinkers.begin(task, pages, false);
        await run(task, slab);
        shrunk = slab;
      }),
    );
    const released = partial(shrunk as Shrunk);
    if (trim) await this.#trimAfterwards(signal);
    return released;
  }

  /**
   * As `shrink`, at once. Returns pages released.
   *
   * @throws TtmError as `shrink` does; EWOULDBLOCK when the swap device is asynchronous
   */
  shrinkSync(options: ShrinkOptions = {}): number {
    const { pages, signal, trim } = this.#shrinkOptions(options);
    assertStack();
    const task = { op: "shrink", signal } as const;
    const slab = this.global.shrinkers.begin(task, pages, false);
    runSync(this.global, task, slab);
    const released = partial(slab);
    if (trim) this.#shared.trimmer.now(TRIM_DEFAULT);
    return released;
  }

  /**
   * Gives memory back to the host that holds nothing now: page frames and slots of RAM swap that are free, and what the
   * swap device does not need. It is taken again when it is used again. Returns how much it was, by which means, and why
   * not by others; nothing of it fails. By moving, all is for a moment there twice that is in memory: `TrimOptions` says
   * what for.
   *
   * @throws TypeError, RangeError for an option that cannot be meant
   */
  async trim(options?: TrimOptions): Promise<Trimmed> {
    this.assertOpen();
    const request = trimRequest(options);
    return this.#shared.trimmer.later(this.tasks, request);
  }

  /**
   * As `trim`, at a stretch. A swap device that takes time for it is not waited for, nor is a host that lets go of the
   * memory that was left.
   *
   * @throws TypeError, RangeError for an option that cannot be meant
   */
  trimSync(options?: TrimOptions): Trimmed {
    this.assertOpen();
    const request = trimRequest(options);
    assertStack();
    return this.#shared.trimmer.now(request);
  }

  /** What of the host's memory this device has, in bytes, as far as is known without asking the host. */
  rss(): Rss {
    return rssOf(this.global, this.#shared.trimmer.stats.bytes);
  }

  /** Counters of this moment: pages unless `DeviceStats` says otherwise. */
  stats(): DeviceStats {
    const { engine, space, stats, iommu } = this.global;
    const { frames } = engine.geometry;
    return {
      ...stats,
      pages: {
        total: frames,
        free: engine.freePages,
        pooled: engine.pooledPages,
        clean: engine.cleanPages,
      },
      caching: engine.cachingChanges,
      mappings: iommu.size,
      slots: space.slots,
      buffers: this.#buffers.size,
      memoryBytes: engine.memoryBytes,
      trim: this.#shared.trimmer.stats,
    };
  }

  /**
   * Verifies every invariant of the engine, and that nothing was left half moved: a walk over all metadata, for
   * tests and suspicion.
   *
   * @throws Error naming the invariant that does not hold
   */
  check(): void {
    this.assertOpen();
    const { engine, busy, admission } = this.global;
    const { movingPages } = engine;
    const lost = movingPages > 0 && busy === 0 && admission.inside === 0;
    const broken =
      engine.check() ??
      this.reclaimer.check() ??
      (lost ? `${movingPages} pages are to move, and nobody moves them` : undefined);
    if (broken) throw new Error(`the engine's state is broken: ${broken}`);
  }

  /**
   * Closes the device: nothing new is begun, what is in flight is awaited or, with `force`, aborted, the buffers
   * are destroyed, and with the last device on the memory the swap device is closed. A second call waits
   * for the first, and with `force` has it abort what it waits for.
   *
   * @throws TypeError when it is closed already
   * @throws TtmError EBUSY while buffers are alive, without `force`; then nothing has changed
   */
  async close(options: CloseOptions = {}): Promise<void> {
    const force = forced(options);
    if (!this.#closing) this.#assertClosable(force);
    if (force) this.#force.give();
    if (this.#closing) return this.#closing;
    this.#closing = this.#close();
    try {
      await this.#closing;
    } finally {
      this.#closing = undefined;
    }
  }

  /**
   * As `close`, for a device with nothing in flight; with `force` what is in flight is aborted.
   *
   * @throws TtmError EBUSY while operations are in flight, or buffers are alive, without `force`
   * @throws TtmError EWOULDBLOCK when the swap device closes asynchronously: await `close()` then
   */
  closeSync(options: CloseOptions = {}): void {
    const force = forced(options);
    this.#assertClosable(force);
    const { store, space } = this.global;
    if (this.#last && store.close && (store.async || space.discarding)) {
      const text = `swap device ${store.name} closes asynchronously; use close()`;
      throw new TtmError("EWOULDBLOCK", "close", text);
    }
    const inFlight = this.tasks.inFlight(this.#last);
    if (inFlight > 0 && !force) {
      const text = `${inFlight} operations are in flight; await them, or use close()`;
      throw new TtmError("EBUSY", "close", text);
    }
    this.#bdev.close();
    if (this.#last) this.global.close();
    this.tasks.abort(this.#last);
    if (!this.#letGo()) return;
    void this.kswapd.stop();
    this.#shared.trimmer.stop();
    // A promise all the same: its outcome is nobody's to hear.
    ignoreOutcome(this.global.space.close());
  }

  /** What `JSON.stringify` shows of it: `closed` and `stats()`. */
  toJSON(): object {
    return { closed: this.closed, ...this.stats() };
  }

  /** Closes the device, buffers and all, as `close({ force: true })`; nothing if it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#bdev.closed || this.#closing) await this.close({ force: true });
  }

  /** As `[Symbol.asyncDispose]`, with `closeSync`. */
  [Symbol.dispose](): void {
    if (!this.#bdev.closed) this.closeSync({ force: true });
  }

  /**
   * Moves every page that can be out to swap, as before hibernation
   * (ttm_device_prepare_hibernation), of all devices on the memory. Returns pages released.
   *
   * @throws TtmError what stopped it, when nothing was released
   */
  async hibernate(options: OperationOptions = {}): Promise<number> {
    this.assertOpen();
    const signal = signalOf(options, "hibernate");
    const noteHibernated = this.#shared.hibernation.begin();
    let released: number;
    try {
      released = await this.shrink({ signal });
    } finally {
      noteHibernated();
    }
    await this.#trimAfterwards(signal);
    return released;
  }

  /**
   * As `hibernate`, at a stretch. Returns pages released.
   *
   * @throws TtmError as `hibernate` does; EWOULDBLOCK when the swap device is asynchronous
   */
  hibernateSync(options: OperationOptions = {}): number {
    this.assertOpen();
    const signal = signalOf(options, "hibernate");
    const noteHibernated = this.#shared.hibernation.begin();
    let released: number;
    try {
      released = this.shrinkSync({ signal });
    } finally {
      noteHibernated();
    }
    this.#shared.trimmer.now(TRIM_DEFAULT);
    return released;
  }

  /**
   * Brings back what `hibernate` moved out, of all devices on the memory, as long as it fits; may be called
   * again after an error, and goes on then.
   *
   * @throws TtmError ENOMEM, ENOSPC, EIO, EINTR: what stopped it
   */
  async resume(options: OperationOptions = {}): Promise<void> {
    this.assertOpen();
    const signal = signalOf(options, "resume");
    await this.#shared.hibernation.resume(signal, () => this.assertOpen());
  }

  /**
   * As `resume`, at a stretch.
   *
   * @throws TtmError as `resume` does; EWOULDBLOCK when the swap device is asynchronous
   */
  resumeSync(options: OperationOptions = {}): void {
    this.assertOpen();
    const signal = signalOf(options, "resume");
    this.#shared.hibernation.resumeSync(signal, () => this.assertOpen());
  }

  /**
   * Injects faults: `probability` per cent of the calls at `site` fail, as in the kernel's
   * fault_attr. All off by default.
   *
   * @throws RangeError for a site or an option that is none
   */
  injectFault(site: FaultSite, options: FaultOptions): void {
    this.global.faults.set(site, options);
  }

  /**
   * Called with every event of this device's memory; `undefined`, `null` or `false` ends it.
   *
   * @throws TypeError for anything else
   */
  set trace(trace: ((event: TraceEvent) => void) | null | false | undefined) {
    this.global.trace = trace;
  }

  /**
   * The kernel's tables, as text (debugfs, directory ttm). Reading `page_pool_shrink` and `tt_shrink`
   * shrinks, as there: those two need a swap device that is synchronous.
   *
   * @throws RangeError for a name that is none of them
   */
  debugfs(name: DebugfsName): string {
    this.assertOpen();
    return debugfs(this.#bdev, this.#buffers.size, name);
  }

  /** @internal */
  assertOpen(): void {
    this.#bdev.assertOpen();
  }

  /** A buffer was destroyed, or made smaller. */
  readonly #owner: BufferOwner = {
    removed: (bo) => this.#buffers.delete(bo),
    dropped: (windows) => this.#shared.hibernation.forget(windows),
  };

  #shrinkOptions(options: ShrinkOptions): {
    pages: number;
    signal: Signal | undefined;
    trim: boolean;
  } {
    this.assertOpen();
    assertOptions(options, SHRINK_OPTIONS, "shrink");
    const { pages = Number.POSITIVE_INFINITY, trim = false } = options;
    const signal = asSignal(options.signal);
    assertTarget(pages);
    assertBoolean(trim, "trim");
    return { pages, signal, trim };
  }

  /** What was to be done has been: that the host gets nothing back changes nothing. */
  async #trimAfterwards(signal: Signal | undefined): Promise<void> {
    if (this.closed) return;
    await this.#shared.trimmer.later(this.tasks, TRIM_DEFAULT, signal).catch(() => {});
  }

  #assertClosable(force: boolean): void {
    if (this.#bdev.closed) throw new TypeError("this device is closed");
    if (this.#buffers.size === 0 || force) return;
    const text = `${this.#buffers.size} buffers are alive; destroy them, or close({ force: true })`;
    throw new TtmError("EBUSY", "close", text);
  }

  /** Whether no other device uses the memory. */
  get #last(): boolean {
    return this.global.devices === 1;
  }

  async #close(): Promise<void> {
    this.#bdev.close();
    await this.tasks.end(false, this.#force);
    let rest: Promise<void> | undefined;
    if (this.#last) {
      this.global.close();
      rest = this.kswapd.stop();
      this.#shared.trimmer.stop();
      await this.tasks.end(true, this.#force);
    }
    const last = this.#letGo();
    if (!last) return;
    await rest;
    const { space } = this.global;
    await this.#force.end(space.discarded());
    await space.close();
  }

  /** A memory that nothing is known of is given up as it is. */
  #free(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.global.unsound === undefined) throw error;
    }
  }

  /** Destroys all that is left. Returns whether it was the last device on the memory. */
  #letGo(): boolean {
    const { global } = this;
    // Who moves pages of a buffer now frees it when he lets go of it.
    for (const bo of this.#buffers) {
      this.#shared.hibernation.forget(bo.windows);
      this.#free(() => bo.end());
    }
    this.#buffers.clear();
    this.#free(() => this.pool.close());
    global.removeDevice();
    return global.devices === 0;
  }
}
