import { expect, test } from "vitest";
import { Waiter, WaitQueue } from "../src/wait_queue.ts";
import { type Random, seeded } from "./support/random.ts";

function members(queue: WaitQueue<number>): number[] {
  const wants: number[] = [];
  for (let each = queue.first; each; each = each.next) wants.push(each.wants);
  return wants;
}

function waiter(wants: number, woken: number[] = []): Waiter<number> {
  return new Waiter(wants, () => woken.push(wants));
}

test("who came first is first, unless somebody goes before all others", () => {
  const queue = new WaitQueue<number>();
  expect([queue.first, queue.shift()]).toEqual([undefined, undefined]);
  const woken: number[] = [];
  for (const wants of [1, 2, 3]) queue.push(waiter(wants, woken));
  queue.unshift(waiter(0, woken));
  expect(members(queue)).toEqual([0, 1, 2, 3]);
  for (let next = queue.shift(); next; next = queue.shift()) next.wake();
  expect(woken).toEqual([0, 1, 2, 3]);
  expect(queue.first).toBeUndefined();
});

test("nobody is woken by the queue itself", () => {
  const queue = new WaitQueue<number>();
  const woken: number[] = [];
  const [a, b] = [waiter(1, woken), waiter(2, woken)];
  queue.push(a);
  queue.push(b);
  queue.remove(a);
  expect(queue.shift()).toBe(b);
  expect(woken).toEqual([]);
});

test("it is what a list would be, whoever leaves from wherever", () =>
  seeded((random: Random) => {
    const queue = new WaitQueue<number>();
    let list: Waiter<number>[] = [];
    for (let step = 0; step < 5000; step++) {
      const one = waiter(step);
      switch (random.below(4)) {
        case 0:
          queue.push(one);
          list.push(one);
          break;
        case 1:
          queue.unshift(one);
          list.unshift(one);
          break;
        case 2:
          expect(queue.shift()).toBe(list.shift());
          break;
        default:
          if (list.length === 0) break;
          {
            const left = random.pick(list);
            queue.remove(left);
            list = list.filter((each) => each !== left);
            // Whoever left can come again.
            if (random.chance(0.3)) {
              queue.push(left);
              list.push(left);
            }
          }
      }
      expect(members(queue)).toEqual(list.map(({ wants }) => wants));
    }
  }));
