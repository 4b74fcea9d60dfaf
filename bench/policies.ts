/*
 * Models of orders in which pages leave, each as small as it can be: `use` says whether a page was in memory, and
 * brings it in if it was not. Pages are numbers, all of one size. A `Map` is a list here: it keeps its keys in the
 * order in which they were set.
 */

/** An order in which pages leave. */
export interface Policy {
  /** Whether the page was in memory. */
  use(page: number): boolean;
}

type List = Map<number, number>;

/** Takes the first of a list; there must be one. */
function shift(list: List): number {
  const [first] = list.keys();
  list.delete(first as number);
  return first as number;
}

/** Puts a page at the end of a list. */
function touch(list: List, page: number, value = 0): void {
  list.delete(page);
  list.set(page, value);
}

export class LruModel implements Policy {
  readonly #list: List = new Map();
  readonly #frames: number;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    const hit = this.#list.has(page);
    touch(this.#list, page);
    if (this.#list.size > this.#frames) shift(this.#list);
    return hit;
  }
}

/** Second chance: a queue, in which those that were used go round once more. */
export class ClockModel implements Policy {
  readonly #list: List = new Map();
  readonly #frames: number;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    const list = this.#list;
    if (list.has(page)) {
      list.set(page, 1);
      return true;
    }
    while (list.size >= this.#frames) {
      const [[first, used] = [0, 0]] = list;
      list.delete(first);
      if (used) list.set(first, 0);
    }
    list.set(page, 0);
    return false;
  }
}

