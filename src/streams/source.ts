/*
 * What the content of a buffer may come from. Values of other realms and other implementations are as good as the
 * host's: each is known by the methods that it has.
 */
import type { Bytes } from "../bytes.ts";
import { show } from "../errors.ts";
import { bufferLength, isView, sharedLength } from "../host.ts";
import type { BlobLike, BodyLike, ByteSource, ReadableLike } from "./types.ts";

/** Chunks of bytes, one after the other. */
export interface Chunks {
  /** The next one, whatever it is; `undefined`: that was all. */
  next(): Promise<{ readonly chunk: unknown } | undefined>;
  /** Nobody wants more of them: whoever makes them stops. Does nothing when they have ended. */
  stop(reason: unknown): Promise<unknown>;
  /** They have ended, and their source is let go of. */
  end(): void;
}

/** A source, as it was recognised. */
interface Source {
  /** Bytes that it says it has; it may be wrong. */
  readonly expected: number | undefined;
  /** Takes it: nobody else can read it then. */
  open(): Chunks;
}

type Foreign = Readonly<Record<PropertyKey, unknown>>;

/** Whether a value is bytes, of whatever realm. */
export function isBytes(value: unknown): value is Bytes {
  return isView(value) || has(bufferLength, value) || has(sharedLength, value);
}

function has(length: (of: unknown) => number, value: unknown): boolean {
  try {
    length(value);
    return true;
  } catch {
    return false;
  }
}

/** @throws TypeError when nothing can be read from it */
export function sourceOf(value: ByteSource): Source {
  const foreign: Foreign = isObject(value) ? (value as unknown as Foreign) : {};
  const can = (name: PropertyKey) => typeof foreign[name] === "function";
  if (can("getReader")) return { expected: undefined, open: () => ofStream(value as ReadableLike) };
  if (can("arrayBuffer") && "body" in foreign) return ofBody(value as BodyLike);
  if (can("stream") && typeof foreign.size === "number") {
    const blob = value as BlobLike;
    return { expected: blob.size, open: () => ofStream(blob.stream()) };
  }
  if (can(Symbol.asyncIterator)) {
    const iterable = value as AsyncIterable<unknown>;
    return { expected: undefined, open: () => ofIterator(iterable[Symbol.asyncIterator]()) };
  }
  if (can(Symbol.iterator)) {
    const iterable = value as Iterable<unknown>;
    return { expected: undefined, open: () => ofIterator(iterable[Symbol.iterator]()) };
  }
  throw new TypeError(
    "source must be bytes, a Response, a ReadableStream, a Blob, or an iterable of bytes, " +
      `not ${show(value)}${textHint(value)}`,
  );
}

/** A hint for who gave text. */
export function textHint(value: unknown): string {
  return typeof value === "string" ? "; text is bytes by new TextEncoder().encode(text)" : "";
}

function isObject(value: unknown): boolean {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function ofBody({ body, bodyUsed, headers }: BodyLike): Source {
  if (bodyUsed) throw new TypeError("source: its body was used already");
  const { open } = sourceOf(body ?? []);
  // Where the body is compressed, the length is that of what was sent, not of what it is.
  const encoding = headers.get("content-encoding") ?? "identity";
  return { expected: encoding === "identity" ? Number(headers.get("content-length")) : 0, open };
}

function ofStream(stream: ReadableLike): Chunks {
  const reader = stream.getReader();
  return {
    async next() {
      const { done, value } = await reader.read();
      return done ? undefined : { chunk: value };
    },
    async stop(reason) {
      const cancelled = reader.cancel(reason);
      reader.releaseLock();
      return cancelled;
    },
    end: () => reader.releaseLock(),
  };
}

function ofIterator(iterator: AsyncIterator<unknown> | Iterator<unknown>): Chunks {
  let ended = false;
  return {
    async next() {
      // What throws, or has no more, is not to be told to stop.
      ended = true;
      const { done, value } = await iterator.next();
      const chunk = done ? undefined : { chunk: await value };
      ended = Boolean(done);
      return chunk;
    },
    stop: async () => (ended ? undefined : iterator.return?.()),
    end: () => {},
  };
}
