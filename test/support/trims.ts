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
   * Trims between two steps.
   *
   * @throws Error when it changed what is in use, or was declined without a reason
   */
  between(): void {
    const before = stateOf(this.#device);
    const trimmed = this.#trim();
    this.#expectSame(before, trimmed);
    if (trimmed.means === undefined) this.#expectReason(trimmed);
    const { frames, live } = this.#device.rss();
    if (trimmed.means === "move" && frames !== live) {
      throw new Error(`${frames} bytes of frames are left of a move, ${live} are in use`);
    }
    if (trimmed.bytes > trimmed.swapBytes) this.given++;
  }

  /**
   * Tries to trim in the midst of an operation: frames stay where they are, whatever the swap device gives back.
   *
   * @throws Error when it was not declined, or changed anything
   */
  within(): void {
    const before = stateOf(this.#device);
    const { frames } = this.#device.rss();
    const trimmed = this.#trim();
    this.#expectSame(before, trimmed);
    const { means, bytes, swapBytes, declined } = trimmed;
    if (means !== undefined || bytes !== swapBytes || declined.length !== 1) {
      throw new Error(`not declined in the midst of it: ${JSON.stringify(trimmed)}`);
    }
    if (this.#device.rss().frames !== frames) throw new Error("frames went back all the same");
    this.declined++;
  }

  /** Whatever is pinned or mapped, in place it can always be done. */
  #expectReason({ declined }: Trimmed): void {
    const { stuck } = this.#device.global.frames;
    const reason = stuck > 0 ? /pinned or mapped/ : /nothing to give back/;
    const [{ why }] = declined as [Declined];
    if (this.#means === "move" && reason.test(why)) return;
    throw new Error(`no reason to decline it: ${why}`);
  }

  #trim(): Trimmed {
    return this.#device.trimSync({ ...BY[this.#means], collect });
  }

  #expectSame(before: string, trimmed: Trimmed): void {
    const after = stateOf(this.#device);
    if (after === before) return;
    throw new Error(`a trim changed ${before} to ${after}: ${JSON.stringify(trimmed)}`);
  }
}

/** Does one step, after which a trim comes, if any do, whatever came of it. */
export function stepWith<T>(trims: Trims | undefined, work: () => T): T {
  try {
    return work();
  } finally {
    trims?.between();
  }
}
