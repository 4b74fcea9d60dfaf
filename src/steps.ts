/* What operations do to each piece of a buffer, in order, as it is their turn there. */
import { PAGE_SIZE } from "../assembly/abi.ts";
import { type Step, withEach, withEachSync } from "./access.ts";
import type { Bdev } from "./bdev.ts";
import { assertLength, type CallerBytes, clear, pieceOf } from "./bytes.ts";
import { TtmError } from "./errors.ts";
import type { Signal, View } from "./host_types.ts";
import { Mapping, type MapRequest } from "./mapping.ts";
import type { Range } from "./options.ts";
import type { ReadAhead } from "./read_ahead.ts";
import { formatSize, pagesOf } from "./size.ts";
import type { Task } from "./ttm/task.ts";
import { type Piece, piecesOf, type Window } from "./window.ts";

/** What is done to a piece of a buffer, when it is its turn: nothing, if that needs no memory. */
type StepOf = (piece: Piece, signal: Signal | undefined) => Step | undefined;

/**
 * Does to each piece of a range of a buffer what `stepOf` says, in order.
 *
 * @param gathers what is brought in stays until all is there
 */
export function across(
  bdev: Bdev,
  row: readonly Window[],
  task: Task,
  { offset, length }: Range,
  stepOf: StepOf,
  gathers = false,
): Promise<void> {
  const pieces = piecesOf(row, offset, length);
  const windows = pieces.map(({ window }) => window);
  const step = (i: number) => stepOf(pieces[i] as Piece, task.signal);
  return withEach(bdev, windows, task, step, gathers);
}

/** The same, at once. */
export function acrossSync(
  bdev: Bdev,
  row: readonly Window[],
  task: Task,
  { offset, length }: Range,
  stepOf: StepOf,
): void {
  const pieces = piecesOf(row, offset, length);
  const windows = pieces.map(({ window }) => window);
  withEachSync(bdev, windows, task, (i) => stepOf(pieces[i] as Piece, task.signal));
}

/** Brings a range in, window by window. */
export async function bringIn(row: readonly Window[], range: Range): Promise<void> {
  for (const { window, offset, length } of piecesOf(row, range.offset, range.length)) {
    await window.populate({ offset: window.start + offset, length }, undefined);
  }
}

/** What copies the `length` bytes of `target` out. */
export function reads(
  target: CallerBytes,
  length: number,
  readAhead: ReadAhead | undefined,
): StepOf {
  return (piece, signal) => {
    assertLength(target, length, "target");
    const { window, offset } = piece;
    const bytes = pieceOf(target, piece.done, piece.length);
    if (window.blank) {
      clear(bytes);
      return undefined;
    }
    const access = window.reading(signal, offset, piece.length, readAhead);
    return {
      access,
      use: () => window.copyOut(offset, piece.length, bytes, readAhead),
    };
  };
}

/** Bytes of a buffer are going to be written: they are needed from now on, whatever was advised before. */
function need(row: readonly Window[], { offset, length }: Range): void {
  for (const { window } of piecesOf(row, offset, length)) window.needed();
}

/** What copies the `length` bytes of `source` in, from byte `offset` of a buffer on. */
export function writes(
  row: readonly Window[],
  offset: number,
  source: CallerBytes,
  length: number,
): StepOf {
  need(row, { offset, length });
  return (piece, signal) => {
    assertLength(source, length, "source");
    const { window, offset } = piece;
    const bytes = pieceOf(source, piece.done, piece.length);
    const access = window.overwriting(signal, offset, piece.length);
    return { access, use: (held) => window.copyIn(offset, piece.length, bytes, held) };
  };
}

/** The windows that a pin, a mapping or a populate holds: more and more of them, until all that is asked for is in memory. */
export class Held {
  readonly #asked: MapRequest | undefined;
  readonly #windows: Window[] = [];
  readonly #segments: View[] = [];
  /** Of the windows, how many are held: all, or all but the last. */
  #count = 0;
  /** What is mapped, once all is held; `undefined`: nothing is. Made before, as it may fail at the end of the stack. */
  readonly mapping: Mapping | undefined;

  /** @param asked what is mapped; `undefined`: nothing is */
  constructor(asked?: MapRequest) {
    this.#asked = asked;
    this.mapping = asked && new Mapping(this.#segments, this.letGo);
  }

  /** What is done to each piece of what is asked for. */
  readonly step = ({ window, offset, length }: Piece, signal: Signal | undefined): Step => {
    const asked = this.#asked;
    this.#windows.push(window);
    return {
      access: window.bringing(asked ? "map" : "populate", signal, offset, length),
      use: () => {
        if (asked) this.#add(window.views(offset, length, asked.write));
        window.hold();
        this.#count++;
      },
    };
  };

  /** Whether it holds a window. */
  holds(window: Window): boolean {
    const index = this.#windows.indexOf(window);
    return index >= 0 && index < this.#count;
  }

  /** Lets go of all that is held. */
  readonly letGo = (): void => {
    for (; this.#count > 0; this.#count--) (this.#windows[this.#count - 1] as Window).unhold();
  };

  /**
   * Brings a range of a buffer in and holds it, all of it or nothing.
   *
   * @throws TtmError ENOMEM when it is larger than the memory, before anything is moved
   */
  async take(bdev: Bdev, windows: readonly Window[], task: Task, range: Range): Promise<void> {
    this.#begin(bdev, windows, task, range);
    try {
      await across(bdev, windows, task, range, this.step, true);
    } catch (error) {
      this.letGo();
      throw error;
    }
  }

  /** The same, at once. */
  takeSync(bdev: Bdev, windows: readonly Window[], task: Task, range: Range): void {
    this.#begin(bdev, windows, task, range);
    try {
      acrossSync(bdev, windows, task, range, this.step);
    } catch (error) {
      this.letGo();
      throw error;
    }
  }

  #begin(bdev: Bdev, windows: readonly Window[], task: Task, range: Range): void {
    assertFits(bdev, task, range);
    if (this.#asked?.write) need(windows, range);
  }

  #add(views: readonly View[]): void {
    for (const view of views) {
      const last = this.#segments.at(-1);
      // Pages of two windows may lie side by side, too.
      if (last && last.byteOffset + last.length === view.byteOffset) {
        const both = new Uint8Array(last.buffer, last.byteOffset, last.length + view.length);
        this.#segments[this.#segments.length - 1] = both;
      } else this.#segments.push(view);
    }
  }
}

function assertFits({ global }: Bdev, { op }: Task, { length }: Range): void {
  if (pagesOf(length) * PAGE_SIZE <= global.memory) return;
  const text =
    `${formatSize(length)} do not fit the memory of ${formatSize(global.memory)} at the same time; ` +
    "use read and write, or map a part with { offset, length }";
  throw new TtmError("ENOMEM", op, text);
}
