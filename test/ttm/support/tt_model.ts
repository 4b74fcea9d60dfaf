import { type Device, PAGE_SIZE, TtmError } from "../../../src/index.ts";
import {
  FAULT_SITES,
  finiTt,
  type OperationContext,
  type Pool,
  populateTt,
  populateTtSync,
  SHRINK_EMPTY,
  SHRINK_STOP,
  type ShrinkControl,
  type Shrinker,
  shrinkTt,
  shrinkTtSync,
  swapoutTt,
  swapoutTtSync,
  TT_FLAG_DONTNEED,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
  TT_FLAG_ZERO_ALLOC,
  Tt,
  type TtmGlobal,
  unpopulateTt,
} from "../../../src/ttm.ts";
import type { ArraySwap } from "../../support/array_swap.ts";
import { mixedPattern } from "../../support/bytes.ts";
import { systemError } from "../../support/errors.ts";
import type { Random } from "../../support/random.ts";
import { CountingSignal } from "../../support/signals.ts";
import { HERE, Trims } from "../../support/trims.ts";
import { expectInvariants } from "./invariants.ts";
import { expectContent, writeContent } from "./subject.ts";

/** A tt, and beside it a plain array of what it has to show. */
interface Entry {
  readonly id: number;
  readonly pool: Pool;
  readonly tt: Tt;
  readonly bytes: Uint8Array;
}

const WEIGHTS = {
  create: 6,
  populate: 20,
  write: 10,
  verify: 4,
  shrink: 12,
  shrinkSome: 10,
  purge: 2,
  swapout: 8,
  unpopulate: 2,
  fini: 5,
  dontneed: 2,
  drain: 2,
  limits: 2,
  trim: 10,
} as const;

type Action = keyof typeof WEIGHTS;

const ACTIONS = (Object.keys(WEIGHTS) as Action[]).flatMap((action) =>
  Array.from({ length: WEIGHTS[action] }, () => action),
);

const FLAGS = [
  ...Array<number>(10).fill(0),
  TT_FLAG_ZERO_ALLOC,
  TT_FLAG_DONTNEED,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE,
];

const TTS_MAX = 16;

/** A tt that shrinkers must leave alone. */
function fixed({ pool, tt }: Entry): boolean {
  const external = TT_FLAG_EXTERNAL | TT_FLAG_EXTERNAL_MAPPABLE;
  return pool.coherent || (tt.flags & external) === TT_FLAG_EXTERNAL;
}

/**
 * Tts of several pools on one memory, and arrays of bytes that say what they have to show. It is their
 * shrinker, too: when memory is short, it shrinks the first that is not in use.
 */
export class TtModel implements Shrinker {
  readonly name = "tts of a test";
  readonly #pools: readonly Pool[];
  readonly #global: TtmGlobal;
  readonly #random: Random;
  readonly #swap: ArraySwap | undefined;
  readonly #entries: Entry[] = [];
  readonly #trims: readonly Trims[];
  /** Whether its tts may be moved, as those of buffers. */
  readonly #moves: boolean;
  #created = 0;
  #steps = 0;
  #abortAt = 0;
  #signal = new CountingSignal();
  #failing = false;
  #failed: { action: Action; entry: Entry } | undefined;
  #faults = 0;

  /** @param swap the device, if it can be made to fail */
  constructor(device: Device, pools: readonly Pool[], random: Random, swap?: ArraySwap) {
    this.#pools = pools;
    this.#trims = HERE.map((means) => new Trims(device, means));
    this.#moves = random.chance(0.5);
    this.#global = (pools[0] as Pool).global;
    this.#random = random;
    this.#swap = swap;
    this.#global.shrinkers.register(this);
  }

  countObjects(): number {
    const pages = this.#evictable().reduce((sum, { tt }) => sum + tt.resident, 0);
    return pages || SHRINK_EMPTY;
  }

  scanObjects(control: ShrinkControl): number {
    let freed = 0;
    for (const { pool, tt } of this.#evictable()) {
      if (freed >= control.nrToScan) break;
      try {
        freed += shrinkTtSync(pool, tt, { pages: control.nrToScan - freed });
      } catch (error) {
        control.failure = error;
        break;
      }
    }
    return freed || SHRINK_STOP;
  }

