import {
  type BufferObject,
  type Device,
  type Mapping,
  PAGE_SIZE,
  TtmError,
} from "../../../src/index.ts";
import { FAULT_SITES } from "../../../src/ttm.ts";
import type { ArraySwap } from "../../support/array_swap.ts";
import { expectSame, mixedPattern, pattern } from "../../support/bytes.ts";
import { systemError } from "../../support/errors.ts";
import { purged } from "../../support/model.ts";
import type { Random } from "../../support/random.ts";
import { CountingSignal } from "../../support/signals.ts";
import { HERE, Trims } from "../../support/trims.ts";
import { expectInvariants } from "./invariants.ts";

/** A buffer, and beside it a plain array of what it has to show. */
interface Entry {
  readonly id: number;
  readonly device: Device;
  readonly bo: BufferObject;
  readonly bytes: Uint8Array;
  readonly mappings: { readonly mapping: Mapping; readonly write: boolean }[];
  pins: number;
  dontneed: boolean;
}

/** How often each action is drawn. */
const WEIGHTS = {
  create: 8,
  write: 14,
  read: 14,
  discard: 5,
  mapToWrite: 3,
  mapToRead: 3,
  unmap: 12,
  pin: 1,
  unpin: 4,
  populate: 4,
  shrink: 8,
  shrinkDevice: 8,
  shrinkAll: 1,
  hibernate: 1,
  dontneed: 4,
  willneed: 3,
  destroy: 6,
  limits: 2,
  debugfs: 2,
  trim: 10,
} as const;

type Action = keyof typeof WEIGHTS;

const ACTIONS = (Object.keys(WEIGHTS) as Action[]).flatMap((action) =>
  Array.from({ length: WEIGHTS[action] }, () => action),
);

const BUFFERS_MAX = 20;

export interface ModelOptions {
  /** The swap device, if it is one that can be made to fail. */
  readonly swap?: ArraySwap;
  /** Whether it may be full although slots are free. */
  readonly fills?: boolean;
  /** Largest buffer, in pages. */
  readonly pagesMax: number;
  /** Whether operations are synchronous, asynchronous or both. */
  readonly forms: "sync" | "async" | "both";
}

/**
 * Devices on one memory, and arrays of bytes that say what their buffers have to show. Every step does
 * something at random, perhaps with something going wrong meanwhile; then all that must hold is looked
 * at.
 */
export class DeviceModel {
  readonly #devices: readonly Device[];
  readonly #random: Random;
  readonly #options: ModelOptions;
  readonly #entries: Entry[] = [];
  readonly #trims: readonly Trims[];
  #created = 0;
  #steps = 0;
  #signal = new CountingSignal();
  #abortAt = Number.POSITIVE_INFINITY;
  #failing = false;
  #failed: { action: Action; entry: Entry } | undefined;
  #faults = 0;

  constructor(devices: readonly Device[], random: Random, options: ModelOptions) {
    this.#devices = devices;
    this.#random = random;
    this.#options = options;
    this.#trims = HERE.map((means) => new Trims(devices[0] as Device, means));
  }

  get #global() {
    return (this.#devices[0] as Device).global;
  }

  /** @throws Error when the devices do, or show, what they must not */
  async step(): Promise<void> {
    const { action, entry } = this.#next();
    this.#steps++;
    this.#arm();
    try {
      if (action === "create") this.#create();
      else if (entry) await this.#act(action, entry);
    } catch (error) {
      if (!(error instanceof TtmError)) throw this.#told(action, entry, error);
      const reason = this.#judge(action, entry, error);
      if (reason !== undefined) throw this.#told(action, entry, error, reason);
      if (entry && this.#random.chance(0.7)) this.#failed = { action, entry };
    }
    this.#disarm();
    try {
      this.#settle();
    } catch (error) {
      throw this.#told(action, entry, error);
    }
  }

  /** @throws Error when a buffer shows the wrong bytes, or something leaks */
  async end(): Promise<void> {
    for (const { bo, bytes, mappings, pins } of this.#entries) {
      for (const { mapping } of mappings.splice(0)) mapping.unmap();
      for (let i = 0; i < pins; i++) bo.unpin();
      if (!bo.advise("willneed")) purged({ bo, bytes });
    }
    const { limits, engine, iommu } = this.#global;
    Object.assign(limits, {
      pages: Number.POSITIVE_INFINITY,
      dma32Pages: Number.POSITIVE_INFINITY,
    });
    for (const { bo, bytes, id } of this.#entries.splice(0)) {
      expectSame(await bo.read(0, new Uint8Array(bo.size)), bytes, `buffer ${id} at the end`);
      bo.destroy();
    }
    this.#global.poolShrinker.drain(0);
    expectInvariants(this.#global, []);
    const { frames, slots } = engine.geometry;
    if (engine.freePages !== frames || engine.freeSlots !== slots || iommu.size > 0) {
      throw new Error("something leaked");
    }
    for (const device of this.#devices) await device.close();
  }

  /** What failed is tried again, as a rule. */
  #next(): { action: Action; entry: Entry | undefined } {
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed) return failed;
    const action = this.#random.pick(ACTIONS);
    return { action, entry: this.#pick(action) };
  }

  /** Any buffer; to be unmapped or unpinned one that is. */
  #pick(action: Action): Entry | undefined {
    const entries = this.#entries.filter(
      ({ pins, mappings }) =>
        (action !== "unmap" || mappings.length > 0) && (action !== "unpin" || pins > 0),
    );
    return entries.length > 0 ? this.#random.pick(entries) : undefined;
  }

