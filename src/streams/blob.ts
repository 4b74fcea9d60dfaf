import { show } from "../errors.ts";
import { asSignal, RANGE_OPTIONS, takeOptions } from "../options.ts";
import { assertBlobs, newBlob } from "./host.ts";
import { streamedRange } from "./range.ts";
import type { BlobOptions, HostBlob, StreamedBuffer } from "./types.ts";

const BLOB_OPTIONS: readonly (keyof BlobOptions)[] = [...RANGE_OPTIONS, "type"];

/** Bytes that are read at a time, and of each blob that the blob is made of. */
const PART = 2 ** 20;

/** `BufferObject.blob`. */
export async function blob(buffer: StreamedBuffer, options?: BlobOptions): Promise<HostBlob> {
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
