/*
 * Every export with any arguments, on an engine that is in use: a call never traps, leaves all
 * invariants in order, and when it is refused it has changed nothing. A debug build does trap, where a host
 * could know better. Arguments are drawn from what a
 * caller might mistake for the right ones (a page of a neighbour, a slot plus one, half a vector) and
 * from the edges of 32 bits and of JavaScript's numbers.
 */
import { describe, expect, test } from "vitest";
import {
  BATCH_PAGES_MAX,
  H_POOLED,
  H_RUN,
  ITEM_BYTES,
  ITEMS,
  ITEMS_MAX,
  KINDS,
  MAX_ORDER,
  POOL_TYPES_MAX,
  WALK_KEEP,
} from "../../assembly/abi.ts";
import type { Exports } from "../../src/engine/exports.ts";
import type { Random } from "../support/random.ts";
import {
  abortOf,
  DEBUGGING,
  EngineUnderTest,
  equal,
  forAll,
  how,
  instantiate,
  must,
  program,
  runProgram,
  U32_MAX,
} from "./engine_under_test.ts";
import { fillAll, newVector, shrinkAll, type Vector } from "./page_content.ts";

type Name = Exclude<keyof Exports, "memory">;

const EDGES: readonly number[] = [
  0,
  1,
  2,
  3,
  9,
  10,
  31,
  32,
  33,
  63,
  64,
  65,
  511,
  512,
  2048,
  2049,
  4096,
  2 ** 20,
  2 ** 30,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 31 + 1,
  U32_MAX - 1,
  U32_MAX,
  2 ** 32,
  2 ** 53,
  -1,
  -(2 ** 31),
  -0,
  0.5,
  1e300,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];

/** Kinds of arguments; each has values that make sense. */
type Kind =
  | "pfn"
  | "order"
  | "slot"
  | "vector"
  | "entries"
  | "entry"
  | "used"
  | "kinds"
  | "offset"
  | "count"
  | "items"
  | "budget"
  | "flag"
  | "how"
  | "caching"
  | "type"
  | "size";

const SIGNATURES: Record<Name, readonly Kind[]> = {
  memoryPages: ["size", "size", "size", "flag"],
  init: ["size", "size", "size", "flag", "size"],
  vectorAlloc: ["count"],
  vectorFree: ["vector", "entries"],
  vectorDrop: ["vector", "entries", "how"],
  vectorPunch: ["vector", "entries", "offset", "count", "how"],
  vectorDirty: ["vector", "entries", "offset", "count", "flag"],
  vectorCaching: ["vector", "entries", "offset", "caching"],
  vectorExtents: ["vector", "entries", "offset", "count"],
  vectorsPack: ["used"],
  entriesBefore: ["entry", "count", "kinds"],
  entriesCount: ["entry", "count", "kinds"],
  fillPrepare: ["vector", "entries", "offset", "offset", "budget", "how", "offset", "offset"],
  fillCommit: ["vector", "entries", "offset", "offset", "count", "count", "how"],
  shrinkPrepare: ["items", "budget"],
  shrinkCommit: ["items", "count"],
  shrinkNeeds: ["items", "budget"],
  shrinkSaved: ["vector", "entries", "offset", "count"],
  trimRun: ["pfn", "count", "count"],
  trimRefused: ["pfn", "count"],
  livePages: ["count"],
  ramTransfer: ["flag", "flag"],
  sumPages: ["pfn", "count"],
  verifyPages: ["pfn", "count"],
  pageCopy: ["pfn", "pfn"],
  pageChecksum: ["pfn"],
  poolCount: ["type", "order"],
  poolShrink: ["type", "order"],
  allocPages: ["order"],
  givePages: ["pfn", "order"],
  slotAlloc: ["count"],
  slotFree: ["slot", "count"],
  slotsFree: [],
  slotsTook: ["slot", "count"],
  slotsAside: ["slot", "count", "caching"],
  slotRetry: ["flag"],
  slotsBack: [],
  slotsDiscard: [],
  slotsReach: [],
  check: [],
};

