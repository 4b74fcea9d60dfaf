import { asSignal, RANGE_OPTIONS, type RangeOptions, takeOptions } from "../options.ts";
import { type Filler, newReadable, type ReadableControl } from "./host.ts";
import { streamedRange } from "./range.ts";
import { Stop } from "./stop.ts";
import type { HostReadable, StreamedBuffer } from "./types.ts";

/** Bytes of a chunk, for a reader that brings no memory of its own. */
const CHUNK = 256 * 1024;
/** Most bytes of one read, whatever a reader brings: the pages that they lie in are in memory together. */
const READ_MAX = 2 ** 20;

/** `BufferObject.readable`. */
export function readable(buffer: StreamedBuffer, options?: RangeOptions): HostReadable {
  const given = takeOptions(options, RANGE_OPTIONS, "readable");
  const { offset, length } = streamedRange(given, buffer.size);
  const stop = new Stop("restore", asSignal(given.signal));
  try {
    const chunk = Math.max(Math.min(CHUNK, length), 1);
    return newReadable(new BufferReader(buffer, offset, offset + length, stop), chunk);
  } catch (error) {
    stop.end();
    throw error;
  }
}

/** Gives the bytes [at, end) of a buffer to a stream. */
class BufferReader implements Filler {
  readonly #buffer: StreamedBuffer;
  readonly #end: number;
  readonly #stop: Stop;
  #at: number;
  /** Never rejects. */
  #reading: Promise<unknown> | undefined;

  constructor(buffer: StreamedBuffer, at: number, end: number, stop: Stop) {
    this.#buffer = buffer;
    this.#at = at;
    this.#end = end;
    this.#stop = stop;
  }

  start(controller: ReadableControl): void {
    if (this.#at === this.#end) this.#close(controller);
    else this.#stop.fails(controller);
  }

  async pull(controller: ReadableControl): Promise<void> {
    try {
      this.#stop.assertGoesOn();
      const request = controller.byobRequest ?? undefined;
      const target = this.#target(request?.view ?? undefined);
      const read = this.#buffer.read(this.#at, target, { signal: this.#stop });
      this.#reading = read.catch(() => {});
      await read;
      if (this.#stop.stopped) return;
      this.#at += target.length;
      if (request) request.respond(target.length);
      else controller.enqueue(target);
      if (this.#at === this.#end) this.#close(controller);
    } catch (error) {
      this.#stop.end();
      throw error;
    }
  }

  /** Settles when the buffer is left alone. */
  async cancel(reason: unknown): Promise<void> {
    this.#stop.abort(reason);
    await this.#reading;
  }

  /** Where the next bytes go: to the reader's memory, or what was allocated for it, or else to a chunk of ours. */
  #target(view: ArrayBufferView | undefined): Uint8Array {
    const most = Math.min(view?.byteLength ?? CHUNK, this.#end - this.#at, READ_MAX);
    return view ? new Uint8Array(view.buffer, view.byteOffset, most) : new Uint8Array(most);
  }

  #close(controller: ReadableControl): void {
    this.#stop.end();
    controller.close();
  }
}
