/*
 * What stays when more is used than the memory holds. Method: buffers of 16 pages in a memory of 128 of them, which
 * leave one at a time, as a restore takes no more than it needs.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import type { Lru, LruNode } from "../src/lru.ts";
import {
  NOWHERE,
  OUT,
  PURGEABLE,
  type Resource,
  ResourceManager,
  UNEVICTABLE,
} from "../src/resource.ts";
import { ramDevice } from "./support/devices.ts";
import { type Random, seeded } from "./support/random.ts";

const PAGES = 16;
const ROOM = 128;
const ONE = new Uint8Array(1);

function create(count: number): Device {
  return ramDevice({ memory: ROOM * PAGES, swap: count * PAGES });
}

/** Buffers of which the first byte has been written. */
function written(device: Device, count: number, options = {}): BufferObject[] {
  return Array.from({ length: count }, () => {
    const bo = device.createBuffer(PAGES * PAGE_SIZE, options);
    bo.writeSync(0, new Uint8Array(PAGES * PAGE_SIZE).fill(1));
    return bo;
  });
}

function use(bos: readonly BufferObject[]): void {
  for (const bo of bos) bo.readSync(0, ONE);
}

const inMemory = (bos: readonly BufferObject[]) =>
  bos.filter(({ residentPages }) => residentPages > 0).length;

/** How many of `bos` had to be brought in when all were used, one after the other. */
function missesOf(bos: readonly BufferObject[]): number {
  let misses = 0;
  for (const bo of bos) {
    if (bo.residentPages === 0) misses++;
    use([bo]);
  }
  return misses;
}

describe("what is used again stays when much is used once", () => {
  const ways: [string, (hot: readonly BufferObject[]) => unknown][] = [
    ["in rounds", (hot) => Array.from({ length: 20 }, () => use(hot))],
    ["each many times in a row", (hot) => hot.map((bo) => use(Array(20).fill(bo)))],
    ["mapped", (hot) => hot.map((bo) => bo.mapSync({ write: false }).unmap())],
    ["written", (hot) => hot.map((bo) => bo.writeSync(5, ONE))],
  ];
  test.each(ways)("%s", (_, again) => {
    using device = create(1200);
    const others = written(device, 1024);
    const hot = written(device, 96);
    again(hot);
    use(others);
    // Two thirds of the memory are for what is hot.
    expect(inMemory(hot)).toBeGreaterThanOrEqual(80);
  });

  test("also when that is new, when the memory had room for all, and when it comes again", () => {
    using device = create(2200);
    const hot = written(device, 80);
    use(hot);
    for (let round = 0; round < 3; round++) {
      const others = written(device, 600);
      expect(missesOf(hot)).toBeLessThanOrEqual(8);
      for (const bo of others) bo.destroy();
    }
  });

  test("and is not what is used once in small steps, some side by side", () => {
    using device = create(1200);
    const others = written(device, 1024);
    const hot = written(device, 80);
    use(hot);
    use(hot);
    const before = inMemory(hot);
    for (let first = 0; first < others.length; first += 4) {
      for (let at = 0; at < PAGES * PAGE_SIZE; at += PAGE_SIZE) {
        for (const bo of others.slice(first, first + 4)) bo.readSync(at, ONE);
      }
    }
    expect(before).toBe(80);
    expect(inMemory(hot)).toBeGreaterThanOrEqual(75);
  });

  test("though it is small, and what is used once is large", () => {
    using device = create(1200);
    const small = Array.from({ length: 600 }, () => {
      const bo = device.createBuffer(PAGE_SIZE);
      bo.writeSync(0, ONE.fill(1));
      return bo;
    });
    use(small);
    const large = Array.from({ length: 20 }, () => device.createBuffer(512 * PAGE_SIZE));
    for (const bo of large) bo.writeSync(0, new Uint8Array(bo.size).fill(1));
    expect(inMemory(small)).toBeGreaterThanOrEqual(500);
  });

  test("until something else is used again, and more recently", () => {
    using device = create(400);
    const [old, next] = [written(device, 80), written(device, 80)];
    for (let round = 0; round < 5; round++) use(old);
    for (let round = 0; round < 3; round++) use(next);
    expect(missesOf(next)).toBe(0);
    expect(inMemory(old)).toBeLessThanOrEqual(ROOM - 80);
  });
});

test("a part of what is used in a loop stays when all of it does not fit", () => {
  using device = create(300);
  const bos = written(device, 200);
  use(bos);
  for (let round = 0; round < 5; round++) {
    expect(missesOf(bos)).toBeLessThanOrEqual(200 - 80);
  }
});

