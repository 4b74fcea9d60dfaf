import { PAGE_SIZE } from "../../assembly/abi.ts";
import { afterQuietly } from "../host.ts";
import type { Signal } from "../host_types.ts";
import type { Tasks } from "../tasks.ts";
import type { TtmGlobal } from "../ttm/global.ts";
import { run, runSync } from "../ttm/work.ts";
import { TRIM_DEFAULT, type TrimMeans, type Trimmed, type TrimRequest } from "./options.ts";
import { TrimWork } from "./trim.ts";

/** What all trims of a memory came to. */
export interface TrimStats {
  /** How many gave something back (a count). */
  trims: number;
  /** What they gave back (bytes). */
  bytes: number;
  /** The means of the last one that had any. */
  means: TrimMeans | undefined;
  /** Whose call that was, as in `Trimmed`. */
  by: string | undefined;
}

/** What a device that rests has to have at least, for its memory to be given back: a sixteenth of the frames. */
const REST_SHIFT = 4;

/** The trims of one memory, whichever device asks for them, and those that nobody asks for. */
export class Trimmer {
  readonly #global: TtmGlobal;
  readonly #stats: TrimStats = { trims: 0, bytes: 0, means: undefined, by: undefined };
  #cancel = (): void => {};
  /** What was in use, read and written when it was looked at last. */
  #seen = "";

  /** @param rest trims when so many milliseconds have passed in which no page came or went; 0: never */
  constructor(global: TtmGlobal, rest: number) {
    this.#global = global;
    if (rest > 0) this.#watch(rest);
  }

  get stats(): Readonly<TrimStats> {
    return { ...this.#stats };
  }

  /** At a stretch. */
  now(request: TrimRequest): Trimmed {
    const task = { op: "trim", signal: undefined } as const;
    const work = new TrimWork(this.#global, task, request);
    try {
      runSync(this.#global, task, work);
    } finally {
      // What went back before it was stopped is gone all the same.
      this.#note(work.trimmed);
    }
    return work.trimmed;
  }

  /** In steps, as an operation of whose `tasks` these are; until `signal` is aborted. */
  async later(tasks: Tasks, request: TrimRequest, signal?: Signal): Promise<Trimmed> {
    // It is let in at once: it takes nothing, and whoever waits to be alone is one that a move may wait for.
    return tasks.start("trim", signal, undefined, async (task) => {
      const work = new TrimWork(this.#global, task, request);
      try {
        await run(task, work);
      } finally {
        this.#note(work.trimmed);
      }
      return work.trimmed;
    });
  }

  /** Ends what it does by itself. */
  stop(): void {
    this.#cancel();
  }

  #note(trimmed: Trimmed): void {
    const stats = this.#stats;
    if (trimmed.bytes > 0) stats.trims++;
    stats.bytes += trimmed.bytes;
    if (trimmed.means) {
      stats.means = trimmed.means;
      stats.by = trimmed.by;
    }
  }

  /** A look each `rest` milliseconds, which costs a comparison: whoever takes pages or gives them up pays nothing. */
  #watch(rest: number): void {
    const weak = new WeakRef(this);
    const look = () => {
      const self = weak.deref();
      if (self) self.#look(rest);
    };
    this.#cancel = afterQuietly(rest, look);
  }

  #look(rest: number): void {
    const { engine, stats } = this.#global;
    const now = [engine.freePages, engine.usedSlots, stats.pagesIn, stats.pagesOut].join();
    const idle = engine.residentFrames - this.#global.heldPages;
    if (now === this.#seen && idle > engine.geometry.frames >> REST_SHIFT) {
      // What stops it stops nobody else.
      try {
        this.now(TRIM_DEFAULT);
      } catch {}
    }
    this.#seen = now;
    this.#watch(rest);
  }
}

/** What a memory has of the host's (bytes). */
export interface Rss {
  /** Pages of buffers and other tts that are in memory. */
  readonly live: number;
  /** Page frames that the host has memory for: live ones, and free ones that were not given back. */
  readonly frames: number;
  /** Metadata, at most: what of it was never touched takes none. */
  readonly metadata: number;
  /** Memory of the swap device: slots of RAM swap in use, or what the device says it has. */
  readonly swap: number;
  /** Bytes of pages in swap for each byte of that; 0 while there is none. */
  readonly ratio: number;
  /** All of these but `live`. */
  readonly total: number;
  /** Given back so far. */
  readonly released: number;
}

export function rssOf({ engine, store, heldPages }: TtmGlobal, released: number): Rss {
  const frames = engine.residentFrames * PAGE_SIZE;
  const metadata = engine.metadataBytes;
  const swap = store.ram
    ? (engine.usedSlots + engine.backedFree) * PAGE_SIZE
    : (store.memoryBytes?.() ?? 0);
  const ratio = swap > 0 ? (engine.usedSlots * PAGE_SIZE) / swap : 0;
  const live = heldPages * PAGE_SIZE;
  return { live, frames, metadata, swap, ratio, total: frames + metadata + swap, released };
}
