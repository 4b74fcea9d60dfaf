/*
 * The shrinker registry (mm/shrinker.c): who can give pages up, asked in the order of registration,
 * pools before objects.
 */
import { BORDER, type Steps } from "./transfer.ts";

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
  /** What stopped a scan, if something did; the shrinker may say so. */
  failure?: unknown;
}

/** Somebody who can give pages up (struct shrinker). */
export interface Shrinker {
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

const BATCH = 128;
const SEEKS = 2;

export class ShrinkerRegistry {
  #shrinkers: Shrinker[] = [];
  readonly #done: (target: number, released: number) => void;

  /** `done` is told of every shrink that came to its end: pages that were wanted, and released. */
  constructor(done: (target: number, released: number) => void) {
    this.#done = done;
  }

  get list(): readonly Shrinker[] {
    return this.#shrinkers;
  }

  /** Adds a shrinker behind the others (shrinker_register). */
  register(shrinker: Shrinker): void {
    this.#shrinkers.push(shrinker);
  }

  unregister(shrinker: Shrinker): void {
    this.#shrinkers = this.#shrinkers.filter((each) => each !== shrinker);
  }

  /** Asks one after the other until `target` pages are freed (shrink_slab). */
  *shrink(target: number, kswapd: boolean): Steps<Shrunk> {
    let released = 0;
    let scanned = 0;
    let failure: unknown;
    for (const shrinker of this.#shrinkers) {
      const { batch = BATCH, seeks = SEEKS } = shrinker;
      const most = Math.max(1, Math.floor((batch * SEEKS) / seeks));
      const control: ShrinkControl = { nrToScan: 0, nrScanned: 0, kswapd };
      for (let scans = 0; released < target && control.failure === undefined; scans++) {
        if (scans > 0) control.failure = yield BORDER;
        if (control.failure || !(shrinker.countObjects(control) > 0)) break;
        control.nrToScan = control.nrScanned = Math.min(most, target - released);
        const scan = shrinker.scanObjects(control);
        const freed = typeof scan === "number" ? scan : yield* scan;
        if (freed === SHRINK_STOP) break;
        scanned += control.nrScanned;
        if (!(freed > 0)) break;
        released += freed;
      }
      failure = control.failure ?? failure;
    }
    this.#done(target, released);
    return failure === undefined ? { released, scanned } : { released, scanned, failure };
  }
}
