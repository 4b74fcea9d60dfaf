import type { ReadableLike, Signal } from "../../src/index.ts";

/** All bytes of chunks. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The chunks that a stream still has. */
export async function chunksOf(stream: ReadableLike): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value as Uint8Array);
  }
  reader.releaseLock();
  return chunks;
}

/** All that a stream still has. */
export async function bytesOf(stream: ReadableLike): Promise<Uint8Array> {
  return joined(await chunksOf(stream));
}

/** Parts of `bytes`, of `size` bytes each. */
export function* partsOf(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** A stream that gives chunks, and then ends or fails. */
export class Given {
  /** How often a chunk was asked for. */
  pulls = 0;
  /** Why it was cancelled. */
  cancelled: unknown;
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;

  constructor(chunks: Iterable<unknown>, error?: unknown) {
    const iterator = chunks[Symbol.iterator]();
    this.stream = new ReadableStream(
      {
        pull: (controller) => {
          this.pulls++;
          const { done, value } = iterator.next();
          if (!done) controller.enqueue(value as Uint8Array<ArrayBuffer>);
          else if (error === undefined) controller.close();
          else controller.error(error);
        },
        cancel: (reason) => {
          this.cancelled = reason;
        },
      },
      { highWaterMark: 0 },
    );
  }
}

/** A signal that counts its listeners. */
export class HeardSignal implements Signal {
  readonly listeners: Set<() => void> = new Set();
  readonly reason: unknown = new Error("the test's reason");
  aborted = false;

  addEventListener(_: string, heard: () => void): void {
    this.listeners.add(heard);
  }

  removeEventListener(_: string, heard: () => void): void {
    this.listeners.delete(heard);
  }

  abort(): void {
    this.aborted = true;
    for (const heard of [...this.listeners]) heard();
  }
}

/** What `running` rejects with. */
export async function rejection(running: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await running;
  } catch (error) {
    return error;
  }
  throw new Error(`there was no error, but ${String(value)}`);
}
