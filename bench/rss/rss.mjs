/* Memory of this process that is resident, over time. */
import { readFileSync } from "node:fs";

const MIB = 2 ** 20;
const STEP_MS = 20;

/** Bytes resident now. */
export function resident() {
  // Deno permits nothing below /proc without all permissions.
  if (globalThis.Deno) return globalThis.Deno.memoryUsage().rss;
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))[1]) * 1024;
}

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Samples taken while the event loop turns, and whenever `phase` is called: [ms, MiB, phase]. */
export class Samples {
  list = [];
  #phase = "idle";
  #start = performance.now();
  #timer = setInterval(() => this.take(), STEP_MS);

  take() {
    const at = Math.round(performance.now() - this.#start);
    this.list.push([at, Number((resident() / MIB).toFixed(1)), this.#phase]);
  }

  phase(name) {
    this.take();
    this.#phase = name;
    this.take();
  }

  end() {
    this.take();
    clearInterval(this.#timer);
    return this.list;
  }
}

/** Random bytes, which nothing can make smaller; those of a seed are always the same. */
export function fill(bytes, seed) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  let state = (seed + 1) * 2654435769;
  for (let i = 0; i < words.length; i++) {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9;
    words[i] = state;
  }
  return bytes;
}

export function same(a, b) {
  const [x, y] = [a, b].map(
    (each) => new Uint32Array(each.buffer, each.byteOffset, each.length / 4),
  );
  return x.length === y.length && x.every((word, i) => word === y[i]);
}
