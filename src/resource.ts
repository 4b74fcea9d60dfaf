/*
 * Where buffers stand that have content, and in which order they would leave (ttm_resource_manager, ttm_lru):
 * purgeable ones first, then those of the lowest priority, the least recently used one first; those that
 * cannot leave stand aside.
 */
import { Lru, type LruNode } from "./lru.ts";

/** Priorities, the lowest leaves first (TTM_MAX_BO_PRIORITY). */
export const PRIORITIES = 4;

/** Places beside the lists of the priorities, which are 0 to `PRIORITIES` - 1. */
export const PURGEABLE: number = PRIORITIES;
export const UNEVICTABLE: number = PRIORITIES + 1;
export const NOWHERE = -1;

/** The order in which they are looked at. */
const ORDER: readonly number[] = [PURGEABLE, ...Array.from({ length: PRIORITIES }, (_, i) => i)];

/** What stands in the lists. */
export interface Resource extends LruNode {
  /** Whether its pages stay where they are. */
  readonly pinned: boolean;
  /** The next in the chain of those whose pins ended: null at its end, undefined while it is in none. */
  nextLoose: Resource | null | undefined;
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
  readonly #lists = Array.from({ length: PRIORITIES + 2 }, () => new Lru<Resource>());

  /** Puts those where they belong whose pins ended: they count as used then. */
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
      this.settle(each, each.pinned, true);
      loose.first = each.nextLoose ?? null;
      each.nextLoose = undefined;
    }
  }

  /** The list of a place. */
  list(place: number): Lru<T> {
    this.collect();
    return this.#lists[place] as Lru<Resource> as Lru<T>;
  }

  /** Puts one that was just used, or is to be pinned, where it belongs, at the most recently used end. */
  used(resource: Resource, pinned: boolean = resource.pinned): void {
    this.collect();
    this.#put(resource, this.#lists[resource.placeOf(pinned)]);
  }

  /** Takes one elsewhere that no longer belongs where it is; else leaves it in its place. */
  settle(resource: Resource, pinned: boolean = resource.pinned, collected = false): void {
    if (!collected) this.collect();
    const list = this.#lists[resource.placeOf(pinned)];
    if (resource.lru !== list) this.#put(resource, list);
  }

  #put(resource: Resource, list: Lru<Resource> | undefined): void {
    if (list) list.touch(resource);
    else resource.lru?.remove(resource);
  }

  /** Those that can be purged, shrunk, and neither (counts). */
  get counts(): { purgeable: number; shrinkable: number; unevictable: number } {
    this.collect();
    const sizes = this.#lists.map(({ size }) => size);
    const shrinkable = sizes.slice(0, PRIORITIES).reduce((sum, size) => sum + size, 0);
    const [purgeable = 0, unevictable = 0] = sizes.slice(PRIORITIES);
    return { purgeable, shrinkable, unevictable };
  }

  /** Whether any could give pages up. */
  get some(): boolean {
    this.collect();
    return ORDER.some((place) => (this.#lists[place] as Lru<Resource>).size > 0);
  }

  /** Those that can leave, in the order in which they would. They may move while one looks at them. */
  *walk(): Generator<T, void> {
    for (const place of ORDER) yield* this.list(place).walk();
  }

  /** All, in the order in which they would leave. */
  all(): T[] {
    return [...this.walk(), ...this.list(UNEVICTABLE).walk()];
  }
}
