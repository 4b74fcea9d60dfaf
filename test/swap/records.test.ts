/* Pages in records: what is written together, in other runs, over each other, and in a store that is full. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE, type ShortWrite, type SwapRun } from "../../src/index.ts";
import { PageRecords, type RecordStore } from "../../src/swap/records.ts";
import { expectSame, pattern } from "../support/bytes.ts";
import { Gate, turn, until } from "../support/delays.ts";
import { type Random, seeded } from "../support/random.ts";

/** A store of records with room for some pages, that counts its calls and fails on demand. */
class MapRecords implements RecordStore {
  readonly map = new Map<number, Uint8Array>();
  room = Number.POSITIVE_INFINITY;
  calls: string[] = [];
  fails: ((call: string, id: number) => unknown) | undefined;

  get(id: number): Uint8Array {
    this.#count("get", id);
    return this.map.get(id) as Uint8Array;
  }

  set(id: number, bytes: Uint8Array): void {
    this.#count("set", id);
    const before = this.map.get(id)?.length ?? 0;
    if (before > 0 && before !== bytes.length) throw new Error("replaced by another length");
    if (this.pages * PAGE_SIZE + bytes.length - before > this.room * PAGE_SIZE) {
      throw Object.assign(new Error("no more room"), { code: "ENOSPC" });
    }
    this.map.set(id, bytes);
  }

  delete(id: number): void {
    this.#count("delete", id);
    this.map.delete(id);
  }

  get pages(): number {
    return [...this.map.values()].reduce((sum, bytes) => sum + bytes.length, 0) / PAGE_SIZE;
  }

  #count(call: string, id: number): void {
    this.calls.push(call);
    const error = this.fails?.(call, id);
    if (error) throw error;
  }
}

/** The same over promises that settle when they like. */
class LateRecords implements RecordStore {
  readonly map: MapRecords = new MapRecords();
  readonly delay: () => Promise<void>;

  constructor(delay: () => Promise<void>) {
    this.delay = delay;
  }

  async get(id: number): Promise<Uint8Array> {
    await this.delay();
    return this.map.get(id);
  }

  async set(id: number, bytes: Uint8Array): Promise<void> {
    await this.delay();
    this.map.set(id, bytes);
  }

  async delete(id: number): Promise<void> {
    await this.delay();
    this.map.delete(id);
  }
}

function run(slot: number, ...seeds: number[]): SwapRun {
  return { slot, views: seeds.map((seed) => pattern(seed, PAGE_SIZE)) };
}

function expectPages(records: PageRecords, slot: number, ...seeds: number[]): void {
  const view = new Uint8Array(seeds.length * PAGE_SIZE);
  records.readSync([{ slot, views: [view] }]);
  seeds.forEach((seed, i) => {
    const page = view.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE);
    expectSame(page, pattern(seed, PAGE_SIZE), `slot ${slot + i}`);
  });
}

