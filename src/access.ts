/*
 * How an operation gets at a buffer's pages. What is in memory is used on the spot. Else operations take their
 * turns on a buffer; whose turn it is waits to be let in, locks the pages, brings those in that it needs, all
 * or a part of them, and uses them. The pages' lock is held from the first transfer to the last byte copied, so nobody sees a
 * buffer half moved; while an operation waits it is free, and the pages can be reclaimed.
 */
import { PAGE_SIZE } from "../assembly/abi.ts";
import { type Accessed, assertFree, hasItsTurn, holdLock, onTurns } from "./accessed.ts";
import type { Bdev } from "./bdev.ts";
import { codeOf, TtmError, type TtmOperation } from "./errors.ts";
import type { Signal } from "./host_types.ts";
import type { Lock } from "./lock.ts";
import { pagesOf } from "./size.ts";
import { assertStack } from "./stack.ts";
import { lacks, type Need } from "./ttm/admission.ts";
import { type Overwrite, overwrite, overwriteSync, overwrites } from "./ttm/overwrite.ts";
import {
  OVERWRITES_NOTHING,
  type Overwritten,
  type Part,
  populate,
  populateSync,
} from "./ttm/restore.ts";
import { Shrink } from "./ttm/shrink.ts";
import type { Released } from "./ttm/shrinker.ts";
import { type AsyncTask, interruptible, type Task } from "./ttm/task.ts";
import type { Tt } from "./ttm/tt.ts";
import { timeLeft } from "./ttm/turns.ts";
import { heldByOthers, run, runSync } from "./ttm/work.ts";

/** What is done, what may stop it, and what it will overwrite. */
export interface Access extends Task {
  readonly overwritten: Overwritten;
  /** Pages that are needed; `undefined`: all of the buffer. */
  readonly part: Part | undefined;
  /** Pages behind them that may be brought in by the way, if there is room. */
  readonly ahead: number;
  /** It only copies bytes out, which may be done while a shrink writes the pages to swap. */
  readonly copies: boolean;
  /** Which ones, if so: bytes of the object. */
  readonly offset: number;
  readonly length: number;
}

/** An access that overwrites nothing. */
export function access(
  op: TtmOperation,
  signal: Signal | undefined,
  overwritten: Overwritten = OVERWRITES_NOTHING,
  part?: Part,
): Access {
  return { op, overwritten, part, ahead: 0, signal, copies: false, offset: 0, length: 0 };
}

/** An access that copies bytes [offset, offset + length) out. */
export function copying(
  signal: Signal | undefined,
  offset: number,
  length: number,
  part?: Part,
  ahead = 0,
): Access {
  const overwritten = OVERWRITES_NOTHING;
  return { op: "restore", overwritten, part, ahead, signal, copies: true, offset, length };
}

/**
 * What is done with pages that are in memory. `held`: with frames that are held for entries, too, as it is to overwrite
 * these. It notes that the buffer was used, and is the last thing that is done on the spot: nothing fails after it.
 */
type Use<T> = (held: boolean) => T;

/** Runs `use` while the pages of `bo` that it needs are in memory. */
export function withPagesSync<T>(bdev: Bdev, bo: Accessed, a: Access, use: Use<T>): T {
  begin(bo, a);
  const hit = useInMemory(bdev, bo, a, use);
  if (hit) return hit.result;
  assertStack();
  lockSync(bo, a.op);
  const end = bringIn(bdev, bo, a, use, true);
  bdev.kswapd.wake();
  if ("result" in end) return end.result;
  const { failure } = end;
  if (bdev.global.admission.inside > 0 && lacks(failure)) throw heldByOthers(a, failure);
  throw failure;
}

/** What came of bringing a buffer in: what its use returned, or why it is not in memory. */
type End<T> = { readonly result: T } | { readonly failure: unknown };

