/*
 * The shrinker registry (mm/shrinker.c): who can give pages up, asked in the order of registration,
 * pools before objects.
 */
import { BORDER, drain, runNow, type Steps, stopped } from "./driver.ts";
import { immediate, type TransferContext } from "./transfer.ts";

/** What scanObjects returns when it can do nothing now. */
export const SHRINK_STOP: number = -1;
/** What countObjects returns when there is nothing at all. */
export const SHRINK_EMPTY: number = -2;

/** A request to a shrinker (struct shrink_control), in pages. */
export interface ShrinkControl {
  /** How many to look at. */
  nrToScan: number;
  /** How many were looked at: the shrinker may say less or more. */
  nrScanned: number;
  /** Asked by the background loop, which may wait and write back. */
  readonly kswapd: boolean;
  /** As many may leave together if that is faster: who asks will ask for more. Default: what is needed. */
  readonly cluster?: number;
  /** What stopped a scan, if something did; the shrinker may say so. */
  failure?: unknown;
}

/** Somebody who can give pages up (struct shrinker). */
export interface Shrinker {
  /** For messages. */
  readonly name: string;
  /** Cost of getting a page back; larger: asked for fewer at a time. Default 2. */
  readonly seeks?: number;
  /** Pages of one scan. Default 128. */
  readonly batch?: number;
  /** Pages it could give up; 0 or SHRINK_EMPTY: none. */
  countObjects(control: ShrinkControl): number;
  /**
   * Gives pages up, and returns how many it freed, or SHRINK_STOP. As a generator it may yield `undefined`
   * where it can be stopped: the yield returns the failure then, and it should end.
   */
  scanObjects(control: ShrinkControl): number | Steps<number>;
}

/** Pages released, pages looked at, and what stopped the last scan that was stopped. */
export interface Shrunk {
  readonly released: number;
  readonly scanned: number;
  readonly failure?: unknown;
}

/** One scan, in the middle of what does not yield. */
export function scanNow(
  context: TransferContext,
  shrinker: Shrinker,
  control: ShrinkControl,
): number {
  const freed = shrinker.scanObjects(control);
  return typeof freed === "number" ? freed : drain(context, freed);
}

const BATCH = 128;
const SEEKS = 2;

/** Who can give pages up: asked one after the other, in the order they were registered. */
export class ShrinkerRegistry {
  #shrinkers: Shrinker[] = [];
  readonly #done: (target: number, released: number) => void;

  /**
   * @internal
   * `done` is told of every shrink that came to its end: pages that were wanted, and released.
   */
  constructor(done: (target: number, released: number) => void) {
    this.#done = done;
  }

  /** The shrinkers, in the order they are asked. */
  get list(): readonly Shrinker[] {
    return this.#shrinkers;
  }

  /** Adds a shrinker behind the others (shrinker_register). */
  register(shrinker: Shrinker): void {
    this.#shrinkers.push(shrinker);
  }

  /** Takes a shrinker out; nothing happens if it is not in (shrinker_free). */
  unregister(shrinker: Shrinker): void {
    this.#shrinkers = this.#shrinkers.filter((each) => each !== shrinker);
  }

  /** @internal Asks one after the other until `target` pages are freed (shrink_slab). */
  *shrink(target: number, kswapd: boolean, cluster = 0): Steps<Shrunk> {
    const slab = new Slab(this.#shrinkers, target, kswapd, cluster);
    for (let each = slab.next(); each; each = slab.next()) {
      const freed = each.scanObjects(slab.control);
      slab.took(typeof freed === "number" ? freed : yield* freed);
      if (slab.again) slab.control.failure = yield BORDER;
    }
    return this.#ended(slab);
  }

  /** @internal The same at a stretch; the swap device must not be asynchronous. */
  shrinkNow(context: TransferContext, target: number, kswapd: boolean, cluster = 0): Shrunk {
    if (!immediate(context)) {
      const task = { op: "shrink", signal: undefined } as const;
      return runNow(context, task, () => this.shrinkNow(context, target, kswapd, cluster));
    }
    const slab = new Slab(this.#shrinkers, target, kswapd, cluster);
    for (let each = slab.next(); each; each = slab.next()) {
      slab.took(scanNow(context, each, slab.control));
      if (slab.again) slab.control.failure = stopped(context);
    }
    return this.#ended(slab);
  }

  #ended({ target, released, scanned, failure }: Slab): Shrunk {
    this.#done(target, released);
    return { released, scanned, failure };
  }
}

/** A walk over the shrinkers: each is asked as long as it frees pages and more are wanted. */
class Slab {
  readonly target: number;
  released = 0;
  scanned = 0;
  failure: unknown;
  /** Whether the shrinker that was asked last is to be asked again. */
  again = false;
  control: ShrinkControl;
  readonly #shrinkers: readonly Shrinker[];
  #index = 0;

  constructor(shrinkers: readonly Shrinker[], target: number, kswapd: boolean, cluster: number) {
    this.#shrinkers = shrinkers;
    this.target = target;
    this.control = { nrToScan: 0, nrScanned: 0, kswapd, cluster };
  }

  /** The shrinker to ask now, its `control` made ready; `undefined`: enough is freed, or all were asked. */
  next(): Shrinker | undefined {
    for (; this.#index < this.#shrinkers.length; this.#leave()) {
      const { control } = this;
      const shrinker = this.#shrinkers[this.#index] as Shrinker;
      if (this.released >= this.target || control.failure !== undefined) continue;
      if (!(shrinker.countObjects(control) > 0)) continue;
      const { batch = BATCH, seeks = SEEKS } = shrinker;
      const most = Math.max(1, Math.floor((batch * SEEKS) / seeks));
      control.nrToScan = control.nrScanned = Math.min(most, this.target - this.released);
      return shrinker;
    }
    return undefined;
  }

  /** Takes what it freed into account. */
  took(freed: number): void {
    if (freed !== SHRINK_STOP) this.scanned += this.control.nrScanned;
    if (freed > 0) this.released += freed;
    this.again = freed > 0 && this.released < this.target && this.control.failure === undefined;
    if (!this.again) this.#leave();
  }

  #leave(): void {
    const { kswapd, cluster = 0, failure } = this.control;
    this.failure = failure ?? this.failure;
    this.#index++;
    this.control = { nrToScan: 0, nrScanned: 0, kswapd, cluster };
  }
}