  /** @throws Error when a tt does, or shows, what it must not */
  async step(): Promise<void> {
    const { action, entry } = this.#next();
    this.#steps++;
    this.#arm();
    try {
      if (action === "create") this.#create();
      else if (entry) await this.#act(action, entry);
    } catch (error) {
      const reason = error instanceof TtmError ? this.#judge(action, entry, error) : "";
      if (reason !== undefined) throw this.#told(action, entry, error, reason);
      if (entry && this.#random.chance(0.7)) this.#failed = { action, entry };
    }
    for (const site of FAULT_SITES) this.#global.faults.set(site, {});
    const swap = this.#swap;
    if (swap) swap.writeFailure = swap.readFailure = swap.during = undefined;
    try {
      for (const { tt, bytes } of this.#entries) if (tt.vector < 0) bytes.fill(0);
      expectInvariants(this.#global, this.#entries);
    } catch (error) {
      throw this.#told(action, entry, error);
    }
  }

  /** @throws Error when a tt shows the wrong bytes, or something leaks */
  async end(): Promise<void> {
    const { limits, engine, iommu, allocated } = this.#global;
    Object.assign(limits, {
      pages: Number.POSITIVE_INFINITY,
      dma32Pages: Number.POSITIVE_INFINITY,
    });
    for (const entry of this.#entries.filter(fixed)) finiTt(entry.pool, entry.tt);
    const rest = this.#entries.filter((entry) => !fixed(entry));
    while (rest.length > 0) {
      const { pool, tt, bytes } = rest.shift() as Entry;
      for (const other of rest) other.tt.flags &= ~TT_FLAG_DONTNEED;
      populateTtSync(pool, tt);
      expectContent(this.#global, tt, bytes);
      finiTt(pool, tt);
    }
    this.#entries.length = 0;
    this.#global.shrinkers.unregister(this);
    this.#global.poolShrinker.drain(0);
    expectInvariants(this.#global, []);
    const { frames, slots } = engine.geometry;
    const free = engine.freePages === frames && engine.freeSlots === slots;
    if (!free || iommu.size > 0 || allocated.pages > 0) throw new Error("something leaked");
  }

  /** What failed is tried again, as a rule. */
  #next(): { action: Action; entry: Entry | undefined } {
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed) return failed;
    const random = this.#random;
    const entry = this.#entries.length > 0 ? random.pick(this.#entries) : undefined;
    // Those that cannot be shrunken would fill the memory.
    const stays = entry !== undefined && fixed(entry) && random.chance(0.5);
    return { action: stays ? "fini" : random.pick(ACTIONS), entry };
  }

  #evictable(): Entry[] {
    return this.#entries.filter((entry) => {
      return entry.tt.resident > 0 && !entry.tt.lock.held && !fixed(entry);
    });
  }

  #arm(): void {
    const random = this.#random;
    this.#abortAt = Number.POSITIVE_INFINITY;
    this.#faults = this.#global.stats.faults;
    this.#failing = false;
    if (this.#swap && random.chance(0.1)) this.#swap.during = () => random.pick(this.#trims).now();
    switch (random.below(12)) {
      case 0:
      case 1:
        this.#abortAt = 1 + random.below(random.pick([4, 30]));
        break;
      case 2:
      case 3:
        this.#global.faults.set(random.pick(FAULT_SITES), {
          probability: random.pick([100, 100, 30]),
          interval: 1 + random.below(2),
          times: random.pick([1, 3, -1]),
          space: random.below(random.pick([1, 4, 30])),
          seed: random.next(),
        });
        break;
      case 4:
        if (!this.#swap) break;
        this.#failing = true;
        if (random.chance(0.5)) this.#swap.writeFailure = systemError("EIO");
        else this.#swap.readFailure = systemError("EIO");
        break;
    }
    this.#signal = new CountingSignal(this.#abortAt);
  }

  #create(): void {
    if (this.#entries.length >= TTS_MAX) return;
    const random = this.#random;
    const pages = 1 + random.below(random.pick([1, 20, 100, 300]));
    const id = this.#created++;
    const tt = new Tt(pages, {
      id,
      caching: random.pick(["cached", "wc", "uc"]),
      dma: random.chance(0.4),
      flags: random.pick(FLAGS),
    });
    tt.evictable = this.#moves;
    const bytes = new Uint8Array(pages * PAGE_SIZE);
    this.#entries.push({ id, pool: random.pick(this.#pools), tt, bytes });
  }

