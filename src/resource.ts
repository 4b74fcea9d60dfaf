/*
 * Where buffers stand that have content, and in which order they would leave (ttm_resource_manager, ttm_lru):
 * purgeable ones first, then those of the lowest priority; of one priority the cold ones, which were used once, then
 * the hot ones, which were used again; of each the least recently used one first. Those that cannot leave stand aside.
 *
 * Which are hot is decided as by LIRS (Jiang and Zhang, 2002): one that is used again is if it was used since the
 * least recently used of the hot ones was, which becomes cold for it. That is asked of a number that stays on what
 * has left, so there are no lists of ghosts. A pass over more than the memory holds uses each once, and pushes out
 * what is cold; of a loop over more than it holds a part stays. Uses close together are one: else a buffer that is
 * read in small steps would be used again at the second.
 */
import { Lru, type LruNode } from "./lru.ts";

/** Priorities, the lowest leaves first (TTM_MAX_BO_PRIORITY). */
export const PRIORITIES = 4;

/** Places beside the lists of the priorities, which are 0 to `PRIORITIES` - 1. */
export const PURGEABLE: number = PRIORITIES;
export const UNEVICTABLE: number = PRIORITIES + 1;
/** Where those are of which nothing is in memory: all of it has left, or there is nothing. */
export const OUT: number = PRIORITIES + 2;
export const NOWHERE: number = PRIORITIES + 3;

/**
 * Pages of hot ones for each page of cold ones, at most, unless even so they are fewer than that part of the memory.
 * bench/policies has what comes of more, and of less.
 */
const HOT_SHARE = 2;

/**
 * Cold ones that there are if there are hot ones (a count). Of a few large ones what was brought in last would else be
 * the only cold one, and leave before those have used it that wait for it.
 */
const COLD_MIN = 8;

/** Uses are one while others have come in that are no more than this part of all. */
const CLOSE_PARTS = 32;

/** What stands in the lists. */
export interface Resource extends LruNode {
  /** Whether its pages stay where they are. */
  readonly pinned: boolean;
  /** The next in the chain of those whose pins ended: null at its end, undefined while it is in none. */
  nextLoose: Resource | null | undefined;
  /** How many had come in when it was last used, uses close together being one; 0 at first. */
  usedAt: number;
  /** Whether it stands among the hot ones of its priority, or would but for its pins; false at first. */
  hot: boolean;
  /** Where it belongs: a priority, or one of the other places. */
  placeOf(pinned: boolean): number;
}

/** Resources whose pins ended since the lists were looked at, the last one first. */
export interface Loose {
  first: Resource | null;
}

/**
 * The lists of one memory. A resource moves only when it was used, or when pages of it really moved. One that
 * is unpinned puts itself in the chain `loose`: whoever looks at the lists next puts it where it belongs.
 */
