import type { Operations } from "./operations.ts";
import { isRam } from "./swap/types.ts";
import { run, runSync } from "./ttm/driver.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import type { Shrunk } from "./ttm/shrinker.ts";

/** Pages of one step of the background loop: short enough not to be noticed. */
const STEP_PAGES = 128;

/**
 * The background loop (mm/vmscan.c, kswapd): woken when fewer than `low` pages are free, it reclaims
 * until `high` are, and lets the event loop turn after every step.
 */
export class Kswapd {
  readonly #global: TtmGlobal;
  readonly #operations: Operations;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(global: TtmGlobal, operations: Operations) {
    this.#global = global;
    this.#operations = operations;
  }

  /** True while it reclaims. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /** Starts it if memory is low. */
  wake(): void {
    const { engine, watermarks } = this.#global;
    if (this.#stopped || this.#running || engine.freePages >= watermarks.low) return;
    // What stops it is told to whoever needs memory next; here nobody could hear it.
    const ended = () => {
      this.#running = undefined;
    };
    this.#running = this.#loop().then(ended, ended);
  }

  /** Lets it work again after `stop()`. */
  restart(): void {
    this.#stopped = false;
    this.wake();
  }

  /** Ends it; resolves when it has come to rest. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { engine, watermarks } = this.#global;
    await turn();
    while (!this.#stopped && engine.freePages < watermarks.high) {
      const wanted = Math.min(watermarks.high - engine.freePages, STEP_PAGES);
      const { released } = await this.#shrink(wanted);
      if (released === 0) break;
      await turn();
    }
  }

  /**
   * One step. A synchronous device is done with it at a stretch, so that nobody finds its buffers locked.
   * What stops it will be told to whoever needs memory next.
   */
  #shrink(wanted: number): Promise<Shrunk> {
    const { shrinkers, swap } = this.#global;
    const steps = shrinkers.shrink(wanted, true);
    const drive = isRam(swap) || !swap.async ? runSync : run;
    return this.#operations.background(async () =>
      drive(this.#global, { op: "shrink", signal: undefined }, steps),
    );
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}
