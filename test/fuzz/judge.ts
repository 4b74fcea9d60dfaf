/* Which errors a caller may get: such as the package promises, that say what they are about; or his own. */
import { TtmError, type TtmErrorCode } from "../../src/index.ts";
import { Mine } from "./odd_values.ts";

/** What an operation may fail with, whatever is done to it. EFAULT is not among them: it is a bug of ours. */
const CODES: ReadonlySet<TtmErrorCode> = new Set([
  ...(["EBUSY", "EINTR", "EIO", "ENOSPC", "ENOMEM", "EWOULDBLOCK", "ENODEV", "EACCES"] as const),
  ...(["EPERM", "EROFS", "ENOENT"] as const),
]);

/** Of an error that was handed in, what the kernel's layer says of a tt without pages, and of faults that were asked for. */
const SOMEBODY_ELSES =
  /somebody else's|^EFAULT: (this tt is not populated; populate it first|injected fault: the IOMMU mapped no pages)$/;

/** What hosts say of code that went wrong by accident. */
const ACCIDENTS: RegExp = new RegExp(
  [
    "Cannot (read|set|convert|mix|destructure|access|assign|add|delete|define)",
    "is not (a function|iterable|a constructor|defined|an object|extensible)",
    "undefined is|null is|Invalid (typed array|array|DataView|date)|out of (bounds|memory)",
    "private|circular|unreachable|memory access|integer (overflow|divide)|read.only property",
    "Maximum call stack|\\[object |of undefined|the engine refused|is thrown$",
  ].join("|"),
  "i",
);

/** What a message has to name: an argument, or what cannot be used any more. */
const NAMES: RegExp = new RegExp(
  [
    "offset|length|source|target|size|signal|options|option|advice|priority|caching|dma|pages|force",
    "trace|probability|interval|times|space|seed|site|memory|swap|watermarks|limits|transferPages",
    "module|checksums|keepClean|pool|orders|coherent|dma32|write|type|buffer|device|mapping|shrinker",
    "unpin|debugfs|name|count|storage|create|left|slots|pairs|script|table|path|directory|overwrite",
    "worker|prefix|queueDepth|ram|stream|chunk|numPages|tt\\b|^id |flags|first|interruptible",
  ].join("|"),
);

/** @throws Error unless `error` is one that a caller may get */
export function judge(error: unknown, foreign: boolean): void {
  if (error instanceof Mine) return;
  if (!(error instanceof Error)) {
    if (foreign) return; // a source of the user's may fail with anything
    throw new Error(`no error was thrown, but ${typeof error}`, { cause: error });
  }
  const { message } = error;
  if (error instanceof TtmError) {
    if (SOMEBODY_ELSES.test(message)) return;
    if (!CODES.has(error.code)) throw new Error(`a code of a bug: ${message}`, { cause: error });
    if (!message.startsWith(`${error.code}: `) || message.length < 12) {
      throw new Error(`a message that says nothing: ${message}`, { cause: error });
    }
    mustNotBeTrap(error);
    return;
  }
  if (foreign) return;
  if (!(error instanceof TypeError) && !(error instanceof RangeError)) {
    throw new Error(`neither ours nor for misuse: ${String(error)}`, { cause: error });
  }
  if (/revoked/.test(message)) return; // the host's, of a proxy that was handed in
  if (ACCIDENTS.test(message) || !NAMES.test(message)) {
    throw new Error(`a message that names nothing: ${message}`, { cause: error });
  }
}

/** What the engine traps with must not hide in a cause. */
function mustNotBeTrap(error: TtmError): void {
  let at: unknown = error;
  for (let i = 0; i < 8 && isError(at); i++) {
    if (at.name === "RuntimeError") throw new Error("the engine trapped", { cause: error });
    at = at.cause;
  }
}

/** Causes are what devices of the user's throw: not all of that can be looked at. */
function isError(value: unknown): value is Error {
  try {
    return value instanceof Error && !(value instanceof Mine);
  } catch {
    return false;
  }
}
