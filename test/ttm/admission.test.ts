/* Admission by itself: who is let in, when, and in which order. Nothing here moves a page. */
import { describe, expect, test } from "vitest";
import { TtmError, type TtmErrorCode } from "../../src/index.ts";
import { Admission, NEED_NONE, type Need } from "../../src/ttm/admission.ts";
import { AsyncTask } from "../../src/ttm/task.ts";
import { type Random, seeded } from "../support/random.ts";

/** Lets everybody go on who can: some do after a turn of the event loop only. */
async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** An operation that came for `frames` pages, and leaves when the test says so. */
class Visit {
  readonly task: AsyncTask = new AsyncTask("populate", undefined, undefined);
  /** Times it was let in. */
  entries = 0;
  /** What became of it. */
  outcome: unknown = "pending";
  readonly frames: number;
  readonly #fails: (entry: number) => TtmErrorCode | undefined;
  #leave: (() => void) | undefined;

  constructor(
    frames: number,
    fails: (entry: number) => TtmErrorCode | undefined = () => undefined,
  ) {
    this.frames = frames;
    this.#fails = fails;
  }

  get inside(): boolean {
    return this.#leave !== undefined;
  }

  leave(): void {
    if (!this.#leave) throw new Error("it is not inside");
    this.#leave();
    this.#leave = undefined;
  }

  /** Of its frames, those that it has not. */
  lacking = 0;

  come(admission: Admission, lacking: number): this {
    this.lacking = lacking;
    const need = (): Need =>
      this.frames === 0 ? NEED_NONE : { frames: this.frames, lacking: this.lacking };
    const attempt = async () => {
      this.entries++;
      await new Promise<void>((resolve) => {
        this.#leave = resolve;
      });
      const code = this.#fails(this.entries);
      return code && new TtmError(code, "populate", `entry ${this.entries}`);
    };
    this.task.outcome(admission.run(this.task, need, attempt)).then(
      (failure) => {
        this.outcome = failure === undefined ? "done" : (failure as TtmError).code;
      },
      (error) => {
        this.outcome = (error as TtmError).code;
      },
    );
    return this;
  }
}

/** A house of so many frames, and slots in plenty unless told otherwise. */
class House {
  readonly supply: { frames: number; exchange: number };
  readonly admission: Admission;

  constructor(frames: number, exchange = 1e6) {
    this.supply = { frames, exchange };
    this.admission = new Admission(this.supply);
  }

  /** Operations that come one after the other, for so many frames each. */
  async come(...needs: (number | Visit)[]): Promise<Visit[]> {
    const visits = needs.map((need) => (need instanceof Visit ? need : new Visit(need)));
    for (const visit of visits) visit.come(this.admission, visit.frames);
    await turn();
    return visits;
  }

