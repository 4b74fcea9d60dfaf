/* What the store behind the slots takes, refuses and gets back, against a list of what each slot is. */
import { describe, expect, test } from "vitest";
import {
  BAD,
  EINVAL,
  ENOSPC,
  H_BACKED_FREE,
  H_BAD,
  H_LOST,
  H_RUN,
  H_SLOTS_END,
  H_SLOTS_USED,
  LOST,
} from "../../assembly/abi.ts";
import type { Random } from "../support/random.ts";
import { EngineUnderTest, equal, forAll, must, program, runProgram } from "./engine_under_test.ts";

type State = "free" | "used" | "bad" | "lost";

class SpaceRun {
  readonly e: EngineUnderTest;
  readonly slots: number;
  /** By slot; the first one is nobody's. */
  readonly #state: State[];
  readonly #backed = new Set<number>();
  #end = 0;

  constructor(slots: number) {
    this.slots = slots;
    this.e = new EngineUnderTest({ frames: 1, slots, entries: 1 });
    this.#state = Array.from({ length: slots + 1 }, (_, slot) => (slot === 0 ? "used" : "free"));
  }

  #count(state: State): number {
    let count = 0;
    for (let slot = 1; slot <= this.slots; slot++) if (this.#state[slot] === state) count++;
    return count;
  }