/** Johnson and Shasha, 1994: a queue of a quarter, ghosts of half as many pages as there are frames, an LRU list. */
export class TwoQModel implements Policy {
  readonly #in: List = new Map();
  readonly #out: List = new Map();
  readonly #main: List = new Map();
  readonly #frames: number;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    if (this.#main.has(page)) {
      touch(this.#main, page);
      return true;
    }
    if (this.#in.has(page)) return true;
    const ghost = this.#out.delete(page);
    if (this.#in.size + this.#main.size >= this.#frames) this.#reclaim();
    if (ghost) this.#main.set(page, 0);
    else this.#in.set(page, 0);
    return false;
  }

  #reclaim(): void {
    if (this.#in.size <= this.#frames / 4 && this.#main.size > 0) {
      shift(this.#main);
      return;
    }
    this.#out.set(shift(this.#in), 0);
    if (this.#out.size > this.#frames / 2) shift(this.#out);
  }
}

/** Yang et al., 2023: a small queue of a tenth, a main one with up to three more rounds, and ghosts. */
export class S3FifoModel implements Policy {
  readonly #small: List = new Map();
  readonly #main: List = new Map();
  readonly #ghosts: List = new Map();
  readonly #frames: number;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    for (const list of [this.#small, this.#main]) {
      const uses = list.get(page);
      if (uses === undefined) continue;
      list.set(page, Math.min(uses + 1, 3));
      return true;
    }
    while (this.#small.size + this.#main.size >= this.#frames) this.#reclaim();
    if (this.#ghosts.delete(page)) this.#main.set(page, 0);
    else this.#small.set(page, 0);
    return false;
  }

  #reclaim(): void {
    const small = this.#small.size >= this.#frames / 10 || this.#main.size === 0;
    const list = small ? this.#small : this.#main;
    const [[page, uses] = [0, 0]] = list;
    list.delete(page);
    if (!small) {
      if (uses > 0) this.#main.set(page, uses - 1);
    } else if (uses > 1) this.#main.set(page, 0);
    else {
      this.#ghosts.set(page, 0);
      if (this.#ghosts.size > this.#frames * 0.9) shift(this.#ghosts);
    }
  }
}

/** Megiddo and Modha, 2003. */
export class ArcModel implements Policy {
  readonly #once: List = new Map();
  readonly #often: List = new Map();
  readonly #onceGhosts: List = new Map();
  readonly #oftenGhosts: List = new Map();
  readonly #frames: number;
  #share = 0;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    const hit = this.#once.delete(page) || this.#often.delete(page);
    if (!hit) this.#fault(page);
    else this.#often.set(page, 0);
    return hit;
  }

  #fault(page: number): void {
    const [b1, b2] = [this.#onceGhosts, this.#oftenGhosts];
    const frames = this.#frames;
    if (b1.has(page)) {
      this.#share = Math.min(frames, this.#share + Math.max(1, b2.size / b1.size));
      this.#replace(false);
      b1.delete(page);
      this.#often.set(page, 0);
    } else if (b2.has(page)) {
      this.#share = Math.max(0, this.#share - Math.max(1, b1.size / b2.size));
      this.#replace(true);
      b2.delete(page);
      this.#often.set(page, 0);
    } else this.#first(page);
  }

  #first(page: number): void {
    const [b1, b2, frames] = [this.#onceGhosts, this.#oftenGhosts, this.#frames];
    const recent = this.#once.size + b1.size;
    const all = recent + this.#often.size + b2.size;
    if (recent >= frames) {
      if (this.#once.size < frames) {
        shift(b1);
        this.#replace(false);
      } else shift(this.#once);
    } else if (all >= frames) {
      if (all >= 2 * frames) shift(b2);
      this.#replace(false);
    }
    this.#once.set(page, 0);
  }

  #replace(often: boolean): void {
    const { size } = this.#once;
    if (size + this.#often.size < this.#frames) return;
    if (size > 0 && (size > this.#share || (often && size === this.#share))) {
      this.#onceGhosts.set(shift(this.#once), 0);
    } else this.#oftenGhosts.set(shift(this.#often), 0);
  }
}

/** Linux, as of 5.9 for a small memory: two lists of the same length, and a distance noted on what leaves. */
export class KernelModel implements Policy {
  readonly #inactive: List = new Map();
  readonly #active: List = new Map();
  readonly #shadows: List = new Map();
  readonly #frames: number;
  #age = 0;

  constructor(frames: number) {
    this.#frames = frames;
  }

  use(page: number): boolean {
    if (this.#active.has(page)) {
      touch(this.#active, page);
      return true;
    }
    const hit = this.#inactive.delete(page);
    const left = this.#shadows.get(page);
    const near = left !== undefined && this.#age - left <= this.#active.size;
    this.#shadows.delete(page);
    if (hit || near) this.#age++;
    (hit || near ? this.#active : this.#inactive).set(page, 0);
    while (this.#active.size > this.#inactive.size + 1) this.#inactive.set(shift(this.#active), 0);
    if (this.#inactive.size + this.#active.size > this.#frames) {
      this.#shadows.set(shift(this.#inactive), this.#age++);
    }
    return hit;
  }
}

/** Jiang and Zhang, 2002. Its stack is a number: what was used after the last of the hot ones was, is in it. */
export class LirsModel implements Policy {
  readonly #hot: List = new Map();
  readonly #cold: List = new Map();
  readonly #usedAt = new Map<number, number>();
  readonly #coldFrames: number;
  readonly #frames: number;
  #now = 0;

  constructor(frames: number) {
    this.#frames = frames;
    this.#coldFrames = Math.max(2, Math.ceil(frames / 100));
  }

  use(page: number): boolean {
    const now = ++this.#now;
    const before = this.#usedAt.get(page) ?? 0;
    this.#usedAt.set(page, now);
    if (this.#hot.has(page)) {
      touch(this.#hot, page, now);
      return true;
    }
    const hit = this.#cold.delete(page);
    const hotFrames = this.#frames - this.#coldFrames;
    const [[, oldest] = [0, 0]] = this.#hot;
    if (this.#hot.size < hotFrames || before > oldest) {
      this.#hot.set(page, now);
      if (this.#hot.size > hotFrames) this.#cold.set(shift(this.#hot), 0);
    } else this.#cold.set(page, 0);
    if (this.#hot.size + this.#cold.size > this.#frames) shift(this.#cold);
    return hit;
  }
}

/**
 * What src/resource.ts does: LIRS with a third of the frames for what is cold, a clock that counts pages that come in,
 * and uses that are one while no more have come in than a thirty-second of the frames. `share`: hot ones for a cold
 * one; `parts`: what that thirty-second is. With no more than eight cold ones none becomes hot.
 */
export class OursModel implements Policy {
  readonly #hot: List = new Map();
  readonly #cold: List = new Map();
  readonly #usedAt = new Map<number, number>();
  readonly #frames: number;
  readonly #share: number;
  readonly #parts: number;
  #entered = 0;

  constructor(frames: number, share = 2, parts = 32) {
    this.#frames = frames;
    this.#share = share;
    this.#parts = parts;
  }

  use(page: number): boolean {
    const [hot, cold, usedAt] = [this.#hot, this.#cold, this.#usedAt];
    const hit = hot.has(page) || cold.has(page);
    if (!hit && hot.size + cold.size >= this.#frames) {
      shift(cold.size > 0 ? cold : hot);
      if (hot.size > this.#room()) cold.set(shift(hot), 0);
    }
    if (hot.has(page)) {
      usedAt.set(page, this.#entered);
      touch(hot, page);
      return true;
    }
    const heated = this.#heats(page);
    if (!hit) this.#entered++;
    if (!usedAt.has(page)) usedAt.set(page, this.#entered);
    cold.delete(page);
    (heated ? hot : cold).set(page, 0);
    for (let i = 0; heated && i < 2 && hot.size > this.#room(); i++) cold.set(shift(hot), 0);
    return hit;
  }

  #room(): number {
    const share = this.#share;
    if (this.#cold.size < 8) return 0;
    return Math.max((this.#frames * share) / (share + 1), this.#cold.size * share);
  }

  #heats(page: number): boolean {
    const before = this.#usedAt.get(page);
    if (before === undefined) return false;
    const { size } = this.#hot;
    if ((this.#entered - before) * this.#parts <= size + this.#cold.size) return false;
    this.#usedAt.set(page, this.#entered);
    const [oldest = page] = this.#hot.keys();
    const fits = this.#cold.size > 8 && size + 1 <= this.#room();
    return fits || before > (this.#usedAt.get(oldest) as number);
  }
}

/** Numbers, of which the largest can be taken. */
class Heap {
  readonly #values: number[] = [];

  push(value: number): void {
    const values = this.#values;
    let i = values.push(value) - 1;
    for (; i > 0; i = (i - 1) >> 1) {
      const above = values[(i - 1) >> 1] as number;
      if (above >= value) break;
      values[i] = above;
    }
    values[i] = value;
  }

  pop(): number {
    const values = this.#values;
    const top = values[0] as number;
    const last = values.pop() as number;
    let i = 0;
    for (let child = 1; child < values.length; child = 2 * i + 1) {
      if ((values[child + 1] ?? -1) > (values[child] as number)) child++;
      if ((values[child] as number) <= last) break;
      values[i] = values[child] as number;
      i = child;
    }
    if (values.length > 0) values[i] = last;
    return top;
  }
}

/** Misses of the one whose next use is the furthest leaving first (Belady, 1966). It knows the future. */
export function optimalMisses(uses: Int32Array, frames: number): number {
  const next = new Int32Array(uses.length);
  const seen = new Map<number, number>();
  for (let i = uses.length - 1; i >= 0; i--) {
    const page = uses[i] as number;
    // A number for each that is never used again, which no other has.
    next[i] = seen.get(page) ?? uses.length + i;
    seen.set(page, i);
  }
  // The next uses of what is in memory, and some that have passed.
  const heap = new Heap();
  const pageOf = (at: number) => uses[at < uses.length ? at : at - uses.length] as number;
  const inMemory = new Map<number, number>();
  let misses = 0;
  uses.forEach((page, i) => {
    if (!inMemory.has(page)) {
      misses++;
      while (inMemory.size >= frames) {
        const at = heap.pop();
        if (inMemory.get(pageOf(at)) === at) inMemory.delete(pageOf(at));
      }
    }
    inMemory.set(page, next[i] as number);
    heap.push(next[i] as number);
  });
  return misses;
}