describe("records", () => {
  test("hold what is written together, whatever its slots", () => {
    const store = new MapRecords();
    const records = new PageRecords(store, { pages: 4 });
    records.writeSync([run(10, 1, 2), run(5, 3), run(1, 4, 5)]);
    expect([...store.map.values()].map((bytes) => bytes.length / PAGE_SIZE)).toEqual([4, 1]);
    expectPages(records, 10, 1, 2);
    expectPages(records, 5, 3);
    expectPages(records, 1, 4, 5);
    expect([records.records, records.bytes]).toEqual([2, 5 * PAGE_SIZE]);
    expect([10, 1, 2, 3].map((slot) => records.recordOf(slot))).toEqual([1, 1, 2, undefined]);
  });

  test("are read once a call, however many of their pages are wanted", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    records.writeSync([run(1, 1, 2, 3, 4)]);
    store.calls = [];
    const views = [0, 1].map(() => new Uint8Array(PAGE_SIZE));
    records.readSync([
      { slot: 4, views: views.slice(0, 1) },
      { slot: 2, views: views.slice(1) },
    ]);
    expect(store.calls).toEqual(["get"]);
    expectSame(views[0] as Uint8Array, pattern(4, PAGE_SIZE), "slot 4");
  });

  test("keep the neighbours of a page that is rewritten, and go with the last of them", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    records.writeSync([run(1, 1, 2, 3)]);
    records.writeSync([run(2, 12)]);
    expectPages(records, 1, 1, 12, 3);
    records.writeSync([run(3, 13)]);
    expect(store.map.size).toBe(3);
    store.calls = [];
    records.writeSync([run(1, 11)]);
    expect(store.calls).toEqual(["set", "delete"]);
    // All that counts in it is replaced by as much: no second record, and nothing to delete.
    records.writeSync([run(2, 12)]);
    expect(store.calls).toEqual(["set", "delete", "set"]);
    expectPages(records, 1, 11, 12, 13);
    expect([records.records, records.bytes]).toEqual([3, 3 * PAGE_SIZE]);
    records.writeSync([run(1, 21, 22, 23)]);
    expect([records.records, store.map.size, store.pages]).toEqual([1, 1, 3]);
    expectPages(records, 1, 21, 22, 23);
  });

  test("are deleted when they are discarded, and not before all of them is", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    records.writeSync([run(1, 1, 2)]);
    records.writeSync([run(2 ** 31 - 1, 3)]);
    records.discardSync([{ slot: 2, pages: 1 }]);
    expect(store.map.size).toBe(2);
    expectPages(records, 1, 1);
    expect(() => expectPages(records, 2, 2)).toThrow("slot 2 holds nothing");
    records.discardSync([{ slot: 2, pages: 2 ** 31 - 2 }]);
    expect(store.map.size).toBe(1);
    records.discardSync([{ slot: 1, pages: 1 }]);
    expect([store.map.size, records.bytes]).toEqual([0, 0]);
  });

  test("that could not be deleted are tried again, and all of them in the end", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    records.writeSync([run(1, 1)]);
    records.writeSync([run(2, 2)]);
    store.fails = (call) => (call === "delete" ? new Error("not now") : undefined);
    records.discardSync([{ slot: 1, pages: 1 }]);
    expect(() => records.clearSync()).toThrow("not now");
    expect(store.map.size).toBe(2);
    store.fails = undefined;
    records.clearSync();
    expect([store.map.size, records.records, records.bytes]).toEqual([0, 0, 0]);
  });

  test("whose set failed leave nothing behind, also where it was only the answer that was lost", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    store.fails = (call, id) => {
      if (call !== "set") return undefined;
      store.map.set(id, new Uint8Array(PAGE_SIZE));
      return new Error("connection lost");
    };
    expect(() => records.writeSync([run(1, 1)])).toThrow("connection lost");
    expect(store.map.size).toBe(0);
  });

  test("that come back changed in length are an error, not other bytes", () => {
    const store = new MapRecords();
    const records = new PageRecords(store);
    records.writeSync([run(1, 1)]);
    for (const wrong of [new Uint8Array(5), undefined, null, "text", 4096]) {
      store.map.set(1, wrong as Uint8Array);
      expect(() => expectPages(records, 1, 1)).toThrow(/record 1 does not come back/);
    }
    store.map.set(1, pattern(1, PAGE_SIZE).buffer as never);
    expectPages(records, 1, 1);
  });

  test.each([0, 257, 1.5, "many"])("of %j pages are refused by name", (pages) => {
    expect(() => new PageRecords(new MapRecords(), { pages: pages as number })).toThrow(/^pages /);
  });
});

describe("a store that is full", () => {
  test("says which pages it took, and takes those again that it has", () => {
    const store = new MapRecords();
    const records = new PageRecords(store, { pages: 4 });
    store.room = 8;
    const seeds = Array.from({ length: 10 }, (_, i) => i);
    const short = records.writeSync([run(1, ...seeds)]) as ShortWrite;
    expect(short).toMatchObject({ pages: 8, error: { code: "ENOSPC" } });
    expect(() => records.writeSync([run(9, 1)])).toThrow("no more room");
    // Whatever is written in whatever pieces: what it has is its capacity.
    expect(records.writeSync([run(2, 22, 23, 24, 25)])).toBeUndefined();
    expect(records.writeSync([run(8, 28), run(1, 21)])).toBeUndefined();
    expect(records.writeSync([run(7, 37, 38, 39)])).toMatchObject({ pages: 2 });
    expectPages(records, 1, 21, 22, 23, 24, 25, 5, 37, 38);
    expect(store.pages).toBe(8);
  });

  test("loses nothing when two calls want the same record at once", async () => {
    const gate = new Gate();
    const late = new LateRecords(gate.pass);
    const records = new PageRecords(late, { pages: 8 });
    gate.open();
    await records.write([run(1, 1, 2, 3, 4)]);
    late.map.room = 4;
    gate.close();
    const calls = [records.write([run(1, 11)]), records.write([run(2, 12)])];
    await until(() => gate.waiting > 0);
    gate.open();
    expect(await Promise.all(calls)).toEqual([undefined, undefined]);
    const view = new Uint8Array(4 * PAGE_SIZE);
    await records.read([{ slot: 1, views: [view] }]);
    [11, 12, 3, 4].forEach((seed, i) => {
      const page = view.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE);
      expectSame(page, pattern(seed, PAGE_SIZE), `slot ${i + 1}`);
    });
  });
});

