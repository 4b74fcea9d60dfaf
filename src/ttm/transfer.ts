/*
 * Transfers: how the extents of a prepared batch get to the store and back, in calls of up to 1 MiB. A store that
 * does not wait is done with them on the spot, one after the other; the calls of one that does are in
 * flight together, as many as it likes, and what comes of them is a promise. Both ways the signal is looked at
 * before each call. What went wrong is a value, up to the public method that throws it: the batch is
 * committed as far as it came, and an error thrown from frame to frame costs more than a chunk.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { Extent } from "../engine/exchange.ts";
import { failureOf, TtmError } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import type { SwapSpace } from "../swap/space.ts";
import { type Store, shortOf } from "../swap/store.ts";
import type { SwapRun } from "../swap/types.ts";
import { AsyncTask, interruption, type Task } from "./task.ts";
import { nextTurn, timeLeft } from "./turns.ts";

/** Pages side by side in swap, from `slot` on, in order. */
interface Run {
  readonly slot: number;
  pages: number;
  readonly extents: Extent[];
}

/** Pages that go to the store, or come from it, in one call. */
interface Call {
  readonly out: boolean;
  pages: number;
  readonly runs: Run[];
}

/** Most pages of one call: 1 MiB, beyond which calls get no faster. */
export const TRANSFER_PAGES_MAX = 256;

/** Pages of one batch of a shrink: prepared, moved and committed together. */
export const BATCH_PAGES = 512;

/** What transfers need to know. */
interface TransferContext {
  readonly engine: Engine;
  readonly store: Store;
  readonly space: SwapSpace;
  /** Most pages of one call. */
  readonly transferPages: number;
  /** Whether pages in swap have checksums. */
  readonly checksums: boolean;
  /** Whether to fail here, for tests. */
  fails(site: "write" | "read"): boolean;
}

/** How far a batch came. One shape, for all that look at it. */
export class Moved {
  /** Entries before the first that did not move. */
  moved: number;
  /** Pages that were transferred. */
  pages = 0;
  /** What stopped it, if something did. */
  failure: unknown = undefined;
  /** The write that the store failed to do, if that was it. */
  refused: Call | undefined = undefined;

  constructor(moved: number) {
    this.moved = moved;
  }
}

/** What came of a call: pages it moved, in order, and why not all. */
interface Outcome {
  readonly pages: number;
  readonly failure: TtmError | undefined;
}

const DONE: Outcome = { pages: 0, failure: undefined };

/**
 * Moves the extents of the prepare that was just made, `total` entries in all, of which `untouched` need not
 * move. A promise, which never rejects, when the store has to be waited for.
 */
export function transfer(
  context: TransferContext,
  task: Task,
  out: boolean,
  total: number,
  untouched: number,
): Moved | Promise<Moved> {
  const { engine, store } = context;
  if (engine.extentCount === 0) return new Moved(total);
  const moved = new Moved(untouched);
  try {
    if (store.ram) transferRam(context, moved, out, total);
    else {
      const calls = group(context, out);
      const waits = task instanceof AsyncTask;
      if (!store.sync && waits) return later(context, task, moved, calls, 0, total);
      for (let i = 0; i < calls.length; i++) {
        const call = calls[i] as Call;
        const outcome = callNow(context, task, call);
        if (outcome instanceof Promise) {
          return later(context, task as AsyncTask, moved, calls, i, total, outcome);
        }
        // A store of both kinds may serve some of them on the spot, and not others; or a discard is under way.
        const canWait = waits && (store.async || (out && context.space.discarding));
        if (canWait && outcome.failure?.code === "EWOULDBLOCK") {
          return later(context, task, moved, calls, i, total);
        }
        if (halve(calls, i, outcome)) i--;
        else if (!took(context, moved, call, outcome)) return moved;
      }
      moved.moved = total;
    }
  } catch (error) {
    unexpectedly(moved, out, error);
  }
  return moved;
}

