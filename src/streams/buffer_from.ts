import { PAGE_SIZE } from "../../assembly/abi.ts";
import { type Bytes, bytesWithin, lengthOf } from "../bytes.ts";
import { show } from "../errors.ts";
import { typedBuffer, typedOffset } from "../host.ts";
import type { Signal } from "../host_types.ts";
import { asSignal, takeOptions } from "../options.ts";
import { parseSize, type Size } from "../size.ts";
import { type Chunks, isBytes, sourceOf, textHint } from "./source.ts";
import { Stop } from "./stop.ts";
import type { ByteSource, StreamedBuffer } from "./types.ts";

/** Options of its own, beside those of the buffer. */
interface FillOptions {
  readonly size?: Size;
  readonly signal?: Signal | undefined;
}

const FILL_OPTIONS: readonly (keyof FillOptions)[] = ["size", "signal"];

/** A buffer that is made for it. */
interface MadeBuffer extends StreamedBuffer {
  readonly destroyed: boolean;
  destroy(): void;
}

/** What is needed of a device. `O`: options of its buffers. */
interface Maker<B extends MadeBuffer, O> {
  readonly closed: boolean;
  stats(): { readonly pages: { readonly total: number } };
  createBuffer(size: Size, options: O): B;
}

/** Bytes of each buffer that is filled while nobody knows how many will come. */
const PIECE = 2 ** 21;
/** Bytes that are moved at a time from these to the one that is returned. */
const MOVED = 2 ** 18;

/** `Device.bufferFrom`. `known`: names of options of its buffers. */
export async function bufferFrom<B extends MadeBuffer, O extends object>(
  device: Maker<B, O>,
  source: ByteSource,
  options: (O & FillOptions) | undefined,
  known: readonly (keyof O & string)[],
): Promise<B> {
  const names = [...FILL_OPTIONS, ...known];
  const { size, signal, ...made } = takeOptions<O & FillOptions>(options, names, "bufferFrom");
  const limit = size === undefined ? Number.POSITIVE_INFINITY : parseSize(size, "size");
  const stop = new Stop("create", asSignal(signal));
  const filling = new Filling(device, made as O, limit, stop);
  try {
    if (isBytes(source)) {
      filling.expect(filling.assertFits(source));
      await filling.add(source);
    } else await fill(filling, source, stop);
    return await filling.finish();
  } catch (error) {
    filling.discard();
    throw error;
  } finally {
    stop.end();
  }
}

async function fill<B extends MadeBuffer, O>(
  filling: Filling<B, O>,
  source: ByteSource,
  stop: Stop,
): Promise<void> {
  const { expected, open } = sourceOf(source);
  const chunks = open();
  try {
    filling.expect(expected);
    for (;;) {
      stop.assertGoesOn();
      const next = await stop.orStopped(chunks.next());
      if (!next) break;
      if (!isBytes(next.chunk)) {
        const hint = textHint(next.chunk);
        throw new TypeError(`source must give chunks of bytes, not ${show(next.chunk)}${hint}`);
      }
      await filling.add(next.chunk);
    }
    chunks.end();
  } catch (error) {
    await stopped(chunks, error, stop);
    throw error;
  }
}

/** Has a source stop, and waits for that; who was told to stop himself does not wait for others. */
async function stopped(chunks: Chunks, reason: unknown, stop: Stop): Promise<void> {
  const ended = chunks.stop(reason).catch(() => {}); // the first failure counts
  if (!stop.aborted) await ended;
}

/** A buffer, and how many bytes of it are filled. */
interface Piece<B> {
  readonly buffer: B;
  filled: number;
}

/** Buffers that are filled, one after the other, and become one. */
class Filling<B extends MadeBuffer, O> {
  readonly #device: Maker<B, O>;
  readonly #options: O;
  readonly #limit: number;
  readonly #stop: Stop;
  readonly #made = new Set<B>();
  readonly #pieces: Piece<B>[] = [];
  #total = 0;

  constructor(device: Maker<B, O>, options: O, limit: number, stop: Stop) {
    this.#device = device;
    this.#options = options;
    this.#limit = limit;
    this.#stop = stop;
  }

  /** Makes a buffer for as many bytes, or as there are at most. They may be more or fewer then. */
  expect(bytes: number | undefined): void {
    const known = bytes !== undefined && Number.isSafeInteger(bytes) && bytes > 0;
    const size = Math.min(known ? bytes : Number.POSITIVE_INFINITY, this.#limit);
    if (Number.isFinite(size)) this.#pieces.push({ buffer: this.#create(size), filled: 0 });
  }

  /**
   * Bytes of a chunk.
   *
   * @throws RangeError when these are too many
   */
  assertFits(chunk: Bytes): number {
    const length = lengthOf(bytesWithin(Number.MAX_SAFE_INTEGER, this.#total, chunk, "source"));
    if (this.#total + length <= this.#limit) return length;
    throw new RangeError(`source has more bytes than size, which is ${this.#limit}`);
  }

  async add(chunk: Bytes): Promise<void> {
    const length = this.assertFits(chunk);
    for (let from = 0; from < length; ) {
      const piece = this.#pieceWithRoom();
      const some = Math.min(piece.buffer.size - piece.filled, length - from);
      await this.#write(piece, partOf(chunk, from, some), some);
      from += some;
    }
    this.#total += length;
  }

  /** The one buffer with all that was added. */
  async finish(): Promise<B> {
    if (this.#total === 0) throw new RangeError("source has no bytes; a buffer has one or more");
    const [first] = this.#pieces;
    if (first?.buffer.size === this.#total) return first.buffer;
    const whole = { buffer: this.#create(this.#total), filled: 0 };
    const bytes = new Uint8Array(Math.min(MOVED, this.#total));
    for (const { buffer, filled } of this.#pieces) {
      for (let at = 0; at < filled; at += MOVED) {
        const part = bytes.subarray(0, Math.min(MOVED, filled - at));
        await buffer.read(at, part, { signal: this.#stop });
        await this.#write(whole, part, part.length);
      }
      this.#destroy(buffer);
    }
    return whole.buffer;
  }

  /** Destroys all that was made. */
  discard(): void {
    for (const buffer of this.#made) this.#destroy(buffer);
  }

  #pieceWithRoom(): Piece<B> {
    const last = this.#pieces.at(-1);
    if (last && last.filled < last.buffer.size) return last;
    const memory = this.#device.stats().pages.total * PAGE_SIZE;
    const piece = { buffer: this.#create(Math.min(PIECE, memory)), filled: 0 };
    this.#pieces.push(piece);
    return piece;
  }

  #create(size: number): B {
    const buffer = this.#device.createBuffer(size, this.#options);
    this.#made.add(buffer);
    return buffer;
  }

  async #write(piece: Piece<B>, bytes: Bytes, length: number): Promise<void> {
    await piece.buffer.write(piece.filled, bytes, { signal: this.#stop });
    piece.filled += length;
  }

  #destroy(buffer: B): void {
    this.#made.delete(buffer);
    // A device that is being closed destroys all of its buffers by itself.
    if (!this.#device.closed && !buffer.destroyed) buffer.destroy();
  }
}

/** Bytes [from, from + length) of a chunk. */
function partOf(chunk: Bytes, from: number, length: number): Bytes {
  const bytes = bytesWithin(Number.MAX_SAFE_INTEGER, 0, chunk, "source");
  if (length === lengthOf(bytes)) return chunk;
  return new Uint8Array(typedBuffer(bytes), typedOffset(bytes) + from, length);
}