  /** Something goes wrong in every third step: a signal, a fault, or the device. */
  #arm(): void {
    const random = this.#random;
    const { swap } = this.#options;
    this.#abortAt = Number.POSITIVE_INFINITY;
    this.#faults = this.#global.stats.faults;
    this.#failing = false;
    if (swap && random.chance(0.1)) swap.during = () => random.pick(this.#trims).now();
    switch (random.below(16)) {
      case 0:
      case 1:
        this.#abortAt = 1 + random.below(random.pick([4, 20]));
        break;
      case 2:
      case 3:
      case 4:
        this.#global.faults.set(random.pick(FAULT_SITES), {
          probability: random.pick([100, 100, 30, 5]),
          interval: 1 + random.below(3),
          times: random.pick([1, 3, -1]),
          space: random.below(random.pick([1, 4, 30])),
          seed: random.next(),
        });
        break;
      case 5:
        if (!swap) break;
        this.#failing = true;
        if (random.chance(0.5)) swap.writeFailure = systemError("EIO");
        else swap.readFailure = systemError("EIO");
        break;
    }
    this.#signal = new CountingSignal(this.#abortAt);
  }

  #disarm(): void {
    for (const site of FAULT_SITES) this.#global.faults.set(site, {});
    const { swap } = this.#options;
    if (swap) swap.writeFailure = swap.readFailure = swap.during = undefined;
  }

  #create(): void {
    if (this.#entries.length >= BUFFERS_MAX) return;
    const random = this.#random;
    const device = random.pick(this.#devices);
    const most = random.pick([1, 8, 40, this.#options.pagesMax]) * PAGE_SIZE;
    const bytes = new Uint8Array(1 + random.below(most));
    const bo = device.createBuffer(bytes.length, {
      caching: random.pick(["cached", "cached", "wc", "uc"]),
      dma: random.chance(0.3),
      priority: random.below(4),
    });
    const id = this.#created++;
    this.#entries.push({ id, device, bo, bytes, mappings: [], pins: 0, dontneed: false });
  }

  async #act(action: Action, entry: Entry): Promise<void> {
    const { bo, device, mappings } = entry;
    const random = this.#random;
    const options = { signal: this.#signal };
    switch (action) {
      case "write":
        return this.#write(entry);
      case "read":
        return this.#read(entry);
      case "discard":
        return this.#discard(entry);
      case "mapToWrite":
      case "mapToRead": {
        const write = action === "mapToWrite";
        const map = { ...options, write };
        const mapping = await this.#form(
          () => bo.mapSync(map),
          () => bo.map(map),
        );
        mappings.push({ mapping, write });
        return this.#useMapping(mapping, entry, write);
      }
      case "unmap": {
        const [mapped] = mappings.splice(0, 1) as [(typeof mappings)[number]];
        this.#useMapping(mapped.mapping, entry, mapped.write);
        return mapped.mapping.unmap();
      }
      case "pin":
        await this.#form(
          () => bo.pinSync(options),
          () => bo.pin(options),
        );
        entry.pins++;
        return;
      case "unpin":
        bo.unpin();
        entry.pins--;
        return;
      case "populate":
        await this.#form(
          () => bo.populateSync(options),
          () => bo.populate(options),
        );
        if (bo.residentPages !== bo.tt.numPages) throw new Error("not populated");
        return;
      case "shrink": {
        const { residentPages } = bo;
        const released = await this.#form(
          () => bo.shrinkSync(options),
          () => bo.shrink(options),
        );
        // The background loop may have taken some of it as well.
        const taken = residentPages - bo.residentPages - released;
        const looped = device.global.watermarks.low > 0;
        if (taken < 0 || (taken > 0 && !looped)) throw new Error("not what was released");
        return;
      }
      case "shrinkDevice":
      case "shrinkAll":
        return this.#shrinkDevice(device, action === "shrinkAll");
      case "hibernate":
        await device.hibernate(options);
        return device.resume(options);
      case "dontneed":
        entry.dontneed = true;
        return;
      case "willneed":
        entry.dontneed = false;
        if (!bo.advise("willneed")) purged(entry);
        return;
      case "destroy":
        bo.destroy();
        this.#entries.splice(this.#entries.indexOf(entry), 1);
        return;
      case "limits":
        this.#global.limits.pagePoolSize = random.pick([0, 7, 64, 1000]);
        this.#global.limits.pages = random.pick([Number.POSITIVE_INFINITY, 500, 100, 10]);
        this.#global.limits.dma32Pages = random.pick([Number.POSITIVE_INFINITY, 300, 10]);
        return;
      case "debugfs": {
        if (this.#options.forms === "async") return;
        const name = random.pick(["page_pool_shrink", "tt_shrink", "page_pool"] as const);
        const text = device.debugfs(name);
        if (name === "tt_shrink" && !/^\d+\n$/.test(text)) throw new Error(text);
        return;
      }
      case "trim": {
        const trims = random.pick(this.#trims);
        const alone = device.global.watermarks.low === 0;
        return this.#form(
          () => trims.now(),
          () => trims.later(alone),
        );
      }
    }
  }

  async #write(entry: Entry): Promise<void> {
    const { bo, bytes } = entry;
    const [from, to] = this.#range(bo);
    const zeros = this.#random.chance(0.2);
    const patternOf = this.#options.fills ? pattern : mixedPattern;
    const source = zeros ? new Uint8Array(to - from) : patternOf(this.#steps, to - from);
    const options = { signal: this.#signal };
    await this.#form(
      () => bo.writeSync(from, source, options),
      () => bo.write(from, source, options),
    );
    bytes.set(source, from);
  }

  /** Whole pages: what is covered in part may be zeros or not when that fails. */
  async #discard({ bo, bytes }: Entry): Promise<void> {
    const [first, end] = this.#range(bo);
    const offset = first - (first % PAGE_SIZE);
    const to = Math.min(Math.ceil(end / PAGE_SIZE) * PAGE_SIZE, bo.size);
    const options = { offset, length: to - offset, signal: this.#signal };
    const { resident, vector, numPages } = bo.tt;
    await this.#form(
      () => bo.discardSync(options),
      () => bo.discard(options),
    );
    bytes.fill(0, offset, to);
    if (bo.pinned && bo.residentPages !== resident) throw new Error("a pinned page was given up");
    if (vector >= 0 && !bo.pinned && options.length > (numPages - 1) * PAGE_SIZE) {
      const { coherent } = bo.tt.pool ?? { coherent: false };
      if (bo.tt.vector >= 0 && !coherent)
        throw new Error("all is discarded, and yet it has a vector");
    }
  }

  async #read({ bo, bytes, id }: Entry): Promise<void> {
    const [from, to] = this.#range(bo);
    const target = new Uint8Array(to - from);
    const options = { signal: this.#signal };
    await this.#form(
      () => bo.readSync(from, target, options),
      () => bo.read(from, target, options),
    );
    expectSame(target, bytes.subarray(from, to), `buffer ${id} at ${from}`);
  }

  /** Pages of this device's pool, and of others, may go; those pinned may not. */
  async #shrinkDevice(device: Device, all: boolean): Promise<void> {
    const pages = all ? Number.POSITIVE_INFINITY : 1 + this.#random.below(200);
    const { engine } = this.#global;
    const { freePages, pooledPages } = engine;
    const options = { pages, signal: this.#signal };
    const released = await this.#form(
      () => device.shrinkSync(options),
      () => device.shrink(options),
    );
    // What is purged from a coherent pool goes back to it first, and a background loop has its own part.
    const coherent = this.#devices.some(({ pool }) => pool.coherent);
    const alone = this.#global.watermarks.low === 0 && !coherent;
    // Pools over their limit may be drained on the way: free pages that nobody released.
    const free = engine.freePages - freePages;
    const drained = pooledPages - engine.pooledPages;
    if (alone && (free < released || free - drained > released)) {
      throw new Error(`not what it released: ${released}, free ${free}, drained ${drained}`);
    }
  }

  #range({ size }: BufferObject): [number, number] {
    const from = this.#random.below(size);
    return [from, from + 1 + this.#random.below(size - from)];
  }

  async #form<T>(sync: () => T, async: () => Promise<T>): Promise<T> {
    const { forms } = this.#options;
    if (forms === "sync" || (forms === "both" && this.#random.chance(0.6))) return sync();
    return async();
  }

  /** The views show the bytes in order, and what is written to them is in the buffer. */
  #useMapping({ segments }: Mapping, { id, bytes }: Entry, write: boolean): void {
    let done = 0;
    for (const segment of segments) {
      expectSame(segment, bytes.subarray(done, done + segment.length), `mapping of buffer ${id}`);
      if (write) {
        const at = this.#random.below(segment.length);
        segment[at] = bytes[done + at] = this.#random.below(256);
      }
      done += segment.length;
    }
    if (done !== bytes.length) throw new Error(`a mapping of ${done} of ${bytes.length} bytes`);
  }

  /** An error has to have its reason; else this is what to say. */
  #judge(action: Action, entry: Entry | undefined, error: TtmError): string | undefined {
    const { engine, stats, limits } = this.#global;
    const { frames, slots, dma32 } = engine.geometry;
    const injected = stats.faults > this.#faults;
    // What was hibernated comes back whole, whichever buffer it is, of whichever device.
    const all = this.#entries.map(({ bo }) => bo.tt.numPages);
    const own = action === "hibernate" ? Math.max(0, ...all) : (entry?.bo.tt.numPages ?? 0);
    const narrow =
      action === "hibernate"
        ? this.#devices.some(({ pool }) => pool.dma32)
        : entry?.device.pool.dma32 === true;
    const zone = narrow ? dma32 : frames;
    const content = this.#entries.reduce((sum, { bo }) => {
      return sum + (bo.tt.vector < 0 && bo !== entry?.bo ? 0 : bo.tt.numPages);
    }, 0);
    const fixed = this.#entries.reduce((sum, other) => {
      const stays = other.bo.pinned || (other.device.pool.coherent && !other.bo.tt.purgeable);
      const own = other === entry && action !== "hibernate";
      return sum + (stays && !own ? other.bo.residentPages : 0);
    }, 0);
    const crowded = own + fixed > zone;
    const limited = limits.pages < frames || limits.dma32Pages < frames;
    const reasons: Partial<Record<string, boolean>> = {
      EINTR: this.#signal.looks >= this.#abortAt,
      EIO: this.#failing || injected,
      EFAULT: injected,
      ENOMEM: injected || crowded,
      ENOSPC:
        injected ||
        crowded ||
        this.#options.fills === true ||
        content >= zone + slots ||
        (limited && engine.freeSlots === 0) ||
        (action.startsWith("shrink") && engine.freeSlots === 0) ||
        action === "hibernate",
      EBUSY:
        (entry?.bo.pinned === true && (action === "shrink" || action === "destroy")) ||
        (entry?.device.pool.coherent === true && action === "shrink"),
    };
    if (reasons[error.code]) return undefined;
    const numbers = { own, fixed, zone, content, free: engine.freePages, slots: engine.freeSlots };
    return `no reason for it: ${JSON.stringify(numbers)}`;
  }

  /** What holds after every step. */
  #settle(): void {
    for (const entry of this.#entries) {
      if (entry.dontneed && !entry.bo.advise("dontneed")) purged(entry);
    }
    const owned = this.#entries.map(({ bo, device }) => ({ pool: device.pool, tt: bo.tt }));
    expectInvariants(this.#global, owned);
    for (const { bo, pins, mappings } of this.#entries) {
      const held = pins + mappings.length > 0;
      if (bo.pinned !== held) throw new Error("pins do not add up");
      if (held && bo.residentPages !== bo.tt.numPages) throw new Error("a pinned page has left");
    }
    for (const device of this.#devices) {
      const buffers = this.#entries.filter((entry) => entry.device === device).length;
      if (device.stats().buffers !== buffers) throw new Error("buffers do not add up");
    }
  }

  #told(action: Action, entry: Entry | undefined, error: unknown, reason = ""): Error {
    const text = error instanceof Error ? error.message : String(error);
    const what = `step ${this.#steps}, ${action} of buffer ${entry?.id}`;
    return new Error(`${what}: ${text} ${reason}`, { cause: error });
  }
}
