import {
  type BufferObject,
  type Device,
  type Mapping,
  PAGE_SIZE,
  TtmError,
} from "../../src/index.ts";
import { piecesOf } from "../../src/window.ts";
import { expectSame, mixedPattern } from "./bytes.ts";
import { systemError } from "./errors.ts";
import type { MapSwap } from "./map_swap.ts";
import type { Random } from "./random.ts";
import { CountingSignal } from "./signals.ts";
import { HERE, Trims } from "./trims.ts";

/** What a step does, and how often it is chosen. */
const ACTIONS = {
  create: 10,
  write: 24,
  read: 24,
  map: 3,
  unmap: 4,
  pin: 2,
  unpin: 3,
  shrink: 8,
  shrinkDevice: 6,
  dontneed: 2,
  willneed: 2,
  populate: 4,
  trim: 8,
  destroy: 5,
};

type Action = keyof typeof ACTIONS;

const DECK: readonly Action[] = Object.entries(ACTIONS).flatMap(([action, weight]) =>
  Array.from({ length: weight }, () => action as Action),
);

/** One step: an action, numbers that choose what it is done to, and what goes wrong meanwhile. */
export interface Step {
  readonly action: Action;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** The look at the signal that finds it aborted; 0: none does. */
  readonly abortAt: number;
  /** The device call that fails; 0: none does. */
  readonly failAt: number;
}

/** Steps that often come back to the buffer of the step before. */
export function randomSteps(random: Random, count: number): Step[] {
  let a = 0;
  return Array.from({ length: count }, () => {
    if (random.chance(0.6)) a = random.below(1000);
    return {
      action: random.pick(DECK),
      a,
      b: random.next(),
      c: random.next(),
      abortAt: random.chance(0.2) ? random.below(random.pick([3, 12, 50])) + 1 : 0,
      failAt: random.chance(0.3) ? random.below(random.pick([2, 8, 40])) + 1 : 0,
    };
  });
}

interface Entry {
  readonly id: number;
  readonly bo: BufferObject;
  /** What the buffer has to show. */
  readonly bytes: Uint8Array;
  readonly mappings: Mapping[];
  pins: number;
  dontneed: boolean;
}

const BUFFERS_MAX = 50;
/** Most pages of a new buffer: many small ones, so that others lie scattered in swap. */
const PAGES_MAX = [1, 1, 3, 20, 100, 700];

/** Of a large buffer each window goes by itself. */
export function purged({ bo, bytes }: { bo: BufferObject; bytes: Uint8Array }): void {
  for (const { tt, start, size } of bo.windows) if (tt.purged) bytes.fill(0, start, start + size);
}

/** A device, and beside it plain arrays that say what its buffers have to show. */
export class Model {
  readonly device: Device;
  readonly #swap: MapSwap | undefined;
  readonly #others: readonly BufferObject[];
  readonly #trims: readonly Trims[];
  readonly #entries: Entry[] = [];
  #created = 0;
  #signal = new CountingSignal();
  #failed = false;

  /**
   * @param swap the device's, if it is one that can fail
   * @param others buffers of the device that are none of the model's business
   */
  constructor(device: Device, swap?: MapSwap, others: readonly BufferObject[] = []) {
    this.device = device;
    this.#swap = swap;
    this.#others = others;
    this.#trims = HERE.map((means) => new Trims(device, means));
  }

