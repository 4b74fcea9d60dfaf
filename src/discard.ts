/*
 * Discarding bytes of a buffer: a hole for the pages that they cover whole, and zeros in those that they cover in part,
 * one at either end, which are brought in for it like those of a write. It takes effect in the order of the calls.
 */
import { PAGE_SIZE } from "../assembly/abi.ts";
import { type Accessed, access, withPages, withPagesSync, workAsync, workSync } from "./access.ts";
import type { Bdev } from "./bdev.ts";
import type { Signal } from "./host_types.ts";
import type { Range } from "./options.ts";
import { pagesOf } from "./size.ts";
import { punchHole } from "./ttm/hole.ts";
import { OVERWRITES_NOTHING, type Part } from "./ttm/restore.ts";
import { segmentsOf } from "./ttm/segments.ts";

/** What of a buffer is discarded, and what may stop that. */
export interface Discard extends Range {
  readonly signal: Signal | undefined;
}

/** A buffer that bytes are discarded of. */
interface Discardable extends Accessed {
  readonly size: number;
  /** What has to come in for bytes [offset, offset + length); `undefined`: all of it. */
  partOf(offset: number, length: number): Part | undefined;
}

/** As `discard`, at once. */
export function discardSync(bdev: Bdev, bo: Discardable, { signal, ...range }: Discard): void {
  for (const { offset, length } of edgesOf(bdev, bo, range)) {
    const a = access("discard", signal, OVERWRITES_NOTHING, bo.partOf(offset, length));
    withPagesSync(bdev, bo, a, () => zero(bdev, bo, offset, length));
  }
  const { from, to } = wholeOf(bo, range);
  if (from >= to) return;
  workSync(bdev, bo, access("discard", signal), () => ({ released: punch(bdev, bo, from, to) }));
}

/**
 * Makes bytes zeros, and gives up what holds them. What cannot be brought in keeps the pages between the ends, too.
 *
 * @throws TtmError what stopped it: the same call may be made again
 */
export async function discard(
  bdev: Bdev,
  bo: Discardable,
  { signal, ...range }: Discard,
): Promise<void> {
  const edges = edgesOf(bdev, bo, range);
  let zeroed = 0;
  // All take their turns now: what is called after this comes behind all of them.
  const steps: Promise<unknown>[] = edges.map(({ offset, length }) => {
    const a = access("discard", signal, OVERWRITES_NOTHING, bo.partOf(offset, length));
    return withPages(bdev, bo, a, () => {
      zero(bdev, bo, offset, length);
      zeroed++;
    });
  });
  const { from, to } = wholeOf(bo, range);
  if (from < to) {
    const last = workAsync(bdev, bo, access("discard", signal), () => ({
      released: zeroed === edges.length ? punch(bdev, bo, from, to) : 0,
    }));
    steps.push(last);
  }
  const ends = await Promise.allSettled(steps);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** The pages that are covered whole: the last one, too, by what goes to the end of the buffer. */
function wholeOf({ size }: Discardable, { offset, length }: Range): Part {
  const end = offset + length;
  return { from: pagesOf(offset), to: end === size ? pagesOf(end) : Math.floor(end / PAGE_SIZE) };
}

/** The bytes in pages that are covered in part, but for those in which there is nothing. */
function edgesOf(bdev: Bdev, bo: Discardable, range: Range): Range[] {
  const { offset, length } = range;
  const end = offset + length;
  const { from, to } = wholeOf(bo, range);
  // Within one page.
  if (from > to) return [range].filter((edge) => !isHole(bdev, bo, edge));
  const edges = [
    { offset, length: from * PAGE_SIZE - offset },
    { offset: to * PAGE_SIZE, length: end - to * PAGE_SIZE },
  ];
  return edges.filter((edge) => edge.length > 0 && !isHole(bdev, bo, edge));
}

/** Whether the page of some bytes has no content, and nobody is at it who may give it some. */
function isHole({ global }: Bdev, { tt, turn }: Discardable, { offset }: Range): boolean {
  if (turn.held || tt.lock.held) return false;
  const index = tt.vector + Math.floor(offset / PAGE_SIZE);
  return tt.vector < 0 || global.engine.isBlank(index, 1);
}

/** Clears bytes of a page that is in memory. */
function zero({ pool, global }: Bdev, { tt }: Discardable, offset: number, length: number): void {
  pool.dirty(tt, Math.floor(offset / PAGE_SIZE), 1, global.roomForClean && tt.numPages > 1);
  for (const each of segmentsOf(global.engine, tt, offset, length)) each.fill(0);
}

function punch({ pool }: Bdev, { tt, pinned }: Discardable, from: number, to: number): number {
  return punchHole(pool, tt, from, to, pinned);
}