test("of a few the least recently used leaves first, however often it was used", () => {
  using device = ramDevice({ memory: 8 * PAGES, swap: 8 * PAGES });
  const bos = written(device, 7);
  for (let round = 0; round < 3; round++) use(bos);
  const order = device.reclaimer.resident().map(({ tt }) => tt.id);
  expect(order).toEqual(bos.map(({ id }) => id));
});

describe("what is not used again", () => {
  test("leaves in the order of its first use", () => {
    using device = create(300);
    const bos = written(device, 100);
    for (let i = 0; i < 100; i++) {
      expect(device.shrinkSync({ pages: PAGES })).toBe(PAGES);
      expect(inMemory(bos.slice(0, i + 1))).toBe(0);
      expect(inMemory(bos)).toBe(99 - i);
    }
  });

  test("is what was brought in, or hibernated and resumed, however often", () => {
    using device = create(1200);
    const others = written(device, 600);
    const hot = written(device, 60);
    use(hot);
    use(hot);
    const [brought, resumed] = [written(device, 30), written(device, 30)];
    const order = () => device.reclaimer.resident();
    const before = order();
    device.hibernateSync();
    device.resumeSync();
    expect(order()).toEqual(before);
    for (let round = 0; round < 3; round++) for (const bo of brought) bo.populateSync();
    use(hot);
    use(others);
    expect(inMemory([...brought, ...resumed])).toBe(0);
    expect(inMemory(hot)).toBeGreaterThanOrEqual(55);
  });
});

test("a lower priority leaves first, however often it is used", () => {
  using device = create(300);
  const low = written(device, 60);
  for (let round = 0; round < 5; round++) use(low);
  const high = written(device, 100, { priority: 1 });
  expect(inMemory(low)).toBe(28);
  expect(inMemory(high)).toBe(100);
});

test("what is pinned is as hot afterwards as it was", () => {
  using device = create(1200);
  const others = written(device, 1024);
  const hot = written(device, 40);
  use(hot);
  for (const bo of hot) bo.pinSync();
  const cold: BufferObject[] = [];
  for (let i = 0; i < 40; i++) {
    const [bo] = written(device, 1) as [BufferObject];
    bo.pinSync(); // which is the same use
    cold.push(bo);
  }
  use(others.slice(0, 500));
  expect(inMemory([...hot, ...cold])).toBe(80);
  for (const bo of [...hot, ...cold]) bo.unpin();
  use(others.slice(500));
  expect(inMemory(hot)).toBeGreaterThanOrEqual(35);
  expect(inMemory(cold)).toBe(0);
});

/** A resource that is nothing else. */
class Node implements Resource {
  lru: Lru<LruNode> | undefined = undefined;
  lruPrev: LruNode | undefined = undefined;
  lruNext: LruNode | undefined = undefined;
  nextLoose: Resource | null | undefined = undefined;
  usedAt = 0;
  hot = false;
  pinned = false;
  content = false;
  resident = false;
  purgeable = false;
  readonly name: number;
  readonly priority: number;
  readonly pages: number;

  constructor(name: number, random: Random) {
    this.name = name;
    this.priority = random.pick([0, 0, 3]);
    this.pages = random.pick([1, 1, 4, 16]);
  }

  placeOf(pinned: boolean): number {
    if (!this.content) return NOWHERE;
    if (!this.resident) return OUT;
    if (pinned) return UNEVICTABLE;
    return this.purgeable ? PURGEABLE : this.priority;
  }
}

/** The same order from the rules alone: what is known of each, and arrays that are sorted when one looks. */
class Model {
  readonly #memory: number;
  readonly #of = new Map<Node, { place: number; hot: boolean; usedAt: number; moved: number }>();
  #entered = 0;
  #moves = 0;

  constructor(memory: number) {
    this.#memory = memory;
  }

