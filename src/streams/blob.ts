import type { BufferObject } from "../buffer_object.ts";
import { show } from "../errors.ts";
import { asSignal, RANGE_OPTIONS, takeOptions } from "../options.ts";
import { assertBlobs, newBlob } from "./host.ts";
import { assertBuffer, streamedRange } from "./range.ts";
import type { BufferBlobOptions, HostBlob } from "./types.ts";

const BLOB_OPTIONS: readonly (keyof BufferBlobOptions)[] = [...RANGE_OPTIONS, "type"];

/** Bytes that are read at a time, and of each blob that the blob is made of. */
const PART = 2 ** 20;

/**
 * A blob with a copy of the bytes of a buffer, from `offset` on: blobs are there whole, and this one does not change
 * when the buffer does. It is read 1 MiB at a time, and does not count as the device's memory, but as the host's.
 *
 * @throws TypeError, RangeError for bytes that do not lie within the buffer
 * @throws TtmError what a read fails with, EINTR once `signal` is aborted: there is no blob then; ENOSYS where the
 *   host has no blobs
 */
export async function blob(buffer: BufferObject, options?: BufferBlobOptions): Promise<HostBlob> {
  assertBuffer(buffer, "blob");
  const given = takeOptions(options, BLOB_OPTIONS, "blob");
  const { offset, length } = streamedRange(given, buffer.size);
  const signal = asSignal(given.signal);
  const { type = "" } = given;
  if (typeof type !== "string") throw new TypeError(`type must be a string, not ${show(type)}`);
  assertBlobs();
  const parts: HostBlob[] = [];
  const bytes = new Uint8Array(Math.min(PART, length));
  for (let at = offset, end = offset + length; at < end; at += PART) {
    const part = await buffer.read(at, bytes.subarray(0, end - at), { signal });
    // A blob each: it has a copy, so that ours can be used again.
    parts.push(newBlob([part]));
  }
  return newBlob(parts, type);
}
