import { PAGE_SIZE } from "../assembly/abi.ts";
import { BufferObject } from "./buffer_object.ts";
import { Engine } from "./engine/engine.ts";
import { TtmError } from "./errors.ts";
import { Operations } from "./operations.ts";
import { PRIORITIES, Reclaim } from "./reclaim.ts";
import { formatSize, pagesOf, parseSize, type Size } from "./size.ts";
import { ramSwap } from "./swap/ram.ts";
import { isRam, type SwapDevice } from "./swap/types.ts";
import { Pool, type PoolStats } from "./ttm/pool.ts";
import { partial, type Released } from "./ttm/shrink.ts";
import { run, runSync, type Signal, type Steps } from "./ttm/transfer.ts";

/** Options of `createDevice`. */
export interface DeviceOptions {
  /** Page frames in bytes, all there will ever be: 64 KiB up to nearly 4 GiB; whole pages of it. */
  readonly memory: Size;
  /** Where pages go under pressure. Default: `ramSwap()`. */
  readonly swap?: SwapDevice;
  /** The compiled engine, for hosts that neither compile inlined bytes nor resolve the package's. */
  readonly module?: WebAssembly.Module;
}

/** Options of `createBuffer`. */
export interface BufferOptions {
  /** 0..3, default 0; buffers of a lower priority are reclaimed first. */
  readonly priority?: number;
}

/** Options of `shrink`. */
export interface ShrinkOptions {
  /** Pages to release; a chunk leaves whole, so it may be more. Default: all that can be. */
  readonly pages?: number;
  readonly signal?: Signal | undefined;
}

/** What `stats()` tells: pages unless it says otherwise. */
export interface DeviceStats extends PoolStats {
  readonly pages: { readonly total: number; readonly free: number };
  readonly slots: { readonly total: number; readonly free: number };
  /** Buffers alive (a count). */
  readonly buffers: number;
  /** Linear memory (bytes): page frames, metadata and RAM swap. */
  readonly memoryBytes: number;
}

const MEMORY_MIN = 64 * 1024;
const SLOTS_MAX = 2 ** 31 - 1;
/** Spare vector entries (24 MiB of untouched linear memory). */
const SLACK_MAX = 2 ** 21;

/** Owner of the memory, of the swap device and of all buffers (struct ttm_device). */
export class Device implements Disposable, AsyncDisposable {
  /** @internal */
  readonly pool: Pool;
  /** @internal */
  readonly reclaimer: Reclaim;
  /** @internal */
  readonly operations: Operations = new Operations();
  #buffers = 0;
  #closed = false;

