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
  ENOSYS: 38,
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
  /** `"TtmError"`. */
  override readonly name: string = "TtmError";
  /** Symbolic code, e.g. `"ENOMEM"`. */
  readonly code: TtmErrorCode;
  /** The code as a negative number, as in Node's system errors. */
  readonly errno: number;
  /** The operation that failed. */
  readonly op: TtmOperation;

  /**
   * A swap device may throw one itself; its code then reaches the caller. `message` goes without the code.
   */
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

/** Message of whatever was thrown. */
export function messageOf(error: unknown): string {
  const text = () => `${error instanceof Error ? error.message : String(error)}`;
  return look(text, "something that cannot be shown");
}

/** Whatever was thrown, as a failure: never `undefined`, which would mean that there was none. */
export function failureOf(op: TtmOperation, error: unknown): unknown {
  return error || new TtmError("EIO", op, `${messageOf(error)} was thrown`, error);
}
