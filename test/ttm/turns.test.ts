/* Turns of the event loop, with a clock that stands still but where the test moves it. */
import { beforeEach, expect, test, vi } from "vitest";
import { nextTurn, timeLeft, yieldTurn } from "../../src/ttm/turns.ts";

const clock = vi.hoisted(() => ({ time: 0 }));

vi.mock(import("../../src/host.ts"), async (original) => ({
  ...(await original()),
  now: () => clock.time,
}));

function loopTurns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

beforeEach(async () => {
  // What began in an earlier test is over by then.
  await loopTurns();
  await loopTurns();
  clock.time = 1000;
});

test("there is time left for a slice, and none after it until the loop has turned", async () => {
  expect(timeLeft()).toBe(true);
  clock.time += 5;
  expect(timeLeft()).toBe(true);
  clock.time += 5;
  expect(timeLeft()).toBe(false);
  expect(timeLeft()).toBe(false);
  await loopTurns();
  expect(timeLeft()).toBe(true);
});

test("work that is spread over many turns has its slice in each", async () => {
  for (let i = 0; i < 10; i++) {
    expect(timeLeft()).toBe(true);
    clock.time += 9;
    expect(timeLeft()).toBe(false);
    await loopTurns();
  }
});

test("who waits goes on after a turn, in the order of waiting, as long as there is time", async () => {
  timeLeft();
  clock.time += 9;
  const order: number[] = [];
  let turns = 0;
  let counting = true;
  const count = () => {
    turns++;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const all = [1, 2, 3, 4, 5].map(async (i) => {
    await nextTurn();
    order.push(i);
    clock.time += 5; // two of them are a slice
  });
  await Promise.all(all);
  counting = false;
  expect(order).toEqual([1, 2, 3, 4, 5]);
  expect(turns).toBeGreaterThanOrEqual(2); // five times five milliseconds do not go at a stretch
});

test("yielding lets what is due go first, however much time there is", async () => {
  const order: string[] = [];
  setImmediate(() => order.push("another"));
  await yieldTurn();
  order.push("this one");
  expect(order).toEqual(["another", "this one"]);
});
