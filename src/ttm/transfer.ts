/*
 * Transfers: how the extents of a prepared batch get to the device and back. `transferNow` does them on the
 * spot, where a sync driver is at work; `transferExtents` yields them to one that can wait. Both ways the
 * signal is looked at before each (RAM swap moves a batch at once). What went wrong is a value, up to the public method that throws it: the batch is
 * committed as far as it came, and an error thrown from frame to frame costs more than a chunk.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine, Extent } from "../engine/engine.ts";
import { codeOf, failureOf, TtmError, type TtmOperation } from "../errors.ts";
import { ignoreOutcome } from "../host.ts";
import { type Adopted, isRam } from "../swap/adopt.ts";
import type { Steps } from "./driver.ts";
import { interruption, type Task } from "./task.ts";

/** Pages that lie side by side in swap, from `slot` on, and in `views` in memory. */
export interface Transfer {
  /** @internal Of the memory that it belongs to. */
  readonly context: TransferContext;
  /** @internal */
  readonly out: boolean;
  /** @internal */
  readonly slot: number;
  /** @internal */
  readonly extents: readonly Extent[];
}

export function isTransfer(value: unknown): value is Transfer {
  return typeof value === "object" && value !== null && "context" in value && "extents" in value;
}

/** Most pages of one device call: 1 MiB, beyond which calls get no faster. */
export const TRANSFER_PAGES_MAX = 256;

/** Pages of one batch of a shrink: prepared, moved and committed together. */
export const BATCH_PAGES = 512;

/** What the drivers need to know. */
export interface TransferContext {
  readonly engine: Engine;
  readonly swap: Adopted;
  /** Most pages of one transfer. */
  readonly transferPages: number;
  /** Whether pages in swap have checksums. */
  readonly checksums: boolean;
  /** The task whose transfers are done on the spot, while its driver runs it (the kernel's `current`). */
  current: Task | undefined;
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
  /** The write that the device failed to do, if that was it. */
  refused: Transfer | undefined = undefined;

  constructor(moved: number) {
    this.moved = moved;
  }
}

/** Whether `transferNow` can: for RAM swap always, else while a sync driver runs the task. */
export function immediate({ swap, current }: TransferContext): boolean {
  return current !== undefined || isRam(swap);
}

/**
 * Moves the extents of the prepare that was just made, `total` entries in all, on the spot. `undefined`:
 * there is somebody to yield to, and a device to be awaited; use `transferExtents`.
 */
export function transferNow(
  context: TransferContext,
  out: boolean,
  total: number,
  untouched: number,
): Moved | undefined {
  const { engine, swap, current } = context;
  if (engine.extentCount === 0) return new Moved(total);
  const moved = new Moved(untouched);
  const ram = isRam(swap);
  if (!ram && !current) return undefined;
  try {
    if (ram) {
      transferRam(context, moved, out, total);
      return moved;
    }
    const transfers = group(context, out);
    for (let i = 0; i < transfers.length; i++) {
      const transfer = transfers[i] as Transfer;
      const failure = performNow(current as Task, transfer);
      if (failure && halve(transfers, i, failure)) i--;
      else if (!took(context, moved, transfer, failure)) return moved;
    }
    moved.moved = total;
  } catch (error) {
    unexpectedly(moved, out, error);
  }
  return moved;
}

/** What nobody foresaw stops a batch as a failed transfer does: it is committed as far as it came. */
function unexpectedly(moved: Moved, out: boolean, error: unknown): void {
  moved.failure = failureOf(out ? "shrink" : "restore", error);
}