/** What nobody foresaw stops a batch as a failed call does: it is committed as far as it came. */
function unexpectedly(moved: Moved, out: boolean, error: unknown): void {
  moved.failure = failureOf(out ? "shrink" : "restore", error);
}

/** The same for calls that take time, from the one at `first` on; that one may have been made. */
async function later(
  context: TransferContext,
  task: AsyncTask,
  moved: Moved,
  calls: Call[],
  first: number,
  total: number,
  made?: Promise<Outcome>,
): Promise<Moved> {
  const { width } = context.store;
  /** What will come of those that were made. */
  const outcomes: (Promise<Outcome> | undefined)[] = [];
  outcomes[first] = made;
  let i = first;
  try {
    for (; i < calls.length; i++) {
      for (let next = i; next < calls.length && next < i + width; next++) {
        outcomes[next] ??= callLater(context, task, calls[next] as Call);
      }
      const outcome = await (outcomes[i] as Promise<Outcome>);
      if (!timeLeft()) await nextTurn();
      if (halve(calls, i, outcome)) outcomes.splice(i--, 1, undefined, undefined);
      else if (!took(context, moved, calls[i] as Call, outcome)) return moved;
    }
    moved.moved = total;
  } catch (error) {
    unexpectedly(moved, (calls[first] as Call).out, error);
  } finally {
    // Until all of them have settled their pages are set aside. What was written after a call that failed stays
    // where it was all the same, but takes up room in the store.
    const rest = await Promise.all(outcomes);
    for (i++; i < calls.length; i++) stored(context, calls[i] as Call, rest[i]);
  }
  return moved;
}

/** Notes what a write has stored that does not count. */
function stored({ engine }: TransferContext, call: Call, outcome: Outcome | undefined): void {
  if (!call.out || !outcome) return;
  const { runs } = outcome.failure ? split(call, outcome.pages)[0] : call;
  for (const { slot, pages } of runs) engine.slotsTook(slot, pages);
}

/** One call, on the spot. A promise: it takes time all the same, and the task can wait. */
function callNow(context: TransferContext, task: Task, call: Call): Outcome | Promise<Outcome> {
  const stop = interruption(task);
  if (stop) return { pages: 0, failure: stop };
  const { store, space } = context;
  const { out } = call;
  try {
    if (!store.sync) throw wouldBlock(store, out, "is asynchronous");
    if (out && space.discarding) throw wouldBlock(store, out, "is discarding slots");
    const runs = runsOf(context, call);
    const value = out ? store.writeSync(runs) : store.readSync(runs);
    if (typeof (value as Promise<unknown> | undefined)?.then === "function") {
      if (task instanceof AsyncTask) return settled(context, call, value);
      throw unexpected(value);
    }
    return outcomeOf(context, call, value);
  } catch (error) {
    return { pages: 0, failure: callFailure(context, out, error) };
  }
}

/** What comes of a call that is on its way. Never rejects. */
async function settled(context: TransferContext, call: Call, pending: unknown): Promise<Outcome> {
  try {
    return outcomeOf(context, call, await pending);
  } catch (error) {
    return { pages: 0, failure: callFailure(context, call.out, error) };
  }
}

/** One call of a task that waits for it. Never rejects. */
async function callLater(context: TransferContext, task: AsyncTask, call: Call): Promise<Outcome> {
  const { store, space } = context;
  const { out } = call;
  let failure: TtmError;
  try {
    for (let turn = space.enter(task, out); turn; turn = space.enterAgain(task, out)) await turn;
    try {
      const stop = interruption(task);
      if (stop) return { pages: 0, failure: stop };
      const runs = runsOf(context, call);
      const signal = store.short ? task.abortSignal : undefined;
      const value = await (out ? store.write(runs, signal) : store.read(runs, signal));
      const outcome = outcomeOf(context, call, value);
      // Why it stopped is then why it said it did.
      return outcome.failure && task.stopped ? { ...outcome, failure: task.stopped } : outcome;
    } finally {
      space.leave();
    }
  } catch (error) {
    failure = task.stopped ?? callFailure(context, out, error);
  }
  return { pages: 0, failure };
}

