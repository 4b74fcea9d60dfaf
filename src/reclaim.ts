import type { BufferObject } from "./buffer_object.ts";
import { Lru } from "./lru.ts";
import type { Pool } from "./ttm/pool.ts";
import { type Released, shrink } from "./ttm/shrink.ts";
import type { Steps } from "./ttm/transfer.ts";

/** Priorities of buffers, the lowest reclaimed first (TTM_MAX_BO_PRIORITY). */
export const PRIORITIES = 4;

/** Pages reclaimed at a stretch even for a smaller need, so that small buffers leave together. */
const CLUSTER_PAGES = 32;

/**
 * Which buffers give their pages up, and in which order: purgeable ones first, without I/O, then the
 * least recently used of the lowest priority. A buffer stands in a list while it holds pages and is
 * not pinned; it moves only when it was used or when pages of it really moved. Locks are only tried.
 */
export class Reclaim {
  readonly #pool: Pool;
  readonly #purgeable = new Lru();
  readonly #priorities = Array.from({ length: PRIORITIES }, () => new Lru());

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Puts a buffer that was just used where it belongs, at the most recently used end. */
  used(bo: BufferObject): void {
    const list = this.#listOf(bo);
    if (list) list.touch(bo);
    else bo.lru?.remove(bo);
  }

  /** Takes a buffer out that no longer belongs where it is; else leaves it in its place. */
  settle(bo: BufferObject): void {
    if (bo.lru !== this.#listOf(bo)) this.used(bo);
  }

  #listOf(bo: BufferObject): Lru | undefined {
    if (bo.tt.resident === 0 || bo.pinned) return undefined;
    return bo.tt.purgeable ? this.#purgeable : this.#priorities[bo.priority];
  }

  /**
   * Releases about `pages` pages, at least a cluster if they can be had. Ends early when nothing is
   * left to take or a transfer fails; says which.
   */
  *reclaim(pages: number): Steps<Released> {
    let released = this.#purge(pages);
    const target = Math.max(pages, CLUSTER_PAGES);
    while (released < pages) {
      const victims = this.#victims(target - released);
      if (victims.length === 0) break;
      const tts = victims.map((bo) => bo.tt);
      let result: Released;
      try {
        result = yield* shrink(this.#pool, tts, target - released);
      } finally {
        for (const bo of victims) {
          this.settle(bo);
          bo.unlock();
        }
      }
      released += result.released;
      if (result.failure) return { released, failure: result.failure };
      if (result.released === 0) break;
    }
    return { released };
  }

  /** Throws away purgeable buffers until `pages` pages are free. Returns pages released. */
  #purge(pages: number): number {
    let released = 0;
    let bo = this.#purgeable.first as BufferObject | undefined;
    while (bo && released < pages) {
      const next = bo.lruNext as BufferObject | undefined;
      if (bo.lock.tryLock()) {
        released += this.#pool.purge(bo.tt);
        this.settle(bo);
        bo.unlock();
      }
      bo = next;
    }
    return released;
  }

  /** The next buffers that together hold `pages` pages, locked. */
  #victims(pages: number): BufferObject[] {
    const victims: BufferObject[] = [];
    let found = 0;
    for (const list of this.#priorities) {
      for (let bo = list.first; bo && found < pages; bo = bo.lruNext) {
        const victim = bo as BufferObject;
        if (!victim.lock.tryLock()) continue;
        victims.push(victim);
        found += victim.tt.resident;
      }
    }
    return victims;
  }
}
