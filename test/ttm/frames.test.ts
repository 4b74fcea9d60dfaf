import { describe, expect, test } from "vitest";
import { Claim, Frames, Transits } from "../../src/ttm/frames.ts";
import { Waiter } from "../../src/wait_queue.ts";

describe("a claim", () => {
  test("grows, never shrinks but by what is taken, and the total follows", () => {
    const claims = new Frames();
    const [a, b] = [new Claim(claims), new Claim(claims)];
    a.raise(5);
    b.raise(3);
    a.raise(4); // it has more already
    expect([a.frames, b.frames, claims.claimed]).toEqual([5, 3, 8]);
    a.take(2);
    expect([a.frames, claims.claimed]).toEqual([3, 6]);
    a.raise(4);
    expect([a.frames, claims.claimed]).toEqual([4, 7]);
  });

  test("never takes more than there is of it, and nothing is left of one that ended", () => {
    const claims = new Frames();
    const [a, b] = [new Claim(claims), new Claim(claims)];
    a.raise(2);
    b.raise(7);
    a.take(100);
    expect([a.frames, claims.claimed]).toEqual([0, 7]);
    a.take(1);
    a.end();
    b.end();
    b.end();
    expect([a.frames, b.frames, claims.claimed, claims.taken]).toEqual([0, 0, 0, 0]);
  });
});

describe("shrinks on their way", () => {
  test("wake one of those who wait for each that ends, in their order", () => {
    const transits = new Transits();
    const woken: number[] = [];
    transits.begin();
    transits.begin();
    for (const i of [1, 2, 3]) transits.queue.push(new Waiter(undefined, () => woken.push(i)));
    transits.end();
    expect([transits.count, woken]).toEqual([1, [1]]);
    transits.wakeNext(); // who was woken needs less than there is
    expect([transits.count, woken]).toEqual([1, [1, 2]]);
    transits.end();
    expect([transits.count, woken]).toEqual([0, [1, 2, 3]]);
    transits.wakeNext();
    expect(woken).toEqual([1, 2, 3]);
  });

  test("are counted down before anybody is woken: who looks then sees it", () => {
    const transits = new Transits();
    transits.begin();
    let seen = -1;
    transits.queue.push(
      new Waiter(undefined, () => {
        seen = transits.count;
      }),
    );
    transits.end();
    expect(seen).toBe(0);
  });
});