/** Brings in what is needed of a buffer whose pages are locked, and uses it; lets go of the pages and the turn. */
function bringIn<T>(bdev: Bdev, bo: Accessed, a: Access, use: Use<T>, hasTurn: boolean): End<T> {
  const { tt } = bo;
  const fresh = tt.vector < 0;
  let filled: Filled = {};
  try {
    filled = fillSync(bdev, bo, a);
    if (worthGivingUp(bdev, bo, a, filled.failure)) {
      const shrink = new Shrink(bdev.global, a, [tt], tt.resident);
      runSync(bdev.global, a, shrink);
      filled = blamed(fillSync(bdev, bo, a), shrink);
    }
    // Shrinkers, devices and signals of the user's may have destroyed it meanwhile.
    bo.assertAlive();
    const { failure, held } = filled;
    return failure === undefined ? { result: useFilled(bdev, bo, fresh, use, held) } : { failure };
  } finally {
    filled.held?.end();
    unlockPages(bdev, bo);
    if (hasTurn) bo.turn.unlock();
  }
}

/** Why not all that is needed is in memory, if so; and what is held to be overwritten, if something is. */
interface Filled {
  readonly failure?: unknown;
  readonly held?: Overwrite;
}

/** Brings in what is needed of a buffer, or holds frames for it. */
function fillSync(bdev: Bdev, bo: Accessed, a: Access): Filled {
  const { tt } = bo;
  const { pool } = bdev;
  if (overwrites(pool, tt, a.overwritten)) {
    const held = overwriteSync(pool, a, tt, a.overwritten);
    return { failure: held.failure, held };
  }
  const failure = populateSync(pool, a, tt, overwrittenBy(tt, a), aheadOf(tt, a));
  const least = leastAfter(bdev, bo, a, failure);
  if (!least) return { failure };
  return { failure: populateSync(pool, a, tt, OVERWRITES_NOTHING, least) };
}

/** The same for a task that waits. */
async function fill(bdev: Bdev, bo: Accessed, a: Access, task: AsyncTask): Promise<Filled> {
  const { tt } = bo;
  const { pool } = bdev;
  if (overwrites(pool, tt, a.overwritten)) {
    const held = await overwrite(pool, task, tt, a.overwritten);
    return { failure: held.failure, held };
  }
  const failure = await populate(pool, task, tt, overwrittenBy(tt, a), aheadOf(tt, a));
  const least = leastAfter(bdev, bo, a, failure);
  if (!least) return { failure };
  return { failure: await populate(pool, task, tt, OVERWRITES_NOTHING, least) };
}

/** What is to be brought in, with what is by the way. */
function aheadOf(tt: Tt, { part, ahead }: Access): Part | undefined {
  if (!part || ahead === 0) return part;
  return { from: part.from, to: Math.min(part.to + ahead, tt.numPages) };
}

/**
 * The pages that are asked for, where what was brought in by the way may be what made it fail: there was no room for
 * it, or it cannot be read. Of what comes whole those that are copied out, if another one is what cannot be read.
 */
function leastAfter(bdev: Bdev, bo: Accessed, a: Access, failure: unknown): Part | undefined {
  if (failure === undefined || bo.gone) return undefined;
  const unread = codeOf(failure) === "EIO";
  const { part, ahead, copies, offset, length } = a;
  if (part) return ahead > 0 && (unread || lacks(failure)) ? part : undefined;
  const { caching, dma, numPages } = bo.tt;
  if (!unread || !copies || caching !== "cached" || dma || bdev.pool.coherent) return undefined;
  const [from, to] = [Math.floor(offset / PAGE_SIZE), pagesOf(offset + length)];
  return to - from < numPages ? { from, to } : undefined;
}

/**
 * Whether other pages of the same buffer may leave for those that are needed: they are locked, so that nobody
 * else who looks for room can have them.
 */
function worthGivingUp(bdev: Bdev, bo: Accessed, a: Access, failure: unknown): boolean {
  const { tt } = bo;
  if (!a.part || !lacks(failure) || bo.gone || bo.pinned || tt.resident === 0) return false;
  const { engine } = bdev.global;
  // A device that fails with such a code lacks something else.
  return engine.countGaps(tt.vector, a.part.from, a.part.to) > engine.freePages;
}

