import process from "node:process";
import type { Phase } from "./job.ts";

const PHASES: Readonly<Record<Phase, string>> = {
  load: "loading",
  sequential: "reading in sequence",
  zipf: "reading in zipf order",
  trim: "trimming and reading again",
  measure: "measuring",
};

const BAR = 30;
const LABEL = 30;
/** Shares of a phase between two lines when there is no terminal. */
const STEP = 0.25;

/** How it is going, on standard error: a bar on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #mode: "bar" | "lines" | "none";
  #shown = false;
  #phase = "";
  #next = 0;

  constructor(quiet: boolean) {
    this.#mode = quiet ? "none" : process.stderr.isTTY ? "bar" : "lines";
  }

  update(runtime: string, phase: Phase, share: number): void {
    const label = `${runtime}: ${PHASES[phase]}`;
    if (this.#mode === "bar") this.#bar(label, share);
    else if (this.#mode === "lines") this.#line(label, share);
  }

  /** A line that stays. */
  note(text: string): void {
    this.clear();
    process.stderr.write(`ttm-wasm: ${text}\n`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#shown) process.stderr.write("\r\x1b[K");
    this.#shown = false;
  }

  #bar(label: string, share: number): void {
    const done = Math.round(share * BAR);
    const bar = "#".repeat(done) + "-".repeat(BAR - done);
    process.stderr.write(`\r${label.padEnd(LABEL)} [${bar}] ${percent(share)}\x1b[K`);
    this.#shown = true;
  }

  #line(label: string, share: number): void {
    if (label !== this.#phase) this.#next = STEP;
    this.#phase = label;
    if (share < this.#next) return;
    process.stderr.write(`${label} ${percent(share)}\n`);
    this.#next = Math.floor(share / STEP) * STEP + STEP;
  }
}

function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}
