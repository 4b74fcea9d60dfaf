import type { RestoreState } from "./restore.ts";

/** Bits of `Tt.flags`, numbered as in the kernel (ttm_tt.h). */
/** Some of its content is in swap. */
export const TT_FLAG_SWAPPED: number = 1 << 0;
/** Its content may be thrown away under pressure. */
export const TT_FLAG_DONTNEED: number = 1 << 4;
/** Shrunken page by page: its vector holds swap handles. */
export const TT_FLAG_PRIV_SHRUNKEN: number = 1 << 30;
/** Every entry is a page. */
export const TT_FLAG_PRIV_POPULATED: number = 1 << 31;

/**
 * The page vector of one buffer object (struct ttm_tt). Its entries lie in the engine, in the vector
 * that starts at `vector`; there is one only while something is in it.
 *
 *   empty      no vector            reads as zeros
 *   populated  POPULATED            every entry is a page
 *   shrunken   SHRUNKEN | SWAPPED   entries are handles, or pages that did not leave
 */
export class Tt {
  readonly numPages: number;
  flags = 0;
  /** First entry in the engine, or -1. */
  vector = -1;
  /** Frames it holds: its pages, and the chunk of an interrupted restore. */
  resident = 0;
  /** Its content was thrown away since it was last populated. */
  purged = false;
  /** Where an interrupted restore goes on; only while shrunken. */
  restore: RestoreState | undefined = undefined;

  constructor(numPages: number) {
    this.numPages = numPages;
  }

  get populated(): boolean {
    return (this.flags & TT_FLAG_PRIV_POPULATED) !== 0;
  }

  get shrunken(): boolean {
    return (this.flags & TT_FLAG_PRIV_SHRUNKEN) !== 0;
  }

  get purgeable(): boolean {
    return (this.flags & TT_FLAG_DONTNEED) !== 0;
  }
}
