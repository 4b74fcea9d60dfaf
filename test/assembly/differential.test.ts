/*
 * The whole engine against plain bytes: the model of a vector is an array of as many bytes as its
 * pages have, and knows nothing of frames, chunks, pools and slots. Random populates, writes, shrinks,
 * restores and drops, most of them cut short somewhere, must never make the two differ; nor vectors that
 * move, also while pages are on their way. A clean page is compared twice: in memory, and where its copy lies.
 */
import { describe, test } from "vitest";
import {
  CACHED,
  EINVAL,
  ENOMEM,
  ENOSPC,
  H_DMA32_END,
  H_POOLED,
  H_RUN,
  PAGE_SIZE,
  UNCACHED,
  WRITE_COMBINED,
} from "../../assembly/abi.ts";
import type { Random } from "../support/random.ts";
import {
  EngineUnderTest,
  equal,
  forAll,
  type How,
  how,
  isHandle,
  isPage,
  must,
  program,
  runProgram,
} from "./engine_under_test.ts";
import {
  fillAll,
  newVector,
  prepareFill,
  readIn,
  sumExtents,
  type Vector,
  verifyExtents,
  writeOut,
} from "./page_content.ts";

const SLOTS = 64;
const ENTRIES = 300;

/** What the vectors are for: without a pool, or with one of their caching and zone. */
const KINDS: readonly How[] = [
  { caching: CACHED },
  { caching: CACHED, dma32: true },
  { caching: WRITE_COMBINED },
  { caching: WRITE_COMBINED, type: 0 },
  { caching: UNCACHED, type: 1 },
  { caching: WRITE_COMBINED, type: 2, dma32: true },
  { caching: CACHED, type: 3 },
];

interface Model extends Vector {
  vector: number;
  readonly bytes: Uint8Array;
  readonly kind: How;
  /** A chunk held by an interrupted fill, and how many of its entries are read. */
  held: { start: number; done: number } | undefined;
  /** Entries that a fill neither cleared nor read, because its caller promised to overwrite them. */
  readonly kept: Set<number>;
}

class Run {
  readonly e: EngineUnderTest;
  readonly models: Model[] = [];
  readonly rawPages: { pfn: number; order: number }[] = [];
  readonly rawSlots: { slot: number; count: number }[] = [];
  /** Frames that all this is about: the others are in use from the start. */
  readonly frames: number;

  constructor(frames: number, dma32: number) {
    this.frames = frames;
    const ballast = dma32 < frames ? dma32 - 40 : 0;
    const entries = ENTRIES + ballast;
    this.e = new EngineUnderTest({ frames, slots: SLOTS, entries, ram: true, dma32 });
    if (ballast === 0) return;
    fillAll(this.e, newVector(this.e, ballast), { dma32: true });
    this.frames -= ballast;
  }

  step(dice: Random, index: number): string {
    const { models } = this;
    const kind = dice.below(100);
    const v = models.length > 0 ? dice.pick(models) : undefined;
    let done: string;
    if (!v || kind < 6) done = this.create(dice);
    else if (kind < 42) done = this.fill(v, dice);
    else if (kind < 60) done = this.write(v, dice);
    else if (kind < 85) done = this.shrink(dice);
    else if (kind < 91) done = this.drop(v, dice);
    else if (kind < 94) done = this.shrinkPool(dice);
    else if (kind < 96) done = this.pack();
    else done = this.takeOrGive(dice);
    this.e.mustHold(done);
    this.#mustCount(done);
    for (const model of index % 50 === 0 ? models : models.filter((one) => one === v)) {
      this.#mustMatch(model, done);
    }
    return done;
  }

  create(dice: Random): string {
    const entries = 1 + dice.below(dice.pick([4, 20, 90]));
    if (this.models.length === 8) return "no more vectors";
    const vector = this.e.wasm.vectorAlloc(entries);
    if (vector < 0) return "no room for a vector";
    const bytes = new Uint8Array(entries * PAGE_SIZE);
    const kind = dice.pick(KINDS);
    this.models.push({ vector, entries, bytes, kind, held: undefined, kept: new Set() });
    return `vectorAlloc(${entries})`;
  }

