/* The slot bitmap against a Set of the slots in use. */
import { describe, expect, test } from "vitest";
import { EINVAL, ENOSPC, H_RUN } from "../../assembly/abi.ts";
import { Random } from "../support/random.ts";
import {
  EngineUnderTest,
  equal,
  forAll,
  must,
  program,
  runProgram,
  U32_MAX,
} from "./engine_under_test.ts";
import { fillAll, newVector, shrinkAll } from "./page_content.ts";

/** A Set, and the same slots in an array to draw from. */
class SlotModel {
  readonly slots: number;
  readonly used: Set<number> = new Set();
  readonly #list: number[] = [];
  readonly #place: Map<number, number> = new Map();

  constructor(slots: number) {
    this.slots = slots;
  }

  get free(): number {
    return this.slots - this.used.size;
  }

  add(slot: number): void {
    must(slot >= 1 && slot <= this.slots, `slot ${slot} is out of range`);
    must(!this.used.has(slot), `slot ${slot} was given out twice`);
    this.used.add(slot);
    this.#place.set(slot, this.#list.length);
    this.#list.push(slot);
  }

  remove(slot: number): void {
    must(this.used.delete(slot), `slot ${slot} was not in use`);
    const place = this.#place.get(slot)!;
    const last = this.#list.pop()!;
    if (last !== slot) {
      this.#list[place] = last;
      this.#place.set(last, place);
    }
    this.#place.delete(slot);
  }

  any(dice: Random): number {
    return dice.pick(this.#list);
  }
}

class SlotRun {
  readonly e: EngineUnderTest;
  readonly model: SlotModel;

  constructor(slots: number) {
    this.e = new EngineUnderTest({ frames: 1, slots, entries: 1 });
    this.model = new SlotModel(slots);
  }

  /** One operation. Rounds of 700 in which the map tends to fill up and to empty take turns. */
  step(dice: Random, index: number): string {
    const growing = Math.floor(index / 700) % 2 === 0;
    const kind = dice.below(100);
    let done: string;
    if (kind < (growing ? 65 : 25)) done = this.alloc(wantOf(dice));
    else if (kind < 90) done = this.free(dice);
    else done = this.wrong(dice);
    equal(this.e.freeSlots, this.model.free, `free slots after ${done}`);
    this.e.mustHold(done);
    return done;
  }

  /** Takes a run; -ENOSPC exactly when the map is full. */
  alloc(want: number): string {
    const { e, model } = this;
    const what = `slotAlloc(${want})`;
    if (want === 0 || model.free === 0) {
      e.mustRefuse(want === 0 ? EINVAL : ENOSPC, what, () => e.wasm.slotAlloc(want));
      return what;
    }
    const slot = e.wasm.slotAlloc(want);
    const length = e.header(H_RUN);
    must(slot > 0, `${what} gave ${slot}, but ${model.free} slots are free`);
    must(length >= 1 && length <= want, `${what} gave a run of ${length}`);
    for (let i = 0; i < length; i++) model.add(slot + i);
    return what;
  }

  /** Frees slots in use that lie side by side, whether or not they were taken together. */
  free(dice: Random): string {
    const { e, model } = this;
    if (model.used.size === 0) return "nothing to free";
    const slot = model.any(dice);
    const most = wantOf(dice);
    let count = 0;
    while ((count === 0 || count < most) && model.used.has(slot + count)) {
      model.remove(slot + count);
      count++;
    }
    const what = `slotFree(${slot}, ${count})`;
    equal(e.wasm.slotFree(slot, count), 0, what);
    return what;
  }

  wrong(dice: Random): string {
    const { e, model } = this;
    const end = model.slots;
    const [slot, count] = dice.pick<[number, number]>([
      [0, 1 + dice.below(3)],
      [1 + dice.below(end), 0],
      [end, 2],
      [end + 1 + dice.below(64), 1],
      [1 + dice.below(end), U32_MAX],
      [U32_MAX, 2],
      [2 ** 31, 1],
      this.#partlyFree(dice),
      this.#partlyFree(dice),
    ]);
    const what = `slotFree(${slot}, ${count})`;
    e.mustRefuse(EINVAL, what, () => e.wasm.slotFree(slot, count));
    return what;
  }

  /** A range with at least one free slot in it (or past the end): used ones before and behind. */
  #partlyFree(dice: Random): [number, number] {
    const { used, slots } = this.model;
    let free = 1 + dice.below(slots);
    while (used.has(free)) free++;
    const before = Math.min(dice.below(70), free - 1);
    return [free - before, before + 1 + dice.below(70)];
  }
}

