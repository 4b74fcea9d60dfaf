/*
 * What is whole of a buffer some of whose pages cannot be read.
 */
import { PAGE_SIZE } from "../assembly/abi.ts";
import type { Bytes } from "./bytes.ts";
import { TtmError, type TtmErrorCode } from "./errors.ts";
import type { Signal, View } from "./host_types.ts";
import {
  asSignal,
  type OperationOptions,
  RANGE_OPTIONS,
  type Range,
  type RangeOptions,
  rangeOf,
  takeOptions,
} from "./options.ts";

/** Some bytes of a buffer: they are there, or they cannot be read. */
export interface Salvaged {
  /** Where they begin in the buffer (bytes). */
  readonly offset: number;
  /** How many they are. */
  readonly length: number;
  /** The bytes, the caller's own; `undefined`: a hole. */
  readonly bytes: View | undefined;
  /** Why the first page of a hole cannot be read; `undefined`: they are there. */
  readonly error: TtmError | undefined;
}

/** Bytes that are read together, while all is well. */
const PIECE = 256 * 1024;

/** Codes that say that what was stored is not to be had, now or ever; what else fails is not about the content. */
const LOST: ReadonlySet<TtmErrorCode> = new Set<TtmErrorCode>([
  "EIO",
  "ENODEV",
  "ENOENT",
  "EPERM",
  "EACCES",
]);

/** What is needed of a buffer. */
interface Salvageable {
  readonly size: number;
  read<T extends Bytes>(offset: number, target: T, options?: OperationOptions): Promise<T>;
  readSync<T extends Bytes>(offset: number, target: T, options?: OperationOptions): T;
}

/** `BufferObject.salvage`. */
export async function* salvage(
  buffer: Salvageable,
  options?: RangeOptions,
): AsyncGenerator<Salvaged, void, undefined> {
  const walk = new Walk(buffer, options, "salvage");
  for (let range = walk.next(); range; range = walk.next()) {
    const target = new Uint8Array(range.length);
    let error: unknown;
    try {
      await buffer.read(range.offset, target, walk.options);
    } catch (thrown) {
      error = thrown;
    }
    yield* walk.took(range, target, error);
  }
  yield* walk.end();
}

/** `BufferObject.salvageSync`. */
export function* salvageSync(
  buffer: Salvageable,
  options?: RangeOptions,
): Generator<Salvaged, void, undefined> {
  const walk = new Walk(buffer, options, "salvageSync");
  for (let range = walk.next(); range; range = walk.next()) {
    const target = new Uint8Array(range.length);
    let error: unknown;
    try {
      buffer.readSync(range.offset, target, walk.options);
    } catch (thrown) {
      error = thrown;
    }
    yield* walk.took(range, target, error);
  }
  yield* walk.end();
}

/** The way through a range: what is to be read next, in halves of what could not be read, down to a page. */
class Walk {
  readonly options: { readonly signal: Signal | undefined };
  /** What is still to be read; the last one is next. */
  readonly #todo: Range[];
  /** A hole that may go on. */
  #hole: Salvaged | undefined;

  constructor(buffer: Salvageable, options: RangeOptions | undefined, what: string) {
    const given = takeOptions(options, RANGE_OPTIONS, what);
    this.options = { signal: asSignal(given.signal) };
    this.#todo = [rangeOf(given, buffer.size)];
  }

  next(): Range | undefined {
    const range = this.#todo.pop();
    if (!range || range.length <= PIECE) return range;
    this.#split(range, (Math.floor(range.offset / PIECE) + 1) * PIECE);
    return this.#todo.pop();
  }

  /** What came of a range that was read, or was not. */
  *took(range: Range, bytes: View, error: unknown): Generator<Salvaged, void, undefined> {
    const { offset, length } = range;
    if (error === undefined) {
      yield* this.end();
      yield { offset, length, bytes, error: undefined };
      return;
    }
    if (!isLost(error)) throw error;
    const first = Math.floor(offset / PAGE_SIZE) + 1;
    const pages = Math.ceil((offset + length) / PAGE_SIZE) - first;
    if (pages > 0) {
      this.#split(range, (first + (pages >>> 1)) * PAGE_SIZE);
      return;
    }
    const hole = this.#hole;
    if (hole && hole.error?.code === error.code) {
      this.#hole = { ...hole, length: hole.length + length };
      return;
    }
    yield* this.end();
    this.#hole = { offset, length, bytes: undefined, error };
  }

  /** The hole that does not go on, if there is one. */
  *end(): Generator<Salvaged, void, undefined> {
    if (this.#hole) yield this.#hole;
    this.#hole = undefined;
  }

  /** Two ranges of one: the bytes before `at` come first. */
  #split({ offset, length }: Range, at: number): void {
    this.#todo.push({ offset: at, length: offset + length - at });
    this.#todo.push({ offset, length: at - offset });
  }
}

/** Whether a read failed because of what is stored. A write that failed to make room for it is something else. */
function isLost(error: unknown): error is TtmError {
  return error instanceof TtmError && error.op !== "shrink" && LOST.has(error.code);
}
