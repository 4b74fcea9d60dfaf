/*
 * Read-ahead: how many pages are brought in behind those that a read asks for. Reads that go on where the last one
 * ended get twice as many each time, as in the kernel's on-demand readahead; all others get none.
 */
import type { Part } from "./ttm/restore.ts";

/** Pages read ahead, at first and at most: 64 KiB to 1 MiB. */
const AHEAD_PAGES_MIN = 16;
const AHEAD_PAGES_MAX = 256;

/** How a buffer is going to be read (POSIX_FADV_...). */
export type ReadingAdvice = "normal" | "random" | "sequential";

/** The reads of one buffer. */
export class ReadAhead {
  advice: ReadingAdvice = "normal";
  /** The page behind the last read, and behind those read ahead of it. */
  #next = -1;
  #until = 0;
  /** Pages that are read ahead of reads in a row. */
  #run = 0;

  /** Whether what was read is not worth to be kept: it is read once, in a row. */
  get once(): boolean {
    return this.advice === "sequential";
  }

  /** Notes a read. Returns the pages to be read ahead of it if it has to bring pages in, `most` at most. */
  take({ from, to }: Part, most: number): number {
    // The last page may not have been read to its end.
    const goesOn = from === this.#next || from === this.#next - 1;
    this.#next = to;
    if (this.advice === "sequential") return Math.min(AHEAD_PAGES_MAX, most);
    if (this.advice === "random" || !goesOn) {
      this.#run = 0;
      this.#until = to;
    } else if (to > this.#until) {
      this.#run = Math.min(Math.max(this.#run * 2, AHEAD_PAGES_MIN), AHEAD_PAGES_MAX, most);
      this.#until = to + this.#run;
    }
    return this.#run;
  }
}
