/*
 * The built library, with a host of the simulation's own: the library takes clock, turns and timers of its host once,
 * when it is imported, so they are in their places for that moment.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Random } from "../../src/testing/random.ts";
import { Clock } from "./clock.ts";

/** What the simulation uses of the package. */
export type Library = typeof import("../../src/index.ts");

/** The clock of the run that is on. */
let clock: Clock = new Clock(new Random(0), 0.01);
const { setImmediate } = globalThis;

/** Errors that the library reported as not caught. */
export const reported: unknown[] = [];

/** From now on the library lives by this clock. */
export function useClock(next: Clock): void {
  clock = next;
}

/** Resolves when every promise has had its turn: an event of the real event loop. */
export function drained(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

const HOST: Readonly<Record<string, unknown>> = {
  setImmediate: (then: () => void) => clock.afterTurn(then),
  setTimeout: (then: () => void, ms: number) => clock.after(ms, then),
  clearTimeout: (cancel: () => void) => cancel(),
  queueMicrotask: (then: () => void) => {
    Promise.resolve()
      .then(then)
      .catch((error) => void reported.push(error));
  },
  performance: { now: () => clock.now() },
  MessageChannel: undefined,
};

/** Imports the package whose built files lie in `dist`. */
export async function importLibrary(dist: string): Promise<Library> {
  const own = Object.keys(HOST).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  );
  const { now } = Date;
  for (const [name, value] of Object.entries(HOST)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  Date.now = () => clock.now();
  try {
    return await import(pathToFileURL(join(dist, "index.js")).href);
  } finally {
    Date.now = now;
    for (const [name, descriptor] of own) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  }
}
