/* Faults of those who wait: locks, turns, queues, admission, aborts. */

/** @type {import("../../scripts/mutants.js").Mutant[]} */
export const mutants = [
  {
    name: "lock-wakes-nobody",
    what: "whoever lets go of a lock wakes nobody who waits for it",
    file: "src/lock.ts",
    find: `    const next = this.#queue?.shift();
    if (next) next.wake();
    else this.#held = false;`,
    put: "    this.#held = false;",
  },
  {
    name: "lock-wakes-everybody",
    what: "all who wait for a lock have it at once",
    file: "src/lock.ts",
    find: "    if (next) next.wake();\n    else this.#held = false;",
    put: `    if (next) {
      next.wake();
      for (let each = this.#queue?.shift(); each; each = this.#queue?.shift()) each.wake();
    } else this.#held = false;`,
  },
  {
    name: "lock-open-when-handed-on",
    what: "a lock is free until whoever was woken for it goes on, so that others slip in",
    file: "src/lock.ts",
    find: "    if (next) next.wake();\n    else this.#held = false;",
    put: "    this.#held = false;\n    next?.wake();",
  },
  {
    name: "turn-kept-on-error",
    what: "a Sync call that finds the pages locked keeps the turn that it took",
    file: "src/access.ts",
    find: `  if (bo.tt.lock.tryLock()) return;
  bo.turn.unlock();
  const text`,
    put: `  if (bo.tt.lock.tryLock()) return;
  const text`,
  },
  {
    name: "aborted-still-in-queue",
    what: "a call that was aborted keeps its place in the queue, and what it is handed there",
    file: "src/ttm/task.ts",
    find: "        queue.remove(waiter);\n",
    put: "",
  },
  {
    name: "abort-ignored",
    what: "nobody looks at a signal",
    file: "src/ttm/task.ts",
    find: "if (!task.signal?.aborted) return undefined;",
    put: "return undefined;",
  },
  {
    name: "stopped-keeps-windows",
    what: "an operation that was stopped keeps the windows that it does not come to any more",
    file: "src/accessed.ts",
    find: "const stays = objects.length > 1 ? task.onStop(() => leave(index + 1)) : ignore;",
    put: "const stays = task.onStop(() => {});",
    was: "9321a4b",
  },
  {
    name: "written-while-it-leaves",
    what: "pages are written while a shrink writes them to swap",
    file: "src/access.ts",
    find: "if (tt.lock.held && !a.copies) return false;",
    put: "",
  },
  {
    name: "queue-jumped",
    what: "who comes later does not wait for those who have their place before him",
    file: "src/access.ts",
    find: "  return bo.turn.held || !isInMemory(bdev, bo.tt, a) ? undefined : { result: use(false) };",
    put: "  return !isInMemory(bdev, bo.tt, a) ? undefined : { result: use(false) };",
  },
  {
    name: "stretch-jumps-queue",
    what: "a call that is done at a stretch does not wait for those before it",
    file: "src/access.ts",
    find: "if (timeLeft() && !bo.turn.held) {",
    put: "if (timeLeft()) {",
  },
  {
    name: "shrink-wakes-nobody",
    what: "a shrink that ends wakes nobody who waits for frames",
    file: "src/ttm/frames.ts",
    find: "    this.queue.shift()?.wake();\n",
    put: "",
  },
  {
    name: "queued-too-late",
    what: "a place in a queue is taken a moment after the look, so that the wake-up is missed",
    file: "src/ttm/work.ts",
    find: "return new Pending(task.wait(queue, undefined).catch(() => {}));",
    put: "return new Pending(Promise.resolve().then(() => task.wait(queue, undefined)).catch(() => {}));",
  },
  {
    name: "admission-next-not-let-in",
    what: "who leaves lets nobody in who waits outside",
    file: "src/ttm/admission.ts",
    find: "    this.#lacking -= stay.granted.lacking;\n    this.#alone = false;\n    this.#next();",
    put: "    this.#lacking -= stay.granted.lacking;\n    this.#alone = false;",
  },
  {
    name: "admission-counts-on",
    what: "what an operation was to hold counts as held after it has left",
    file: "src/ttm/admission.ts",
    find: "    this.#inside--;\n    this.#frames -= stay.granted.frames;",
    put: "    this.#inside--;",
  },
  {
    name: "gathering-not-in-turn",
    what: "two operations hold more and more at the same time, each what the other lacks",
    file: "src/accessed.ts",
    find: "        gathered = await holdLock(task, bdev.global.frames.gathering);\n",
    put: "",
  },
  {
    name: "store-wakes-all-callers",
    what: "when a call of the store ends, all who wait for their turn make theirs",
    file: "src/swap/space.ts",
    find: "    if (next) next.wake();\n    else this.#flying--;",
    put: `    if (next) {
      next.wake();
      for (let each = this.#queue.shift(); each; each = this.#queue.shift()) each.wake();
    } else this.#flying--;`,
  },
  {
    name: "store-turn-lost",
    what: "when a call of the store ends, nobody who waits for his turn is woken",
    file: "src/swap/space.ts",
    find: "    const next = this.#queue.shift();\n    if (next) next.wake();\n    else this.#flying--;",
    put: "    this.#flying--;",
  },
  {
    name: "written-while-discarding",
    what: "a write that had its turn goes on although a discard was begun before its call",
    file: "src/swap/space.ts",
    find: "    if (!out || !this.discarding) return undefined;\n",
    put: "    if (caller) return undefined;\n",
    was: "3734703",
  },
  {
    name: "turn-not-held-at-a-stretch",
    what: "what is done at a stretch does not hold the turn, so that traces see pages half filled",
    file: "src/access.ts",
    find: "const end = bringIn(bdev, bo, a, use, turn?.tryLock() ?? false);",
    put: "const end = bringIn(bdev, bo, a, use, false);",
    was: "46eed61",
  },
  {
    name: "two-restore-at-once",
    what: "operations on one buffer bring its pages in without waiting for their turns",
    file: "src/accessed.ts",
    find: "  if (turn.tryLock()) return undefined;\n",
    put: "  if (turn) return undefined;\n",
  },
  {
    name: "restored-while-it-leaves",
    what: "pages are brought in while a shrink of the same buffer is under way",
    file: "src/access.ts",
    find: "  if (bo.tt.lock.tryLock()) return;\n  await task",
    put: "  if (bo.tt.lock.tryLock() || task) return;\n  await task",
  },
];
