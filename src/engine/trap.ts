/*
 * A trap: the engine has met with what cannot be, in the middle of something. It is never to happen, and when it does
 * nothing is known of that memory any more.
 */
import { messageOf, TtmError } from "../errors.ts";
import type { Exports } from "./exports.ts";

type Call = (...args: (number | undefined)[]) => number;

/** Whether an engine has trapped. */
export class Trap {
  /** What is said of it; `undefined`: it has not. */
  error: TtmError | undefined = undefined;

  /** What was thrown by a call of the engine, as it is to be thrown on. */
  noted(thrown: unknown): unknown {
    if (!(thrown instanceof WebAssembly.RuntimeError)) return thrown;
    const text =
      `the engine trapped (${messageOf(thrown)}), and the state of this memory is not known any more; ` +
      "close the device, and create another one";
    this.error ??= new TtmError("EFAULT", "populate", text, thrown);
    return this.error;
  }

  /** The exports, but that it hears of their traps; those that `own` names are watched where they are called. */
  watch(wasm: Exports, own: readonly (keyof Exports)[]): Exports {
    const watched = Object.entries(wasm).map(([name, call]) => {
      const left = typeof call !== "function" || own.includes(name as keyof Exports);
      return [name, left ? call : this.#watched(call as Call)];
    });
    return Object.fromEntries(watched) as Exports;
  }

  /** Eight parameters are the most that an export has; too many are ignored, and no array is made of these. */
  #watched(call: Call): Call {
    return (a, b, c, d, e, f, g, h) => {
      try {
        return call(a, b, c, d, e, f, g, h);
      } catch (thrown) {
        throw this.noted(thrown);
      }
    };
  }
}
