import type { Kswapd } from "./kswapd.ts";
import type { Reclaim } from "./reclaim.ts";
import { Tasks } from "./tasks.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import { Pool, type PoolOptions } from "./ttm/pool.ts";

/** What the devices on one memory share. */
export interface Memory {
  readonly global: TtmGlobal;
  readonly reclaimer: Reclaim;
  readonly kswapd: Kswapd;
}

/**
 * A device as its buffers see it (struct ttm_device, bdev): its pool, what it shares with others on its memory, its
 * operations, and whether it is open.
 */
export class Bdev {
  readonly pool: Pool;
  readonly global: TtmGlobal;
  readonly reclaimer: Reclaim;
  readonly kswapd: Kswapd;
  readonly tasks: Tasks;
  #closed = false;

  constructor({ global, reclaimer, kswapd }: Memory, options: PoolOptions) {
    this.pool = new Pool(global, options);
    this.global = global;
    this.reclaimer = reclaimer;
    this.kswapd = kswapd;
    this.tasks = new Tasks(global, this);
    Object.freeze(this);
  }

  /** Whether it is closed, or being closed: nothing new is begun then. */
  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
  }

  /** @throws TypeError when it is closed; TtmError EFAULT when its memory is poisoned */
  assertOpen(): void {
    if (this.#closed) throw new TypeError("this device is closed");
    this.global.assertSound("populate");
  }
}
