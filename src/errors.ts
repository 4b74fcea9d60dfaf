/** What was going on when an operation failed. */
export type TtmOperation =
  | "open"
  | "close"
  | "create"
  | "populate"
  | "restore"
  | "shrink"
  | "map"
  | "unpin"
  | "destroy";

const ERRNO = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EWOULDBLOCK: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOSPC: 28,
  EROFS: 30,
} as const;

/** Codes an operation can fail with; named and numbered as in Linux. */
export type TtmErrorCode = keyof typeof ERRNO;

const BRAND: unique symbol = Symbol.for("ttm-wasm.TtmError") as never;

/**
 * An expected failure: out of memory, swap full, interrupted, I/O error. Nothing is lost by it: every
 * object keeps its content, and the same call may be made again. Misuse throws `TypeError` or
 * `RangeError` instead. An interruption (`EINTR`) has no stack: it is what the caller's signal asked for.
 */
export class TtmError extends Error {
  override readonly name: string = "TtmError";
  /** Symbolic code, e.g. `"ENOMEM"`. */
  readonly code: TtmErrorCode;
  /** The code as a negative number, as in Node's system errors. */
  readonly errno: number;
  /** The operation that failed. */
  readonly op: TtmOperation;

  constructor(code: TtmErrorCode, op: TtmOperation, message: string, cause?: unknown) {
    super(`${code}: ${message}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.errno = -ERRNO[code];
    this.op = op;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for errors of any copy of this package in the process. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && look(() => BRAND in value, false);
  }
}

/**
 * What `make` makes, without a stack: for what the caller asked for, and may ask for after every chunk.
 * Where it was noticed tells nothing, and writing that down takes as long as reading 64 KiB.
 */
export function withoutStack<T>(make: () => T): T {
  const { stackTraceLimit } = Error;
  if (typeof stackTraceLimit !== "number") return make();
  // Where errors are frozen this sets nothing, and does not throw.
  Reflect.set(Error, "stackTraceLimit", 0);
  try {
    return make();
  } finally {
    Reflect.set(Error, "stackTraceLimit", stackTraceLimit);
  }
}

/** What `at` finds on a foreign value, or `otherwise`: whatever was thrown may throw when it is looked at. */
function look<T>(at: () => T, otherwise: T): T {
  try {
    return at();
  } catch {
    return otherwise;
  }
}

/** The code a foreign error carries, when it is one of ours, else EIO. */
export function codeOf(error: unknown): TtmErrorCode {
  const code = look(() => (error as { code?: unknown } | null)?.code, undefined);
  return typeof code === "string" && Object.hasOwn(ERRNO, code) ? (code as TtmErrorCode) : "EIO";
}

/** Message of whatever was thrown, in whatever realm. */
export function messageOf(error: unknown): string {
  return look(() => {
    const message = (error as { message?: unknown } | null | undefined)?.message;
    return typeof message === "string" ? message : String(error);
  }, UNSHOWN);
}

const UNSHOWN = "something that cannot be shown";
const SHOWN_MAX = 60;

/** Any value, for a message. No code of its own runs. */
export function show(value: unknown): string {
  const text = shown(value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function shown(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "object":
      if (value === null) return "null";
      return look(() => Array.isArray(value), false) ? "an array" : "an object";
    default:
      return String(value);
  }
}

/**
 * Whatever was thrown, as a failure that may go from hand to hand: never `undefined`, which would mean that
 * there was none, and nothing with a `then`, which a promise would wait for instead of passing it on.
 */
export function failureOf(op: TtmOperation, error: unknown, what?: string): TtmError {
  if (error instanceof TtmError && !look(() => "then" in error, true)) return error;
  const text =
    what === undefined ? `${messageOf(error)} was thrown` : `${what}: ${messageOf(error)}`;
  return new TtmError(codeOf(error), op, text, error);
}