const NAMES = Object.keys(SIGNATURES) as Name[];

/** What is called more often, so that the engine is neither full nor empty for long. */
const OFTEN: readonly Name[] = [
  "vectorAlloc",
  "fillPrepare",
  "fillCommit",
  "fillPrepare",
  "fillCommit",
  "shrinkPrepare",
  "shrinkCommit",
  "shrinkPrepare",
  "shrinkCommit",
  "ramTransfer",
  "vectorCaching",
  "vectorDrop",
  "vectorDirty",
  "poolShrink",
  "givePages",
  "slotFree",
];

/** Results that are numbers of 32 bits and not refusals, even when they look negative. */
const UNSIGNED: ReadonlySet<Name> = new Set(["memoryPages", "pageChecksum"]);

/** The caching of a pool type's chunks: a type has one, and its host keeps to it. */
const cachingOf = (type: number): number => type % 3;

/** What a call returns; or what a debug build says of one that no host may make. */
function resultOf(e: EngineUnderTest, name: Name, args: readonly number[]): number | string {
  let result = 0;
  const abort = abortOf(() => {
    result = (e.wasm[name] as (...args: readonly number[]) => number)(...args);
  });
  // What is named there goes back to the host before anything else is done.
  if (abort === undefined && name === "trimRun" && result >= 0) e.releaseExtents();
  if (abort === undefined) return result;
  must(abort.startsWith("abort: host: "), abort);
  return abort;
}

class Fuzz {
  readonly e: EngineUnderTest;
  vectors: Vector[] = [];
  readonly slots: number[] = [1];
  /** The last arguments of a fill, for the commit that follows. */
  fill: number[] = [];
  /** The arguments that end a shrink, and what is to follow a prepare. */
  #shrink: number[] = [1, 0];
  #next: Name | undefined;
  /** Where vectors are once they are packed. */
  #packed: Vector[] = [];
  #content: number;

  constructor(dma32: number) {
    this.e = new EngineUnderTest({ frames: 21, slots: 25, entries: 70, ram: true, dma32 });
    this.#content = this.e.contentHash();
  }

  step(dice: Random): string {
    if (dice.percent(1)) return this.#clear();
    const next = dice.percent(70) ? this.#next : undefined;
    const name = next ?? (dice.percent(50) ? dice.pick(OFTEN) : dice.pick(NAMES));
    this.#next = undefined;
    const args = this.#arguments(name, dice);
    const call = `${name}(${args.map((arg) => (Object.is(arg, -0) ? "-0" : arg)).join(", ")})`;
    const { e } = this;
    if (name.startsWith("shrink") && name !== next) this.#putItems(dice);
    if (name === "vectorsPack") {
      this.#packed = this.vectors.map((v) => ({ ...v, vector: e.usedBefore(v.vector) }));
    }
    const state = e.stateHash();
    const back = DEBUGGING ? e.snapshot() : undefined;
    let result: number | string;
    try {
      result = resultOf(e, name, args);
    } catch (cause) {
      throw new Error(`${call} trapped: ${cause}`, { cause });
    }
    if (typeof result === "string") {
      back?.();
      return `${call}: ${result}`;
    }
    must(Number.isInteger(result), `${call} returned ${result}`);
    const content = e.contentHash();
    if (result < 0 && !UNSIGNED.has(name)) {
      equal(e.stateHash(), state, `state after ${call} = ${result}`);
      equal(content, this.#content, `content after ${call} = ${result}`);
    } else this.#remember(name, args, result);
    this.#content = content;
    e.mustHold(`${call} = ${result}`);
    return call;
  }

  #remember(name: Name, args: readonly number[], result: number): void {
    if (name === "vectorAlloc") this.vectors.push({ vector: result, entries: args[0]! >>> 0 });
    if (name === "vectorsPack") this.vectors = this.#packed;
    if (name === "slotAlloc") this.slots.push(result, result + this.e.header(H_RUN) - 1);
    if (name === "fillPrepare") {
      this.fill = [...args.slice(0, 4), result, result, args[5]!];
      this.#next = "fillCommit";
    }
    if (name === "shrinkPrepare" && result > 0) {
      this.#shrink = [args[0]!, result];
      this.#next = "shrinkCommit";
    }
    if (this.slots.length > 12) this.slots.shift();
  }

