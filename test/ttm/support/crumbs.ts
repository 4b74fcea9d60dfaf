import { Tt, type TtmGlobal } from "../../../src/ttm.ts";

/**
 * Vectors without anything in them, in all the room that there is but for gaps of `hole` entries: a larger one
 * finds no place between them.
 */
export class Crumbs {
  readonly #global: TtmGlobal;
  readonly #hole: number;
  #tts: Tt[] = [];

  constructor(global: TtmGlobal, hole: number) {
    this.#global = global;
    this.#hole = hole;
  }

  /** Takes them back, and lays them anew around what is there now. */
  scatter(): void {
    this.clear();
    this.#fill(this.#hole);
    const all = this.#tts.splice(0).sort((a, b) => a.vector - b.vector);
    // What is left of the room is not to be beside a gap.
    this.#fill(1);
    for (const [i, tt] of all.entries()) {
      if (i % 2 === 0) this.#free(tt);
      else this.#tts.push(tt);
    }
  }

  #fill(entries: number): void {
    for (;;) {
      const tt = new Tt(entries);
      if (!this.#global.vectors.add(tt)) return;
      this.#tts.push(tt);
    }
  }

  clear(): void {
    for (const tt of this.#tts.splice(0)) this.#free(tt);
  }

  #free(tt: Tt): void {
    this.#global.engine.vectorDrop(tt.vector, tt.numPages, 0);
    this.#global.vectors.remove(tt);
  }
}