export class ResourceManager<T extends Resource = Resource> {
  readonly loose: Loose = { first: null };
  /** Pages of hot ones of a priority that there is always room for. */
  readonly #hotPages: number;
  /** By place; of a priority the cold ones. */
  readonly #lists = Array.from({ length: NOWHERE + 1 }, (_, place) =>
    place === NOWHERE ? undefined : new Lru<Resource>(),
  );
  /** By priority. */
  readonly #hot = Array.from({ length: PRIORITIES }, () => new Lru<Resource>());
  readonly #purgeable = this.#lists[PURGEABLE] as Lru<Resource>;
  readonly #out = this.#lists[OUT] as Lru<Resource>;
  readonly #shrinkable = this.#hot.flatMap((hot, i) => [this.#lists[i] as Lru<Resource>, hot]);
  /** Resources that came in so far: the clock of `usedAt`. */
  #entered = 0;

  /** `pages`: those of the memory. */
  constructor(pages: number) {
    this.#hotPages = (pages * HOT_SHARE) / (HOT_SHARE + 1);
  }

  /** Puts those where they belong whose pins ended: they count as used then, for as long as they were pinned. */
  collect(): void {
    const { loose } = this;
    if (!loose.first) return;
    let oldest: Resource | null = null;
    for (let each: Resource | null = loose.first; each; ) {
      const next: Resource | null = each.nextLoose ?? null;
      each.nextLoose = oldest;
      oldest = each;
      each = next;
    }
    loose.first = oldest;
    for (let each = oldest; each; each = loose.first) {
      each.usedAt = this.#entered;
      this.settle(each, each.pinned, true);
      loose.first = each.nextLoose ?? null;
      each.nextLoose = undefined;
    }
  }

  /** Those that can be purged. */
  get purgeable(): Lru<T> {
    this.collect();
    return this.#purgeable as Lru<Resource> as Lru<T>;
  }

  /** Those that can be shrunk, in lists that leave one after the other. */
  get shrinkable(): readonly Lru<T>[] {
    this.collect();
    return this.#shrinkable as Lru<Resource>[] as Lru<T>[];
  }

  /** Puts one that was just used where it belongs, at the most recently used end. */
  used(resource: Resource): void {
    if (this.loose.first) this.collect();
    const { lru } = resource;
    // Nothing came in since it was used last: this is the same use. What changed otherwise was settled.
    if (resource.usedAt === this.#entered && lru && lru !== this.#out) lru.touch(resource);
    else this.#usedAnew(resource, resource.pinned);
  }

  /** The same of one that is used by being pinned, and is not yet. */
  held(resource: Resource): void {
    if (this.loose.first) this.collect();
    if (resource.usedAt === this.#entered) this.#put(resource, resource.placeOf(true));
    else this.#usedAnew(resource, true);
  }

  /** The same of one that was brought in, and is hot only if it was already: it is not used yet. */
  fetched(resource: Resource): void {
    if (this.loose.first) this.collect();
    this.#put(resource, resource.placeOf(resource.pinned));
  }

  /** Puts one that will not be used again soon where it leaves first of its priority. */
  done(resource: Resource): void {
    resource.hot = false;
    this.#put(resource, resource.placeOf(resource.pinned));
    resource.lru?.age(resource);
  }

  /** Takes one elsewhere that no longer belongs where it is; else leaves it in its place. */
  settle(resource: Resource, pinned: boolean = resource.pinned, collected = false): void {
    if (!collected) this.collect();
    const place = resource.placeOf(pinned);
    const list = this.#list(resource, place);
    if (resource.lru !== list) this.#move(resource, place, list);
  }

  #list(resource: Resource, place: number): Lru<Resource> | undefined {
    return resource.hot && place < PRIORITIES ? this.#hot[place] : this.#lists[place];
  }

  #put(resource: Resource, place: number): void {
    const list = this.#list(resource, place);
    if (list && list === resource.lru) list.touch(resource);
    else this.#move(resource, place, list);
  }

  /** From one list to another, if there is one for it. */
  #move(resource: Resource, place: number, list: Lru<Resource> | undefined): void {
    const { lru } = resource;
    // What left has to show anew that it is worth to stay.
    if (place >= OUT) resource.hot = false;
    else if (!lru || lru === this.#out) {
      this.#entered++;
      // What had no content was not used before, whatever became of its last one.
      if (!lru) resource.usedAt = this.#entered;
    }
    if (list) list.touch(resource);
    else lru?.remove(resource);
    // A cold one left: among too few the next would be one that was just brought in.
    if (lru && place >= OUT) this.#cool(this.#lists.indexOf(lru as Lru<Resource>), 1);
  }

  #usedAnew(resource: Resource, pinned: boolean): void {
    const place = resource.placeOf(false);
    const heated = resource.lru !== undefined && this.#heats(resource, place);
    this.#put(resource, pinned ? resource.placeOf(true) : place);
    if (heated) this.#cool(place, HOT_SHARE * resource.pages);
  }

  /** Notes a use of one that was used before. Returns whether it becomes hot by it. */
  #heats(resource: Resource, place: number): boolean {
    const [hot, cold] = [this.#hot[place], this.#lists[place]];
    if (!hot || !cold) return false;
    const { usedAt } = resource;
    const now = this.#entered;
    if (!resource.hot && (now - usedAt) * CLOSE_PARTS <= hot.size + cold.size) return false;
    resource.usedAt = now;
    if (resource.hot) return false;
    const fits = cold.size > COLD_MIN && hot.pages + resource.pages <= this.#room(cold);
    resource.hot = fits || usedAt > (hot.first?.usedAt ?? now);
    return resource.hot;
  }

  /** Pages of hot ones beside these cold ones. */
  #room(cold: Lru<Resource>): number {
    if (cold.size < COLD_MIN) return 0;
    return Math.max(this.#hotPages, HOT_SHARE * cold.pages);
  }

  /** Makes the least recently used of the hot ones cold that are too many: `pages` of them at a time, or little more. */
  #cool(priority: number, pages: number): void {
    const [hot, cold] = [this.#hot[priority], this.#lists[priority]];
    if (!hot || !cold) return;
    for (let left = pages; left > 0 && hot.pages > this.#room(cold); ) {
      const first = hot.first;
      if (!first) return;
      first.hot = false;
      cold.touch(first);
      left -= first.pages;
    }
  }

  /** Those that can be purged, shrunk, and neither (counts). */
  get counts(): { purgeable: number; shrinkable: number; unevictable: number } {
    const shrinkable = this.shrinkable.reduce((sum, { size }) => sum + size, 0);
    const aside = this.#lists[UNEVICTABLE] as Lru<Resource>;
    return {
      purgeable: this.#purgeable.size,
      shrinkable,
      unevictable: aside.size + this.#out.size,
    };
  }

  /** Whether any could give pages up. */
  get some(): boolean {
    return this.purgeable.size > 0 || this.#shrinkable.some(({ size }) => size > 0);
  }

  /** Those that can leave, in the order in which they would. They may move while one looks at them. */
  *walk(): Generator<T, void> {
    for (const list of [this.purgeable, ...this.shrinkable]) yield* list.walk();
  }

  /** All, in the order in which they would leave. */
  all(): T[] {
    const aside = [this.#lists[UNEVICTABLE], this.#out] as Lru<Resource>[] as Lru<T>[];
    return [...this.walk(), ...aside.flatMap((list) => [...list.walk()])];
  }
}
