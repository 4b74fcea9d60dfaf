/*
 * Discarding bytes of a buffer: of each window a hole for the pages that they cover whole, and zeros in those that they
 * cover in part, one at either end, which are brought in for it like those of a write. It takes effect in the order of
 * the calls.
 */
import { PAGE_SIZE } from "../assembly/abi.ts";
import { access, giveUp, giveUpSync, withPages, withPagesSync } from "./access.ts";
import { assertFree } from "./accessed.ts";
import type { Bdev } from "./bdev.ts";
import type { Signal } from "./host_types.ts";
import type { Range, RangeRequest } from "./options.ts";
import { pagesOf } from "./size.ts";
import { punchHole } from "./ttm/hole.ts";
import { OVERWRITES_NOTHING, type Part } from "./ttm/restore.ts";
import { segmentsOf } from "./ttm/segments.ts";
import { throwFailure } from "./ttm/work.ts";
import { piecesOf, type Window } from "./window.ts";

/** As `discard`, at once; nothing is done when an async operation is at one of the windows. */
export function discardSync(
  bdev: Bdev,
  row: readonly Window[],
  { signal, ...range }: RangeRequest,
): void {
  const pieces = piecesOf(row, range.offset, range.length);
  for (const { window } of pieces) assertFree(window, "discard");
  for (const { window, ...piece } of pieces) {
    for (const { offset, length } of edgesOf(bdev, window, piece)) {
      const a = access("discard", signal, OVERWRITES_NOTHING, window.part(offset, length));
      withPagesSync(bdev, window, a, () => zero(bdev, window, offset, length));
    }
    const { from, to } = wholeOf(window, piece);
    if (from >= to) continue;
    const task = { op: "discard", signal } as const;
    giveUpSync(bdev, [window], task, () => ({ released: punch(bdev, window, from, to) }));
  }
}

/**
 * Makes bytes zeros, and gives up what holds them. Where an end cannot be brought in, the pages of its window that are
 * covered whole stay; other windows are zeros all the same.
 *
 * @throws TtmError what stopped it: the same call may be made again
 */
export async function discard(
  bdev: Bdev,
  row: readonly Window[],
  { signal, ...range }: RangeRequest,
): Promise<void> {
  // All take their turns now: what is called after this comes behind all of them.
  const pieces = piecesOf(row, range.offset, range.length);
  const between = pieces.slice(1, -1).map(({ window }) => window);
  const steps = pieces
    .filter((_, i) => i === 0 || i === pieces.length - 1)
    .flatMap(({ window, ...piece }) => stepsOf(bdev, window, piece, signal));
  // Those between are covered whole: one operation for all of them, as there may be thousands.
  if (between.length > 0) steps.push(punchAll(bdev, between, signal));
  const ends = await Promise.allSettled(steps);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** What is done to one window, begun: its ends, and then, if they are zeros, what lies between them. */
function stepsOf(
  bdev: Bdev,
  window: Window,
  piece: Range,
  signal: Signal | undefined,
): Promise<unknown>[] {
  const edges = edgesOf(bdev, window, piece);
  let zeroed = 0;
  const steps: Promise<unknown>[] = edges.map(({ offset, length }) => {
    const a = access("discard", signal, OVERWRITES_NOTHING, window.part(offset, length));
    return withPages(bdev, window, a, () => {
      zero(bdev, window, offset, length);
      zeroed++;
    });
  });
  const { from, to } = wholeOf(window, piece);
  if (from < to) {
    const last = giveUp(bdev, [window], { op: "discard", signal }, () => ({
      released: zeroed === edges.length ? punch(bdev, window, from, to) : 0,
    }));
    steps.push(last);
  }
  return steps;
}

/** The pages that are covered whole: the last one, too, by what goes to the end of the buffer. */
function wholeOf({ size }: Window, { offset, length }: Range): Part {
  const end = offset + length;
  return { from: pagesOf(offset), to: end === size ? pagesOf(end) : Math.floor(end / PAGE_SIZE) };
}

/** The bytes in pages that are covered in part, but for those in which there is nothing. */
function edgesOf(bdev: Bdev, window: Window, range: Range): Range[] {
  const { offset, length } = range;
  const end = offset + length;
  const { from, to } = wholeOf(window, range);
  // Within one page.
  if (from > to) return [range].filter((edge) => !isHole(bdev, window, edge));
  const edges = [
    { offset, length: from * PAGE_SIZE - offset },
    { offset: to * PAGE_SIZE, length: end - to * PAGE_SIZE },
  ];
  return edges.filter((edge) => edge.length > 0 && !isHole(bdev, window, edge));
}

/** Whether the page of some bytes has no content, and nobody is at it who may give it some. */
function isHole({ global }: Bdev, { tt, turn }: Window, { offset }: Range): boolean {
  if (turn.held || tt.lock.held) return false;
  const index = tt.vector + Math.floor(offset / PAGE_SIZE);
  return tt.vector < 0 || global.engine.isBlank(index, 1);
}

/** Clears bytes of a page that is in memory. */
function zero({ pool, global }: Bdev, { tt }: Window, offset: number, length: number): void {
  pool.dirty(tt, Math.floor(offset / PAGE_SIZE), 1, global.roomForClean && tt.numPages > 1);
  for (const each of segmentsOf(global.engine, tt, offset, length)) each.fill(0);
}

async function punchAll(
  bdev: Bdev,
  windows: readonly Window[],
  signal: Signal | undefined,
): Promise<void> {
  const task = { op: "discard", signal } as const;
  const whole = (window: Window) => ({ released: punch(bdev, window, 0, window.pages) });
  const { failure } = await giveUp(bdev, windows, task, whole);
  throwFailure(failure);
}

function punch({ pool }: Bdev, { tt, pinned }: Window, from: number, to: number): number {
  return punchHole(pool, tt, from, to, pinned);
}
