/*
 * One step machine, two drivers. Whatever moves content is written once, as a generator that yields
 * the transfers it wants done and commits when they are; it knows nothing of promises, signals or
 * event loops. `runSync` drives it to its end; `run` awaits a device, and lets others run now and
 * then. Both look at the signal between two transfers. What went wrong is the value of the `yield`: the
 * generator commits what was moved, rolls back the rest and returns the failure, which is thrown once, at
 * the end (an error thrown from frame to frame costs more than a chunk).
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine, Extent } from "../engine/engine.ts";
import { codeOf, messageOf, TtmError, type TtmOperation } from "../errors.ts";
import { isRam, type SwapDevice } from "../swap/types.ts";

/** What is looked at between two transfers: an `AbortSignal`, or anything with its two fields. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

/** Pages that lie side by side in swap, from `slot` on, and in `views` in memory. */
export interface Transfer {
  readonly out: boolean;
  readonly slot: number;
  readonly extents: readonly Extent[];
}

/** Between two batches: nothing to do, but a place to stop (RAM swap has no transfers). */
export const BORDER: undefined = undefined;

/** A generator of the transfers it wants done, and of borders; it is told what went wrong, if something did. */
export type Steps<T> = Generator<Transfer | undefined, T, TtmError | undefined>;

/** Most pages of one device call: 1 MiB, beyond which calls get no faster. */
export const TRANSFER_PAGES_MAX = 256;

/** Pages of one batch of a shrink: prepared, moved and committed together. */
export const BATCH_PAGES = 512;

/** What the drivers need to know. */
export interface TransferContext {
  readonly engine: Engine;
  readonly swap: SwapDevice;
  /** Most pages of one transfer. */
  readonly transferPages: number;
  /** Whether pages in swap have checksums. */
  readonly checksums: boolean;
  /** Whether to fail here, for tests. */
  fails(site: "write" | "read"): boolean;
}

/** How far a batch came: entries before the first that did not move, pages moved, what stopped it. */
export interface Moved {
  readonly moved: number;
  readonly pages: number;
  readonly failure?: unknown;
}

/**
 * Moves the extents of the prepare that was just made, `total` entries in all, at once: what RAM swap
 * can do, and all can when there are none. `undefined`: this device wants `transferExtents`.
 */