  #list(place: number, hot: boolean): Node[] {
    const members = [...this.#of].filter(
      ([, it]) => it.place === place && (place > 3 || it.hot === hot),
    );
    return members.sort(([, a], [, b]) => a.moved - b.moved).map(([node]) => node);
  }

  #pages(place: number, hot: boolean): number {
    return this.#list(place, hot).reduce((sum, { pages }) => sum + pages, 0);
  }

  #limit(place: number): number {
    if (this.#list(place, false).length < 8) return 0;
    return Math.max((this.#memory * 2) / 3, this.#pages(place, false) * 2);
  }

  order(): number[] {
    const shrinkable = [0, 1, 2, 3].flatMap((i) => [
      ...this.#list(i, false),
      ...this.#list(i, true),
    ]);
    const aside = [UNEVICTABLE, OUT].flatMap((place) => this.#list(place, false));
    return [...this.#list(PURGEABLE, false), ...shrinkable, ...aside].map(({ name }) => name);
  }

  /** `node` belongs to `place` now; `used`: it was, or was not but goes to the end all the same. */
  moves(node: Node, place: number, used: boolean | "not"): void {
    const before = this.#of.get(node);
    const wasCold = before !== undefined && before.place < 4 && !before.hot;
    if (place === NOWHERE) {
      this.#of.delete(node);
      if (wasCold) this.#cool(node, 1);
      return;
    }
    const it = before ?? { place: NOWHERE, hot: false, usedAt: this.#entered + 1, moved: 0 };
    this.#of.set(node, it);
    const heated = used === true && before !== undefined && this.#heats(node, it);
    if (it.place >= OUT && place < OUT) this.#entered++;
    if (used !== false || it.place !== place) it.moved = ++this.#moves;
    it.place = place;
    if (place === OUT) it.hot = false;
    if (heated) this.#cool(node, node.pages * 2);
    else if (place === OUT && wasCold) this.#cool(node, 1);
  }

  #cool(node: Node, pages: number): void {
    let left = pages;
    while (left > 0 && this.#pages(node.priority, true) > this.#limit(node.priority)) {
      const [first] = this.#list(node.priority, true) as [Node];
      const coldest = this.#of.get(first) as { hot: boolean; moved: number };
      coldest.hot = false;
      coldest.moved = ++this.#moves;
      left -= first.pages;
    }
  }

  unpinned(node: Node): void {
    const it = this.#of.get(node);
    if (it) it.usedAt = this.#entered;
  }

  #heats(node: Node, it: { hot: boolean; usedAt: number }): boolean {
    if (node.placeOf(false) > 3) return false;
    const { usedAt, hot } = it;
    const [cold, others] = [false, true].map((each) => this.#list(node.priority, each)) as [
      Node[],
      Node[],
    ];
    if (!hot && (this.#entered - usedAt) * 32 <= cold.length + others.length) return false;
    it.usedAt = this.#entered;
    if (hot) return false;
    const [oldest] = others;
    const fits =
      cold.length > 8 &&
      this.#pages(node.priority, true) + node.pages <= this.#limit(node.priority);
    it.hot = fits || (oldest !== undefined && usedAt > (this.#of.get(oldest)?.usedAt as number));
    return it.hot;
  }
}

test("whatever happens, they stand in the order of the rules", () =>
  seeded((random) => {
    const memory = 200;
    const manager = new ResourceManager<Node>(memory);
    const model = new Model(memory);
    const nodes = Array.from({ length: 150 }, (_, i) => new Node(i, random));
    let hot = 0;
    for (let round = 0; round < 3000; round++) {
      // Some more often than others, so that there is what is used again, and again.
      const node = nodes[Math.min(random.below(150), random.below(150))] as Node;
      const dice = random.below(100);
      if (dice < 70) {
        Object.assign(node, { content: true, resident: true });
        manager.used(node);
        model.moves(node, node.placeOf(node.pinned), true);
      } else if (dice < 75) {
        Object.assign(node, { content: true, resident: true });
        manager.fetched(node);
        model.moves(node, node.placeOf(node.pinned), "not");
      } else if (dice < 80 && node.resident && !node.pinned) {
        manager.held(node);
        model.moves(node, UNEVICTABLE, true);
        node.pinned = true;
      } else if (dice < 90 && node.pinned) {
        node.pinned = false;
        node.nextLoose = manager.loose.first;
        manager.loose.first = node;
        model.unpinned(node);
        model.moves(node, node.placeOf(false), false);
      } else if (dice < 98 && !node.pinned) {
        const to = random.pick([{ resident: false }, { purgeable: !node.purgeable }]);
        Object.assign(node, to);
        manager.settle(node);
        model.moves(node, node.placeOf(false), false);
      } else if (!node.pinned) {
        Object.assign(node, { content: false, resident: false });
        manager.settle(node);
        model.moves(node, NOWHERE, false);
      }
      expect(
        manager.all().map(({ name }) => name),
        `round ${round}`,
      ).toEqual(model.order());
      for (const list of manager.shrinkable) {
        const members = [...list.walk()];
        expect(list.pages).toBe(members.reduce((sum, { pages }) => sum + pages, 0));
        hot += members.filter((each) => each.hot).length;
      }
    }
    expect(hot).toBeGreaterThan(3000);
  }));
