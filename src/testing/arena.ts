import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { View } from "../host_types.ts";
import type { SwapRun } from "../swap/types.ts";
import { Random } from "./random.ts";
import { expectRule, type SwapRule } from "./rules.ts";

const WASM_PAGE = 65536;
const WORDS = PAGE_SIZE / 4;
/** What is where nobody has written. */
const FILLER = 0xa5a5a5a5;

let noise: Uint32Array | undefined;

/** Random words, of which content is a stretch. */
export function noiseOf(): Uint32Array {
  const random = new Random(1);
  noise ??= Uint32Array.from({ length: 32 * WORDS }, () => random.next());
  return noise;
}

/** A page of content: no two look alike. */
export function pageOf(seed: number): Uint32Array {
  const words = noiseOf();
  const mark = new Random(Math.imul(seed, 0x9e3779b1)).next();
  const from = mark % (words.length - WORDS);
  const page = words.slice(from, from + WORDS);
  page[0] = mark;
  page[WORDS - 1] = seed;
  return page;
}

/** Slots side by side. */
export function slotsFrom(slot: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => slot + i);
}

/** A call's runs, and where in memory the page of each slot is. */
export interface Placed {
  readonly runs: readonly SwapRun[];
  /** Slot and index of its page in memory, in order. */
  readonly pages: readonly (readonly [slot: number, at: number])[];
}

/**
 * One large memory as a pool has it, in which the views of calls lie here and there: pages are handed out in
 * pieces, and what lies beside them is watched.
 */
export class Arena {
  readonly #words: Uint32Array;
  readonly #buffer: ArrayBuffer;
  readonly #random: Random;
  readonly #free: Set<number>;

  constructor(pages: number, random: Random) {
    const initial = Math.ceil((pages * PAGE_SIZE) / WASM_PAGE);
    this.#buffer = new WebAssembly.Memory({ initial }).buffer;
    this.#words = new Uint32Array(this.#buffer).fill(FILLER);
    this.#random = random;
    this.#free = new Set(slotsFrom(0, (initial * WASM_PAGE) / PAGE_SIZE));
  }

  /** Pages that no call has. */
  get free(): number {
    return this.#free.size;
  }

  /** Views for slots, which are given run by run. With `seeds` they hold that content, else filler. */
  place(runs: readonly (readonly number[])[], seeds?: ReadonlyMap<number, number>): Placed {
    const pages: [number, number][] = [];
    const placed = runs.map((slots) => {
      const views: View[] = [];
      for (let done = 0; done < slots.length; ) {
        const most = Math.min(slots.length - done, this.#random.pick([1, 1, 2, 5, 64, 256]));
        const [first, length] = this.#take(most);
        views.push(new Uint8Array(this.#buffer, first * PAGE_SIZE, length * PAGE_SIZE));
        for (let i = 0; i < length; i++) pages.push([slots[done + i] as number, first + i]);
        done += length;
      }
      return { slot: slots[0] as number, views };
    });
    for (const [slot, at] of pages) {
      const seed = seeds?.get(slot);
      if (seed !== undefined) this.#words.set(pageOf(seed), at * WORDS);
    }
    return { runs: placed, pages };
  }

  /** Pages side by side, at most so many, somewhere; the memory is large enough for what is tested. */
  #take(most: number): readonly [first: number, length: number] {
    const free = [...this.#free];
    const from = free[this.#random.below(free.length)];
    if (from === undefined) throw new RangeError("the memory of the test is too small");
    let length = 0;
    while (length < most && this.#free.delete(from + length)) length++;
    return [from, length];
  }

  /** The call has settled: the memory is used for something else at once. */
  reuse({ pages }: Placed): void {
    for (const [, at] of pages) {
      this.#page(at).fill(FILLER);
      this.#free.add(at);
    }
  }

  #page(at: number): Uint32Array {
    return this.#words.subarray(at * WORDS, (at + 1) * WORDS);
  }

  /** @throws SwapContractError naming `rule` unless the pages hold what the seeds of their slots say */
  expect(
    { pages }: Placed,
    seeds: ReadonlyMap<number, number>,
    rule: SwapRule,
    what: string,
  ): void {
    for (const [slot, at] of pages) {
      const expected = pageOf(seeds.get(slot) as number);
      const page = this.#page(at);
      let word = 0;
      while (word < WORDS && page[word] === expected[word]) word++;
      expectRule(word === WORDS, rule, () => {
        const how = isFiller(page) ? "was not filled" : `has other bytes from byte ${4 * word} on`;
        return `${what}: the page of slot ${slot} ${how}`;
      });
    }
  }

  /** @throws SwapContractError naming `rule` when a page that was not handed out, or was given back, has changed */
  expectBeside(rule: SwapRule, what: string): void {
    for (const at of this.#free) {
      const same = isFiller(this.#page(at));
      expectRule(same, rule, () => `${what} wrote to memory that was not, or no longer, its own`);
    }
  }
}

function isFiller(page: Uint32Array): boolean {
  for (let i = 0; i < page.length; i++) if (page[i] !== FILLER) return false;
  return true;
}
