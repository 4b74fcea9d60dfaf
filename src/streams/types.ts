/* Streams and blobs as the user's compiler knows them, and what is asked of those that are handed in. */
import type { Bytes } from "../bytes.ts";
import type { OperationOptions, RangeOptions } from "../options.ts";

/** What is needed of a `ReadableStream` whose chunks are bytes. */
export interface ReadableLike {
  /** Takes it: nobody else can read it then. */
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Bytes | undefined }>;
    cancel(reason?: unknown): Promise<unknown>;
    releaseLock(): void;
  };
}

/** What is needed of a `Blob` or `File`. */
export interface BlobLike {
  /** Bytes. */
  readonly size: number;
  /** All of them, from the first one on. */
  stream(): ReadableLike;
}

/** What is needed of a `Response` or `Request`. */
export interface BodyLike {
  /** Its bytes; null: there are none. */
  readonly body: ReadableLike | AsyncIterable<Bytes> | null;
  /** Whether somebody has read them. */
  readonly bodyUsed: boolean;
  /** Of which `content-length` and `content-encoding` are looked at. */
  readonly headers: { get(name: string): string | null };
  /** What it is known by; not called. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Where the content of a buffer comes from: bytes, or whatever gives chunks of them. */
export type ByteSource =
  | Bytes
  | BlobLike
  | BodyLike
  | ReadableLike
  | AsyncIterable<Bytes>
  | Iterable<Bytes>;

/** The host's `ReadableStream`, as what its blobs give; what is needed of one where the compiler knows none. */
export type HostReadable = typeof globalThis extends {
  Blob: { prototype: { stream(): infer T } };
}
  ? T
  : typeof globalThis extends { ReadableStream: { prototype: infer T } }
    ? T
    : ReadableLike;

/** The host's `WritableStream`; what is needed of one where the compiler knows none. */
export type HostWritable = typeof globalThis extends { WritableStream: { prototype: infer T } }
  ? T
  : WritableLike;

/** What is used of a `WritableStream` of bytes. */
export interface WritableLike {
  /** Takes it: nobody else can write to it then. */
  getWriter(): {
    write(chunk?: Bytes): Promise<void>;
    close(): Promise<void>;
    abort(reason?: unknown): Promise<void>;
    releaseLock(): void;
  };
}

/** The host's `Blob`; what is needed of one where the compiler knows none. */
export type HostBlob = typeof globalThis extends { Blob: { prototype: infer T } } ? T : BlobLike;

/** Options of `BufferObject.blob`. */
export interface BlobOptions extends RangeOptions {
  /** Media type of the blob. Default: none. */
  readonly type?: string;
}

/** What is needed of a buffer. */
export interface StreamedBuffer {
  /** Bytes. */
  readonly size: number;
  read<T extends Bytes>(offset: number, target: T, options?: OperationOptions): Promise<T>;
  write(offset: number, source: Bytes, options?: OperationOptions): Promise<void>;
}
