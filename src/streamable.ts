/* What a buffer offers by its reads and writes alone: streams, blobs, and what is whole of it. */
import type { Bytes } from "./bytes.ts";
import type { OperationOptions, RangeOptions } from "./options.ts";
import { type Salvaged, salvage, salvageSync } from "./salvage.ts";
import { blob } from "./streams/blob.ts";
import { readable } from "./streams/readable.ts";
import type { BlobOptions, HostBlob, HostReadable, HostWritable } from "./streams/types.ts";
import { writable } from "./streams/writable.ts";

/** The part of a `BufferObject` that is made of the others: streams, blobs, and what is whole of it. */
export abstract class Streamable {
  abstract get size(): number;
  abstract read<T extends Bytes>(offset: number, target: T, options?: OperationOptions): Promise<T>;
  abstract readSync<T extends Bytes>(offset: number, target: T, options?: OperationOptions): T;
  abstract write(offset: number, source: Bytes, options?: OperationOptions): Promise<void>;

  /**
   * Its bytes, from `offset` on, as a stream of bytes, in chunks of 256 KiB; BYOB readers have up to 1 MiB at a time
   * copied into their own memory. Nothing is read before it is asked for, so it is read as it is then. Cancelling
   * it stops a read that is under way. The stream fails with what a read fails with, and with `EINTR` once
   * `signal` is aborted; it cannot go on then, but another one from there can.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOSYS where the host has no streams
   */
  readable(options?: RangeOptions): HostReadable {
    return readable(this, options);
  }

  /**
   * A stream that writes what it is given, all that `write` takes, into the buffer, in order, from byte `offset` on.
   * Each write settles when its bytes are in, and one is taken at a time, so writers that wait for `ready` hold no
   * more. A chunk that does not fit any more, or is no bytes, fails with the `RangeError` or `TypeError` of
   * `write`, and the stream with it; nothing of that chunk is written, and what was written before stays. So it
   * does when it is aborted, by `signal` (`EINTR`) or `abort`, which stops a write that is under way.
   *
   * @throws TypeError, RangeError for an offset that does not lie within the buffer
   * @throws TtmError ENOSYS where the host has no streams
   */
  writable(offset?: number, options?: OperationOptions): HostWritable {
    return writable(this, offset, options);
  }

  /**
   * A blob with a copy of its bytes, from `offset` on: blobs are there whole, and this one does not change when the
   * buffer does. It is read 1 MiB at a time, and does not count as the device's memory, but as the host's.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError what a read fails with, EINTR once `signal` is aborted: there is no blob then; ENOSYS where the
   *   host has no blobs
   */
  async blob(options?: BlobOptions): Promise<HostBlob> {
    return blob(this, options);
  }

  /**
   * What is whole of it, from `offset` on, in order: stretches of up to 256 KiB, and between them holes, which begin
   * and end with pages. A page that swap does not give back as it was is a hole, and so is one that the swap device
   * fails to read (`EIO`, `ENODEV`, ...); what fails for other reasons, such as want of memory or an abort, is
   * thrown, and another call from there goes on. Every page is tried again, whatever was seen of it before. It holds a
   * stretch at a time, so the buffer may be larger than the memory. Buffers with DMA, or that are not cached, come
   * and go as a whole, up to 2 MiB of them, so a hole of theirs is as large.
   *
   * @throws TypeError, RangeError for bytes that do not lie within the buffer
   * @throws TtmError ENOMEM, ENOSPC, EINTR
   */
  salvage(options?: RangeOptions): AsyncGenerator<Salvaged, void, undefined> {
    return salvage(this, options);
  }

  /**
   * As `salvage`, at once.
   *
   * @throws TtmError as `salvage` does; EBUSY while an async operation is in flight on the buffer; EWOULDBLOCK when the
   *   swap device is asynchronous
   */
  salvageSync(options?: RangeOptions): Generator<Salvaged, void, undefined> {
    return salvageSync(this, options);
  }
}