/**
 * The runs of a call as the store is handed them: views are made right before they are used. Checksums of what leaves
 * are noted here, too: the store finds the bytes in the CPU's cache, and calls in flight go on meanwhile.
 */
function runsOf(context: TransferContext, { out, runs }: Call): SwapRun[] {
  if (context.fails(out ? "write" : "read")) throw injected(out);
  const { engine, checksums } = context;
  if (out && checksums)
    for (const { extents } of runs) for (const each of extents) engine.sum(each);
  return runs.map(({ slot, extents }) => ({
    slot,
    views: extents.map(({ address, pages }) => engine.view(address, pages * PAGE_SIZE)),
  }));
}

function outcomeOf(context: TransferContext, { out, pages }: Call, value: unknown): Outcome {
  const short = out && context.store.short ? shortOf(value, pages) : undefined;
  if (!short) return DONE;
  return { pages: short.pages, failure: callFailure(context, out, short.error) };
}

/** The same for RAM swap: the engine copies. */
function transferRam(context: TransferContext, moved: Moved, out: boolean, total: number): void {
  const { engine, checksums } = context;
  if (context.fails(out ? "write" : "read")) {
    moved.failure = injected(out);
    return;
  }
  moved.pages = engine.ramTransfer(out, checksums);
  const bad = out || !checksums ? undefined : pageAfter(engine.extents(), moved.pages);
  if (bad) moved.failure = new Mismatch(bad);
  moved.moved = bad ? bad.at : total;
}

/** The page that follows the first `pages` of the extents, if there is one. */
function pageAfter(extents: readonly Extent[], pages: number): BadPage | undefined {
  let left = pages;
  for (const extent of extents) {
    if (left < extent.pages) return { at: extent.at + left, slot: extent.slot + left };
    left -= extent.pages;
  }
  return undefined;
}

function injected(out: boolean): TtmError {
  return new TtmError("EIO", out ? "shrink" : "restore", "injected fault");
}

/**
 * A write of several pages that the store was too full for becomes two of half as many: some of it may fit,
 * and then it is known to the page how much. Says whether it did.
 */
function halve(calls: Call[], at: number, { pages: taken, failure }: Outcome): boolean {
  const call = calls[at] as Call;
  if (!call.out || call.pages === 1 || taken > 0 || failure?.code !== "ENOSPC") return false;
  calls.splice(at, 1, ...split(call, call.pages >>> 1));
  return true;
}

/** The first `pages` pages of a call, and the others. */
function split({ out, runs }: Call, pages: number): [Call, Call] {
  const parts: [Call, Call] = [
    { out, pages: 0, runs: [] },
    { out, pages: 0, runs: [] },
  ];
  for (const run of runs) {
    for (const extent of run.extents) {
      const first = Math.min(pages - parts[0].pages, extent.pages);
      if (first > 0) append(parts[0], part(extent, 0, first));
      if (first < extent.pages) append(parts[1], part(extent, first, extent.pages));
    }
  }
  return parts;
}

/** Adds an extent to a call: to its last run, if it goes on there. */
function append(call: Call, extent: Extent): void {
  const last = call.runs[call.runs.length - 1];
  call.pages += extent.pages;
  if (last && last.slot + last.pages === extent.slot) {
    last.extents.push(extent);
    last.pages += extent.pages;
  } else call.runs.push({ slot: extent.slot, pages: extent.pages, extents: [extent] });
}

