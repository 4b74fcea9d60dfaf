import { type Bytes, bytesWithin, lengthOf } from "../bytes.ts";
import { asSignal, assertOptions, assertWhole, type OperationOptions } from "../options.ts";
import { newWritable, type Taker, type WritableControl } from "./host.ts";
import { Stop } from "./stop.ts";
import type { HostWritable, StreamedBuffer } from "./types.ts";

const WRITABLE_OPTIONS: readonly (keyof OperationOptions)[] = ["signal"];

/** `BufferObject.writable`. */
export function writable(
  buffer: StreamedBuffer,
  offset = 0,
  options?: OperationOptions,
): HostWritable {
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
  readonly #buffer: StreamedBuffer;
  readonly #stop: Stop;
  #at: number;

  constructor(buffer: StreamedBuffer, at: number, stop: Stop) {
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
