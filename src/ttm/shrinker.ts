/*
 * The shrinker registry (mm/shrinker.c): who can give pages up, asked in the order of registration,
 * pools before objects.
 */
import { failureOf, show, type TtmError } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import { assertWhole } from "../options.ts";
import { interruption, type Task } from "./task.ts";
import { border, Pending, runSync, type Work, type Workplace } from "./work.ts";

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
  /** @internal For whom: whether the scan may wait, and what stops it. */
  readonly task?: Task;
}

/**
 * A scan that can be stopped, or has to wait for others: it yields `undefined` where it can be stopped, and is
 * told what stopped it, at which it should end; or work of another memory that is to be done first.
 */
export type ScanSteps = Generator<Work | undefined, number, TtmError | undefined>;

/** A scan that may have to wait. */
export interface Scan extends Work {
  /** Pages freed, or SHRINK_STOP. */
  readonly freed: number;
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
  /** Gives pages up, and returns how many it freed, or SHRINK_STOP; or how it goes about it. */
  scanObjects(control: ShrinkControl): number | ScanSteps | Scan;
}

/** What a shrink or a reclaim came to: pages released, and what stopped it, if anything did. */
export interface Released {
  readonly released: number;
  readonly failure?: unknown;
}

/** The same, and pages looked at. */
export interface Shrunk extends Released {
  readonly scanned: number;
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

  /** Begins a scan: pages freed, or SHRINK_STOP; or what is to be attempted until it is known. */
  scan(control: ShrinkControl): number | Scan {
    try {
      const freed = this.shrinker.scanObjects(control);
      if (typeof freed === "object" && freed !== null) {
        if (isScan(freed)) return freed;
        if (Symbol.iterator in freed) return new Stepped(freed, control.task as Task);
      }
      return wholePages(freed);
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

function isWork(value: object): value is Work {
  return "attempt" in value && typeof value.attempt === "function";
}

function isScan(freed: object): freed is Scan {
  return isWork(freed) && "freed" in freed;
}

/** A scan in steps. */
class Stepped implements Scan {
  readonly #steps: ScanSteps;
  readonly #task: Task;
  /** What it said is to be done first. */
  #first: Work | undefined;
  #freed: unknown;
  /** Whether it stands at a place where it can be stopped. */
  #stops = false;

  constructor(steps: ScanSteps, task: Task) {
    this.#steps = steps;
    this.#task = task;
  }

  get freed(): number {
    return wholePages(this.#freed);
  }

  attempt(): Pending | undefined {
    for (;;) {
      const waits = this.#first?.attempt();
      if (waits) return waits;
      this.#first = undefined;
      const stop = this.#stops ? interruption(this.#task) : undefined;
      const { done, value } = this.#steps.next(stop);
      if (done) {
        this.#freed = value;
        return undefined;
      }
      this.#stops = value === undefined;
      if (value !== undefined) {
        if (typeof value !== "object" || value === null || !isWork(value)) {
          throw new TypeError(`scanObjects may yield undefined, not ${show(value)}`);
        }
        this.#first = value;
      } else {
        const turn = border(this.#task);
        if (turn instanceof Pending) return turn;
      }
    }
  }
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

  /** @internal Begins to ask one after the other until `target` pages are freed (shrink_slab). */
  begin(task: Task, target: number, kswapd: boolean, cluster = 0): Slab {
    return new Slab(this.#shrinkers, this.#done, task, target, kswapd, cluster);
  }

  /** @internal The same at a stretch; the swap device must not be asynchronous. */
  shrinkSync(place: Workplace, target: number, kswapd: boolean): Shrunk {
    const task: Task = { op: "shrink", signal: undefined };
    const slab = this.begin(task, target, kswapd);
    runSync(place, task, slab);
    return slab;
  }
}

/** A walk over the shrinkers: each is asked as long as it frees pages and more are wanted. */
export class Slab implements Work, Shrunk {
  readonly #shrinkers: readonly Registered[];
  readonly #ended: (target: number, released: number) => void;
  readonly #task: Task;
  readonly #target: number;
  readonly #kswapd: boolean;
  readonly #cluster: number;
  #index = 0;
  #control: ShrinkControl;
  /** A scan on its way. */
  #scan: Scan | undefined = undefined;
  released = 0;
  scanned = 0;
  failure: unknown = undefined;

  constructor(
    shrinkers: readonly Registered[],
    ended: (target: number, released: number) => void,
    task: Task,
    target: number,
    kswapd: boolean,
    cluster: number,
  ) {
    this.#shrinkers = shrinkers;
    this.#ended = ended;
    this.#task = task;
    this.#target = target;
    this.#kswapd = kswapd;
    this.#cluster = cluster;
    this.#control = this.#ready();
  }

  attempt(): Pending | undefined {
    for (let each = this.#next(); each; each = this.#next()) {
      const freed = this.#ask(each);
      if (freed instanceof Pending) return freed;
      if (!this.#took(each, freed)) continue;
      const stop = border(this.#task);
      if (stop instanceof Pending) return stop;
      this.#control.failure = stop;
    }
    this.#ended(this.#target, this.released);
    return undefined;
  }

  /** The shrinker to ask now, its `control` made ready; `undefined`: enough is freed, or all were asked. */
  #next(): Registered | undefined {
    if (this.#scan) return this.#shrinkers[this.#index];
    for (; this.#index < this.#shrinkers.length; this.#leave()) {
      const control = this.#control;
      const shrinker = this.#shrinkers[this.#index] as Registered;
      const wanted = this.#target - this.released;
      if (wanted <= 0 || control.failure !== undefined) continue;
      const most = shrinker.count(control);
      if (most === 0) continue;
      control.nrToScan = control.nrScanned = Math.min(most, wanted);
      return shrinker;
    }
    return undefined;
  }

  /** One scan: pages freed, or SHRINK_STOP. */
  #ask(each: Registered): number | Pending {
    const scan = this.#scan ?? each.scan(this.#control);
    if (typeof scan === "number") return scan;
    this.#scan = scan;
    try {
      const waits = scan.attempt();
      if (waits) return waits;
      this.#scan = undefined;
      return scan.freed;
    } catch (error) {
      this.#scan = undefined;
      return each.failed(this.#control, error);
    }
  }

  /** Takes what it freed into account. Says whether it is to be asked again. */
  #took(each: Registered, freed: number): boolean {
    const { nrScanned, failure } = this.#control;
    if (freed !== SHRINK_STOP && nrScanned > 0) this.scanned += nrScanned;
    if (failure !== undefined) each.failed(this.#control, failure);
    if (freed > 0) this.released += freed;
    const enough = this.released >= this.#target;
    if (freed > 0 && !enough && this.#control.failure === undefined) return true;
    this.#leave();
    return false;
  }

  #leave(): void {
    this.failure = this.#control.failure ?? this.failure;
    this.#index++;
    if (this.#index < this.#shrinkers.length) this.#control = this.#ready();
  }

  /** A control of its own for each: they may keep it. */
  #ready(): ShrinkControl {
    return {
      nrToScan: 0,
      nrScanned: 0,
      kswapd: this.#kswapd,
      cluster: this.#cluster,
      failure: undefined,
      task: this.#task,
    };
  }
}
