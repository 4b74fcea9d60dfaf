import { describe, expect, test, vi } from "vitest";
import { TtmError } from "../../src/index.ts";
import { AsyncTask, interrupted, interruptible } from "../../src/ttm/task.ts";
import { WaitQueue } from "../../src/wait_queue.ts";
import { turn, until } from "../support/delays.ts";
import { fails, failsSync } from "../support/errors.ts";

const REASON = new Error("the caller's reason");
const ended = new TtmError("EINTR", "restore", "the device is being closed");

function taskOf(signal?: AbortSignal, gone?: () => boolean): AsyncTask {
  return new AsyncTask("restore", signal, undefined, gone);
}

/** Work that ends when the test says so. */
function work<T>(): {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Whether a promise has settled by now, and all microtasks have run. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  const note = () => {
    done = true;
  };
  promise.then(note, note);
  await turn();
  return done;
}

describe("an interruption", () => {
  test("names the operation, has the reason as its cause, and no stack", () => {
    const error = interrupted({ op: "map", signal: { aborted: true, reason: REASON } });
    expect(error).toMatchObject({ code: "EINTR", op: "map", cause: REASON });
    expect(error.stack ?? "").not.toContain(" at ");
  });

  test("is thrown for an aborted signal only", () => {
    interruptible({ op: "map", signal: undefined });
    interruptible({ op: "map", signal: { aborted: false } });
    failsSync("EINTR", () => interruptible({ op: "map", signal: { aborted: true } }));
  });
});

describe("the signal of a task is aborted", () => {
  test("with the caller's", () => {
    const controller = new AbortController();
    const task = taskOf(controller.signal);
    task.outcome(new Promise(() => {})).catch(() => {});
    expect(task.signal.aborted).toBe(false);
    controller.abort(REASON);
    expect(task.signal).toMatchObject({ aborted: true, reason: REASON });
    expect(task.stopped).toMatchObject({ code: "EINTR", cause: REASON });
  });

  test("with one that is no event target, whenever it is looked at", () => {
    let aborted = false;
    const task = new AsyncTask(
      "restore",
      {
        get aborted() {
          return aborted;
        },
      },
      undefined,
    );
    expect(task.signal.aborted).toBe(false);
    aborted = true;
    expect(task.signal.aborted).toBe(true);
    expect(task.stopped).toBeUndefined();
  });

  test("when what it is about has ceased to be, and when it is stopped", () => {
    let gone = false;
    const task = taskOf(undefined, () => gone);
    expect(task.signal.aborted).toBe(false);
    gone = true;
    expect(task.signal.aborted).toBe(true);
    const other = taskOf();
    other.stop(ended);
    expect([other.signal.aborted, other.stopped]).toEqual([true, ended]);
  });
});

describe("a signal of many tasks", () => {
  test("has one listener, which stops all of them that have not ended", async () => {
    const controller = new AbortController();
    const add = vi.spyOn(controller.signal, "addEventListener");
    const remove = vi.spyOn(controller.signal, "removeEventListener");
    const works = Array.from({ length: 100 }, () => work<void>());
    const tasks = works.map(() => taskOf(controller.signal));
    const outcomes = tasks.map((task, i) =>
      task.outcome((works[i] as { promise: Promise<void> }).promise),
    );
    works[0]?.resolve();
    await outcomes[0];
    expect(add).toHaveBeenCalledTimes(1);
    expect(remove).not.toHaveBeenCalled();
    controller.abort(REASON);
    expect(tasks.map(({ stopped }) => stopped?.code)).toEqual([
      undefined,
      ...works.slice(1).map(() => "EINTR"),
    ]);
    for (const { resolve } of works) resolve();
    await Promise.all(outcomes);
    expect(remove).toHaveBeenCalledTimes(1);
    const later = taskOf(controller.signal);
    expect(add).toHaveBeenCalledTimes(2);
    await later.outcome(Promise.resolve());
    expect(remove).toHaveBeenCalledTimes(2);
  });

  test("that refuses to be left keeps no outcome from its caller", async () => {
    const signal = {
      aborted: false,
      addEventListener: () => {},
      removeEventListener: () => {
        throw new Error("remove");
      },
    };
    const ended = vi.fn();
    const task = new AsyncTask("restore", signal, undefined);
    expect(await task.outcome(Promise.resolve(5), ended)).toBe(5);
    expect(ended).toHaveBeenCalledTimes(1);
  });
});

