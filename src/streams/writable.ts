import type { BufferObject } from "../buffer_object.ts";
import { type Bytes, bytesWithin, lengthOf } from "../bytes.ts";
import { asSignal, assertOptions, assertWhole } from "../options.ts";
import { newWritable, type Taker, type WritableControl } from "./host.ts";
import { assertBuffer } from "./range.ts";
import { Stop } from "./stop.ts";
import type { HostWritable, WritableOptions } from "./types.ts";

const WRITABLE_OPTIONS: readonly (keyof WritableOptions)[] = ["signal"];

/**
 * A stream that writes what it is given, all that `buffer.write` takes, into a buffer, in order, from byte `offset`
 * on. Each write settles when its bytes are in, and one is taken at a time, so writers that wait for `ready`
 * hold no more. A chunk that does not fit any more, or is no bytes, fails with the `RangeError` or `TypeError` of
 * `buffer.write`, and the stream with it; nothing of that chunk is written, and what was written before stays.
 * So it does when it is aborted, by `signal` (`EINTR`) or `abort`, which stops a write that is under way.
 *
 * @throws TypeError, RangeError for an offset that does not lie within the buffer
 * @throws TtmError ENOSYS where the host has no streams
 */
export function writable(
  buffer: BufferObject,
  offset = 0,
  options?: WritableOptions,
): HostWritable {
  assertBuffer(buffer, "writable");
  assertWhole(offset, "offset", 0, buffer.size);
  assertOptions(options, WRITABLE_OPTIONS, "writable");
  const stop = new Stop("populate", asSignal(options?.signal));
  try {
    return newWritable(new BufferWriter(buffer, offset, stop));
  } catch (error) {
    stop.end();
    throw error;
  }
}

/** Writes what a stream takes to a buffer. */
class BufferWriter implements Taker {
  readonly #buffer: BufferObject;
  readonly #stop: Stop;
  #at: number;

  constructor(buffer: BufferObject, at: number, stop: Stop) {
    this.#buffer = buffer;
    this.#at = at;
    this.#stop = stop;
  }

  start(controller: WritableControl): void {
    this.#stop.fails(controller);
    // `abort` is called only when the write that is under way has ended.
    const { signal } = controller;
    signal?.addEventListener("abort", () => this.#stop.abort(signal.reason));
  }

  async write(chunk: unknown): Promise<void> {
    try {
      this.#stop.assertGoesOn();
      const bytes = bytesWithin(this.#buffer.size, this.#at, chunk as Bytes, "source");
      const length = lengthOf(bytes);
      await this.#buffer.write(this.#at, chunk as Bytes, { signal: this.#stop });
      this.#at += length;
    } catch (error) {
      this.#stop.end();
      throw error;
    }
  }

  close(): void {
    this.#stop.end();
  }

  abort(reason: unknown): void {
    this.#stop.abort(reason);
  }
}