  /** Frees what has a name, or memory would be full of what has none any more. */
  #clear(): string {
    const { e } = this;
    for (const { vector, entries } of this.vectors.splice(0)) {
      if (e.wasm.vectorDrop(vector, entries, 0) >= 0) e.wasm.vectorFree(vector, entries);
    }
    for (let i = 0; i < e.sizes.frames; i++) {
      for (let order = 0; order <= MAX_ORDER; order++) e.wasm.givePages(e.firstPfn + i, order);
    }
    for (let slot = 1; slot <= e.sizes.slots; slot++) e.wasm.slotFree(slot, 1);
    this.#content = e.contentHash();
    e.mustHold("dropping all vectors");
    return "all vectors dropped";
  }

  #arguments(name: Name, dice: Random): number[] {
    if (name === "shrinkCommit" && dice.percent(60)) return this.#shrink;
    if (name === "fillCommit" && this.fill.length > 0 && dice.percent(60)) {
      const args = this.fill;
      const read = dice.percent(60) ? args[4]! : dice.below(args[4]! + 1);
      return [...args.slice(0, 5), read, dice.percent(50) ? args[6]! : args[6]! ^ WALK_KEEP];
    }
    const v = this.#vector(dice);
    const proper = dice.percent(50);
    const near = proper || dice.percent(50) ? 0 : dice.below(5) - 2;
    return SIGNATURES[name].map((kind) => {
      if (!proper && dice.percent(15)) return dice.pick(EDGES);
      return this.#likely(kind, v, dice) + (kind === "how" ? 0 : near);
    });
  }

  /** A vector that was there once, or a part of it. */
  #vector(dice: Random): Vector {
    const v = this.vectors.length > 0 ? dice.pick(this.vectors) : { vector: 0, entries: 1 };
    if (dice.percent(70)) return v;
    const from = dice.below(v.entries + 1);
    return { vector: v.vector + from, entries: v.entries - from - dice.below(2) };
  }

  #likely(kind: Kind, v: Vector, dice: Random): number {
    const { e } = this;
    switch (kind) {
      case "pfn":
        return e.firstPfn + dice.below(e.sizes.frames);
      case "order":
        return dice.below(dice.pick([1, 3, MAX_ORDER + 2]));
      case "slot":
        return dice.percent(50) ? dice.pick(this.slots) : 1 + dice.below(e.sizes.slots);
      case "vector":
        return v.vector;
      case "entries":
        return v.entries;
      case "entry":
        return v.vector + dice.below(v.entries + 1);
      case "used":
        return e.sizes.entries - e.freeEntries;
      case "kinds":
        return dice.below(KINDS + 1);
      case "offset":
        return dice.percent(60) ? 0 : dice.below(v.entries + 1);
      case "count":
        return 1 + dice.below(dice.pick([1, 4, 20]));
      case "items":
        return 1 + dice.below(3);
      case "budget":
        return dice.pick([1, 7, 30, BATCH_PAGES_MAX]);
      case "flag":
        return dice.below(2);
      case "how":
        return this.#how(dice);
      case "caching":
        return dice.below(3);
      case "type":
        return dice.below(dice.pick([2, 4, POOL_TYPES_MAX]));
      case "size":
        return dice.pick([1, 21, 1000]);
    }
  }

  #how(dice: Random): number {
    const type = dice.below(dice.pick([1, 4, POOL_TYPES_MAX + 1])) - 1;
    const orders = [0, 1, 2, 3, 4, 9].filter((order) => dice.percent(order === 0 ? 95 : 60));
    const dma32 = dice.percent(20);
    return how({
      type,
      caching: Math.max(0, cachingOf(type)),
      orders,
      dma32,
      keep: dice.percent(50),
    });
  }

  /** The items of a shrink lie in memory, where a caller may write anything. */
  #putItems(dice: Random): void {
    if (dice.percent(20)) return;
    const count = dice.percent(10) ? ITEMS_MAX : 3;
    const proper = dice.percent(50) && this.vectors.length > 0;
    for (let i = 0; i < count; i++) {
      const { vector, entries } = proper ? dice.pick(this.vectors) : this.#vector(dice);
      const start = proper || dice.percent(60) ? 0 : dice.below(entries + 1);
      const words = [vector, entries, start, dice.percent(80) ? entries : dice.below(entries + 1)];
      const at = (ITEMS + i * ITEM_BYTES) / 4;
      words.forEach((word, w) => {
        this.e.words[at + w] = !proper && dice.percent(4) ? dice.pick(EDGES) : word;
      });
    }
  }
}