describe("a task that waits in a queue", () => {
  test("goes on when it is woken, and is not stopped by an abort after the end", async () => {
    const controller = new AbortController();
    const task = taskOf(controller.signal);
    const queue = new WaitQueue();
    const outcome = task.outcome(task.wait(queue, undefined).then(() => "done"));
    queue.shift()?.wake();
    expect(await outcome).toBe("done");
    controller.abort();
    expect(task.stopped).toBeUndefined(); // it listens no more
  });

  test("leaves it when it is stopped, at once, and takes nobody else along", async () => {
    const queue = new WaitQueue<string>();
    const [a, b] = [taskOf(), taskOf()];
    const first = a.outcome(a.wait(queue, "a"));
    const second = b.outcome(b.wait(queue, "b"));
    a.stop(ended);
    await expect(first).rejects.toBe(ended);
    expect(queue.first?.wants).toBe("b");
    expect(await settled(second)).toBe(false);
    queue.shift()?.wake();
    await second;
  });

  test("stands before all others if it is to be first", () => {
    const queue = new WaitQueue<string>();
    const tasks = ["a", "b", "c"].map((wants) => {
      const task = taskOf();
      void task.wait(queue, wants, wants === "c");
      return task;
    });
    expect(tasks.map(() => queue.shift()?.wants)).toEqual(["c", "a", "b"]);
  });

  test("does not begin to wait once it was stopped", async () => {
    const queue = new WaitQueue();
    const task = taskOf();
    task.stop(ended);
    await expect(task.wait(queue, undefined)).rejects.toBe(ended);
    expect(queue.first).toBeUndefined();
  });
});

describe("a task that a device is at work for", () => {
  test("tells its caller after a moment, and itself goes on to its end", async () => {
    const task = taskOf();
    const { promise, resolve } = work<string>();
    const outcome = task.outcome(promise);
    let told: unknown;
    outcome.catch((error) => {
      told = error;
    });
    let settledToo = false;
    void task.settled.then(() => {
      settledToo = true;
    });
    task.stop(ended);
    await Promise.resolve();
    expect(told).toBeUndefined(); // the device may answer in time
    await until(() => told !== undefined);
    expect([told, settledToo]).toEqual([ended, false]);
    resolve("late");
    await until(() => settledToo);
    expect(told).toBe(ended);
  });

  test("tells how it ended when the device answers in time, and leaves no timer", async () => {
    vi.useFakeTimers();
    try {
      const ends = [
        (w: ReturnType<typeof work<number>>) => w.resolve(5),
        (w: ReturnType<typeof work<number>>) => w.reject(REASON),
      ];
      for (const [i, end] of ends.entries()) {
        const task = taskOf();
        const working = work<number>();
        const outcome = task.outcome(working.promise);
        task.stop(ended);
        end(working);
        if (i === 0) expect(await outcome).toBe(5);
        else await expect(outcome).rejects.toBe(REASON);
        expect(vi.getTimerCount()).toBe(0);
      }
    } finally {
      vi.useRealTimers();
    }
  });

  test("is stopped once: the first reason counts", async () => {
    const task = taskOf();
    const queue = new WaitQueue();
    const outcome = task.outcome(task.wait(queue, undefined));
    task.stop(ended);
    task.stop(new TtmError("EINTR", "restore", "another"));
    await expect(outcome).rejects.toBe(ended);
    expect(task.stopped).toBe(ended);
  });

  test("settles without rejecting, whatever became of it", async () => {
    const task = taskOf();
    await fails("EIO", task.outcome(Promise.reject(new TtmError("EIO", "restore", "no"))));
    await task.settled;
  });
});
