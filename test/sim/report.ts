/* What is told of runs: how far they are, and what came of them. */
import process from "node:process";
import type { Result } from "./run.ts";

/** Adds counts by name. */
function addAll(to: Record<string, number>, from: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(from)) to[name] = (to[name] ?? 0) + count;
}

export class Report {
  readonly #first: number;
  readonly #json: boolean;
  readonly #began: number = performance.now();
  #told: number = this.#began;
  #last: number;
  #seeds = 0;
  readonly #failed: number[] = [];
  readonly #totals = { ops: 0, events: 0, flips: 0, calls: 0, pages: 0 };
  readonly #faults: Record<string, number> = {};
  readonly #errors: Record<string, number> = {};

  /** @param first seed */
  constructor(first: number, json: boolean) {
    this.#first = first;
    this.#last = first;
    this.#json = json;
  }

  /** One line for whoever looks on; with JSON to standard error. */
  say(line: string): void {
    if (this.#json) console.error(line);
    else console.log(line);
  }

  add(seed: number, { counts, codes, failure }: Result): void {
    this.#seeds++;
    this.#last = seed;
    if (failure) this.#failed.push(seed);
    const totals = this.#totals;
    totals.ops += counts.ops;
    totals.events += counts.events;
    totals.flips += counts.flips;
    totals.calls += counts.calls;
    totals.pages += counts.pages;
    addAll(this.#faults, counts.faults);
    addAll(this.#errors, codes);
    this.#progress();
  }

  /** A promise was rejected that nobody waits for. */
  uncaught(error: unknown): void {
    this.say(`seed ${this.#last} or the one after it left a rejected promise: ${error}`);
    this.#failed.push(this.#last);
  }

  /** Sums up. Returns the exit code. */
  end(): number {
    const seconds = (performance.now() - this.#began) / 1000;
    const summary = {
      seeds: { first: this.#first, last: this.#last, count: this.#seeds },
      failed: this.#failed,
      ...this.#totals,
      faults: this.#faults,
      errors: this.#errors,
      seconds: Number(seconds.toFixed(1)),
    };
    if (this.#json) console.log(JSON.stringify(summary));
    else {
      const list = (counts: Record<string, number>) =>
        Object.entries(counts)
          .map(([name, count]) => `${name} ${count}`)
          .join(", ") || "none";
      const { ops, events, flips, calls, pages } = this.#totals;
      console.log(`seeds ${this.#first} to ${this.#last}: ${this.#failed.length} failed`);
      console.log(`operations ${ops}, turns and timers ${events}, calls ${calls}, pages ${pages}`);
      console.log(`faults: ${list(this.#faults)}; damage detected ${flips} times`);
      console.log(`errors, all explained but for failures: ${list(this.#errors)}`);
      console.log(`${seconds.toFixed(1)} s`);
    }
    return this.#failed.length > 0 ? 1 : 0;
  }

  /** A line a second for a terminal, else every ten. */
  #progress(): void {
    const now = performance.now();
    const terminal = process.stderr.isTTY === true;
    if (now - this.#told < (terminal ? 1000 : 10_000)) return;
    this.#told = now;
    const seconds = Math.round((now - this.#began) / 1000);
    const text = `sim: ${this.#seeds} seeds, ${this.#totals.ops} operations, ${seconds} s`;
    process.stderr.write(terminal ? `\r${text}` : `${text}\n`);
  }
}