/** Takes a call into account that was done, or failed. Says whether the next one may follow. */
function took(
  context: TransferContext,
  moved: Moved,
  call: Call,
  { pages: some, failure }: Outcome,
): boolean {
  const { engine, checksums } = context;
  const { out } = call;
  const parts = failure && split(call, some);
  // What leaves without a transfer, because swap still has it, has left up to here.
  if (out) moved.moved = firstOf(call).at;
  moved.failure = failure;
  for (const { slot, pages, extents } of (parts ? parts[0] : call).runs) {
    if (out) engine.slotsTook(slot, pages);
    moved.pages += pages;
    const bad = out || !checksums ? undefined : findBad(context, extents);
    if (bad) {
      moved.moved = bad.at;
      moved.failure = new Mismatch(bad);
      return false;
    }
    const last = extents[extents.length - 1] as Extent;
    moved.moved = last.at + last.pages;
  }
  if (out) moved.refused = parts?.[1];
  return !failure;
}

function firstOf({ runs: [first] }: Call): Extent {
  return (first as Run).extents[0] as Extent;
}

/** The first page that came back other than it went. */
interface BadPage {
  readonly at: number;
  readonly slot: number;
}

function findBad({ engine }: TransferContext, extents: readonly Extent[]): BadPage | undefined {
  for (const extent of extents) {
    const good = engine.verify(extent);
    if (good < extent.pages) return { at: extent.at + good, slot: extent.slot + good };
  }
  return undefined;
}

/** A page, `at` pages into its batch, that came back from `slot` with other content. */
export class Mismatch {
  readonly slot: number;
  readonly at: number;

  constructor({ slot, at }: BadPage) {
    this.slot = slot;
    this.at = at;
  }
}

/** Extents go together, up to the size of a call and as many runs as the store takes; larger ones are cut up. */
function group(context: TransferContext, out: boolean): Call[] {
  const { engine, store, transferPages: most } = context;
  const extents = engine.extents();
  const [first] = extents;
  if (first && extents.length === 1 && first.pages <= most) {
    const { slot, pages } = first;
    return [{ out, pages, runs: [{ slot, pages, extents }] }];
  }
  const calls: Call[] = [];
  let call: Call | undefined;
  for (const extent of extents) {
    for (const piece of extent.pages > most ? cut(extent, most) : [extent]) {
      if (!call || call.pages + piece.pages > most || !takes(call, piece, store.runs)) {
        call = { out, pages: 0, runs: [] };
        calls.push(call);
      }
      append(call, piece);
    }
  }
  return calls;
}

/** Whether `piece` can go with a call of at most `most` runs. */
function takes({ runs }: Call, { slot }: Extent, most: number): boolean {
  const last = runs[runs.length - 1];
  return runs.length < most || (last !== undefined && last.slot + last.pages === slot);
}

function cut(extent: Extent, most: number): Extent[] {
  const pieces: Extent[] = [];
  for (let done = 0; done < extent.pages; done += most) {
    pieces.push(part(extent, done, Math.min(done + most, extent.pages)));
  }
  return pieces;
}

/** Pages [from, to) of an extent. */
function part({ address, slot, at }: Extent, from: number, to: number): Extent {
  return {
    address: address + from * PAGE_SIZE,
    slot: slot + from,
    pages: to - from,
    at: at + from,
  };
}

function wouldBlock({ name }: Store, out: boolean, why: string): TtmError {
  const text = `swap device ${name} ${why}; use the async form`;
  return new TtmError("EWOULDBLOCK", out ? "shrink" : "restore", text);
}

/** What a store threw, or its signal, as an error of ours that keeps the code and the cause. */
function callFailure({ store }: TransferContext, out: boolean, error: unknown): TtmError {
  const [side, verb] = out ? (["shrink", "write"] as const) : (["restore", "read"] as const);
  return failureOf(side, error, `swap device ${store.name} failed to ${verb}`);
}

function unexpected(pending: unknown): Error {
  ignoreOutcome(pending); // too late to wait for: the error below is what the caller learns
  return new Error("it returned a promise without `async: true`, or from a Sync call");
}