  /** @internal Use `createDevice` or `createDeviceSync`. */
  constructor(engine: Engine, swap: SwapDevice) {
    this.pool = new Pool(engine, swap, 0, (pages) => this.reclaimer.reclaim(pages));
    this.reclaimer = new Reclaim(this.pool);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * A new buffer of `size` bytes. It takes memory when it is first written or mapped.
   *
   * @throws TtmError ENOMEM when it is larger than the memory
   */
  createBuffer(size: Size, options: BufferOptions = {}): BufferObject {
    this.assertOpen();
    const bytes = parseSize(size, "size");
    const { priority = 0 } = options;
    if (!Number.isInteger(priority) || priority < 0 || priority >= PRIORITIES) {
      throw new RangeError(`priority must be 0 to ${PRIORITIES - 1}, not ${priority}`);
    }
    const { frames } = this.pool.engine.geometry;
    if (pagesOf(bytes) > frames) {
      const text =
        `a buffer of ${formatSize(bytes)} does not fit the memory of ` +
        `${formatSize(this.pool.memory)}; use smaller buffers, or raise memory`;
      throw new TtmError("ENOMEM", "create", text);
    }
    this.#buffers++;
    return new BufferObject(this, bytes, priority);
  }

  /**
   * Gives memory back: purges and shrinks buffers, least recently used first, until `pages` pages are
   * released. What a memory-pressure handler calls. Returns pages released: fewer when there was no
   * more to take, or when it was stopped on the way.
   *
   * @throws TtmError what stopped it, when nothing was released: ENOSPC, EIO, EINTR
   */
  async shrink(options: ShrinkOptions = {}): Promise<number> {
    const steps = this.#shrinkSteps(options);
    const work = () => run(this.pool, "shrink", steps, options.signal);
    return partial(await this.operations.track(work));
  }

  shrinkSync(options: ShrinkOptions = {}): number {
    const steps = this.#shrinkSteps(options);
    return partial(runSync(this.pool, "shrink", steps, options.signal));
  }

  stats(): DeviceStats {
    const { engine, stats } = this.pool;
    const { frames, slots } = engine.geometry;
    return {
      ...stats,
      pages: { total: frames, free: engine.freePages },
      slots: { total: slots, free: engine.freeSlots },
      buffers: this.#buffers,
      memoryBytes: engine.memoryBytes,
    };
  }

  /**
   * Verifies every invariant of the engine: a walk over all metadata, for tests and suspicion.
   *
   * @throws Error naming the invariant that does not hold
   */
  check(): void {
    this.assertOpen();
    const broken = this.pool.engine.check();
    if (broken) throw new Error(`the engine's state is broken: ${broken}`);
  }

  /**
   * Closes the swap device. Afterwards nothing of this device can be used.
   *
   * @throws TypeError when it is closed already
   * @throws TtmError EBUSY while operations are in flight; or while buffers are alive, without `force`
   */
  async close(options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#close(options.force === true);
  }

  /** @throws TtmError EWOULDBLOCK when the swap device closes asynchronously: await `close()` then */
  closeSync(options: { readonly force?: boolean } = {}): void {
    if (this.#close(options.force === true)) {
      const text = `swap device ${this.pool.swap.name} closes asynchronously; use close()`;
      throw new TtmError("EWOULDBLOCK", "close", text);
    }
  }

  /** Closes the device, buffers and all; nothing if it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) await this.#close(true);
  }

  [Symbol.dispose](): void {
    if (!this.#closed) this.closeSync({ force: true });
  }

  /** @internal */
  assertOpen(): void {
    if (this.#closed) throw new TypeError("this device is closed");
  }

  /** @internal A buffer was destroyed. */
  removed(): void {
    this.#buffers--;
  }

  #shrinkSteps({ pages = Number.POSITIVE_INFINITY }: ShrinkOptions): Steps<Released> {
    this.assertOpen();
    if (typeof pages !== "number" || !(pages > 0)) {
      throw new RangeError(`pages must be a number of pages above 0, not ${String(pages)}`);
    }
    return this.reclaimer.reclaim(pages);
  }

  #close(force: boolean): void | Promise<void> {
    this.assertOpen();
    const { inFlight } = this.operations;
    if (inFlight > 0) {
      const text = `${inFlight} operations are in flight; await them before close`;
      throw new TtmError("EBUSY", "close", text);
    }
    if (this.#buffers > 0 && !force) {
      const text = `${this.#buffers} buffers are alive; destroy them, or close({ force: true })`;
      throw new TtmError("EBUSY", "close", text);
    }
    this.#closed = true;
    const { swap } = this.pool;
    return isRam(swap) ? undefined : swap.close?.();
  }
}

/** @throws TypeError, RangeError for an option that cannot be meant; TtmError of the swap device */
export function createDeviceSync(options: DeviceOptions): Device {
  const memory = parseSize(options?.memory, "memory");
  if (memory < MEMORY_MIN) {
    throw new RangeError(
      `memory of ${formatSize(memory)} is too small; the least is ${formatSize(MEMORY_MIN)}`,
    );
  }
  const swap = options.swap ?? ramSwap();
  const frames = Math.floor(memory / PAGE_SIZE);
  const slots = slotsOf(swap) || frames;
  // Vectors of all that can be in memory or in swap, and as much again, for vectors are not moved to
  // make room; of the largest buffer at least.
  const entries = slots + frames + Math.max(frames, Math.min(slots + frames, SLACK_MAX));
  const geometry = { frames, slots, entries, ram: isRam(swap) };
  const engine = new Engine(geometry, options.module);
  if (!isRam(swap)) swap.open?.();
  return new Device(engine, swap);
}

/** As `createDeviceSync`. */
export async function createDevice(options: DeviceOptions): Promise<Device> {
  return createDeviceSync(options);
}

function slotsOf(swap: SwapDevice): number {
  if (isRam(swap)) return swap.slots;
  if (typeof swap?.read !== "function" || typeof swap.write !== "function") {
    throw new TypeError("swap must be a swap device such as ramSwap() or fileSwap({ size })");
  }
  if (!Number.isInteger(swap.slots) || swap.slots < 1 || swap.slots > SLOTS_MAX) {
    throw new RangeError(`swap.slots must be 1 to ${SLOTS_MAX} pages, not ${swap.slots}`);
  }
  return swap.slots;
}