export function transferAtOnce(
  context: TransferContext,
  out: boolean,
  total: number,
  untouched: number,
): Moved | undefined {
  const { engine, swap, checksums } = context;
  if (engine.extentCount === 0) return { moved: total, pages: 0 };
  if (!isRam(swap)) return undefined;
  if (context.fails(out ? "write" : "read")) {
    return { moved: untouched, pages: 0, failure: injected(out) };
  }
  const pages = engine.ramTransfer(out, checksums);
  const bad = out || !checksums ? undefined : pageAfter(engine.extents(), pages);
  return bad ? { moved: bad.at, pages, failure: new Mismatch(bad) } : { moved: total, pages };
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

/** The same, transfer by transfer; checksums are taken while the bytes are in the CPU's cache. */
export function* transferExtents(
  context: TransferContext,
  out: boolean,
  total: number,
  untouched: number,
): Steps<Moved> {
  const { engine, checksums } = context;
  let moved = untouched;
  let pages = 0;
  for (const transfer of group(engine.extents(), out, context.transferPages)) {
    const { extents } = transfer;
    // What leaves without a transfer, because swap still has it, has left up to here.
    if (out) moved = (extents[0] as Extent).at;
    const failure = yield transfer;
    if (failure) return { moved, pages, failure };
    // Behind the copy, when the bytes are in the CPU's cache.
    if (out && checksums) for (const extent of extents) engine.sum(extent);
    for (const extent of extents) pages += extent.pages;
    const bad = out || !checksums ? undefined : findBad(context, extents);
    if (bad) return { moved: bad.at, pages, failure: new Mismatch(bad) };
    const last = extents[extents.length - 1] as Extent;
    moved = last.at + last.pages;
  }
  return { moved: total, pages };
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

/** Extents with slots side by side go together, up to the size of a call; larger ones are cut up. */
function group(extents: readonly Extent[], out: boolean, most: number): Transfer[] {
  const transfers: Transfer[] = [];
  let some: Extent[] = [];
  let pages = 0;
  let next = 0;
  for (const extent of extents) {
    for (const piece of extent.pages > most ? cut(extent, most) : [extent]) {
      if (some.length === 0 || piece.slot !== next || pages + piece.pages > most) {
        some = [];
        pages = 0;
        transfers.push({ out, slot: piece.slot, extents: some });
      }
      some.push(piece);
      pages += piece.pages;
      next = piece.slot + piece.pages;
    }
  }
  return transfers;
}

function cut(extent: Extent, most: number): Extent[] {
  const pieces: Extent[] = [];
  for (let done = 0; done < extent.pages; done += most) {
    pieces.push({
      address: extent.address + done * PAGE_SIZE,
      slot: extent.slot + done,
      pages: Math.min(most, extent.pages - done),
      at: extent.at + done,
      index: extent.index + done,
    });
  }
  return pieces;
}

/** Hands one transfer to the device. Views are made here, right before they are used. */
function perform(context: TransferContext, t: Transfer): void | Promise<void> {
  const { engine, swap } = context;
  if (isRam(swap)) return;
  if (context.fails(t.out ? "write" : "read")) throw injected(t.out);
  const views = t.extents.map((extent) => engine.view(extent.address, extent.pages * PAGE_SIZE));
  return t.out ? swap.write(t.slot, views) : swap.read(t.slot, views);
}

function interrupted(signal: Signal, op: TtmOperation): TtmError {
  const text = "interrupted; nothing is lost, and the same call goes on where this one stopped";
  return new TtmError("EINTR", op, text, signal.reason);
}

/** @throws TtmError EINTR when the signal is aborted */
export function interruptible(signal: Signal | undefined, op: TtmOperation): void {
  if (signal?.aborted) throw interrupted(signal, op);
}

/** What a device threw, or a signal, as an error of ours that keeps the code and the cause. */
function ownError(
  { swap }: TransferContext,
  op: TtmOperation,
  transfer: Transfer | undefined,
  error: unknown,
): TtmError {
  if (error instanceof TtmError) return error;
  if (!transfer) return new TtmError(codeOf(error), op, messageOf(error), error);
  const [side, verb] = transfer.out
    ? (["shrink", "write"] as const)
    : (["restore", "read"] as const);
  const text = `swap device ${swap.name} failed to ${verb}: ${messageOf(error)}`;
  return new TtmError(codeOf(error), side, text, error);
}

function unexpected(pending: Promise<void>): Error {
  pending.catch(() => {}); // too late to wait for: the error below is what the caller learns
  return new Error("it returned a promise without `async: true`");
}

/** @throws what stopped some steps, if something did */
export function throwFailure(failure: unknown): void {
  if (failure !== undefined) throw failure;
}

/** Runs the steps to their end, synchronously. */
export function runSync<T>(
  context: TransferContext,
  op: TtmOperation,
  steps: Steps<T>,
  signal?: Signal,
): T {
  interruptible(signal, op);
  let step = steps.next();
  while (!step.done) {
    const transfer = step.value;
    let failure: TtmError | undefined;
    try {
      if (signal?.aborted) failure = interrupted(signal, op);
      else if (transfer) performSync(context, transfer);
    } catch (error) {
      failure = ownError(context, op, transfer, error);
    }
    step = steps.next(failure);
  }
  return step.value;
}

function performSync(context: TransferContext, transfer: Transfer): void {
  const { swap } = context;
  if (!isRam(swap) && swap.async) {
    const text = `swap device ${swap.name} is asynchronous; use the async form`;
    throw new TtmError("EWOULDBLOCK", transfer.out ? "shrink" : "restore", text);
  }
  const pending = perform(context, transfer);
  if (typeof pending?.then === "function") throw unexpected(pending);
}

/** How long async drivers hold the event loop at a stretch (milliseconds), one operation or many. */
const SLICE_MS = 8;

/** When the first of them began since the event loop turned last; `undefined`: none has. */
let slice: number | undefined;

/** Whether it is time to let the event loop turn. */
function sliceEnded(): boolean {
  const now = performance.now();
  if (slice !== undefined) return now - slice > SLICE_MS;
  slice = now;
  onTurn(() => {
    slice = undefined;
  });
  return false;
}

/** Runs the steps to their end, letting the event loop turn between transfers now and then. */
export async function run<T>(
  context: TransferContext,
  op: TtmOperation,
  steps: Steps<T>,
  signal?: Signal,
): Promise<T> {
  interruptible(signal, op);
  let step = steps.next();
  while (!step.done) {
    if (sliceEnded()) {
      await turn();
      slice = undefined;
    }
    const transfer = step.value;
    let failure: TtmError | undefined;
    try {
      if (signal?.aborted) failure = interrupted(signal, op);
      else {
        const pending = transfer && perform(context, transfer);
        if (pending) await pending;
      }
    } catch (error) {
      failure = ownError(context, op, transfer, error);
    }
    step = steps.next(failure);
  }
  return step.value;
}

/** Calls `then` when the event loop has turned. */
function onTurn(then: () => void): void {
  if (typeof setImmediate === "function") setImmediate(then);
  else setTimeout(then, 0);
}

/** One turn of the event loop (cond_resched): timers and I/O get their chance. */
function turn(): Promise<void> {
  return new Promise(onTurn);
}
