/* Promises about those who wait for each other, on a store that answers when it is told to. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import { SimSignal } from "../signal.ts";
import { type Bench, codeOf, filled, must, mustEqual, type Probe } from "./bench.ts";
import { Answers } from "./store.ts";

const FRAMES = 64;

/** What becomes of a call. */
interface Call {
  done: boolean;
  error: unknown;
}

function watched(promise: Promise<unknown>): Call {
  const call: Call = { done: false, error: undefined };
  promise.then(
    () => {
      call.done = true;
    },
    (error) => {
      call.done = true;
      call.error = error;
    },
  );
  return call;
}

/** Answers all calls of a store until there are none. */
async function answerAll(swap: Answers, { settle, random }: Bench): Promise<void> {
  await settle();
  while (swap.waiting + swap.discarding > 0) {
    if (swap.discarding > 0) swap.answerDiscard();
    else swap.answer(random.percent(50));
    await settle();
  }
}

function mustBeDone(calls: readonly Call[], what: string): void {
  for (const { done, error } of calls) {
    must(done, `${what}: nothing is on its way, and one waits`);
    must(error === undefined, `${what}: ${codeOf(error) ?? ""} ${error}`);
  }
}

/** A buffer with content, all of it in swap. */
async function away(bench: Bench, pages: number, count: number) {
  const swap = new Answers(2048, bench.random.pick([1, 2, 8]));
  const own = bench.device({ swap }, FRAMES);
  const buffers = [];
  for (let i = 0; i < count; i++) {
    const bo = own.createBuffer(pages * PAGE_SIZE);
    const calls = [watched(bo.write(0, filled(pages, i)))];
    await answerAll(swap, bench);
    calls.push(watched(bo.shrink()));
    await answerAll(swap, bench);
    mustBeDone(calls, "to fill a buffer");
    buffers.push(bo);
  }
  return { swap, own, buffers };
}

/** Two that bring in more than half of the memory each, of several windows, do not take it from each other. */
async function gathering(bench: Bench): Promise<void> {
  const pages = FRAMES + 1 + bench.random.below(30);
  const { swap, buffers } = await away(bench, pages, 2);
  const length = (34 + bench.random.below(20)) * PAGE_SIZE;
  const calls = buffers.map((bo) => watched(bo.populate({ length })));
  await answerAll(swap, bench);
  mustBeDone(calls, "two that bring in more than fits together");
}

/** A crowd moves no more pages than one after the other would, by far. */
async function crowd(bench: Bench): Promise<void> {
  const pages = 12 + bench.random.below(36);
  const count = 20 + bench.random.below(8);
  const { swap, buffers } = await away(bench, pages, count);
  const targets = buffers.map(() => new Uint8Array(pages * PAGE_SIZE));
  const before = swap.moved;
  const calls = buffers.map((bo, i) => watched(bo.read(0, targets[i] as Uint8Array)));
  await answerAll(swap, bench);
  mustBeDone(calls, "a crowd of readers");
  for (const [i, target] of targets.entries())
    mustEqual(target, filled(pages, i), "a crowd's read");
  const moved = swap.moved - before;
  // What comes in once, and what others may have to write once more.
  must(moved <= 2 * pages * count, `a crowd moved ${moved} pages for ${pages * count}`);
}

/** Whoever was stopped at a window leaves those behind it to others, also while the store does not answer. */
async function stopped(bench: Bench): Promise<void> {
  const pages = 2 * FRAMES;
  const { swap, buffers } = await away(bench, pages, 1);
  const [bo] = buffers as [(typeof buffers)[0]];
  const signal = new SimSignal();
  const all = watched(bo.read(0, new Uint8Array(bo.size), { signal }));
  await bench.settle();
  must(swap.waiting > 0, "a read of what is in swap asks for nothing");
  const target = new Uint8Array(1 + bench.random.below(3 * PAGE_SIZE));
  const offset = bo.size - target.length - bench.random.below(9 * PAGE_SIZE);
  const last = watched(bo.read(offset, target));
  await bench.settle();
  must(!last.done, "a read passed another one that was called before");
  const held = swap.waiting;
  signal.abort();
  await bench.settle();
  must(
    all.done && codeOf(all.error) === "EINTR",
    "an abort is not heard while the store is silent",
  );
  // The one call, or those of one batch, stay where they are; what comes behind them is answered.
  for (let i = 0; i < 100 && !last.done && swap.waiting > held; i++) {
    swap.answer(true);
    await bench.settle();
  }
  const blocked = swap.queueDepth <= held;
  if (blocked) await answerAll(swap, bench);
  must(last.done && last.error === undefined, "a window that nobody is at any more stays locked");
  const wanted = filled(pages, 0).subarray(offset, offset + target.length);
  mustEqual(target, wanted, "a read behind one that was stopped");
  await answerAll(swap, bench);
}