/** Small wants mostly, around the word size often, and some without a limit. */
function wantOf(dice: Random): number {
  const most = dice.pick([1, 4, 16, 63, 64, 65, 300, 5000]);
  return dice.percent(1) ? dice.pick([0, 2 ** 31, U32_MAX]) : 1 + dice.below(most);
}

describe("10,000 random operations agree with the model", () => {
  test.each([1, 63, 64, 65, 4095, 4096, 4097, 100_000])("%i slots", (slots) => {
    forAll(program(10_000), 2, (words) => {
      const run = new SlotRun(slots);
      runProgram(words, (dice, index) => run.step(dice, index));
    });
  });
});

describe("a map that is nearly full, with its free slots scattered", () => {
  const cases = [0.99, 0.999].flatMap((full) => [4097, 100_000].map((slots) => ({ full, slots })));

  test.each(cases)("$full of $slots slots", ({ full, slots }) => {
    forAll(program(1), 3, ([word]) => {
      const run = new SlotRun(slots);
      while (run.model.free > 0) run.alloc(U32_MAX);
      const holes = Math.round(slots * (1 - full));
      scatter(run, holes, word!);
      drain(run, holes, word!);
    });
  });
});

/** Frees `holes` slots, one here and one there. */
function scatter(run: SlotRun, holes: number, seed: number): void {
  const { e, model } = run;
  const step = Math.max(1, Math.floor(model.slots / holes));
  for (let i = 0; i < holes; i++) {
    const slot = 1 + ((seed + i * step) % model.slots);
    if (!model.used.has(slot)) continue;
    model.remove(slot);
    equal(e.wasm.slotFree(slot, 1), 0, "slotFree");
    e.mustHold("slotFree");
  }
}

/** Allocates until -ENOSPC: exactly the free slots come, each once. */
function drain(run: SlotRun, holes: number, seed: number): void {
  const { e, model } = run;
  must(model.free > holes / 2, "holes were made");
  for (let i = 0; model.free > 0; i++) {
    run.alloc(1 + ((seed >>> (i % 24)) & 15));
    equal(e.freeSlots, model.free, "free slots");
    e.mustHold("slotAlloc");
  }
  equal(e.wasm.slotAlloc(1), -ENOSPC, "slotAlloc of a full map");
}

test("the slots come in one run while nothing was freed", () => {
  const e = new EngineUnderTest({ frames: 1, slots: 5000, entries: 1 });
  for (let next = 1; next <= 5000; ) {
    const want = Math.min(700, 5001 - next);
    expect(e.wasm.slotAlloc(want)).toBe(next);
    expect(e.header(H_RUN)).toBe(want);
    next += want;
  }
  expect(e.wasm.slotAlloc(1)).toBe(-ENOSPC);
});

// A run may begin or go on behind what was ever used however much of that is free: it grows without end.
test("a store holds at most about twice what is in it", () => {
  forAll(program(1), 3, ([word]) => {
    for (const most of [1, 8, 15, 64]) {
      const e = new EngineUnderTest({ frames: 1, slots: 20_000, entries: 1 });
      churn(e, new Random(word!), most);
    }
  });
});

/** Keeps about 200 slots in use; no slot far behind them may ever be taken. */
function churn(e: EngineUnderTest, dice: Random, most: number): void {
  const live: { slot: number; count: number }[] = [];
  let used = 0;
  let peak = 0;
  for (let i = 0; i < 10_000; i++) {
    while (used > 200 || (live.length > 0 && dice.percent(40))) {
      const [{ slot, count }] = live.splice(dice.below(live.length), 1) as [(typeof live)[0]];
      equal(e.wasm.slotFree(slot, count), 0, "slotFree");
      used -= count;
    }
    const slot = e.wasm.slotAlloc(1 + dice.below(most));
    const count = e.header(H_RUN);
    live.push({ slot, count });
    used += count;
    peak = Math.max(peak, used);
    must(slot + count - 1 <= 2 * peak + most, `slot ${slot + count - 1} for ${peak} in use`);
  }
  e.mustHold("10,000 runs");
}

test("a slot that a page vector names is not freed from outside", () => {
  const e = new EngineUnderTest({ frames: 4, slots: 8, entries: 4, ram: true });
  const v = newVector(e, 2);
  fillAll(e, v);
  shrinkAll(e, [v]);
  const named = e.entry(v.vector) >>> 1;
  const raw = e.wasm.slotAlloc(2);
  expect(raw).toBeGreaterThan(0);
  e.mustRefuse(EINVAL, "free of a vector's slot", () => e.wasm.slotFree(named, 1));
  expect(e.wasm.check()).toBe(0);
  expect(e.wasm.slotFree(raw, 2)).toBe(0);
  expect(e.wasm.check()).toBe(0);
});
