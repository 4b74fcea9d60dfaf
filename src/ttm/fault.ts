import { show } from "../errors.ts";
import { assertOptions, assertWhole } from "../options.ts";
import { Random } from "../random.ts";

/** Where a fault can be injected. */
export type FaultSite = "alloc" | "map" | "caching" | "slot" | "write" | "read";

/** All sites at which a fault can be injected. */
export const FAULT_SITES: readonly FaultSite[] = [
  "alloc",
  "map",
  "caching",
  "slot",
  "write",
  "read",
];

/** What a fault attribute can be set to; absent fields keep their defaults. */
export interface FaultOptions {
  /** Per cent of calls that fail, 0..100. Default 0: never. */
  readonly probability?: number;
  /** Only every interval-th call can fail, 1 and up. Default 1. */
  readonly interval?: number;
  /** How often to fail in all, -1: without limit. Default 1. */
  readonly times?: number;
  /** Calls that cannot fail before the first that can. Default 0. */
  readonly space?: number;
  /** Of the random numbers; the same seed fails the same calls. Default 1. */
  readonly seed?: number;
}

const FAULT_OPTIONS: readonly (keyof FaultOptions)[] = [
  "probability",
  "interval",
  "times",
  "space",
  "seed",
];

/** When to fail (struct fault_attr, lib/fault-inject.c), with random numbers of its own seed. */
export class FaultAttr {
  #probability = 0;
  #interval = 1;
  #times = 1;
  #space = 0;
  #calls = 0;
  #random = new Random(1);

  /** True when it can fail at all. */
  get on(): boolean {
    return this.#probability > 0 && this.#times !== 0;
  }

  /**
   * Sets when to fail; what is absent goes to its default.
   *
   * @throws TypeError, RangeError for a field that there is not, or out of its range
   */
  set(options: FaultOptions = {}): void {
    assertOptions(options, FAULT_OPTIONS, "fault");
    const { probability = 0, interval = 1, times = 1, space = 0, seed = 1 } = options;
    if (typeof probability !== "number" || !(probability >= 0 && probability <= 100)) {
      const text = `fault probability must be 0 to 100 per cent, not ${show(probability)}`;
      throw typeof probability === "number" ? new RangeError(text) : new TypeError(text);
    }
    assertWhole(interval, "fault interval", 1);
    assertWhole(times, "fault times", -1);
    assertWhole(space, "fault space", 0);
    assertWhole(seed, "fault seed", Number.MIN_SAFE_INTEGER);
    this.#probability = probability;
    this.#interval = interval;
    this.#times = times;
    this.#space = space;
    this.#calls = 0;
    this.#random = new Random(seed);
  }

  /** Whether this call is to fail (should_fail). */
  shouldFail(): boolean {
    if (!this.on) return false;
    if (this.#space > 0) {
      this.#space--;
      return false;
    }
    this.#calls++;
    if (this.#calls % this.#interval !== 0) return false;
    if (this.#random.fraction() * 100 >= this.#probability) return false;
    if (this.#times > 0) this.#times--;
    return true;
  }
}

/** One attribute for each site. All off: `on` is false, and nothing else is looked at. */
export class Faults {
  /** Allocating a chunk. */
  readonly alloc: FaultAttr = new FaultAttr();
  /** Mapping a chunk for DMA. */
  readonly map: FaultAttr = new FaultAttr();
  /** Changing the caching of pages. */
  readonly caching: FaultAttr = new FaultAttr();
  /** Reserving swap slots. */
  readonly slot: FaultAttr = new FaultAttr();
  /** A transfer to swap. */
  readonly write: FaultAttr = new FaultAttr();
  /** A transfer from swap. */
  readonly read: FaultAttr = new FaultAttr();
  #on = false;

  /** @internal */
  constructor() {
    Object.freeze(this);
  }

  /** True when any site can fail. */
  get on(): boolean {
    return this.#on;
  }

  /**
   * Sets when `site` fails.
   *
   * @throws TypeError, RangeError when the site or an option is none
   */
  set(site: FaultSite, options: FaultOptions): void {
    if (!FAULT_SITES.includes(site)) {
      throw new RangeError(
        `fault site must be one of ${FAULT_SITES.join(", ")}, not ${show(site)}`,
      );
    }
    this[site].set(options);
    this.#on = FAULT_SITES.some((each) => this[each].on);
  }
}
