/*
 * The memory that a move has left: the host has it until its garbage collector sees that nobody else does. A collector
 * looks when much more memory was asked for than at its last look; what is asked for here nobody touches, so it takes
 * addresses only, and it is let go of when the old memory is gone. JavaScriptCore (Bun) counts linear memories that are
 * made, V8 array buffers that are kept. 3 to 8 pieces are enough, whatever the size of the memory; each has the collector
 * mark for a few milliseconds at most.
 */
import { untouchedMemory } from "../engine/trim.ts";
import { after, Bun, whenGone } from "../host.ts";

/** More than a C library keeps for itself: what it keeps is cleared, and so touched, when it is asked for (bytes). */
const PIECE = 64 * 2 ** 20;
const PIECES_MAX = 40;

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
    if (!this.#known) return;
    const kept: object[] = [];
    try {
      for (let pieces = 0; !this.#gone && pieces < PIECES_MAX; pieces++) {
        if (Bun) untouchedMemory(PIECE);
        else kept.push(new ArrayBuffer(PIECE));
        // Others have their turn, and the collector its own: 1 ms, then 2, ..., as it may not come to its end soon.
        await new Promise<void>((resolve) => after(pieces + 1, resolve));
      }
    } catch {
      // No addresses for so much: it will find out later.
    }
  }
}
