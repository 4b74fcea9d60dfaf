import { MAX_ORDER, PAGE_SIZE } from "../assembly/abi.ts";
import { BufferObject, type OperationOptions } from "./buffer_object.ts";
import { type DebugfsName, debugfs } from "./debugfs.ts";
import { Engine } from "./engine/engine.ts";
import { assertModule } from "./engine/instance.ts";
import { TtmError } from "./errors.ts";
import type { EngineModule } from "./host_types.ts";
import { Kswapd } from "./kswapd.ts";
import { NOT_CLONED } from "./not_bytes.ts";
import { Operations } from "./operations.ts";
import { PRIORITIES, Reclaim } from "./reclaim.ts";
import { formatSize, pagesOf, parseSize, type Size } from "./size.ts";
import { ramSwap } from "./swap/ram.ts";
import { isRam, type SwapDevice } from "./swap/types.ts";
import { type Caching, cachingCode } from "./ttm/caching.ts";
import { run, runSync, type Steps } from "./ttm/driver.ts";
import type { FaultOptions, FaultSite } from "./ttm/fault.ts";
import { type TraceEvent, TtmGlobal, type TtmGlobalOptions, type TtmStats } from "./ttm/global.ts";
import { Pool, type PoolOptions } from "./ttm/pool.ts";
import { assertTarget, partial } from "./ttm/shrink.ts";
import type { Shrunk } from "./ttm/shrinker.ts";
import type { Signal } from "./ttm/task.ts";

/** Options of `createDevice`. */
export interface DeviceOptions extends TtmGlobalOptions {
  /** Page frames in bytes, all there will ever be: 64 KiB up to nearly 4 GiB; whole pages of it. */
  readonly memory: Size;
  /** Where pages go under pressure. Default: `ramSwap()`. */
  readonly swap?: SwapDevice;
  /** First bytes of the memory that are its DMA32 zone, a multiple of 2 MiB. Default: all of it. */
  readonly dma32?: Size;
  /** Orders, coherent DMA and DMA32 of the pool that the buffers' pages come from. */
  readonly pool?: PoolOptions;
  /** The compiled engine, for hosts that neither compile inlined bytes nor resolve the package's. */
  readonly module?: EngineModule;
}

/** Options of `createBuffer`. */
export interface BufferOptions {
  /** How the CPU caches its pages; simulated, and pooled by it. Default: cached. */
  readonly caching?: Caching;
  /** Gives its pages bus addresses while they are in memory; simulated. Default: no. */
  readonly dma?: boolean;
  /** 0..3, default 0; buffers of a lower priority are reclaimed first. */
  readonly priority?: number;
}

/** Options of `shrink`. */
export interface ShrinkOptions {
  /** Pages to release; a chunk leaves whole, so it may be more. Default: all that can be. */
  readonly pages?: number;
  /** Looked at between two transfers; once aborted, it returns what left, or fails with EINTR. */
  readonly signal?: Signal | undefined;
}

/** What `stats()` tells: pages unless it says otherwise. */
export interface DeviceStats extends TtmStats {
  /** Frames: in all, free, in pools, and in memory with a valid copy in swap. */
  readonly pages: {
    readonly total: number;
    readonly free: number;
    readonly pooled: number;
    readonly clean: number;
  };
  /** Slots of swap, one page each: in all, and free. */
  readonly slots: { readonly total: number; readonly free: number };
  /** Buffers alive (a count). */
  readonly buffers: number;
  /** Pages whose caching was changed, and in how many runs. */
  readonly caching: { readonly pages: number; readonly runs: number };
  /** DMA mappings alive (a count). */
  readonly mappings: number;
  /** Linear memory (bytes): page frames, metadata and RAM swap. */
  readonly memoryBytes: number;
}

const MEMORY_MIN = 64 * 1024;
const SLOTS_MAX = 2 ** 31 - 1;
/** Spare vector entries: as many as needed, up to 24 MiB of untouched linear memory; 768 KiB in any case. */
const SLACK_MAX = 2 ** 21;
const SLACK_MIN = 2 ** 16;

/** Owner of the memory, of the swap device and of all buffers (struct ttm_device). */
export class Device implements Disposable, AsyncDisposable {
  /** @internal */
  readonly pool: Pool;
  /** @internal */
  readonly reclaimer: Reclaim;
  /** @internal */
  readonly operations: Operations;
  /** @internal */
  readonly kswapd: Kswapd;
  /** @internal */
  readonly notCloned: symbol = NOT_CLONED;
  #nextId = 1;
  #hibernated: BufferObject[] = [];
  #buffers = 0;
  #closed = false;