/** What is lacking all the same is so because they could not leave: that is what its caller has to know. */
function blamed(filled: Filled, { failure }: Shrink): Filled {
  return failure !== undefined && lacks(filled.failure) ? { ...filled, failure } : filled;
}

/** Pages that an access holds, those it brings in included; and of these the ones that are not in memory. */
function needOf({ global }: Bdev, tt: Tt, a: Access): Need {
  const part = aheadOf(tt, a);
  if (!part) return { frames: tt.numPages, lacking: tt.numPages - tt.resident };
  const { from, to } = part;
  const lacking = tt.vector < 0 ? to - from : global.engine.countGaps(tt.vector, from, to);
  return { frames: tt.resident + lacking, lacking };
}

/** Pages that are brought in within a slice of the event loop's time. */
const STRETCH_PAGES = 512;

/**
 * What an async operation can do as a Sync one does: nobody is inside, the device does not wait, and it does not
 * take long. `undefined`: it has to go in as others do; also when it lacks what may be let go of in a moment.
 *
 * @param turn of the object, if it is not its own yet: what a trace or a device calls meanwhile would else be shown
 *   pages that are neither cleared nor written
 */
function atAStretch<T>(
  bdev: Bdev,
  bo: Accessed,
  a: Access,
  use: Use<T>,
  turn?: Lock,
): { readonly result: T } | undefined {
  const { admission, store } = bdev.global;
  const { tt } = bo;
  const { frames, lacking } = needOf(bdev, tt, a);
  const pages = a.part ? lacking : frames;
  if (!store.sync || pages > STRETCH_PAGES || !admission.hasAlone(frames)) return undefined;
  assertStack();
  if (!tt.lock.tryLock()) return undefined;
  const end = bringIn(bdev, bo, a, use, turn?.tryLock() ?? false);
  bdev.kswapd.wake();
  if ("result" in end) return end;
  if (lacks(end.failure) || wouldBlock(end.failure)) return undefined;
  throw end.failure;
}

/** Runs `use` while the pages of `bo` that it needs are in memory; brings them in asynchronously. */
export async function withPages<T>(bdev: Bdev, bo: Accessed, a: Access, use: Use<T>): Promise<T> {
  begin(bo, a);
  if (timeLeft() && !bo.turn.held) {
    const done = useInMemory(bdev, bo, a, use) ?? atAStretch(bdev, bo, a, use, bo.turn);
    if (done) return done.result;
  }
  let result!: T;
  const useIt = (held: boolean) => {
    result = use(held);
  };
  await onTurns(bdev, [bo], a, (task) => useOnTurn(bdev, bo, a, task, useIt));
  return result;
}

/** What is done to one object of several: what it needs of it, and what is done when that is in memory. */
export interface Step {
  readonly access: Access;
  readonly use: Use<void>;
}

/**
 * Does what `stepOf` says to each of `objects`, when it is its turn there, one after the other; nothing where it
 * says nothing. Nobody passes on the way from one to the next, so operations on the same objects take effect in
 * the order of the calls. A failure leaves those alone that come after.
 *
 * @param gathers what is brought in stays until all is there: one such operation goes on at a time
 */
export async function withEach(
  bdev: Bdev,
  objects: readonly Accessed[],
  task: Task,
  stepOf: (index: number) => Step | undefined,
  gathers = false,
): Promise<void> {
  const [first] = objects as [Accessed];
  if (objects.length === 1) {
    const step = stepOf(0);
    if (step) await withPages(bdev, first, step.access, step.use);
    return;
  }
  begin(first, task);
  const useEach = (own: AsyncTask, index: number) => {
    interruptible(own);
    const step = stepOf(index);
    const bo = objects[index] as Accessed;
    return step ? useOnTurn(bdev, bo, step.access, own, step.use, gathers) : true;
  };
  await onTurns(bdev, objects, task, useEach, gathers);
}

