/* Memory that goes back to the host between any two steps of a test, and must not in the midst of one. */
import process from "node:process";
import {
  type Declined,
  type Device,
  PAGE_SIZE,
  type TrimMeans,
  type Trimmed,
  type TrimOptions,
} from "../../src/index.ts";
import type { Random } from "./random.ts";

/** By one means each. A move is made whatever it costs. */
export const BY: Readonly<Record<TrimMeans, TrimOptions>> = {
  discard: { means: ["discard"] },
  madvise: { means: ["madvise"] },
  move: { means: ["move"], budget: "1 GiB" },
};

/** Those of this host: madvise is on Linux only. */
export const HERE: readonly TrimMeans[] =
  process.platform === "linux" ? ["madvise", "move"] : ["move"];

/** Thousands of moves: the old memories are left to the collector, which comes when it comes. */
const collect = (): void => {};

/** One of this host's means, for tests that only do it: a move, which costs most, the least often. */
export function someTrim(random: Random): TrimOptions {
  const means = random.chance(0.2) ? "move" : (HERE[0] as TrimMeans);
  return { ...BY[means], collect };
}

/** What is the same before a trim and after it. */
function stateOf({ global }: Device): string {
  const { engine, frames, iommu, clean } = global;
  return JSON.stringify({
    free: [engine.freePages, engine.freeChunks(), engine.pooledPages, engine.freeSlots],
    used: [engine.usedSlots, engine.cleanPages, engine.movingPages, global.heldPages],
    frames: [frames.claimed, frames.taken, frames.stuck],
    known: [iommu.size, clean.size],
  });
}

/** Trims of one device by one means. */
export class Trims {
  readonly #device: Device;
  readonly #means: TrimMeans;
  /** How many found something to give back, and how many were declined in the midst of an operation (counts). */
  given = 0;
  declined = 0;

  constructor(device: Device, means: TrimMeans) {
    this.#device = device;
    this.#means = means;
  }

  /** Has every frame hold something once, as one that was never used is not given back. */
  soil(): void {
    const { pages } = this.#device.stats();
    const bo = this.#device.createBuffer(pages.total * PAGE_SIZE);
    bo.writeSync(0, new Uint8Array(bo.size).fill(0xa5));
    bo.destroy();
  }

  /**
   * Trims between two steps, or in the midst of a Sync operation: that it is declined there, and frames stay where they
   * are, whatever the swap device gives back.
   *
   * @throws Error when it changed what is in use, or was or was not declined without a reason
   */
  now(): void {
    const device = this.#device;
    const nested = device.global.busy > 0;
    const before = stateOf(device);
    const { frames } = device.rss();
    const trimmed = device.trimSync(this.#options);
    expectSame(stateOf(device), before, trimmed);
    if (nested) this.#expectNone(trimmed, device.rss().frames - frames);
    else this.#expectDone(trimmed);
  }

  /** As `now`, in the async form; `alone`: nothing else goes on meanwhile. */
  async later(alone: boolean): Promise<void> {
    const before = stateOf(this.#device);
    const trimmed = await this.#device.trim(this.#options);
    if (!alone) return;
    expectSame(stateOf(this.#device), before, trimmed);
    this.#expectDone(trimmed);
  }

  get #options(): TrimOptions {
    return { ...BY[this.#means], collect };
  }

  #expectDone(trimmed: Trimmed): void {
    const { means, bytes, swapBytes } = trimmed;
    if (means === undefined) this.#expectReason(trimmed);
    const { frames, live } = this.#device.rss();
    if (means === "move" && frames !== live) {
      throw new Error(`${frames} bytes of frames are left of a move, ${live} are in use`);
    }
    if (bytes > swapBytes) this.given++;
  }

  /** Whatever is pinned or mapped, in place it can always be done. */
  #expectReason({ declined }: Trimmed): void {
    const { frames, engine } = this.#device.global;
    const reason =
      engine.movingPages > 0
        ? /on their way/
        : frames.stuck > 0
          ? /pinned or mapped/
          : /nothing to give back/;
    const [{ why }] = declined as [Declined];
    if (this.#means === "move" && reason.test(why)) return;
    throw new Error(`no reason to decline it: ${why}`);
  }

  #expectNone({ means, bytes, swapBytes, declined }: Trimmed, frames: number): void {
    if (means !== undefined || bytes !== swapBytes || declined.length !== 1 || frames !== 0) {
      throw new Error(`not declined in the midst of an operation: ${bytes} bytes by ${means}`);
    }
    this.declined++;
  }
}

function expectSame(after: string, before: string, trimmed: Trimmed): void {
  if (after === before) return;
  throw new Error(`a trim changed ${before} to ${after}: ${JSON.stringify(trimmed)}`);
}

/** Does one step, after which a trim comes, if any do, whatever came of it. */
export function stepWith<T>(trims: Trims | undefined, work: () => T): T {
  try {
    return work();
  } finally {
    trims?.now();
  }
}