describe("any call with any arguments", () => {
  test("neither traps, nor breaks an invariant, nor changes anything when it is refused", () => {
    forAll(program(5_000), 6, (words) => {
      const fuzz = new Fuzz(words[0]! % 2 === 0 ? 21 : 0);
      runProgram(words, (dice) => fuzz.step(dice));
    });
  });

  test("is made for every export", () => {
    const functions = Object.entries(instantiate()).filter(
      ([, value]) => value instanceof Function,
    );
    expect(functions.map(([name]) => name).sort()).toEqual([...NAMES].sort());
    for (const [name, value] of functions) {
      equal((value as CallableFunction).length, SIGNATURES[name as Name].length, `${name}.length`);
    }
  });

  test.each(NAMES)("%s with the edges of 32 bits in each place", (name) => {
    const parameters = SIGNATURES[name].length;
    for (let place = 0; place < Math.max(parameters, 1); place++) {
      for (const edge of EDGES) {
        for (const other of [0, 1, U32_MAX]) {
          const e = small();
          const args = new Array<number>(parameters).fill(other);
          if (place < parameters) args[place] = edge;
          const state = e.stateHash();
          const result = resultOf(e, name, args);
          if (typeof result === "string") continue;
          const what = `${name}(${args.join(", ")})`;
          if (result < 0 && !UNSIGNED.has(name)) equal(e.stateHash(), state, `state after ${what}`);
          e.mustHold(what);
        }
      }
    }
  });
});

/**
 * A used engine, the same each time: vector 0 of 3 pages, vector 3 of 2 handles, vector 5 of a clean
 * page, and a page in pool type 1.
 */
const small: () => EngineUnderTest = (() => {
  let made: { e: EngineUnderTest; back: () => void } | undefined;
  return () => {
    if (made === undefined) {
      const e = new EngineUnderTest({ frames: 8, slots: 8, entries: 8, ram: true });
      const [pages, handles, clean] = [3, 2, 1].map((entries) => newVector(e, entries));
      fillAll(e, pages!);
      fillAll(e, handles!);
      fillAll(e, clean!);
      shrinkAll(e, [handles!, clean!]);
      fillAll(e, clean!, { keep: true });
      const { vector } = newVector(e, 1);
      fillAll(e, { vector, entries: 1 });
      equal(e.wasm.vectorCaching(vector, 1, 0, cachingOf(1)), 1, "vectorCaching");
      equal(e.wasm.vectorDrop(vector, 1, how({ type: 1, caching: cachingOf(1) })), 1, "vectorDrop");
      equal(e.wasm.vectorFree(vector, 1), 0, "vectorFree");
      equal(e.header(H_POOLED), 1, "pages in pools");
      made = { e, back: e.snapshot() };
    }
    made.back();
    return made.e;
  };
})();