/** The same at once; nothing is done when an async operation is at one of them. */
export function withEachSync(
  bdev: Bdev,
  objects: readonly Accessed[],
  task: Task,
  stepOf: (index: number) => Step | undefined,
): void {
  if (objects.length > 1) begin(objects[0] as Accessed, task);
  for (const bo of objects) assertFree(bo, task.op);
  for (const [index, bo] of objects.entries()) {
    const step = stepOf(index);
    if (step) withPagesSync(bdev, bo, step.access, step.use);
  }
}

/** Brings in what is needed of an object whose turn it is, and uses it: at once, if it can be. True when that is done. */
function useOnTurn(
  bdev: Bdev,
  bo: Accessed,
  a: Access,
  task: AsyncTask,
  use: Use<void>,
  gathers = false,
): true | Promise<true> {
  const unlessStopped = (held: boolean) => {
    if (task.stopped) throw task.stopped;
    use(held);
  };
  // Bytes may be copied out while a shrink writes the pages, for which it would wait behind the lock.
  if (isInMemory(bdev, bo.tt, a)) unlessStopped(false);
  else if (!atAStretch(bdev, bo, { ...a, signal: task.signal }, unlessStopped)) {
    return useInside(bdev, bo, a, task, unlessStopped, gathers);
  }
  return true;
}

/** The same for what has to wait: it goes in as others do. */
async function useInside(
  bdev: Bdev,
  bo: Accessed,
  a: Access,
  task: AsyncTask,
  use: Use<void>,
  gathers: boolean,
): Promise<true> {
  let done = false;
  const need = () => needOf(bdev, bo.tt, a);
  const { admission, frames } = bdev.global;
  const { gathering, gathered } = frames;
  const crowded = gathering.held;
  const attempt = async () => {
    await lockPages(bo, task);
    let filled: Filled = {};
    try {
      const { tt } = bo;
      const fresh = tt.vector < 0;
      filled = await fill(bdev, bo, a, task);
      if (worthGivingUp(bdev, bo, a, filled.failure)) {
        const shrink = new Shrink(bdev.global, task, [tt], tt.resident);
        await run(task, shrink);
        filled = blamed(await fill(bdev, bo, a, task), shrink);
      }
      bo.assertAlive();
      const { failure, held } = filled;
      if (failure !== undefined) return failure;
      useFilled(bdev, bo, fresh, use, held);
      done = true;
      return undefined;
    } finally {
      filled.held?.end();
      unlockPages(bdev, bo);
      // Its pages can be had now: first by who found none, then by who is let in for it.
      frames.transits.wakeNext();
    }
  };
  let failure = await admission.run(task, need, attempt);
  if (lacks(failure) && !gathers && (crowded || frames.gathered !== gathered)) {
    // What somebody gathered may be let go of when all of it is there.
    const letGo = await holdLock(task, gathering, true);
    try {
      failure = await admission.run(task, need, attempt);
    } finally {
      letGo();
    }
  }
  bdev.kswapd.wake();
  if (!done) throw failure;
  return true;
}

function wouldBlock(failure: unknown): boolean {
  return failure instanceof TtmError && failure.code === "EWOULDBLOCK";
}

/** What every operation begins with. The getters of the caller's signal may do anything. */
function begin(bo: Accessed, task: Task): void {
  interruptible(task);
  bo.assertAlive();
}

/**
 * Uses a buffer on the spot if what is needed of it is in memory and nobody else is at it. No lock is taken:
 * nothing of the user's runs here, and nothing has to be undone when the use fails.
 */
function useInMemory<T>(
  bdev: Bdev,
  bo: Accessed,
  a: Access,
  use: Use<T>,
): { result: T } | undefined {
  return bo.turn.held || !isInMemory(bdev, bo.tt, a) ? undefined : { result: use(false) };
}

/** Whether what is needed of a tt is in memory, and may be used in spite of whoever moves its pages. */
function isInMemory(bdev: Bdev, tt: Tt, a: Access): boolean {
  if (tt.lock.held && !a.copies) return false;
  return tt.populated || hasPart(bdev, tt, a);
}

