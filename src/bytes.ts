import { show } from "./errors.ts";
import {
  assertInBounds,
  bufferLength,
  dataBuffer,
  dataLength,
  dataOffset,
  fill,
  isView,
  set,
  sharedLength,
  typedBuffer,
  typedLength,
  typedName,
  typedOffset,
} from "./host.ts";

/** Where bytes are copied from or to: a typed array, a DataView, an ArrayBuffer or a SharedArrayBuffer. */
export type Bytes = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

declare const real: unique symbol;

/**
 * A caller's bytes: a Uint8Array, but perhaps of a class of the caller's, whose properties lie and whose methods
 * keep what they are given. So this type has no members; the functions below use the host's own on it.
 */
export interface CallerBytes {
  readonly [real]: true;
}

/**
 * The bytes of a value of whatever realm, which are to be copied to or from the `size` bytes of a buffer, from
 * byte `offset` of it on.
 *
 * @throws TypeError when it has none, or no longer; RangeError when they do not lie within the buffer
 */
export function bytesWithin(
  size: number,
  offset: number,
  value: Bytes,
  name: "source" | "target",
): CallerBytes {
  if (typeof offset !== "number") {
    const call = name === "source" ? "write(offset, source)" : "read(offset, target)";
    throw new TypeError(`offset must be a number of bytes, as in ${call}, not ${show(offset)}`);
  }
  const bytes = realBytes(value, name) as unknown as CallerBytes;
  const length = lengthOf(bytes);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > size) {
    throw new RangeError(
      `offset ${offset}: the ${length} bytes of ${name} do not lie within ` +
        `the ${size} bytes of the buffer`,
    );
  }
  return bytes;
}

function realBytes(value: Bytes, name: string): ArrayBufferView {
  if (isView(value)) {
    const kind = typedName(value);
    if (kind !== undefined) return ofTypedArray(value, kind, name);
    const make = () => new Uint8Array(dataBuffer(value), dataOffset(value), dataLength(value));
    return inBounds(make, name);
  }
  const length = lengthBy(bufferLength, value) ?? lengthBy(sharedLength, value);
  if (length !== undefined) return inBounds(() => new Uint8Array(value, 0, length), name);
  throw new TypeError(
    `${name} must be an ArrayBuffer, a SharedArrayBuffer, a typed array or a DataView${hintOf(value, name)}`,
  );
}

/** A hint for somebody who gave this value as bytes. */
function hintOf(value: unknown, name: string): string {
  if (name === "target") {
    const length = typeof value === "number" ? value : "length";
    return `, which is filled, as in read(0, new Uint8Array(${length}))`;
  }
  return typeof value === "string" ? "; text is bytes by new TextEncoder().encode(text)" : "";
}

function ofTypedArray(value: ArrayBufferView, kind: string, name: string): ArrayBufferView {
  const length = typedLength(value);
  if (length === 0) inBounds(() => assertInBounds(value), name);
  if (kind === "Uint8Array") return value;
  return new Uint8Array(typedBuffer(value), typedOffset(value), length);
}

/** Bytes of `value` by the getter of one kind of buffer; `undefined` when it is none of these. */
function lengthBy(length: (of: unknown) => number, value: unknown): number | undefined {
  try {
    return length(value);
  } catch {
    return undefined;
  }
}

/** The host's error for memory that is detached or too short by now, with the argument's name. */
function inBounds<T>(look: () => T, name: string): T {
  try {
    return look();
  } catch (cause) {
    const text = `${name} is detached, or lies beyond the end of a buffer that was made smaller`;
    throw new TypeError(text, { cause });
  }
}

/** How many there are now. */
export function lengthOf(bytes: CallerBytes): number {
  return typedLength(bytes);
}

/** `length` of them, from the one at `from` on. */
export function pieceOf(bytes: CallerBytes, from: number, length: number): CallerBytes {
  const piece = new Uint8Array(typedBuffer(bytes), typedOffset(bytes) + from, length);
  return piece as unknown as CallerBytes;
}

/** @throws TypeError unless there are as many as before */
export function assertLength(bytes: CallerBytes, length: number, name: "source" | "target"): void {
  if (lengthOf(bytes) === length) return;
  throw new TypeError(`${name} was detached or resized meanwhile`);
}

/** Fills the segments, which lie in one memory, with the bytes in order. */
export function copyIn(segments: readonly Uint8Array[], bytes: CallerBytes): void {
  const [first] = segments;
  if (segments.length === 1) {
    set(first, bytes, 0);
    return;
  }
  // A view of a mapping may overlap with where it goes.
  const source = first?.buffer === typedBuffer(bytes) ? ownCopy(bytes) : bytes;
  const [buffer, from] = [typedBuffer(source), typedOffset(source)];
  let done = 0;
  for (const segment of segments) {
    set(segment, new Uint8Array(buffer, from + done, segment.length), 0);
    done += segment.length;
  }
}

/** The other way. */
export function copyOut(segments: readonly Uint8Array[], bytes: CallerBytes): void {
  const [first] = segments;
  if (segments.length === 1) {
    set(bytes, first, 0);
    return;
  }
  const overlaps = first?.buffer === typedBuffer(bytes);
  const target = overlaps ? new Uint8Array(lengthOf(bytes)) : bytes;
  let done = 0;
  for (const segment of segments) {
    set(target, segment, done);
    done += segment.length;
  }
  if (overlaps) set(bytes, target, 0);
}

function ownCopy(bytes: CallerBytes): Uint8Array {
  const own = new Uint8Array(lengthOf(bytes));
  set(own, bytes, 0);
  return own;
}

/** Makes all of them zeros. */
export function clear(bytes: CallerBytes): void {
  fill(bytes, 0);
}
