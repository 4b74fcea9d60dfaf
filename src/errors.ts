import {
  EACCES,
  EBUSY,
  EEXIST,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENFILE,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOSYS,
  ENOTDIR,
  EPERM,
  EROFS,
  EWOULDBLOCK,
} from "../assembly/abi.ts";

/** What was going on when an operation failed. */
export type TtmOperation =
  | "open"
  | "close"
  | "create"
  | "resize"
  | "populate"
  | "restore"
  | "shrink"
  | "discard"
  | "map"
  | "trim"
  | "unpin"
  | "destroy";

/** Codes an operation can fail with; named and numbered as in Linux. */
export type TtmErrorCode =
  | "EPERM"
  | "ENOENT"
  | "EINTR"
  | "EIO"
  | "EWOULDBLOCK"
  | "ENOMEM"
  | "EACCES"
  | "EFAULT"
  | "EBUSY"
  | "EEXIST"
  | "ENODEV"
  | "ENOTDIR"
  | "EISDIR"
  | "EINVAL"
  | "ENFILE"
  | "EMFILE"
  | "ENOSPC"
  | "EROFS"
  | "ENAMETOOLONG"
  | "ENOSYS"
  | "ELOOP";

/**
 * Each code with its number, and behind it what hosts and stores call such a failure, by `code`, `name` or `errno`
 * (of either sign): all that is not here is EIO. "Full" is one thing, whoever set the limit, and so is what is gone
 * while it is in use.
 */
const CODES: Readonly<Record<TtmErrorCode, string>> = {
  EPERM: `${EPERM} NotAllowedError SecurityError NotCapable PermissionDenied ERR_ACCESS_DENIED SQLITE_PERM SQLITE_AUTH`,
  ENOENT: `${ENOENT} NotFoundError NotFound`,
  EINTR: `${EINTR} Interrupted`,
  EIO: `${EIO}`,
  EWOULDBLOCK: `${EWOULDBLOCK} EAGAIN WouldBlock`,
  ENOMEM: `${ENOMEM} SQLITE_NOMEM`,
  EACCES: `${EACCES}`,
  EFAULT: `${EFAULT}`,
  EBUSY: `${EBUSY} ETXTBSY Busy SQLITE_BUSY`,
  EEXIST: `${EEXIST} AlreadyExists`,
  ENODEV: `${ENODEV} 6 9 116 ENXIO EBADF ESTALE InvalidStateError BadResource`,
  ENOTDIR: `${ENOTDIR} NotADirectory`,
  EISDIR: `${EISDIR} IsADirectory`,
  EINVAL: `${EINVAL}`,
  ENFILE: `${ENFILE}`,
  EMFILE: `${EMFILE}`,
  ENOSPC:
    `${ENOSPC} 27 122 EFBIG EDQUOT QuotaExceededError QUOTA_EXCEEDED_ERR StorageFull ` +
    "NS_ERROR_DOM_QUOTA_REACHED NS_ERROR_FILE_NO_DEVICE_SPACE SQLITE_FULL ERR_SQLITE_ERROR:13",
  EROFS: `${EROFS} NoModificationAllowedError SQLITE_READONLY ERR_SQLITE_ERROR:8`,
  ENAMETOOLONG: `${ENAMETOOLONG}`,
  ENOSYS: `${ENOSYS}`,
  ELOOP: `${ELOOP} FilesystemLoop`,
};

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
    this.errno = -Number.parseInt(CODES[code], 10);
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

/** `DOMException.QUOTA_EXCEEDED_ERR`: the one number that a `code` is known by. */
const QUOTA_EXCEEDED = 22;

/** Our codes by what they are called, and by number. */
const BY_NAME: ReadonlyMap<unknown, TtmErrorCode> = new Map(
  Object.entries(CODES).flatMap(([code, names]) =>
    [code, ...names.split(" ")].map(
      (name) => [Number(name) || name, code as TtmErrorCode] as const,
    ),
  ),
);

/** Errors are wrapped in errors: how many are looked at. */
const CAUSES_MAX = 8;

/** Our code for whatever was thrown, or for what it was caused by; EIO when none is known. */
export function codeOf(error: unknown): TtmErrorCode {
  let at = error;
  for (let i = 0; i < CAUSES_MAX && typeof at === "object" && at !== null; i++) {
    const code = ownCode(at as Foreign);
    if (code) return code;
    at = field(at as Foreign, "cause");
  }
  return "EIO";
}

/** What Deno says of errors that it has no name for. */
const OS_ERROR = /\(os error (\d+)\)$/;

type Foreign = Readonly<Record<"code" | "name" | "errno" | "errcode" | "cause", unknown>>;

function field(error: Foreign, name: keyof Foreign): unknown {
  return look(() => error[name], undefined);
}

function ownCode(error: Foreign): TtmErrorCode | undefined {
  const code = field(error, "code");
  const name = field(error, "name");
  const [errno, errcode] = [field(error, "errno"), field(error, "errcode")];
  if (code === QUOTA_EXCEEDED) return "ENOSPC";
  const named = typeof code === "string";
  const [, told] = (!named && OS_ERROR.exec(messageOf(error))) || [];
  const keys = [
    ...(named ? [code, typeof errcode === "number" ? `${code}:${errcode}` : undefined] : []),
    typeof name === "string" ? name : undefined,
    // Beside a code of its own it may be the number of something else, such as a database.
    !named && typeof errno === "number" ? Math.abs(errno) : undefined,
    told === undefined ? undefined : Number(told),
  ];
  return BY_NAME.get(keys.find((key) => BY_NAME.has(key)));
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