/** Whether all of a part is in memory. What is filled for the first time may not be cleared until that is over. */
function hasPart({ global }: Bdev, tt: Tt, { part }: Access): boolean {
  if (!part || !tt.shrunken) return false;
  return global.engine.firstMissing(tt.vector, part.from, part.to) === part.to;
}

/**
 * Pages that `use` was to overwrite were neither cleared nor read: nobody may see them before it has, nor when it
 * fails.
 */
function useFilled<T>(bdev: Bdev, bo: Accessed, fresh: boolean, use: Use<T>, held?: Overwrite): T {
  let result: T;
  try {
    assertStack();
    result = use(held !== undefined);
  } catch (error) {
    if (fresh) bdev.pool.release(bo.tt);
    throw error;
  }
  held?.commit();
  return result;
}

/** Runs what `begun` returns, if that is work, on each of `objects` with its pages locked, at a stretch. */
export function giveUpSync<T extends Accessed>(
  bdev: Bdev,
  objects: readonly T[],
  task: Task,
  begun: (object: T, task: Task) => Released | Shrink,
): Released {
  begin(objects[0] as T, task);
  assertStack();
  let released = 0;
  let failure: unknown;
  const leave = (bo: T) => {
    lockSync(bo, task.op);
    try {
      const work = begun(bo, task);
      if (work instanceof Shrink) runSync(bdev.global, task, work);
      released += work.released;
      failure = work.failure;
    } finally {
      unlockPages(bdev, bo);
      bo.turn.unlock();
      bdev.global.frames.transits.wakeNext();
    }
  };
  try {
    for (const bo of objects) {
      leave(bo);
      if (failure !== undefined) break;
    }
  } catch (error) {
    // What left before it was stopped counts.
    if (released === 0 || !(error instanceof TtmError)) throw error;
    failure = error;
  }
  return { released, failure };
}

/** The same for work that needs no memory, asynchronously. */
export async function giveUp<T extends Accessed>(
  bdev: Bdev,
  objects: readonly T[],
  task: Task,
  begun: (object: T, task: Task) => Released | Shrink,
): Promise<Released> {
  begin(objects[0] as T, task);
  let released = 0;
  let failure: unknown;
  const leave = async (own: AsyncTask, index: number) => {
    if (index > 0) interruptible(own);
    const bo = objects[index] as T;
    await bdev.global.admission.giveUp(own, async () => {
      await lockPages(bo, own);
      try {
        const work = begun(bo, own);
        if (work instanceof Shrink) await run(own, work);
        released += work.released;
        failure = work.failure;
      } finally {
        unlockPages(bdev, bo);
      }
    });
    return failure === undefined;
  };
  try {
    await onTurns(bdev, objects, task, leave);
  } catch (error) {
    // What left before it was stopped counts.
    if (released === 0 || !(error instanceof TtmError)) throw error;
    failure = error;
  }
  return { released, failure };
}

/** A restore may stop and go on for another caller, so it clears what has no content. */
function overwrittenBy(tt: Tt, { overwritten }: Access): Overwritten {
  return tt.shrunken ? OVERWRITES_NOTHING : overwritten;
}

/** Waits for whoever moves the pages of `bo`: a shrink, which ends by itself. */
async function lockPages(bo: Accessed, task: AsyncTask): Promise<void> {
  if (bo.tt.lock.tryLock()) return;
  await task.wait(bo.tt.lock.queue, undefined);
}

function unlockPages(bdev: Bdev, bo: Accessed): void {
  bdev.reclaimer.resources.settle(bo);
  bo.unlock();
}

/** @throws TtmError EBUSY: an async operation has its turn, or its pages are being written to swap */
function lockSync(bo: Accessed, op: TtmOperation): void {
  if (!bo.turn.tryLock()) throw hasItsTurn(op);
  if (bo.tt.lock.tryLock()) return;
  bo.turn.unlock();
  const text = "pages of this buffer are being written to swap; use the async form, which waits";
  throw new TtmError("EBUSY", op, text);
}
