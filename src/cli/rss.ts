import { readFileSync } from "node:fs";
import process from "node:process";

/** Where the peak comes from: the kernel's own mark, or the highest of our samples. */
export type RssSource = "VmHWM" | "samples";

/** Calls of `sample` for one look: a look is a system call or two. */
const EVERY = 64;

/** Resident memory of this process, now and at its highest. */
export class Rss {
  readonly #marked = statusBytes("VmHWM") !== undefined;
  #sampled = 0;
  #calls = 0;

  /** Bytes resident now. */
  now(): number {
    const bytes = statusBytes("VmRSS") ?? process.memoryUsage().rss;
    this.#sampled = Math.max(this.#sampled, bytes);
    return bytes;
  }

  peak(): { bytes: number; source: RssSource } {
    const mark = statusBytes("VmHWM");
    if (mark !== undefined) return { bytes: mark, source: "VmHWM" };
    this.now();
    return { bytes: this.#sampled, source: "samples" };
  }

  /** To be called after every piece of work: without the kernel's mark, samples are all there is. */
  sample(): void {
    if (!this.#marked && this.#calls++ % EVERY === 0) this.now();
  }
}

/** A size from /proc/self/status; `undefined` where there is none. */
function statusBytes(field: string): number | undefined {
  try {
    const status = readFileSync("/proc/self/status", "latin1");
    const kib = new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(status)?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