  /** @internal Use `createDevice` or `createDeviceSync`. */
  constructor(global: TtmGlobal, options: PoolOptions) {
    this.pool = new Pool(global, options);
    this.reclaimer = new Reclaim(this.pool);
    global.shrinkers.register(this.reclaimer);
    this.operations = new Operations(global.activity);
    this.kswapd = new Kswapd(global, this.operations);
    global.devices++;
  }

  /** The kernel's layer under this device, for `ttm-wasm/ttm`. */
  get global(): TtmGlobal {
    return this.pool.global;
  }

  /**
   * Another device on the same memory and swap: buffers of its own, and a pool of its own kind, but
   * shared pool types, limits and reclaim. The swap device is closed with the last of them.
   */
  createSibling(options: PoolOptions = {}): Device {
    this.assertOpen();
    return new Device(this.global, options);
  }

  /** Whether it was closed: nothing of it can be used then. */
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
    const { priority = 0, caching = "cached", dma = false } = options;
    cachingCode(caching);
    if (!Number.isInteger(priority) || priority < 0 || priority >= PRIORITIES) {
      throw new RangeError(`priority must be 0 to ${PRIORITIES - 1}, not ${priority}`);
    }
    const { frames } = this.global.engine.geometry;
    if (pagesOf(bytes) > frames) {
      const text =
        `a buffer of ${formatSize(bytes)} does not fit the memory of ` +
        `${formatSize(this.global.memory)}; use smaller buffers, or raise memory`;
      throw new TtmError("ENOMEM", "create", text);
    }
    this.#buffers++;
    return new BufferObject(this, bytes, priority, { caching, dma, id: this.#nextId++ });
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
    const work = () => run(this.global, { op: "shrink", signal: options.signal }, steps);
    return partial(await this.operations.track(work));
  }

  /**
   * As `shrink`, at once. Returns pages released.
   *
   * @throws TtmError as `shrink` does; EWOULDBLOCK when the swap device is asynchronous
   */
  shrinkSync(options: ShrinkOptions = {}): number {
    const steps = this.#shrinkSteps(options);
    return partial(runSync(this.global, { op: "shrink", signal: options.signal }, steps));
  }

  /** Counters of this moment: pages unless `DeviceStats` says otherwise. */
  stats(): DeviceStats {
    const { engine, stats, iommu } = this.global;
    const { frames, slots } = engine.geometry;
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
    const broken = this.global.engine.check();
    if (broken) throw new Error(`the engine's state is broken: ${broken}`);
  }

  /**
   * Closes the swap device. Afterwards nothing of this device can be used.
   *
   * @throws TypeError when it is closed already
   * @throws TtmError EBUSY while operations are in flight; or while buffers are alive, without `force`
   */
  async close(options: { readonly force?: boolean } = {}): Promise<void> {
    this.#assertClosable(options.force === true);
    await this.kswapd.stop();
    try {
      await this.#close(options.force === true);
    } finally {
      if (!this.#closed) this.kswapd.restart();
    }
  }

  /**
   * As `close`, at once.
   *
   * @throws TypeError, TtmError as `close` does; EWOULDBLOCK when the swap device closes asynchronously
   */
  closeSync(options: { readonly force?: boolean } = {}): void {
    this.#assertClosable(options.force === true);
    const { swap } = this.global;
    if (!isRam(swap) && swap.async && swap.close) {
      const text = `swap device ${swap.name} closes asynchronously; use close()`;
      throw new TtmError("EWOULDBLOCK", "close", text);
    }
    // A promise all the same: its outcome is nobody's to hear.
    this.#close(options.force === true)?.catch(() => {});
  }

  /** What `JSON.stringify` shows of it: `closed` and `stats()`. */
  toJSON(): object {
    return { closed: this.closed, ...this.stats() };
  }

  /** Closes the device, buffers and all; nothing if it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) await this.close({ force: true });
  }

  /** As `[Symbol.asyncDispose]`, with `closeSync`. */
  [Symbol.dispose](): void {
    if (!this.#closed) this.closeSync({ force: true });
  }

  /**
   * Moves every page that can be out to swap, as before hibernation
   * (ttm_device_prepare_hibernation). Returns pages released.
   *
   * @throws TtmError what stopped it, when nothing was released
   */
  async hibernate(options: OperationOptions = {}): Promise<number> {
    this.assertOpen();
    const resident = this.reclaimer.resident();
    const released = await this.shrink(options);
    this.#hibernated = resident.filter((bo) => !bo.destroyed && !bo.tt.populated);
    return released;
  }

  /** Brings back what `hibernate` moved out, as long as it fits; may be called again after an error. */
  async resume(options: OperationOptions = {}): Promise<void> {
    this.assertOpen();
    for (let bo = this.#hibernated[0]; bo; bo = this.#hibernated[0]) {
      if (!bo.destroyed && bo.tt.vector >= 0) await bo.populate(options);
      // Another call may have been at it, too.
      if (this.#hibernated[0] === bo) this.#hibernated.shift();
    }
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

  /** Called with every event of this device's memory; `undefined` ends it. */
  set trace(trace: ((event: TraceEvent) => void) | undefined) {
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
    return debugfs(this, name);
  }

  /** @internal */
  assertOpen(): void {
    if (this.#closed) throw new TypeError("this device is closed");
  }

  /** @internal A buffer was destroyed. */
  removed(): void {
    this.#buffers--;
  }

  #shrinkSteps({ pages = Number.POSITIVE_INFINITY }: ShrinkOptions): Steps<Shrunk> {
    this.assertOpen();
    assertTarget(pages);
    return this.global.shrinkers.shrink(pages, false);
  }

  #assertClosable(force: boolean): void {
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
  }

  #close(force: boolean): void | Promise<void> {
    this.#assertClosable(force);
    if (this.kswapd.running) {
      throw new TtmError("EBUSY", "close", "the background loop is at work; use close()");
    }
    this.#closed = true;
    const { global } = this;
    // What other devices on this memory may use now, or when they let go of it.
    for (const bo of this.reclaimer.all()) bo.end();
    global.shrinkers.unregister(this.reclaimer);
    this.pool.close();
    global.devices--;
    return global.devices > 0 || isRam(global.swap) ? undefined : global.swap.close?.();
  }
}

/** `createDeviceSync` of index.ts, with the engine that its build brings along. */
export function createDeviceSync(options: DeviceOptions, engine: () => WebAssembly.Module): Device {
  const memory = parseSize(options?.memory, "memory");
  if (memory < MEMORY_MIN) {
    const { memory: given } = options;
    const hint = typeof given === "number" && given <= 4096 ? `; "${given} MiB" may be meant` : "";
    throw new RangeError(
      `memory of ${formatSize(memory)} is too small; the least is ${formatSize(MEMORY_MIN)}${hint}`,
    );
  }
  const swap = options.swap ?? ramSwap();
  const frames = Math.floor(memory / PAGE_SIZE);
  const slots = slotsOf(swap) || frames;
  // Vectors of all that can be in memory or in swap, and as much again, for vectors are not moved to
  // make room; of the largest buffer at least.
  const slack = Math.min(Math.max(slots + frames, SLACK_MIN), SLACK_MAX);
  const entries = slots + frames + Math.max(frames, slack);
  const dma32 = options.dma32 === undefined ? frames : dma32Frames(options.dma32, frames);
  const geometry = { frames, slots, entries, ram: isRam(swap), dma32 };
  const module: unknown = options.module ?? engine();
  assertModule(module, "module");
  const global = new TtmGlobal(new Engine(geometry, module), swap, options);
  const device = new Device(global, options.pool ?? {});
  if (!isRam(swap)) swap.open?.();
  return device;
}

/** `createDevice` of index.ts, with the engine that its build brings along. */
export async function createDevice(
  options: DeviceOptions,
  engine: () => WebAssembly.Module,
): Promise<Device> {
  return createDeviceSync(options, engine);
}

function dma32Frames(size: Size, frames: number): number {
  const zone = parseSize(size, "dma32") / PAGE_SIZE;
  if (zone >= frames) return frames;
  if (zone % 2 ** MAX_ORDER !== 0) throw new RangeError("dma32 must be a multiple of 2 MiB");
  return zone;
}

function slotsOf(swap: SwapDevice): number {
  if (typeof swap === "object" && swap !== null && isRam(swap)) return swap.slots;
  if (typeof swap?.read !== "function" || typeof swap.write !== "function") {
    const text = "swap must be a swap device such as ramSwap() or fileSwap({ size })";
    throw new TypeError(`${text}${hintOf(swap)}`);
  }
  if (!Number.isInteger(swap.slots) || swap.slots < 1 || swap.slots > SLOTS_MAX) {
    throw new RangeError(`swap.slots must be 1 to ${SLOTS_MAX} pages, not ${swap.slots}`);
  }
  return swap.slots;
}

/** What somebody may have meant who gave this as a swap device. */
function hintOf(swap: unknown): string {
  if (typeof swap === "function") return `, not a function: call ${swap.name || "it"}`;
  if (typeof swap !== "string") return "";
  const size = /^[\d.]+ ?[kmgt]?i?b?$/i.test(swap);
  const options = size ? `size: "${swap}"` : `path: ${JSON.stringify(swap)}, size: "4 GiB"`;
  return `, not a string: fileSwap({ ${options} }) of ttm-wasm/swap/file`;
}
