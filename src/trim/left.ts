/*
 * The memory that a move has left: the host has it until its garbage collector sees that nobody else does.
 * JavaScriptCore looks soon, and by itself. V8 looks when much more memory was asked for than at its last look; what
 * is asked for here nobody touches, so it takes addresses only, and it is let go of when the old memory is gone. With
 * each piece V8 marks for a few milliseconds at most; 3 to 8 of them are enough, whatever the size of the memory.
 */
import { after, Bun, whenGone } from "../host.ts";

/** More than a C library keeps for itself: what it keeps is cleared, and so touched, when it is asked for (bytes). */
const PIECE = 64 * 2 ** 20;
const PIECES_MAX = 40;
/** Between two pieces others have their turn, and the collector its own (milliseconds). */
const PAUSE_MS = 1;

/** A memory that nobody uses any more, until the host has found that out. */
export class LeftMemory {
  #gone = false;
  readonly #known: boolean;

  constructor(buffer: object) {
    this.#known = whenGone(buffer, () => {
      this.#gone = true;
    });
  }

  /** Has the host find out. Settles, never rejecting, when it has, or there is no more to be done. */
  async letGo(): Promise<void> {
    if (Bun || !this.#known) return;
    const pieces: ArrayBuffer[] = [];
    try {
      while (!this.#gone && pieces.length < PIECES_MAX) {
        pieces.push(new ArrayBuffer(PIECE));
        await new Promise<void>((resolve) => after(PAUSE_MS, resolve));
      }
    } catch {
      // No addresses for so much: it will find out later.
    }
  }
}