describe("a call that waits for another to rewrite records", () => {
  /** A full store whose `get` waits, and a call that is rewriting the one record there is. */
  async function busy() {
    const gate = new Gate();
    const store = new MapRecords();
    const records = new PageRecords({
      get: (id) => gate.pass().then(() => store.get(id)),
      set: (id, bytes) => store.set(id, bytes),
      delete: (id) => store.delete(id),
    });
    records.writeSync([run(1, 1, 2, 3, 4)]);
    store.room = 4;
    const first = records.write([run(1, 11)]);
    await until(() => gate.waiting === 1);
    return { gate, store, records, first };
  }

  test("is refused when it cannot wait", async () => {
    const { gate, records, first } = await busy();
    expect(() => records.writeSync([run(2, 12)])).toThrow("no more room");
    gate.open();
    expect(await first).toBeUndefined();
  });

  test("ends when it is aborted and its turn does not come, and has changed nothing", async () => {
    const { gate, records, first } = await busy();
    const second = records.write([run(2, 12)]);
    const abort = new AbortController();
    const third = records.write([run(3, 13)], abort.signal);
    for (let i = 0; i < 5; i++) await turn();
    abort.abort();
    gate.open();
    gate.close();
    await expect(third).rejects.toThrow("no more room");
    expect(await first).toBeUndefined();
    gate.open();
    expect(await second).toBeUndefined();
    const view = new Uint8Array(2 * PAGE_SIZE);
    await records.read([{ slot: 2, views: [view] }]);
    expectSame(view.subarray(0, PAGE_SIZE), pattern(12, PAGE_SIZE), "slot 2");
    expectSame(view.subarray(PAGE_SIZE), pattern(3, PAGE_SIZE), "slot 3");
  });
});

describe("a store that waits", () => {
  test("is refused by the sync forms", () => {
    const records = new PageRecords(new LateRecords(() => Promise.resolve()));
    expect(() => records.writeSync([run(1, 1)])).toThrow(
      expect.objectContaining({ code: "EWOULDBLOCK" }),
    );
  });

  test("has as many calls at once as it was said, and none after the call has settled", async () => {
    const gate = new Gate();
    const late = new LateRecords(gate.pass);
    const records = new PageRecords(late, { pages: 1, parallel: 3 });
    const abort = new AbortController();
    const write = records.write([run(1, 1, 2, 3, 4, 5, 6)], abort.signal);
    await until(() => gate.waiting > 0);
    expect(gate.waiting).toBe(3);
    abort.abort(new Error("not needed"));
    gate.open();
    expect(await write).toMatchObject({ pages: 3, error: { message: "not needed" } });
    expect(late.map.calls.filter((call) => call === "set").length).toBe(3);
  });
});

/** Random writes, reads and discards, several at once, beside a plain map. */
async function race(random: Random): Promise<void> {
  const late = new LateRecords(() =>
    random.chance(0.5) ? Promise.resolve() : new Promise((resolve) => setImmediate(resolve)),
  );
  const records = new PageRecords(late, { pages: random.below(16) + 1, parallel: 4 });
  const model = new Map<number, number>();
  const busy = new Set<number>();
  const claim = (held: boolean): number[] => {
    const slots = Array.from({ length: random.below(20) + 1 }, () => random.below(120) + 1);
    const free = new Set(slots.filter((slot) => !busy.has(slot) && (!held || model.has(slot))));
    for (const slot of free) busy.add(slot);
    return [...free];
  };
  const write = async () => {
    const slots = claim(false);
    const seeds = slots.map(() => random.next());
    const runs = slots.map((slot, i) => run(slot, seeds[i] as number));
    const short = await records.write(runs).catch((error: { code?: string }) => {
      if (error.code !== "ENOSPC") throw error;
      return { pages: 0 };
    });
    slots.forEach((slot, i) => {
      if (short && i >= short.pages) model.delete(slot);
      else model.set(slot, seeds[i] as number);
      busy.delete(slot);
    });
  };
  const read = async () => {
    const slots = claim(true);
    const views = slots.map(() => new Uint8Array(PAGE_SIZE));
    await records.read(slots.map((slot, i) => ({ slot, views: views.slice(i, i + 1) })));
    slots.forEach((slot, i) => {
      expectSame(views[i] as Uint8Array, pattern(model.get(slot) as number, PAGE_SIZE), `${slot}`);
      busy.delete(slot);
    });
  };
  const discard = async () => {
    const slots = claim(true);
    for (const slot of slots) model.delete(slot);
    await records.discard(slots.map((slot) => ({ slot, pages: 1 })));
    for (const slot of slots) busy.delete(slot);
  };
  for (let step = 0; step < 100; step++) {
    if (random.chance(0.05)) late.map.room = random.chance(0.5) ? late.map.pages : 1e9;
    const kinds = [write, write, read, discard];
    await Promise.all([0, 1, 2].map(() => random.pick(kinds)()));
  }
  await records.discard([{ slot: 1, pages: 120 }]);
  expect([records.records, late.map.map.size]).toEqual([0, 0]);
}

test("random calls at once are as those of a plain map", () =>
  seeded(async (random) => {
    for (let round = 0; round < 10; round++) await race(random);
  }));