/** The same, transfer by transfer. */
export function* transferExtents(
  context: TransferContext,
  out: boolean,
  total: number,
  untouched: number,
): Steps<Moved> {
  const moved = new Moved(untouched);
  try {
    const transfers = group(context, out);
    for (let i = 0; i < transfers.length; i++) {
      const transfer = transfers[i] as Transfer;
      const failure = yield transfer;
      if (failure && halve(transfers, i, failure)) i--;
      else if (!took(context, moved, transfer, failure)) return moved;
    }
    moved.moved = total;
  } catch (error) {
    unexpectedly(moved, out, error);
  }
  return moved;
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
function halve(transfers: Transfer[], at: number, failure: TtmError): boolean {
  const { context, out, extents } = transfers[at] as Transfer;
  const pages = pagesOf(extents);
  if (!out || pages === 1 || codeOf(failure) !== "ENOSPC") return false;
  const half = pages >>> 1;
  const parts: [Extent[], Extent[]] = [[], []];
  let before = 0;
  for (const extent of extents) {
    const first = Math.min(Math.max(half - before, 0), extent.pages);
    if (first > 0) parts[0].push(part(extent, 0, first));
    if (first < extent.pages) parts[1].push(part(extent, first, extent.pages));
    before += extent.pages;
  }
  const halves = parts.map((some) => ({
    context,
    out,
    slot: (some[0] as Extent).slot,
    extents: some,
  }));
  transfers.splice(at, 1, ...halves);
  return true;
}

export function pagesOf(extents: readonly Extent[]): number {
  let pages = 0;
  for (const extent of extents) pages += extent.pages;
  return pages;
}

/** Takes a transfer into account that was done, or failed. Says whether the next one may follow. */
function took(
  context: TransferContext,
  moved: Moved,
  transfer: Transfer,
  failure: unknown,
): boolean {
  const { engine, checksums } = context;
  const { extents, out, slot } = transfer;
  // What leaves without a transfer, because swap still has it, has left up to here.
  if (out) moved.moved = (extents[0] as Extent).at;
  moved.failure = failure;
  if (failure) {
    if (out) moved.refused = transfer;
    return false;
  }
  // Checksums while the bytes are in the CPU's cache.
  if (out && checksums) for (const extent of extents) engine.sum(extent);
  const pages = pagesOf(extents);
  moved.pages += pages;
  if (out) engine.slotsTook(slot, pages);
  const bad = out || !checksums ? undefined : findBad(context, extents);
  if (bad) {
    moved.moved = bad.at;
    moved.failure = new Mismatch(bad);
    return false;
  }
  const last = extents[extents.length - 1] as Extent;
  moved.moved = last.at + last.pages;
  return true;
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
function group(context: TransferContext, out: boolean): Transfer[] {
  const { engine, transferPages: most } = context;
  const extents = engine.extents();
  const [first] = extents;
  if (first && extents.length === 1 && first.pages <= most) {
    return [{ context, out, slot: first.slot, extents }];
  }
  const transfers: Transfer[] = [];
  let some: Extent[] = [];
  let pages = 0;
  let next = 0;
  for (const extent of extents) {
    for (const piece of extent.pages > most ? cut(extent, most) : [extent]) {
      if (some.length === 0 || piece.slot !== next || pages + piece.pages > most) {
        some = [];
        pages = 0;
        transfers.push({ context, out, slot: piece.slot, extents: some });
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
    pieces.push(part(extent, done, Math.min(done + most, extent.pages)));
  }
  return pieces;
}

/** Pages [from, to) of an extent. */
function part({ address, slot, at, index }: Extent, from: number, to: number): Extent {
  return {
    address: address + from * PAGE_SIZE,
    slot: slot + from,
    pages: to - from,
    at: at + from,
    index: index + from,
  };
}

/** Hands one transfer to the device. Views are made here, right before they are used. */
export function perform(t: Transfer): void | Promise<void> {
  const { context } = t;
  const { engine, swap } = context;
  if (isRam(swap)) return;
  if (context.fails(t.out ? "write" : "read")) throw injected(t.out);
  const views = t.extents.map((extent) => engine.view(extent.address, extent.pages * PAGE_SIZE));
  return t.out ? swap.write(t.slot, views) : swap.read(t.slot, views);
}

/** One transfer of a task that cannot wait. Returns what went wrong. */
export function performNow(task: Task, t: Transfer): TtmError | undefined {
  const { swap } = t.context;
  const stop = interruption(task);
  if (stop) return stop;
  try {
    if (!isRam(swap) && swap.async) return wouldBlock(swap.name, t.out);
    const pending = perform(t);
    if (typeof pending?.then === "function") throw unexpected(pending);
    return undefined;
  } catch (error) {
    return ownError(t.context, task.op, t, error);
  }
}

function wouldBlock(name: string, out: boolean): TtmError {
  const text = `swap device ${name} is asynchronous; use the async form`;
  return new TtmError("EWOULDBLOCK", out ? "shrink" : "restore", text);
}

/** What a device threw, or a signal, as an error of ours that keeps the code and the cause. */
export function ownError(
  { swap }: TransferContext,
  op: TtmOperation,
  transfer: Transfer | undefined,
  error: unknown,
): TtmError {
  if (!transfer) return failureOf(op, error);
  const [side, verb] = transfer.out
    ? (["shrink", "write"] as const)
    : (["restore", "read"] as const);
  return failureOf(side, error, `swap device ${swap.name} failed to ${verb}`);
}

function unexpected(pending: unknown): Error {
  ignoreOutcome(pending); // too late to wait for: the error below is what the caller learns
  return new Error("it returned a promise without `async: true`");
}
