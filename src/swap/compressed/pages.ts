/* The views of a run, as one row of pages that is gone through once, from the first to the last. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { View } from "../../host_types.ts";
import { bytesOf } from "../views.ts";

export class Pages {
  /** How many there are. */
  readonly count: number;
  readonly #views: readonly View[];
  #view = 0;
  #at = 0;

  constructor(views: readonly View[]) {
    this.#views = views;
    this.count = bytesOf(views) / PAGE_SIZE;
  }

  /** Copies the next `pages` to `to`, from byte `at` of it on. */
  take(pages: number, to: Uint8Array, at: number): void {
    this.#each(pages, (part, done) => to.set(part, at + done));
  }

  /** Fills the next `pages` with what lies in `from`, from byte `at` of it on. */
  put(pages: number, from: Uint8Array, at: number): void {
    this.#each(pages, (part, done) => part.set(from.subarray(at + done, at + done + part.length)));
  }

  #each(pages: number, copy: (part: View, done: number) => void): void {
    const bytes = pages * PAGE_SIZE;
    for (let done = 0; done < bytes; ) {
      const view = this.#views[this.#view] as View;
      const length = Math.min(bytes - done, view.length - this.#at);
      copy(view.subarray(this.#at, this.#at + length), done);
      done += length;
      this.#at += length;
      if (this.#at < view.length) continue;
      this.#view++;
      this.#at = 0;
    }
  }
}
