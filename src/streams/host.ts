/*
 * The host's streams and blobs, taken once, when the package is imported. Worklets and bare engines have none of them,
 * which is an error only for who asks for one.
 */
import { TtmError } from "../errors.ts";
import type { HostBlob, HostReadable, HostWritable } from "./types.ts";

const host: {
  readonly ReadableStream?: new (source: object, strategy: object) => HostReadable;
  readonly WritableStream?: new (sink: object) => HostWritable;
  readonly Blob?: new (parts: readonly unknown[], options?: object) => HostBlob;
} = globalThis as object;

const { ReadableStream, WritableStream, Blob } = host;

/** @throws TtmError ENOSYS when the host has no such class */
function there<T>(found: T | undefined, name: string): T {
  if (typeof found === "function") return found;
  throw new TtmError("ENOSYS", "create", `this host has no ${name}`);
}

/** Whoever fills a readable stream. */
export interface Filler {
  start(controller: ReadableControl): void;
  pull(controller: ReadableControl): Promise<void>;
  cancel(reason: unknown): Promise<void>;
}

/** What is used of the controller of a readable stream: one of chunks has no `byobRequest`. */
export interface ReadableControl {
  readonly byobRequest?: ByobRequest | null;
  enqueue(chunk: Uint8Array): void;
  close(): void;
  error(reason: unknown): void;
}

interface ByobRequest {
  readonly view: ArrayBufferView | null;
  respond(bytes: number): void;
}

/** Nothing is asked for before somebody reads. */
const NOTHING_AHEAD = { highWaterMark: 0 };

/**
 * A stream of bytes, in chunks of `chunkSize` bytes for readers that bring no memory of their own. Where the host knows
 * only streams of chunks, it is one of these.
 *
 * @throws TtmError ENOSYS when the host has no streams
 */
export function newReadable(filler: Filler, chunkSize: number): HostReadable {
  const Readable = there(ReadableStream, "ReadableStream");
  const source = {
    start: (controller: ReadableControl) => filler.start(controller),
    pull: (controller: ReadableControl) => filler.pull(controller),
    cancel: (reason: unknown) => filler.cancel(reason),
  };
  try {
    const kind = { type: "bytes", autoAllocateChunkSize: chunkSize };
    return new Readable({ ...source, ...kind }, NOTHING_AHEAD);
  } catch {
    return new Readable(source, NOTHING_AHEAD);
  }
}

/** Whoever takes what is written to a stream. */
export interface Taker {
  start(controller: WritableControl): void;
  write(chunk: unknown): Promise<void>;
  close(): void;
  abort(reason: unknown): void;
}

/** What is used of the controller of a writable stream; not every host has its `signal`. */
export interface WritableControl {
  readonly signal?: AbortSignal;
  error(reason: unknown): void;
}

/** @throws TtmError ENOSYS when the host has no streams */
export function newWritable(taker: Taker): HostWritable {
  const Writable = there(WritableStream, "WritableStream");
  return new Writable({
    start: (controller: WritableControl) => taker.start(controller),
    write: (chunk: unknown) => taker.write(chunk),
    close: () => taker.close(),
    abort: (reason: unknown) => taker.abort(reason),
  });
}

/** @throws TtmError ENOSYS when the host has no blobs */
export function assertBlobs(): void {
  there(Blob, "Blob");
}

/** @throws TtmError ENOSYS when the host has no blobs */
export function newBlob(parts: readonly unknown[], type = ""): HostBlob {
  return new (there(Blob, "Blob"))(parts, { type });
}