  /** @throws Error when the device does, or shows, what it must not */
  step(step: Step): void {
    this.#arm(step);
    const entry = this.#entries[step.a % Math.max(this.#entries.length, 1)];
    try {
      if (step.action === "create") this.#create(step);
      else if (entry) this.#act(step, entry);
    } catch (error) {
      this.#judge(error, step, entry);
    }
    if (this.#swap) this.#swap.before = undefined;
    this.#settle();
  }

  /** @throws Error when a buffer shows the wrong bytes, or something leaks */
  end(): void {
    for (const entry of this.#entries) {
      for (const mapping of entry.mappings.splice(0)) mapping.unmap();
      for (; entry.pins > 0; entry.pins--) entry.bo.unpin();
    }
    while (this.#entries.length > 0) {
      this.#settle();
      const entry = this.#entries.shift() as Entry;
      const { bo } = entry;
      // With a full swap space not all can be brought back while all are alive.
      if (this.device.stats().slots.free > bo.size / PAGE_SIZE) {
        this.#expectRead(entry, 0, bo.readSync(0, new Uint8Array(bo.size)));
      }
      bo.destroy();
    }
    for (const other of this.#others) other.destroy();
    this.device.check();
    const { pages, slots } = this.device.stats();
    if (pages.free !== pages.total || slots.free !== slots.total) throw new Error("leaked");
    this.device.closeSync();
  }

  #arm({ abortAt, failAt }: Step): void {
    this.#signal = new CountingSignal(abortAt || Number.POSITIVE_INFINITY);
    this.#failed = false;
    let calls = 0;
    if (!this.#swap || !failAt) return;
    this.#swap.before = () => {
      if (++calls !== failAt) return;
      this.#failed = true;
      throw systemError("EIO");
    };
  }

  #create({ a, b }: Step): void {
    if (this.#entries.length >= BUFFERS_MAX) return;
    const pages = PAGES_MAX[a % PAGES_MAX.length] as number;
    const size = (b % (pages * PAGE_SIZE)) + 1;
    const bo = this.device.createBuffer(size, { priority: b % 4 });
    const bytes = new Uint8Array(size);
    const id = this.#created++;
    this.#entries.push({ id, bo, bytes, mappings: [], pins: 0, dontneed: false });
  }

  #act({ action, b, c }: Step, entry: Entry): void {
    const { bo, bytes, mappings } = entry;
    const options = { signal: this.#signal };
    const from = b % bo.size;
    const to = from + (c % (bo.size - from)) + 1;
    switch (action) {
      case "write": {
        const source = mixedPattern(b ^ c, to - from);
        try {
          bo.writeSync(from, source, options);
        } catch (error) {
          this.#partlyWritten(entry, from, source);
          throw error;
        }
        bytes.set(source, from);
        break;
      }
      case "read": {
        const got = bo.readSync(from, new Uint8Array(to - from), options);
        this.#expectRead(entry, from, got);
        break;
      }
      case "map": {
        const mapping = bo.mapSync(options);
        mappings.push(mapping);
        this.#useMapping(mapping, entry, b);
        break;
      }
      case "unmap": {
        const mapping = mappings[c % Math.max(mappings.length, 1)];
        if (!mapping) break;
        this.#useMapping(mapping, entry, b);
        mapping.unmap();
        mappings.splice(mappings.indexOf(mapping), 1);
        break;
      }
      case "pin":
        bo.pinSync(options);
        entry.pins++;
        break;
      case "unpin":
        if (entry.pins === 0) break;
        bo.unpin();
        entry.pins--;
        break;
      case "shrink": {
        const before = bo.residentPages;
        const released = bo.shrinkSync(options);
        if (before - bo.residentPages !== released) throw new Error(`${released} is not the drop`);
        break;
      }
      case "shrinkDevice": {
        const before = this.device.stats().pages.free;
        const released = this.device.shrinkSync({ pages: (c % 800) + 1, ...options });
        const rise = this.device.stats().pages.free - before;
        if (rise !== released) throw new Error(`${released} is not the rise of ${rise}`);
        break;
      }
      case "dontneed":
        entry.dontneed = true;
        break;
      case "willneed":
        entry.dontneed = false;
        if (!bo.advise("willneed")) purged(entry);
        break;
      case "populate":
        bo.populateSync(options);
        if (bo.residentPages !== Math.ceil(bo.size / PAGE_SIZE)) throw new Error("not populated");
        break;
      case "trim":
        this.#trims[c % this.#trims.length]?.now();
        break;
      case "destroy":
        bo.destroy();
        this.#entries.splice(this.#entries.indexOf(entry), 1);
        break;
    }
  }

  /** What was read is there; of what is not needed a window may have gone to make room for those before it. */
  #expectRead({ bo, bytes, id, dontneed }: Entry, from: number, got: Uint8Array): void {
    for (const { window, length, done } of piecesOf(bo.windows, from, got.length)) {
      const part = got.subarray(done, done + length);
      if (dontneed && window.tt.purged && part.every((byte) => byte === 0)) continue;
      const start = from + done;
      expectSame(part, bytes.subarray(start, start + length), `buffer ${id} at ${start}`);
    }
  }

