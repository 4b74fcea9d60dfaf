/*
 * Buffers as streams and blobs, and made of such. These are functions, not methods, so that only bundles of those who
 * use them hold them.
 */
export { blob } from "./streams/blob.ts";
export { bufferFrom } from "./streams/buffer_from.ts";
export { readable } from "./streams/readable.ts";
export type {
  BlobLike,
  BodyLike,
  BufferBlobOptions,
  BufferFromOptions,
  ByteSource,
  HostBlob,
  HostReadable,
  HostWritable,
  ReadableLike,
  WritableLike,
  WritableOptions,
} from "./streams/types.ts";
export { writable } from "./streams/writable.ts";
