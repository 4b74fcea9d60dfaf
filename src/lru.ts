/** What can stand in an LRU list: the list lives in these fields. */
export interface LruNode {
  /** Its weight, which does not change (pages). */
  readonly pages: number;
  lruPrev: LruNode | undefined;
  lruNext: LruNode | undefined;
  /** The list it stands in, if it stands in one. */
  lru: Lru<LruNode> | undefined;
}

/** A place in a list that belongs to a walk, not a member. */
class Hitch implements LruNode {
  readonly pages = 0;
  lruPrev: LruNode | undefined = undefined;
  lruNext: LruNode | undefined = undefined;
  lru: Lru<LruNode> | undefined = undefined;
}

/** One list, least recently used first; every operation is O(1). */
export class Lru<T extends LruNode> {
  #first: LruNode | undefined;
  #last: LruNode | undefined;
  #size = 0;
  #pages = 0;

  /** Members (a count). */
  get size(): number {
    return this.#size;
  }

  /** What its members weigh together (pages). */
  get pages(): number {
    return this.#pages;
  }

  /** The least recently used member. */
  get first(): T | undefined {
    return this.#member(this.#first);
  }

  /** The member that comes after `node`; for loops in which the list does not change. */
  after(node: T): T | undefined {
    return this.#member(node.lruNext);
  }

  /** `node`, or the next after it that is no hitch. */
  #member(node: LruNode | undefined): T | undefined {
    let member = node;
    while (member instanceof Hitch) member = member.lruNext;
    return member as T | undefined;
  }

  /**
   * Puts `node` at the most recently used end, taking it out of the list it was in. Once anything has changed no
   * other function is called: a stack that is full cannot stop it half-way.
   */
  touch(node: T): void {
    const last = this.#last;
    if (last === node) return;
    if ((node.lru as unknown) !== this || !last) {
      this.#take(node, node.lru as Lru<T> | undefined, node.pages);
      return;
    }
    const { lruPrev: prev, lruNext: next } = node;
    if (prev) prev.lruNext = next;
    else this.#first = next;
    if (next) next.lruPrev = prev;
    last.lruNext = node;
    node.lruPrev = last;
    node.lruNext = undefined;
    this.#last = node;
  }

  /** Takes `node` out of `from`, another list, and puts it at the end of this one. */
  #take(node: T, from: Lru<T> | undefined, pages: number): void {
    if (from) {
      const { lruPrev: prev, lruNext: next } = node;
      if (prev) prev.lruNext = next;
      else from.#first = next;
      if (next) next.lruPrev = prev;
      else from.#last = prev;
      from.#size--;
      from.#pages -= pages;
    }
    const last = this.#last;
    if (last) last.lruNext = node;
    else this.#first = node;
    node.lruPrev = last;
    node.lruNext = undefined;
    node.lru = this as unknown as Lru<LruNode>;
    this.#last = node;
    this.#size++;
    this.#pages += pages;
  }

  /** Puts a member at the least recently used end. */
  age(node: T): void {
    if ((node.lru as unknown) !== this) return;
    this.#unlink(node);
    this.#insert(node, undefined);
  }

  remove(node: T): void {
    if ((node.lru as unknown) !== this) return;
    this.#unlink(node);
    this.#size--;
    this.#pages -= node.pages;
  }

  /**
   * The members from the least recently used on, once each (ttm_lru_bulk_move, ttm_resource_cursor).
   * The list may change in any way between two of them: a hitch keeps the place, another one the end,
   * so that members which are used meanwhile are not seen again and the walk ends.
   */
  *walk(): Generator<T, void, void> {
    if (this.#size === 0) return;
    const end = new Hitch();
    const here = new Hitch();
    this.#insert(end, this.#last);
    this.#insert(here, undefined);
    try {
      while (here.lruNext && here.lruNext !== end) {
        const node = here.lruNext;
        this.#unlink(here);
        this.#insert(here, node);
        if (!(node instanceof Hitch)) yield node as T;
      }
    } finally {
      this.#unlink(here);
      this.#unlink(end);
    }
  }

  /** Puts `node` behind `prev`, or first. */
  #insert(node: LruNode, prev: LruNode | undefined): void {
    const next = prev ? prev.lruNext : this.#first;
    node.lru = this as unknown as Lru<LruNode>;
    node.lruPrev = prev;
    node.lruNext = next;
    if (prev) prev.lruNext = node;
    else this.#first = node;
    if (next) next.lruPrev = node;
    else this.#last = node;
  }

  #unlink(node: LruNode): void {
    const { lruPrev: prev, lruNext: next } = node;
    if (prev) prev.lruNext = next;
    else this.#first = next;
    if (next) next.lruPrev = prev;
    else this.#last = prev;
    node.lru = undefined;
    node.lruPrev = undefined;
    node.lruNext = undefined;
  }
}