  async #act(action: Action, entry: Entry): Promise<void> {
    const { pool, tt, bytes } = entry;
    const random = this.#random;
    const context: OperationContext = { signal: this.#signal, interruptible: random.chance(0.9) };
    const sync = random.chance(0.6);
    switch (action) {
      case "populate": {
        const { populated } = tt;
        if (sync) populateTtSync(pool, tt, context);
        else await populateTt(pool, tt, context);
        if (!tt.populated || (!populated && tt.purgeable)) throw new Error("not populated");
        return expectContent(this.#global, tt, bytes);
      }
      case "write":
        if (!tt.populated) return;
        bytes.set(mixedPattern(this.#steps, bytes.length));
        if (this.#random.chance(0.2)) bytes.fill(0, this.#random.below(bytes.length));
        return writeContent(pool, tt, bytes);
      case "verify":
        if (tt.populated) expectContent(this.#global, tt, bytes);
        return;
      case "shrink":
      case "shrinkSome": {
        const pages = action === "shrink" ? tt.numPages : 1 + random.below(tt.numPages);
        const { resident, purgeable } = tt;
        const options = { ...context, pages };
        const released = sync ? shrinkTtSync(pool, tt, options) : await shrinkTt(pool, tt, options);
        if (resident - tt.resident !== released) throw new Error(`${released} is not the drop`);
        if (purgeable && tt.vector >= 0) throw new Error("a purgeable tt was not purged");
        return;
      }
      case "purge": {
        const { resident } = tt;
        if (shrinkTtSync(pool, tt, { ...context, purge: true }) !== resident) {
          throw new Error("not all was purged");
        }
        return;
      }
      case "swapout": {
        const { populated } = tt;
        try {
          const released = sync
            ? swapoutTtSync(pool, tt, context)
            : await swapoutTt(pool, tt, context);
          if (released > 0 && tt.resident > 0) throw new Error("swapped out in part");
        } catch (error) {
          // Nothing moved; unless it could not be brought back either.
          const clear = this.#global.stats.faults === this.#faults && !this.#failing;
          if (clear && populated !== tt.populated) throw new Error(`moved in part: ${error}`);
          throw error;
        }
        return;
      }
      case "unpopulate":
        unpopulateTt(pool, tt);
        return;
      case "fini":
        finiTt(pool, tt);
        if (random.chance(0.8)) this.#entries.splice(this.#entries.indexOf(entry), 1);
        return;
      case "dontneed":
        tt.flags |= TT_FLAG_DONTNEED;
        return;
      case "drain":
        this.#global.poolShrinker.drain(random.below(50));
        return;
      case "limits":
        this.#global.limits.pagePoolSize = random.pick([0, 7, 64, 1000]);
        this.#global.limits.pages = random.pick([Number.POSITIVE_INFINITY, 500, 100, 10]);
        return;
      case "trim": {
        const trims = random.pick(this.#trims);
        return sync ? trims.now() : trims.later(true);
      }
    }
  }

  /** An error has to have its reason; else this is what to say. */
  #judge(action: Action, entry: Entry | undefined, error: TtmError): string | undefined {
    const { engine, stats, limits } = this.#global;
    const { frames, slots, dma32 } = engine.geometry;
    const injected = stats.faults > this.#faults;
    const own = entry?.tt.numPages ?? 0;
    const zone = entry?.pool.dma32 ? dma32 : frames;
    let stay = 0;
    let content = own;
    for (const other of this.#entries) {
      if (other === entry || other.tt.vector < 0) continue;
      content += other.tt.numPages;
      if (fixed(other)) stay += other.tt.resident;
    }
    const crowded = own + stay > zone;
    const out = action.startsWith("shrink") || action === "swapout";
    const reasons: Partial<Record<string, boolean>> = {
      EINTR: this.#signal.looks >= this.#abortAt,
      EIO: this.#failing || injected,
      EFAULT: injected,
      ENOMEM: injected || crowded,
      ENOSPC:
        injected ||
        crowded ||
        content >= zone + slots ||
        (limits.pages < frames && engine.freeSlots === 0) ||
        (out && engine.freeSlots < own),
      EBUSY: out && entry !== undefined && fixed(entry),
    };
    // A purge needs nothing, and can fail only for pages that are not ours.
    if (action === "purge" && error.code !== "EBUSY" && error.code !== "EINTR")
      return "a purge failed";
    if (action === "purge" && error.code === "EBUSY" && entry && fixed(entry)) return undefined;
    if (reasons[error.code]) return undefined;
    const numbers = { own, stay, zone, content, free: engine.freePages, slots: engine.freeSlots };
    return `no reason for it: ${JSON.stringify(numbers)}`;
  }

  #told(action: Action, entry: Entry | undefined, error: unknown, reason = ""): Error {
    const text = error instanceof Error ? error.message : String(error);
    return new Error(`step ${this.#steps}, ${action} of tt ${entry?.id}: ${text} ${reason}`, {
      cause: error,
    });
  }
}