/** What is no longer needed, said while it leaves, is gone when all of it has left. */
async function meanwhile(bench: Bench): Promise<void> {
  const { random } = bench;
  const pages = 1 + random.below(40);
  const { swap, own, buffers } = await away(bench, pages, 1);
  const [bo] = buffers as [(typeof buffers)[0]];
  const calls = [watched(bo.write(0, filled(pages, 7)))];
  await answerAll(swap, bench);
  calls.push(watched(bo.shrink()));
  await bench.settle();
  must(swap.waiting > 0, "what was written leaves without a write");
  bo.advise("dontneed");
  await answerAll(swap, bench);
  mustBeDone(calls, "a shrink");
  must(own.stats().slots.free === own.stats().slots.total, "what is not needed keeps its slots");
  must(!bo.advise("willneed"), "what is not needed, and all in swap, is said to be there");
}

/** A discard does not pass a write that was called before. */
async function order(bench: Bench): Promise<void> {
  const { random } = bench;
  const { swap, own, buffers } = await away(bench, FRAMES >> 1, 3);
  // With memory full of what is not in swap, a write has to wait for others to leave.
  const full = buffers.map((bo, i) => watched(bo.write(0, filled(FRAMES >> 1, 10 + i))));
  await answerAll(swap, bench);
  mustBeDone(full, "to fill the memory");
  const bo = own.createBuffer((17 + random.below(9)) * PAGE_SIZE);
  const model = filled(bo.size / PAGE_SIZE, 3);
  const length = 1 + random.below(PAGE_SIZE - 1);
  const offset = random.below(bo.size / PAGE_SIZE) * PAGE_SIZE;
  const calls = [watched(bo.write(0, model)), watched(bo.discard({ offset, length }))];
  await answerAll(swap, bench);
  const target = new Uint8Array(bo.size);
  calls.push(watched(bo.read(0, target)));
  await answerAll(swap, bench);
  mustBeDone(calls, "a write, a discard and a read");
  mustEqual(target, model.fill(0, offset, offset + length), "a discard called after a write");
}

/** Nothing is written while slots are discarded, however soon one discard comes after another. */
async function discards(bench: Bench): Promise<void> {
  for (let delay = 0; delay < 12; delay++) await discardsApart(bench, delay);
}

/** The second discard is begun so many microtasks after the first one has ended. */
async function discardsApart(bench: Bench, delay: number): Promise<void> {
  const { settle } = bench;
  const swap = new Answers(256, 4);
  const own = bench.device({ swap, keepClean: false }, FRAMES);
  const pages = [60, 40, 1];
  const buffers = [];
  for (const [i, count] of pages.entries()) {
    const bo = own.createBuffer(count * PAGE_SIZE);
    const calls = [watched(bo.write(0, filled(count, i)))];
    await answerAll(swap, bench);
    calls.push(watched(bo.shrink()));
    await answerAll(swap, bench);
    mustBeDone(calls, "to fill a buffer");
    buffers.push(bo);
  }
  const leaving = own.createBuffer(8 * PAGE_SIZE);
  const calls = [watched(leaving.write(0, filled(8, 7)))];
  await answerAll(swap, bench);
  buffers[0]?.destroy();
  must(swap.discarding === 1, "a store that holds twice what is needed hears nothing of it");
  calls.push(watched(leaving.shrink()));
  await settle();
  swap.answerDiscard();
  for (let i = 0; i < delay; i++) await undefined;
  buffers[1]?.destroy();
  await settle();
  must(!swap.broken, "pages are written while slots are discarded");
  await answerAll(swap, bench);
  mustBeDone(calls, "a shrink behind discards");
  must(!swap.broken, "pages are written while slots are discarded");
}

export const PROBES: readonly Probe[] = [gathering, crowd, stopped, meanwhile, order, discards];
