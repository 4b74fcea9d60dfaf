/*
 * Read-ahead: how many pages are brought in behind those that a read asks for. Reads that go on where the last one
 * ended get twice as many each time, as in the kernel's on-demand readahead; all others get none.
 */
import type { Part } from "./ttm/restore.ts";

/** Pages read ahead at first, and at most together with those asked for: 64 KiB to 1 MiB. */
const AHEAD_PAGES_MIN = 16;
const AHEAD_PAGES_MAX = 256;

/** How a buffer is going to be read (POSIX_FADV_...). */
export type ReadingAdvice = "normal" | "random" | "sequential";

/** The reads of one buffer, in a memory of `frames` pages. */
export class ReadAhead {
  advice: ReadingAdvice = "normal";
  readonly #frames: number;
  /** Where the reads in a row began, the page behind the last one, and behind those read ahead of it. */
  #first = 0;
  #next = -1;
  #until = 0;
  /** Pages that are read ahead of reads in a row. */
  #run = 0;

  constructor(frames: number) {
    this.#frames = frames;
  }

  /**
   * Whether what was read is not worth to be kept: it is read once, in a row; or so much was that what the memory
   * had before is better off, be it the beginning of the same row.
   */
  get once(): boolean {
    if (this.advice === "sequential") return true;
    return this.advice === "normal" && this.#next - this.#first > this.#frames;
  }

  /** Notes a read. Returns the pages to be read ahead of it if it has to bring pages in: an eighth of the memory at most. */
  take({ from, to }: Part): number {
    // The last page may not have been read to its end.
    const goesOn = from === this.#next || from === this.#next - 1;
    this.#next = to;
    if (!goesOn) this.#first = from;
    const most = Math.min(Math.max(AHEAD_PAGES_MAX - (to - from), 0), this.#frames >>> 3);
    if (this.advice === "sequential") return most;
    if (this.advice === "random" || !goesOn) {
      this.#run = 0;
      this.#until = to;
    } else if (to > this.#until) {
      this.#run = Math.min(Math.max(this.#run * 2, AHEAD_PAGES_MIN), most);
      this.#until = to + this.#run;
    }
    return this.#run;
  }
}