  step(dice: Random): string {
    const done = this.#do(dice);
    const { e } = this;
    equal(e.freeSlots, this.#count("free"), `free slots after ${done}`);
    equal(e.header(H_SLOTS_USED), this.#count("used"), `slots in use after ${done}`);
    equal(e.header(H_BAD), this.#count("bad"), `bad slots after ${done}`);
    equal(e.header(H_LOST), this.#count("lost"), `lost slots after ${done}`);
    const backed = Array.from(this.#backed).filter((slot) => this.#state[slot] === "free");
    equal(e.header(H_BACKED_FREE), backed.length, `backed slots after ${done}`);
    equal(e.header(H_SLOTS_END), this.#end, `the last slot ever after ${done}`);
    e.mustHold(done);
    return done;
  }

  #do(dice: Random): string {
    const kind = dice.below(100);
    if (kind < 35) return this.#take(dice);
    if (kind < 65) return this.#release(dice);
    if (kind < 80) return this.#took(dice);
    if (kind < 90) return this.#aside(dice);
    if (kind < 93) return this.#back();
    if (kind < 96) return this.#discard();
    return this.#wrong(dice);
  }

  #take(dice: Random): string {
    const { e } = this;
    if (this.#count("free") === 0) return this.#retry(dice.percent(50));
    const want = 1 + dice.below(200);
    this.#taken(e.wasm.slotAlloc(want), e.header(H_RUN), "free");
    return `slotAlloc(${want})`;
  }

  #taken(slot: number, count: number, was: State): void {
    must(slot > 0 && count > 0, `a run of ${count} from ${slot}`);
    for (let at = slot; at < slot + count; at++) {
      equal(this.#state[at], was, `what slot ${at} was before`);
      this.#state[at] = "used";
    }
  }

  /** With none left: one that was set aside, and only one. */
  #retry(lost: boolean): string {
    const { e } = this;
    const [bad, full] = [this.#count("bad"), this.#count("lost")];
    const why = e.wasm.slotRetry(Number(lost));
    const what = `slotRetry(${lost})`;
    if (why === 0) {
      must(bad === 0 && (!lost || full === 0), `${what} gave none`);
      equal(e.wasm.slotAlloc(1), -ENOSPC, "slotAlloc");
      return what;
    }
    must(why === BAD || (lost && why === LOST), `${what} gave ${why}`);
    const slot = e.wasm.slotAlloc(9);
    equal(e.header(H_RUN), 1, `slots after ${what}`);
    this.#taken(slot, 1, why === BAD ? "bad" : "lost");
    this.#backed.delete(slot);
    return what;
  }

  /** Slots from a random one on that are in one state, `most` of them at most. */
  #runOf(dice: Random, state: State, most: number): [slot: number, count: number] {
    const slot = 1 + dice.below(this.slots);
    let count = 0;
    while (count < most && this.#state[slot + count] === state) count++;
    return [slot, count];
  }

  #release(dice: Random): string {
    const [slot, count] = this.#runOf(dice, "used", 1 + dice.below(300));
    if (count === 0) return "nothing";
    equal(this.e.wasm.slotFree(slot, count), 0, "slotFree");
    this.#state.fill("free", slot, slot + count);
    return `slotFree(${slot}, ${count})`;
  }

  #took(dice: Random): string {
    const [slot, count] = this.#runOf(dice, "used", 1 + dice.below(100));
    if (count === 0) return "nothing";
    equal(this.e.wasm.slotsTook(slot, count), 0, "slotsTook");
    for (let at = slot; at < slot + count; at++) this.#backed.add(at);
    this.#end = Math.max(this.#end, slot + count - 1);
    return `slotsTook(${slot}, ${count})`;
  }

  #aside(dice: Random): string {
    const why = dice.pick([BAD, LOST]);
    const slot = 1 + dice.below(this.slots);
    const count = 1 + dice.below(Math.min(150, this.slots - slot + 1));
    equal(this.e.wasm.slotsAside(slot, count, why), 0, "slotsAside");
    for (let at = 1; at <= this.slots; at++) {
      if (this.#state[at] !== "free") continue;
      const named = at >= slot && at < slot + count;
      if (!named && (why === BAD || this.#backed.has(at))) continue;
      this.#state[at] = why === BAD ? "bad" : "lost";
      this.#backed.delete(at);
    }
    return `slotsAside(${slot}, ${count}, ${why})`;
  }

  #back(): string {
    this.e.wasm.slotsBack();
    this.#freeLost();
    return "slotsBack()";
  }

  #freeLost(): void {
    for (let slot = 1; slot <= this.slots; slot++) {
      if (this.#state[slot] === "lost") this.#state[slot] = "free";
    }
  }

  #discard(): string {
    this.#freeLost();
    const gone = new Set<number>();
    for (const slot of this.#backed) if (this.#state[slot] === "free") gone.add(slot);
    const told: number[] = [];
    let more: number;
    do {
      more = this.e.wasm.slotsDiscard();
      for (const { slot, pages } of this.e.extents()) {
        for (let i = 0; i < pages; i++) told.push(slot + i);
      }
    } while (more > 0);
    equal(told.join(), [...gone].sort((a, b) => a - b).join(), "slots discarded");
    for (const slot of gone) this.#backed.delete(slot);
    const reach = this.#state.lastIndexOf("used");
    this.#end = Math.min(this.#end, Math.max(reach, 0));
    return "slotsDiscard";
  }

  #wrong(dice: Random): string {
    const { e, slots } = this;
    const free = this.#state.findIndex((state) => state !== "used");
    const calls: [string, () => number][] = [
      ["slotsTook of none", () => e.wasm.slotsTook(1 + dice.below(slots), 0)],
      ["slotsTook past the end", () => e.wasm.slotsTook(slots, 2)],
      ["slotsAside of slot 0", () => e.wasm.slotsAside(0, 1, BAD)],
      ["slotsAside past the end", () => e.wasm.slotsAside(slots, 2, LOST)],
      ["slotsAside without a reason", () => e.wasm.slotsAside(1, 1, 0)],
      ["slotsAside for another reason", () => e.wasm.slotsAside(1, 1, 3)],
    ];
    if (free > 0) calls.push(["slotsTook of another", () => e.wasm.slotsTook(free, 1)]);
    const [what, call] = dice.pick(calls);
    e.mustRefuse(EINVAL, what, call);
    return what;
  }
}

describe("2,000 random operations agree with the model", () => {
  test.each([1, 63, 64, 65, 1000, 3000])("%i slots", (slots) => {
    forAll(program(2000), 2, (words) => {
      const run = new SpaceRun(slots);
      runProgram(words, (dice) => run.step(dice));
    });
  });
});

test("a store that promises far more than it has costs no more than what it has", () => {
  const slots = 2 ** 28;
  const e = new EngineUnderTest({ frames: 1, slots, entries: 1 });
  expect(e.wasm.slotAlloc(100)).toBe(1);
  expect(e.wasm.slotsTook(1, 60)).toBe(0);
  expect(e.wasm.slotFree(61, 40)).toBe(0);
  expect(e.wasm.slotsAside(61, 1, LOST)).toBe(0);
  expect(e.freeSlots).toBe(0);
  expect(e.header(H_LOST)).toBe(slots - 60);
  expect(e.wasm.slotRetry(1)).toBe(LOST);
  expect(e.wasm.slotAlloc(100)).toBeGreaterThan(60);
  expect(e.header(H_RUN)).toBe(1);
  e.wasm.slotsBack();
  expect(e.freeSlots).toBe(slots - 61);
});

test("slots that were set aside are tried in their turn, so that one that stays bad stops nobody", () => {
  const e = new EngineUnderTest({ frames: 1, slots: 130, entries: 1 });
  expect(e.wasm.slotAlloc(130)).toBe(1);
  expect(e.wasm.slotFree(1, 130)).toBe(0);
  expect(e.wasm.slotsAside(1, 130, BAD)).toBe(0);
  const tried = new Set<number>();
  for (let i = 0; i < 130; i++) {
    expect(e.wasm.slotRetry(0)).toBe(BAD);
    const slot = e.wasm.slotAlloc(1);
    tried.add(slot);
    expect(e.wasm.slotFree(slot, 1)).toBe(0);
    expect(e.wasm.slotsAside(slot, 1, BAD)).toBe(0);
  }
  expect(tried.size).toBe(130);
  expect(e.wasm.check()).toBe(0);
});
