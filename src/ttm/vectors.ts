/*
 * The tts that have page vectors. All vectors lie in one space of entries; when there is room in it, but not at one
 * place, they move together. Where a vector begins stands in `Tt.vector` and nowhere else, and whoever needs it
 * looks there each time: so it may move whatever is done with its tt, pages on their way included.
 */
import { EBUSY } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { Tt } from "./tt.ts";

export class Vectors {
  readonly #engine: Engine;
  /** In any order; each knows its place, for a vector comes and goes with nearly every buffer. */
  readonly #tts: Tt[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Gives `tt` a vector. Says whether there was room for one. */
  add(tt: Tt): boolean {
    let vector = this.#engine.vectorAlloc(tt.numPages);
    if (vector === -EBUSY) {
      this.#pack();
      vector = this.#engine.vectorAlloc(tt.numPages);
    }
    if (vector < 0) return false;
    tt.vector = vector;
    tt.place = this.#tts.push(tt) - 1;
    return true;
  }

  /** The vector of `tt` was taken back. */
  remove(tt: Tt): void {
    const last = this.#tts.pop() as Tt;
    if (last !== tt) {
      last.place = tt.place;
      this.#tts[tt.place] = last;
    }
    tt.vector = -1;
  }

  /** Takes as long as there are entries in vectors; what is free then lies at one place, so the next time is far. */
  #pack(): void {
    const tts = [...this.#tts].sort((a, b) => a.vector - b.vector);
    this.#engine.vectorsPack(tts.reduce((entries, { numPages }) => entries + numPages, 0));
    let vector = 0;
    for (const tt of tts) {
      tt.vector = vector;
      vector += tt.numPages;
    }
  }
}