  /** Moves all vectors to the front, in their order. */
  pack(): string {
    const { e } = this;
    const used = e.sizes.entries - e.freeEntries;
    e.mustRefuse(EINVAL, "vectorsPack", () => e.wasm.vectorsPack(used + 1));
    equal(e.wasm.vectorsPack(used), 0, "vectorsPack");
    let vector = e.sizes.entries - ENTRIES;
    for (const model of this.models.toSorted((a, b) => a.vector - b.vector)) {
      model.vector = vector;
      vector += model.entries;
    }
    equal(vector, used, "where vectors end");
    const words = e.words.subarray(e.entryIndex(used), e.entryIndex(e.sizes.entries));
    must(!words.some(Boolean), "entries of no vector are empty");
    return "vectorsPack";
  }

  /** Perhaps the same, while pages are on their way. */
  #packMeanwhile(what: string, dice: Random): void {
    if (!dice.percent(12)) return;
    this.pack();
    this.e.mustHold(`vectorsPack during the ${what}`);
  }

  /** Fills a window of a vector, reads a part of it, sometimes with an error, and commits that. */
  fill(v: Model, dice: Random): string {
    const { e } = this;
    const resume = v.held !== undefined && dice.percent(70);
    const start = resume ? v.held!.start : dice.pick(this.#borders(v));
    const done = resume ? v.held!.done : 0;
    const [overwriteFrom, overwriteTo] = dice.percent(25)
      ? [dice.below(v.entries), dice.below(99)]
      : [0, 0];
    const orders = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter((order) => !order || dice.percent(60));
    const walk: How = { ...v.kind, orders, keep: dice.percent(60) };
    const options = {
      ...walk,
      done,
      overwriteFrom,
      overwriteTo,
      budget: 1 + dice.below(v.entries + 5),
    };
    const what = `fill of ${v.vector} from ${start}, ${done} done`;
    const covered = prepareFill(e, v, start, options);
    if (covered < 0) {
      equal(covered, -ENOMEM, what);
      this.#mustBeExhausted(v.kind, what);
      return what;
    }
    for (let i = overwriteFrom; i < Math.min(overwriteTo, v.entries); i++) {
      if (!isPage(e.entry(v.vector + i))) v.kept.add(i);
    }
    e.mustHold(`fillPrepare of the ${what}`);
    const read = dice.percent(50) ? covered : done + dice.below(covered - done + 1);
    const extents = e.extents();
    this.#packMeanwhile(what, dice);
    readIn(e, extents, 0, read);
    const bad = dice.percent(15) ? this.#spoil(v, start, done, read, dice) : undefined;
    const stop = bad ?? read;
    equal(verifyExtents(e, extents, read), stop, `pages before the first bad one in the ${what}`);
    const expected = this.#borderBefore(v, start, stop);
    this.#packMeanwhile(what, dice);
    const { vector, entries } = v;
    const committed = e.wasm.fillCommit(vector, entries, start, done, covered, stop, how(walk));
    equal(committed, expected, `committed of ${stop} in the ${what}`);
    const next = start + committed;
    const begun = stop > committed && !isPage(e.entry(vector + next));
    if (begun) v.held = { start: next, done: stop - committed };
    else if (v.held && v.held.start >= start && v.held.start < start + covered) v.held = undefined;
    this.#overwriteKept(v, dice);
    if (dice.percent(70)) this.#changeCaching(v, what);
    return what;
  }

  #mustBeExhausted({ type = -1, dma32 = false }: How, what: string): void {
    const { e } = this;
    const zones = dma32 ? [0] : [0, 1];
    const free = zones.flatMap((zone) => e.freeChunks(zone)).filter((chunks) => chunks > 0);
    equal(free.length, 0, `free chunks when there is no memory for the ${what}`);
    if (type >= 0) equal(e.wasm.poolCount(type, 0), 0, `pooled pages for the ${what}`);
  }

  /** Changes a byte of one page that was just read; returns its place in the window. */
  #spoil(v: Model, start: number, done: number, read: number, dice: Random): number | undefined {
    const { e } = this;
    const handles: number[] = [];
    for (let i = done; i < read; i++) {
      if (isHandle(e.entry(v.vector + start + i)) && !v.kept.has(start + i)) handles.push(i);
    }
    if (handles.length === 0) return undefined;
    const bad = dice.pick(handles);
    e.page(e.shadow(v.vector + start + bad))[dice.below(PAGE_SIZE)]! ^= 1 << dice.below(8);
    return bad;
  }

  #overwriteKept(v: Model, dice: Random): void {
    for (const i of v.kept) {
      if (!isPage(this.e.entry(v.vector + i))) continue;
      this.e.wasm.vectorDirty(v.vector, v.entries, i, 1, dice.below(2));
      this.#put(v, i, 0, PAGE_SIZE, dice);
      v.kept.delete(i);
    }
  }

  #changeCaching({ vector, entries, kind }: Model, what: string): void {
    const { e } = this;
    const { caching = CACHED } = kind;
    const others = this.#pages({ vector, entries }).filter((pfn) => e.caching(pfn) !== caching);
    const { pages } = e.changes;
    const changed = e.wasm.vectorCaching(vector, entries, 0, caching);
    equal(changed, others.length, `pages of another caching after the ${what}`);
    equal(e.changes.pages, pages + changed, "pages counted as changed");
  }

  write(v: Model, dice: Random): string {
    const { e } = this;
    const i = dice.below(v.entries);
    const count = dice.percent(70) ? 1 : dice.below(v.entries - i + 1);
    const { freeSlots } = e;
    const keep = dice.below(2);
    const lost = e.wasm.vectorDirty(v.vector, v.entries, i, count, keep);
    equal(e.freeSlots, freeSlots + lost, "slots that writing frees");
    if (keep) equal(lost, 0, "slots that writing in place frees");
    for (let j = i; j < i + count; j++) {
      if (!isPage(e.entry(v.vector + j))) continue;
      const from = dice.below(PAGE_SIZE);
      this.#put(v, j, from, from + dice.below(PAGE_SIZE - from) + 1, dice);
    }
    return `write to ${count} entries of ${v.vector} from ${i}`;
  }

  /** Writes random bytes to a page that is dirty, and to the model. */
  #put(v: Model, i: number, from: number, to: number, dice: Random): void {
    equal(this.e.shadow(v.vector + i) & 1, 0, `copies of entry ${i}, which is written`);
    const page = this.e.page(this.e.entry(v.vector + i));
    let word = dice.next() | 1;
    for (let at = from; at < to; at++) {
      word = Math.imul(word, 0x2c1b3c6d) ^ (word >>> 15);
      page[at] = word;
      v.bytes[i * PAGE_SIZE + at] = word;
    }
  }

  /** Shrinks up to three vectors, of which a part is written, and commits that. */
  /** Entries that are pages without a slot. */
  #slotless({ vector, entries }: Model): number[] {
    const { e } = this;
    return Array.from({ length: entries }, (_, i) => vector + i).filter(
      (i) => isPage(e.entry(i)) && e.shadow(i) === 0,
    );
  }

  shrink(dice: Random): string {
    const { e, models } = this;
    const first = dice.below(models.length);
    const batch = [...models.slice(first), ...models.slice(0, first)].slice(0, 1 + dice.below(3));
    const starts = batch.map((v) => dice.pick(this.#borders(v)));
    const items = () => batch.map((v, i) => ({ ...v, start: starts[i]! }));
    e.putItems(items());
    const budget = 1 + dice.below(70);
    const what = `shrink of ${batch.map((v) => v.vector)} by ${budget}`;
    const free = e.freeSlots;
    const slotless = new Set(batch.flatMap((v) => this.#slotless(v)));
    const prepared = e.wasm.shrinkPrepare(batch.length, budget);
    if (prepared < 0) {
      equal(prepared, -ENOSPC, what);
      equal(free, 0, "free slots when there are none");
      return what;
    }
    const extents = e.extents();
    const pages = extents.flatMap(({ at, pages, index }) =>
      Array.from({ length: pages }, (_, i) => ({ at: at + i, given: slotless.has(index + i) })),
    );
    const given = (to: number) => pages.filter((page) => page.given && page.at < to).length;
    equal(e.freeSlots, free - given(prepared), `slots reserved for the ${what}`);
    e.mustHold(`shrinkPrepare of the ${what}`);
    const [dropped] = batch;
    if (dropped && dice.percent(5)) {
      this.#packMeanwhile(what, dice);
      this.#empty(dropped, dropped.kind);
      e.putItems(items());
      equal(e.wasm.shrinkCommit(batch.length, 0), 0, "commit after a drop");
      return `${what}, and a drop before its end`;
    }
    const moved = dice.percent(50) ? prepared : dice.below(prepared + 1);
    this.#packMeanwhile(what, dice);
    sumExtents(e, extents);
    writeOut(e, extents, moved);
    this.#packMeanwhile(what, dice);
    e.putItems(items());
    equal(e.wasm.shrinkCommit(batch.length, moved), moved, `commit of ${moved} in the ${what}`);
    // Those that were to go back to their slots and did not, have lost them.
    const lost = pages.filter((page) => !page.given && page.at >= moved).length;
    equal(e.freeSlots, free - given(moved) + lost, `free slots after the ${what}`);
    return what;
  }

  drop(v: Model, dice: Random): string {
    this.#empty(v, dice.percent(80) ? v.kind : {});
    if (dice.percent(50)) {
      equal(this.e.wasm.vectorFree(v.vector, v.entries), 0, "vectorFree");
      this.models.splice(this.models.indexOf(v), 1);
    }
    return `vectorDrop of ${v.vector}`;
  }

  /** Drops all of a vector: chunks of the caching that `kind` has go to its pool, if it has one. */
  #empty(v: Model, kind: How): void {
    const { e } = this;
    const pfns = this.#pages(v, true);
    const pooled = pfns.filter((pfn) => {
      return kind.type !== undefined && e.caching(pfn) === (kind.caching ?? CACHED);
    });
    const before = { free: e.freePages, pooled: e.header(H_POOLED) };
    const freed = e.wasm.vectorDrop(v.vector, v.entries, how(kind));
    equal(freed, pfns.length, `vectorDrop of ${v.vector}`);
    equal(e.header(H_POOLED), before.pooled + pooled.length, "pages that went to a pool");
    equal(e.freePages, before.free + freed - pooled.length, "pages that went to the system");
    v.bytes.fill(0);
    v.held = undefined;
    v.kept.clear();
  }

  shrinkPool(dice: Random): string {
    const { e } = this;
    const type = dice.below(4);
    const order = dice.below(8);
    const count = e.wasm.poolCount(type, order);
    const what = `poolShrink(${type}, ${order})`;
    if (count === 0) {
      e.mustRefuse(ENOMEM, what, () => e.wasm.poolShrink(type, order));
      return what;
    }
    const { freePages } = e;
    must(e.wasm.poolShrink(type, order) >= e.firstPfn, what);
    equal(e.freePages, freePages + (1 << order), `free pages after ${what}`);
    equal(e.wasm.poolCount(type, order), count - 1, `chunks after ${what}`);
    return what;
  }

  /** Pages and slots outside any vector, so that neither are in one piece. */
  takeOrGive(dice: Random): string {
    const { e, rawPages, rawSlots } = this;
    const order = dice.below(4);
    const pfn = dice.percent(50) ? e.wasm.allocPages(order) : 0;
    if (pfn > 0) {
      e.page(pfn * PAGE_SIZE, 1 << order).fill(0xee);
      rawPages.push({ pfn, order });
    }
    const slot = dice.percent(50) ? e.wasm.slotAlloc(1 + dice.below(9)) : 0;
    if (slot > 0) rawSlots.push({ slot, count: e.header(H_RUN) });
    for (const { pfn, order } of rawPages.splice(dice.below(rawPages.length + 1))) {
      equal(e.wasm.givePages(pfn, order), 0, "givePages");
    }
    for (const { slot, count } of rawSlots.splice(dice.below(rawSlots.length + 1))) {
      equal(e.wasm.slotFree(slot, count), 0, "slotFree");
    }
    return "pages and slots taken or given back";
  }

  /** Page numbers of a vector; also those of a chunk that is held. */
  #pages({ vector, entries }: Vector, held = false): number[] {
    const pfns: number[] = [];
    for (let i = vector; i < vector + entries; i++) {
      const entry = this.e.entry(i);
      const page = isPage(entry) ? entry : held ? this.e.shadow(i) : 0;
      if (page !== 0) pfns.push(page / PAGE_SIZE);
    }
    return pfns;
  }

  /** Pages of the chunk at an entry, 1 when there is none. */
  #chunk({ vector }: Vector, i: number): number {
    const entry = this.e.entry(vector + i);
    const page = isPage(entry) ? entry : this.e.shadow(vector + i);
    return page === 0 ? 1 : 1 << this.e.order(page / PAGE_SIZE);
  }

  #borders(v: Vector): number[] {
    const borders: number[] = [];
    for (let i = 0; i < v.entries; i += this.#chunk(v, i)) borders.push(i);
    return borders;
  }

  #borderBefore(v: Vector, start: number, stop: number): number {
    let border = 0;
    while (border < stop && border + this.#chunk(v, start + border) <= stop) {
      border += this.#chunk(v, start + border);
    }
    return border;
  }

  #mustCount(what: string): void {
    const { e, models, rawPages, rawSlots } = this;
    let pages = rawPages.reduce((sum, { order }) => sum + (1 << order), e.header(H_POOLED));
    let slots = rawSlots.reduce((sum, { count }) => sum + count, 0);
    for (const v of models) {
      const pfns = this.#pages(v, true);
      pages += pfns.length;
      for (let i = v.vector; i < v.vector + v.entries; i++) {
        const entry = e.entry(i);
        if (isPage(entry) ? e.shadow(i) : isHandle(entry)) slots++;
      }
      if (!v.kind.dma32) continue;
      for (const pfn of pfns) must(pfn < e.header(H_DMA32_END), `page ${pfn} after ${what}`);
    }
    equal(e.freePages, this.frames - pages, `free pages after ${what}`);
    equal(e.freeSlots, SLOTS - slots, `free slots after ${what}`);
  }

  /** Wherever an entry's bytes lie, in its page, in its slot or in both, they are the model's. */
  #mustMatch({ vector, entries, bytes }: Model, what: string): void {
    const { e } = this;
    const expected = new Uint32Array(bytes.buffer);
    const words = PAGE_SIZE / 4;
    for (let i = 0; i < entries; i++) {
      const entry = e.entry(vector + i);
      const copy = isPage(entry) ? e.shadow(vector + i) : entry;
      const places = isPage(entry) ? [e.page(entry)] : [];
      if (isHandle(copy)) places.push(e.slot(copy >>> 1));
      const actual = places.map((page) => new Uint32Array(page.buffer, page.byteOffset, words));
      if (actual.length === 0) actual.push(NOTHING);
      for (const page of actual) {
        for (let at = 0; at < words; at++) {
          if (page[at] === expected[i * words + at]) continue;
          throw new Error(`entry ${i} of vector ${vector} differs at word ${at} after ${what}`);
        }
      }
    }
  }

  end(): void {
    const { e, models, rawPages, rawSlots } = this;
    for (const v of models) {
      this.#mustMatch(v, "all");
      this.#empty(v, v.kind);
      equal(e.wasm.vectorFree(v.vector, v.entries), 0, "vectorFree");
    }
    for (const { pfn, order } of rawPages) equal(e.wasm.givePages(pfn, order), 0, "givePages");
    for (const { slot, count } of rawSlots) equal(e.wasm.slotFree(slot, count), 0, "slotFree");
    for (let type = 0; type < 4; type++) {
      for (let order = 0; order < 10; order++) while (e.wasm.poolShrink(type, order) > 0);
    }
    e.mustHold("dropping everything");
    equal(e.freePages, this.frames, "free pages at the end");
    equal(e.freeSlots, SLOTS, "free slots at the end");
    equal(e.freeEntries, ENTRIES, "entries at the end");
  }
}

const NOTHING = new Uint32Array(PAGE_SIZE / 4);

describe("4,000 random steps never differ from plain bytes", () => {
  test.each([
    ["one zone", 100, 100],
    ["two zones", 572, 512],
  ])("%s", (_, frames, dma32) => {
    forAll(program(4_000), 4, (words) => {
      const run = new Run(frames, dma32);
      runProgram(words, (dice, index) => run.step(dice, index));
      run.end();
    });
  });
});
