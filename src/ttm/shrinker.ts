/*
 * The shrinker registry (mm/shrinker.c): who can give pages up, asked in the order of registration,
 * pools before objects.
 */
import { failureOf, show } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import { assertWhole } from "../options.ts";
import { BORDER, drain, runNow, type Steps, stopped } from "./driver.ts";
import { immediate, isTransfer, type TransferContext } from "./transfer.ts";

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

const BATCH = 128;
const SEEKS = 2;

/**
 * A shrinker as it was when it was registered. What its methods throw, or return against the rules, is a
 * failure by its name, not of those who need memory: they are told if nobody else frees any.
 */
class Registered {
  readonly shrinker: Shrinker;
  readonly #name: string;
  /** Most pages of one scan. */
  readonly #most: number;

  /** @throws TypeError, RangeError when it is no shrinker */
  constructor(shrinker: Shrinker) {
    if (typeof shrinker !== "object" || shrinker === null) {
      throw new TypeError(`a shrinker must be an object, not ${show(shrinker)}`);
    }
    const { name, seeks = SEEKS, batch = BATCH, countObjects, scanObjects } = shrinker;
    if (typeof name !== "string" || name === "") {
      throw new TypeError(`name of a shrinker must be a string, not empty, not ${show(name)}`);
    }
    for (const [method, value] of Object.entries({ countObjects, scanObjects })) {
      if (typeof value === "function") continue;
      throw new TypeError(`${method} of shrinker ${name} must be a function, not ${show(value)}`);
    }
    assertWhole(batch, `batch of shrinker ${name}`, 1);
    assertWhole(seeks, `seeks of shrinker ${name}`, 0);
    this.shrinker = shrinker;
    this.#name = name;
    this.#most = Math.max(1, Math.floor((batch * SEEKS) / seeks));
  }

  /** Most pages to ask it for at once, by what it counts; 0: it has none. */
  count(control: ShrinkControl): number {
    try {
      const count: unknown = this.shrinker.countObjects(control);
      if (typeof count === "number" && !Number.isNaN(count)) return count > 0 ? this.#most : 0;
      throw notPages("countObjects", count);
    } catch (error) {
      this.failed(control, error);
      return 0;
    }
  }

  /** One scan. */
  *scan(control: ShrinkControl): Steps<number> {
    try {
      const freed = this.shrinker.scanObjects(control);
      return wholePages(isSteps(freed) ? yield* stepsOf(freed) : freed);
    } catch (error) {
      return this.failed(control, error);
    }
  }

  /** One scan, in the middle of what does not yield. */
  scanNow(context: TransferContext, control: ShrinkControl): number {
    try {
      const freed = this.shrinker.scanObjects(control);
      return wholePages(isSteps(freed) ? drain(context, stepsOf(freed)) : freed);
    } catch (error) {
      return this.failed(control, error);
    }
  }

  /** Notes what stopped a scan; it counts as one that freed nothing. */
  failed(control: ShrinkControl, error: unknown): number {
    control.failure = failureOf("shrink", error, `shrinker ${this.#name} failed`);
    return SHRINK_STOP;
  }
}

/** One scan of a shrinker that need not be registered. */
export function scanNow(
  context: TransferContext,
  shrinker: Shrinker,
  control: ShrinkControl,
): number {
  return new Registered(shrinker).scanNow(context, control);
}

function isSteps(freed: unknown): freed is Steps<number> {
  return typeof freed === "object" && freed !== null && Symbol.iterator in freed;
}

/** The same steps; what is none is its failure, not that of the swap device which would be handed it. */
function* stepsOf(steps: Steps<number>): Steps<number> {
  let step = steps.next();
  while (!step.done) {
    if (step.value !== undefined && !isTransfer(step.value)) {
      throw new TypeError(`scanObjects may yield undefined, not ${show(step.value)}`);
    }
    step = steps.next(yield step.value);
  }
  return step.value;
}

function wholePages(freed: unknown): number {
  if (Number.isSafeInteger(freed)) return freed as number;
  throw notPages("scanObjects", freed);
}

function notPages(method: string, value: unknown): TypeError {
  ignoreOutcome(value); // of an async function
  return new TypeError(`${method} must return a number of pages, not ${show(value)}`);
}

/** Who can give pages up: asked one after the other, in the order they were registered. */
export class ShrinkerRegistry {
  #shrinkers: readonly Registered[] = [];
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
    return this.#shrinkers.map(({ shrinker }) => shrinker);
  }

  /**
   * Adds a shrinker behind the others (shrinker_register).
   *
   * @throws TypeError, RangeError when it is none
   */
  register(shrinker: Shrinker): void {
    this.#shrinkers = [...this.#shrinkers, new Registered(shrinker)];
  }

  /** Takes a shrinker out; nothing happens if it is not in (shrinker_free). */
  unregister(shrinker: Shrinker): void {
    this.#shrinkers = this.#shrinkers.filter((each) => each.shrinker !== shrinker);
  }

  /** @internal Asks one after the other until `target` pages are freed (shrink_slab). */
  *shrink(target: number, kswapd: boolean, cluster = 0): Steps<Shrunk> {
    const slab = new Slab(this.#shrinkers, target, kswapd, cluster);
    for (let each = slab.next(); each; each = slab.next()) {
      slab.took(yield* each.scan(slab.control));
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
      slab.took(each.scanNow(context, slab.control));
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
  readonly #shrinkers: readonly Registered[];
  readonly #kswapd: boolean;
  readonly #cluster: number;
  #index = 0;

  constructor(shrinkers: readonly Registered[], target: number, kswapd: boolean, cluster: number) {
    this.#shrinkers = shrinkers;
    this.target = target;
    this.#kswapd = kswapd;
    this.#cluster = cluster;
    this.control = { nrToScan: 0, nrScanned: 0, kswapd, cluster };
  }

  /** The shrinker to ask now, its `control` made ready; `undefined`: enough is freed, or all were asked. */
  next(): Registered | undefined {
    for (; this.#index < this.#shrinkers.length; this.#leave()) {
      const { control } = this;
      const shrinker = this.#shrinkers[this.#index] as Registered;
      if (this.released >= this.target || control.failure !== undefined) continue;
      const most = shrinker.count(control);
      if (most === 0) continue;
      control.nrToScan = control.nrScanned = Math.min(most, this.target - this.released);
      return shrinker;
    }
    return undefined;
  }

  /** Takes what it freed into account. */
  took(freed: number): void {
    const { nrScanned, failure } = this.control;
    if (freed !== SHRINK_STOP && nrScanned > 0) this.scanned += nrScanned;
    if (failure !== undefined)
      (this.#shrinkers[this.#index] as Registered).failed(this.control, failure);
    if (freed > 0) this.released += freed;
    this.again = freed > 0 && this.released < this.target && this.control.failure === undefined;
    if (!this.again) this.#leave();
  }

  #leave(): void {
    this.failure = this.control.failure ?? this.failure;
    this.#index++;
    this.control = { nrToScan: 0, nrScanned: 0, kswapd: this.#kswapd, cluster: this.#cluster };
  }
}
