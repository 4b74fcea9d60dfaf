/*
 * Memory that can be given back: up to 2 MiB of it, in a resizable ArrayBuffer, the end of which goes back to the system
 * when it is cut, without a collection of garbage. (A WebAssembly memory can only grow.) On hosts without them it is
 * given back as a whole, when the garbage is collected.
 */
import { PAGE_SIZE } from "../../../assembly/abi.ts";

/** Most bytes of an extent: JavaScriptCore gives back the end of buffers of this size, and of none that are smaller. */
export const EXTENT_BYTES: number = 2 ** 21;
/** Bytes of one that is new. To grow takes some microseconds, so the next step is the last. */
const FIRST_BYTES = 2 ** 18;

interface Resizable extends ArrayBuffer {
  resize(bytes: number): void;
}

const RESIZABLE = "resize" in ArrayBuffer.prototype;

const NewBuffer = ArrayBuffer as new (
  bytes: number,
  options: { maxByteLength: number },
) => ArrayBuffer;

/** Memory that grows with what is written to it, up to `EXTENT_BYTES`. */
export class Extent {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Bytes of the system's memory that it has: up to the end of what was written since it was cut. */
  touched = 0;

  /**
   * Lets bytes before `end` be written.
   *
   * @throws RangeError when the host has no memory for it
   */
  grow(end: number): void {
    if (end <= this.touched) return;
    if (end > this.bytes.length) {
      const bytes = RESIZABLE && end <= FIRST_BYTES ? FIRST_BYTES : EXTENT_BYTES;
      if (this.bytes.length > 0) (this.bytes.buffer as Resizable).resize(bytes);
      else this.bytes = new Uint8Array(new NewBuffer(bytes, { maxByteLength: EXTENT_BYTES }));
    }
    this.touched = pagesUp(end);
  }

  /** Gives back what lies behind `end`. */
  cut(end: number): void {
    const bytes = pagesUp(end);
    if (bytes >= this.touched) return;
    if (RESIZABLE) {
      const buffer = this.bytes.buffer as Resizable;
      const size = bytes === 0 ? 0 : buffer.byteLength;
      buffer.resize(bytes);
      try {
        // JavaScriptCore gives it back when the buffer grows again.
        buffer.resize(EXTENT_BYTES);
        buffer.resize(size);
      } catch {
        // There is no memory just now: it stays as short as it is, and grows when it is written.
      }
    }
    if (bytes === 0) this.bytes = new Uint8Array(0);
    if (RESIZABLE || bytes === 0) this.touched = bytes;
  }

  /** By how much `touched` would grow. */
  growth(end: number): number {
    return Math.max(pagesUp(end) - this.touched, 0);
  }
}

function pagesUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}
