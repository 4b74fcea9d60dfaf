/*
 * Another size for a buffer: windows that are as before are taken over, the others are made anew and filled with what
 * is in the old ones. Those are few, mostly the last one, so that it is a few MiB at most that are copied; and nothing
 * is given up before all of it is there.
 */
import { access, withPages, withPagesSync } from "./access.ts";
import type { Bdev } from "./bdev.ts";
import { bytesWithin } from "./bytes.ts";
import { TtmError } from "./errors.ts";
import type { Signal } from "./host_types.ts";
import { OVERWRITES_NOTHING } from "./ttm/restore.ts";
import { type Piece, piecesOf, type Window, windowsOf } from "./window.ts";

/** Bytes that are copied at a time. */
const STEP = 64 * 1024;

/** A buffer's windows for another size. */
export interface Resized {
  readonly windows: readonly Window[];
  /** Those that are new, and are to be filled. */
  readonly made: readonly Window[];
  /** Old ones that are not among them. */
  readonly dropped: readonly Window[];
}

/**
 * The windows of a buffer that is to have `size` bytes.
 *
 * @throws TtmError EBUSY while a window that is not kept is in use, pinned or mapped; ENOMEM for a size that is
 *   larger than memory and swap
 */
export function resized(bdev: Bdev, old: readonly Window[], size: number): Resized {
  const { options } = old[0] as Window;
  const windows = windowsOf(bdev, size, options, "resize").map((window, i) => {
    const there = old[i];
    return there?.start === window.start && there.size === window.size ? there : window;
  });
  const dropped = old.filter((window, i) => windows[i] !== window);
  assertAllIdle(dropped);
  return { windows, made: windows.filter((window, i) => old[i] !== window), dropped };
}

/** @throws TtmError EBUSY while one of them is pinned or mapped, or in use */
export function assertAllIdle(windows: readonly Window[]): void {
  for (const { pinned, turn } of windows) assertIdle(pinned, turn.held);
}

/** @throws TtmError EBUSY for what is pinned or mapped, or in use */
export function assertIdle(pinned: boolean, inUse: boolean): void {
  if (!pinned && !inUse) return;
  const what = pinned ? "unmap or unpin it first" : "await what is in flight on it first";
  throw new TtmError("EBUSY", "resize", `cannot resize a buffer that is in use; ${what}`);
}

/** Fills the windows that are new; if that fails, they are freed, and the old ones are as before. */
export async function fill(
  bdev: Bdev,
  old: readonly Window[],
  { made }: Resized,
  signal: Signal | undefined,
): Promise<void> {
  const copy = new Copy(signal);
  try {
    // A call whose signal's getter began it goes first: what that writes is copied, too.
    await undefined;
    for (const { from, to, at } of copiesOf(old, made)) {
      await withPages(bdev, from.window, copy.out(from), () => copy.read(from));
      const a = to.writing(signal, at, from.length);
      await withPages(bdev, to, a, (held) => copy.write(from, to, at, held));
    }
  } catch (error) {
    for (const window of made) window.end();
    throw error;
  }
}

/** The same, at once. */
export function fillSync(
  bdev: Bdev,
  old: readonly Window[],
  { made }: Resized,
  signal: Signal | undefined,
): void {
  const copy = new Copy(signal);
  try {
    for (const { from, to, at } of copiesOf(old, made)) {
      withPagesSync(bdev, from.window, copy.out(from), () => copy.read(from));
      withPagesSync(bdev, to, to.writing(signal, at, from.length), (held) =>
        copy.write(from, to, at, held),
      );
    }
  } catch (error) {
    for (const window of made) window.end();
    throw error;
  }
}

/** What was advised of the old windows, and became of that, is so of the new ones that stand where they stood. */
export function handOnAdvice({ made, dropped }: Resized): void {
  for (const to of made) {
    const from = dropped.filter(({ start, size }) => {
      return start < to.start + to.size && to.start < start + size;
    });
    to.tt.purged = from.some(({ tt }) => tt.purged);
    if (from.length > 0 && from.every(({ tt }) => tt.purgeable)) to.advise(false);
  }
}

/** A piece of an old window, and byte `at` of a new one at which it belongs. */
interface Step {
  readonly from: Piece;
  readonly to: Window;
  readonly at: number;
}

/** What is to be copied, in steps; what was never written is left out. */
function* copiesOf(old: readonly Window[], made: readonly Window[]): Generator<Step, void> {
  const before = old.reduce((sum, { size }) => sum + size, 0);
  for (const to of made) {
    const end = Math.min(to.start + to.size, before);
    for (let offset = to.start; offset < end; offset += STEP) {
      for (const from of piecesOf(old, offset, Math.min(STEP, end - offset))) {
        if (!from.window.blank) yield { from, to, at: offset + from.done - to.start };
      }
    }
  }
}

/** The bytes that are being copied. */
class Copy {
  readonly #bytes = new Uint8Array(STEP);
  readonly #signal: Signal | undefined;

  constructor(signal: Signal | undefined) {
    this.#signal = signal;
  }

  out({ window, offset, length }: Piece): ReturnType<typeof access> {
    return access("restore", this.#signal, OVERWRITES_NOTHING, window.part(offset, length));
  }

  read({ window, offset, length }: Piece): void {
    window.copyOut(offset, length, this.#some(length));
  }

  write({ length }: Piece, to: Window, at: number, held: boolean): void {
    to.copyIn(at, length, this.#some(length), held);
  }

  #some(length: number): ReturnType<typeof bytesWithin> {
    return bytesWithin(length, 0, this.#bytes.subarray(0, length), "source");
  }
}