  async leave(...visits: (Visit | undefined)[]): Promise<void> {
    for (const visit of visits) visit?.leave();
    await turn();
  }
}

const insideOf = (visits: readonly Visit[]): boolean[] => visits.map(({ inside }) => inside);
const outcomes = (visits: readonly Visit[]): unknown[] => visits.map(({ outcome }) => outcome);

/** Lets everybody go as soon as they are in. Returns the order in which they were. */
async function drain(visits: readonly Visit[]): Promise<Visit[]> {
  const order: Visit[] = [];
  for (let idle = 0; idle < 5; idle++) {
    for (const visit of visits) {
      if (!visit.inside) continue;
      idle = 0;
      order.push(visit);
      visit.leave();
      await turn();
    }
    await turn();
  }
  return order;
}

describe("who is let in", () => {
  test("as many as fit together; the next when one of them leaves, in order", async () => {
    const house = new House(10);
    const visits = await house.come(4, 6, 5, 5, 1);
    expect(insideOf(visits)).toEqual([true, true, false, false, false]);
    await house.leave(visits[0]);
    // The third does not fit into the four that are free; the last does, and passes it.
    expect(insideOf(visits)).toEqual([false, true, false, false, true]);
    await house.leave(visits[1], visits[4]);
    expect(insideOf(visits)).toEqual([false, false, true, true, false]);
    await house.leave(visits[2], visits[3]);
    expect(outcomes(visits)).toEqual(visits.map(() => "done"));
    expect([house.admission.inside, house.admission.exclusive]).toEqual([0, false]);
  });

  test("one by itself, whatever there is: what it fails with is its own", async () => {
    const house = new House(10);
    const visits = await house.come(new Visit(50, () => "ENOMEM"));
    expect(insideOf(visits)).toEqual([true]);
    await house.leave(visits[0]);
    expect(visits[0]).toMatchObject({ entries: 1, outcome: "ENOMEM" });
  });

  test("those that only give up pages, always", async () => {
    const house = new House(10, 0);
    const visits = await house.come(10, 0, 0, 10, 0);
    expect(insideOf(visits)).toEqual([true, true, true, false, true]);
    await drain(visits);
    expect(outcomes(visits)).toEqual(visits.map(() => "done"));
  });

  test("one at a time, when nothing could leave for a second", async () => {
    const house = new House(100, 12);
    const visits = await house.come(8, 8, 4, 8);
    expect(insideOf(visits)).toEqual([true, false, true, false]);
    house.supply.exchange = 100;
    await house.leave(visits[0]);
    expect(insideOf(visits)).toEqual([false, true, true, true]);
    await drain(visits);
  });

  test("by what there is when its turn comes, not when it came", async () => {
    const house = new House(10);
    const visits = await house.come(6, 6, 4);
    expect(insideOf(visits)).toEqual([true, false, true]);
    house.supply.frames = 5; // somebody was pinned
    await house.leave(visits[2]);
    expect(insideOf(visits)).toEqual([true, false, false]);
    await house.leave(visits[0]);
    expect(visits[1]?.inside).toBe(true);
    await drain(visits);
  });
});

test("what one lacks counts as it is when its turn comes: others may have taken what it had", async () => {
  const house = new House(16, 12);
  const [a, b] = [new Visit(8), new Visit(8)];
  a.come(house.admission, 8);
  b.come(house.admission, 0);
  const waiting = new Visit(8).come(house.admission, 0);
  await turn();
  expect(insideOf([a, b, waiting])).toEqual([true, true, false]);
  waiting.lacking = 8;
  await house.leave(b);
  expect(waiting.inside).toBe(false);
  await house.leave(a);
  expect(waiting.inside).toBe(true);
  // What it was let in with is what it leaves with, whatever it has by then.
  waiting.lacking = 0;
  await house.leave(waiting);
  const [c, d] = [new Visit(8).come(house.admission, 6), new Visit(8).come(house.admission, 6)];
  await turn();
  expect(insideOf([c, d])).toEqual([true, true]);
  await house.leave(c, d);
});

describe("a large one", () => {
  test("is passed so often and no more, by those who wait and those who come", async () => {
    const house = new House(10);
    const [first, large] = (await house.come(2, 10)) as [Visit, Visit];
    let passed = 0;
    let smalls = await house.come(...Array.from({ length: 4 }, () => 2));
    for (; smalls.some(({ inside }) => inside); passed++) {
      if (passed > 1000) throw new Error("it is passed for ever");
      const [one] = smalls.filter(({ inside }) => inside);
      await house.leave(one);
      smalls = smalls.filter((each) => each !== one);
      smalls.push(...(await house.come(2)));
      if (passed % 3 === 0) smalls.push(...(await house.come(2)));
    }
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThanOrEqual(64);
    expect(large.inside).toBe(false);
    await house.leave(first);
    expect(large.inside).toBe(true);
    expect(smalls.filter(({ inside }) => inside)).toEqual([]);
    await house.leave(large);
    // The count begins anew for whoever is first now.
    expect(smalls.filter(({ inside }) => inside)).toHaveLength(5);
    await drain(smalls);
    expect(outcomes(smalls)).toEqual(smalls.map(() => "done"));
  });

  test("behind another does not wait for the passes of both", async () => {
    const house = new House(10);
    const visits = await house.come(10, 10, 10, ...Array.from({ length: 200 }, () => 1));
    const order = await drain(visits);
    expect(order.slice(0, 3).map(({ frames }) => frames)).toEqual([10, 10, 10]);
    expect(order).toHaveLength(203);
  });
});

describe("one that found too little", () => {
  test("although others were inside meanwhile: comes again, before all others and alone", async () => {
    const once = (entry: number) => (entry === 1 ? ("ENOSPC" as const) : undefined);
    const house = new House(10);
    const [lacking, other, large, small] = (await house.come(new Visit(5, once), 5, 10, 4)) as [
      Visit,
      Visit,
      Visit,
      Visit,
    ];
    await house.leave(lacking);
    expect(lacking).toMatchObject({ entries: 1, inside: false, outcome: "pending" });
    // Who fits may go before it, as before anybody.
    expect(insideOf([other, large, small])).toEqual([true, false, true]);
    await house.leave(other, small);
    expect([lacking.inside, large.inside, house.admission.exclusive]).toEqual([true, false, true]);
    const [late] = (await house.come(1)) as [Visit];
    expect(late.inside).toBe(false);
    await house.leave(lacking);
    expect(lacking).toMatchObject({ entries: 2, outcome: "done" });
    expect([large.inside, late.inside, house.admission.exclusive]).toEqual([true, false, false]);
    await house.leave(large);
    await house.leave(late);
  });

  test("is told so when it still does, and does not try for ever", async () => {
    const house = new House(10);
    const [a, b] = (await house.come(
      new Visit(5, () => "ENOMEM"),
      new Visit(5, () => "ENOMEM"),
    )) as [Visit, Visit];
    await house.leave(a, b);
    await drain([a, b]);
    expect([a, b]).toMatchObject([
      { entries: 2, outcome: "ENOMEM" },
      { entries: 2, outcome: "ENOMEM" },
    ]);
  });

  test("of anything else than room does not come again", async () => {
    for (const code of ["EIO", "EINTR", "EBUSY", "EFAULT"] as const) {
      const house = new House(10);
      const [a, b] = (await house.come(new Visit(5, () => code), 5)) as [Visit, Visit];
      await house.leave(a, b);
      expect(a).toMatchObject({ entries: 1, outcome: code });
    }
  });

  test("comes again for somebody who came and went meanwhile", async () => {
    const house = new House(10);
    const [a] = (await house.come(
      new Visit(5, (entry) => (entry === 1 ? "ENOMEM" : undefined)),
    )) as [Visit];
    await house.leave(...(await house.come(5)));
    await house.leave(a);
    await house.leave(a);
    expect(a).toMatchObject({ entries: 2, outcome: "done" });
  });
});

describe("one that is stopped while it waits", () => {
  const stop = (visit: Visit | undefined) =>
    visit?.task.stop(new TtmError("EINTR", "populate", "stopped"));

  test("leaves no place taken, and those behind it go on", async () => {
    const house = new House(10);
    const visits = await house.come(6, 10, 4, 4);
    expect(insideOf(visits)).toEqual([true, false, true, false]);
    stop(visits[1]);
    await turn();
    expect(visits[1]).toMatchObject({ entries: 0, outcome: "EINTR" });
    await house.leave(visits[2]);
    expect(insideOf(visits)).toEqual([true, false, false, true]);
    await house.leave(visits[0], visits[3]);
    const [whole] = await house.come(10);
    expect(whole?.inside).toBe(true);
    await house.leave(whole);
    expect(house.admission.inside).toBe(0);
  });

  test("lets those in at once who only waited behind it", async () => {
    const house = new House(10);
    // As many pass the large one as may; then nobody does, although there is room.
    const [first, large] = (await house.come(1, 10)) as [Visit, Visit];
    for (let i = 0; i < 64; i++) await drain(await house.come(1));
    const [small] = (await house.come(1)) as [Visit];
    expect([large.inside, small.inside]).toEqual([false, false]);
    stop(large);
    await turn();
    expect([large.outcome, small.inside]).toEqual(["EINTR", true]);
    await house.leave(first, small);
  });

  test("alone, and is stopped there, keeps nobody out while what it is at goes on", async () => {
    const house = new House(10);
    const [first, lacking] = await house.come(4, new Visit(4, () => "ENOMEM"));
    await house.leave(lacking, first);
    expect(lacking).toMatchObject({ entries: 2, inside: true });
    const [small, large] = await house.come(6, 7);
    expect(insideOf([small as Visit, large as Visit])).toEqual([false, false]);
    lacking?.task.stop(new TtmError("EINTR", "populate", "stopped"));
    await turn();
    expect(insideOf([small as Visit, large as Visit])).toEqual([true, false]);
    await house.leave(lacking);
    expect(house.admission.exclusive).toBe(false);
    await house.leave(small);
    expect(large?.inside).toBe(true);
    await house.leave(large);
    expect(house.admission.inside).toBe(0);
  });

  test("to try again alone lets the others go on, too", async () => {
    const house = new House(10);
    const visits = await house.come(new Visit(5, () => "ENOMEM"), 5, 10);
    await house.leave(visits[0]);
    expect(insideOf(visits)).toEqual([false, true, false]);
    stop(visits[0]);
    await house.leave(visits[1]);
    expect([visits[0]?.outcome, visits[2]?.inside]).toEqual(["EINTR", true]);
    await house.leave(visits[2]);
    expect([house.admission.inside, house.admission.exclusive]).toEqual([0, false]);
  });
});

test("an attempt that throws leaves no place taken either", async () => {
  const house = new House(10);
  const task = new AsyncTask("populate", undefined, undefined);
  const boom = new Error("thrown");
  const running = house.admission.run(
    task,
    () => ({ frames: 10, lacking: 10 }),
    () => Promise.reject(boom),
  );
  const thrown = expect(running).rejects.toBe(boom);
  const [next] = await house.come(10);
  await thrown;
  await turn();
  expect(next?.inside).toBe(true);
  await house.leave(next);
  expect(house.admission.inside).toBe(0);
});

test("whoever comes, leaves, fails or is stopped: all end, and never more are inside than fit", () =>
  seeded(async (random: Random) => {
    for (let round = 0; round < 30; round++) {
      const house = new House(20, random.pick([20, 30, 1e6]));
      const visits: Visit[] = [];
      for (let step = 0; step < 150; step++) {
        const inside = visits.filter((visit) => visit.inside);
        const frames = inside.reduce((sum, visit) => sum + visit.frames, 0);
        if (inside.filter((visit) => visit.frames > 0).length > 1) {
          expect(frames).toBeLessThanOrEqual(20);
        }
        expect(house.admission.inside).toBeGreaterThanOrEqual(inside.length);
        if (random.chance(0.5) && visits.length < 60) {
          const fails = random.chance(0.2)
            ? () => random.pick(["ENOMEM", "EIO"] as const)
            : undefined;
          visits.push(new Visit(random.below(24), fails).come(house.admission, random.below(20)));
          if (random.chance(0.5)) await turn();
        } else if (random.chance(0.2)) {
          const waiting = visits.filter(({ inside, outcome }) => !inside && outcome === "pending");
          if (waiting.length > 0) {
            random.pick(waiting).task.stop(new TtmError("EINTR", "populate", "stopped"));
          }
          await turn();
        } else if (inside.length > 0) {
          random.pick(inside).leave();
          await turn();
        }
        if (random.chance(0.7)) await turn();
      }
      await drain(visits);
      expect(visits.filter(({ outcome }) => outcome === "pending")).toEqual([]);
      expect([house.admission.inside, house.admission.exclusive]).toEqual([0, false]);
    }
  }));