  /**
   * A write to several windows that was stopped wrote those before whole, and none after. If that cannot be looked
   * at, as nothing can be brought in, the buffer has to go.
   */
  #partlyWritten({ bo, bytes, id }: Entry, from: number, source: Uint8Array): void {
    const pieces = piecesOf(bo.windows, from, source.length);
    if (pieces.length === 1) return;
    if (this.#swap) this.#swap.before = undefined;
    let stopped = false;
    for (const { length, done } of pieces) {
      const start = from + done;
      const end = start + length;
      const piece = source.subarray(done, done + length);
      const got = bo.readSync(start, new Uint8Array(length));
      const written: boolean = !stopped && got.every((byte, i) => byte === piece[i]);
      if (!written) expectSame(got, bytes.subarray(start, end), `buffer ${id}, not written`);
      stopped ||= !written;
      bytes.set(got, start);
    }
  }

  /** The views show the bytes in order, and what is written to them is in the buffer. */
  #useMapping(mapping: Mapping, { id, bytes }: Entry, at: number): void {
    let done = 0;
    for (const segment of mapping.segments) {
      expectSame(segment, bytes.subarray(done, done + segment.length), `mapping of buffer ${id}`);
      segment[at % segment.length] = at;
      bytes[done + (at % segment.length)] = at;
      done += segment.length;
    }
    if (done !== bytes.length) throw new Error(`a mapping of ${done} of ${bytes.length} bytes`);
  }

  /** An error has to have its reason. */
  #judge(error: unknown, { abortAt, action }: Step, entry: Entry | undefined): void {
    if (!(error instanceof TtmError)) throw error;
    const own = entry ? Math.ceil(entry.bo.size / PAGE_SIZE) : 0;
    const { pages, slots } = this.device.stats();
    const others = this.#entries.filter((other) => other !== entry && other.bo.pinned);
    const pinned = others.reduce((sum, { bo }) => sum + bo.residentPages, 0);
    const sizes = this.#entries.map(({ bo }) => Math.ceil(bo.size / PAGE_SIZE));
    const all = sizes.reduce((sum, size) => sum + size, this.#others.length);
    const reasons: Partial<Record<string, boolean>> = {
      EINTR: abortAt > 0 && this.#signal.looks >= abortAt,
      EIO: this.#failed,
      EBUSY: entry?.bo.pinned === true && (action === "shrink" || action === "destroy"),
      ENOMEM: pinned + own > pages.total,
      ENOSPC: all + pages.total > slots.total,
    };
    if (!reasons[error.code]) throw new Error(`no reason for ${error}`, { cause: error });
  }

  /** What holds after every step. */
  #settle(): void {
    for (const entry of this.#entries) {
      if (entry.dontneed && !entry.bo.advise("dontneed")) purged(entry);
    }
    this.device.check();
    const { pages, buffers } = this.device.stats();
    const bos = [...this.#entries.map(({ bo }) => bo), ...this.#others];
    const resident = bos.reduce((sum, bo) => sum + bo.residentPages, 0);
    if (pages.total - pages.free !== resident) throw new Error("resident pages do not add up");
    if (buffers !== bos.length) throw new Error("buffers do not add up");
    for (const { bo, pins, mappings } of this.#entries) {
      const held = pins + mappings.length > 0;
      if (bo.pinned !== held) throw new Error("pins do not add up");
      if (held && bo.residentPages !== Math.ceil(bo.size / PAGE_SIZE)) throw new Error("pin lost");
    }
    if (this.#swap?.broken !== undefined) throw new Error(this.#swap.broken);
  }
}
