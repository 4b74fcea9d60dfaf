import { afterTurn } from "./host.ts";
import { Tasks } from "./tasks.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import type { Shrunk } from "./ttm/shrinker.ts";
import type { AsyncTask } from "./ttm/task.ts";
import { run } from "./ttm/work.ts";

/** Pages of one step of the background loop: short enough not to be noticed. */
const STEP_PAGES = 128;

/** After so many fruitless runs in a row the waits between them grow no more. */
const FAILURES_MAX = 10;

/**
 * The background loop of a memory (mm/vmscan.c, kswapd): woken when fewer than `low` pages are free, it
 * reclaims until `high` are, and lets the event loop turn after every step. When it finds nothing it backs off:
 * of those who wake it then, only the second is heard, then the fourth of the next, and so on.
 */
export class Kswapd {
  readonly #global: TtmGlobal;
  /** Its steps, which are no device's own: whoever closes the last device ends them. */
  readonly #tasks: Tasks;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** Runs in a row that freed nothing, and calls not to be heard before the next (kswapd_failures). */
  #failures = 0;
  #deaf = 0;

  constructor(global: TtmGlobal) {
    this.#global = global;
    this.#tasks = new Tasks(global, undefined);
  }

  /** True while it reclaims. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /** Starts it if memory is low. For those who took memory. */
  wake(): void {
    const { engine, watermarks } = this.#global;
    if (this.#stopped || this.#running || engine.freePages >= watermarks.low) return;
    if (this.#deaf > 0) {
      this.#deaf--;
      return;
    }
    // What stops it is told to whoever needs memory next; here nobody could hear it.
    const ended = () => {
      this.#running = undefined;
    };
    this.#running = this.#loop().then(ended, ended);
  }

  /** Ends it; resolves when it has come to rest. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { engine, watermarks, admission } = this.#global;
    await turn();
    let freed = 0;
    try {
      while (!this.#stopped && engine.freePages < watermarks.high && !admission.exclusive) {
        const wanted = Math.min(watermarks.high - engine.freePages, STEP_PAGES);
        const { released } = await this.#shrink(wanted);
        freed += released;
        if (released === 0) break;
        await turn();
      }
    } finally {
      this.#failures = freed > 0 ? 0 : Math.min(this.#failures + 1, FAILURES_MAX);
      this.#deaf = freed > 0 ? 0 : 2 ** this.#failures;
    }
  }

  /**
   * One step. A synchronous device is done with it at a stretch, so that nobody finds its buffers locked.
   * What stops it will be told to whoever needs memory next.
   */
  async #shrink(wanted: number): Promise<Shrunk> {
    const global = this.#global;
    if (!global.store.async) return global.shrinkers.shrinkSync(global, wanted, true);
    const { admission, shrinkers } = global;
    let shrunk: Shrunk = { released: 0, scanned: 0 };
    const step = (task: AsyncTask) =>
      admission.giveUp(task, async () => {
        const slab = shrinkers.begin(task, wanted, true);
        await run(task, slab);
        shrunk = slab;
      });
    await this.#tasks.start("shrink", undefined, () => this.#stopped, step);
    return shrunk;
  }
}

function turn(): Promise<void> {
  return new Promise(afterTurn);
}
