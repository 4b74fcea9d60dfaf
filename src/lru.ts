/** What can stand in an LRU list: the list lives in these fields. */
export interface LruNode {
  lruPrev: LruNode | undefined;
  lruNext: LruNode | undefined;
  /** The list it stands in, if it stands in one. */
  lru: Lru | undefined;
}

/** One list, least recently used first; every operation is O(1). */
export class Lru {
  #first: LruNode | undefined;
  #last: LruNode | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): LruNode | undefined {
    return this.#first;
  }

  /** Puts `node` at the most recently used end, taking it out of the list it was in. */
  touch(node: LruNode): void {
    if (this.#last === node) return;
    node.lru?.remove(node);
    node.lru = this;
    node.lruPrev = this.#last;
    if (this.#last) this.#last.lruNext = node;
    else this.#first = node;
    this.#last = node;
    this.#size++;
  }

  remove(node: LruNode): void {
    if (node.lru !== this) return;
    const { lruPrev: prev, lruNext: next } = node;
    if (prev) prev.lruNext = next;
    else this.#first = next;
    if (next) next.lruPrev = prev;
    else this.#last = prev;
    node.lru = undefined;
    node.lruPrev = undefined;
    node.lruNext = undefined;
    this.#size--;
  }
}
