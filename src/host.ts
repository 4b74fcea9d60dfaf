/*
 * What the library needs of its host, taken once, when it is imported: test runners and page scripts put
 * other clocks and timers in their place later, and hosts such as an audio worklet have none of them.
 */
import { assertStack } from "./stack.ts";

const host: Partial<
  Pick<
    typeof globalThis,
    "setImmediate" | "setTimeout" | "clearTimeout" | "queueMicrotask" | "performance"
  > & {
    MessageChannel: new () => { port1: Port; port2: Port };
    SharedArrayBuffer: SharedArrayBufferConstructor;
    AbortController: new () => AbortController;
    FinalizationRegistry: new (
      gone: (held: undefined) => void,
    ) => {
      register(what: object, held: undefined): void;
    };
    Deno: {
      unrefTimer?(timer: unknown): void;
      readonly build?: { readonly os?: string };
      readonly permissions?: unknown;
      readonly dlopen?: unknown;
    };
    Bun: { readonly FFI?: unknown };
    process: {
      readonly platform?: string;
      readonly argv?: readonly string[];
      getBuiltinModule?(name: string): unknown;
    };
  }
> = globalThis as object;

interface Port {
  onmessage: (() => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

const { setImmediate, setTimeout, clearTimeout, queueMicrotask, performance, MessageChannel } =
  host;
const { AbortController } = host;
const Registry = host.FinalizationRegistry;
/** What runtimes have of their own, where they are these. */
export const Bun: typeof host.Bun = host.Bun;
export const Deno: typeof host.Deno = host.Deno;
export const process: typeof host.process = host.process;
const { now: dateNow } = Date;

/** Milliseconds since some moment; they never go back where the host has such a clock. */
export const now: () => number =
  typeof performance?.now === "function" ? performance.now.bind(performance) : dateNow;

/** What turns the event loop here, best first. Some edge runtimes define these, but throw when they are called. */
const turns: ((then: () => void) => void)[] = [];
if (typeof setImmediate === "function") turns.push((then) => void setImmediate(then));
if (typeof MessageChannel === "function") turns.push((then) => post(new MessageChannel(), then));
if (typeof setTimeout === "function") turns.push((then) => void setTimeout(then, 0));

/**
 * Calls `then` when the event loop has turned, or as late as a host without one allows.
 *
 * @throws RangeError the host's own, at the end of the stack
 */
export function afterTurn(then: () => void): void {
  for (const turn of turns) {
    try {
      turn(then);
      return;
    } catch {
      // If there is stack left, the host does not support it, and the next one is tried. At the end of the
      // stack nothing more is tried: Node crashes on a MessageChannel that was only half made.
      assertStack();
    }
  }
  soon(then);
}

/** Calls `then` after the code that runs now, before the event loop turns: a microtask. */
export function soon(then: () => void): void {
  void Promise.resolve().then(then);
}

/** Calls `then` after so many milliseconds, on a host without timers at once. Returns what cancels it. */
export function after(ms: number, then: () => void): () => void {
  if (typeof setTimeout !== "function") {
    soon(then);
    return () => {};
  }
  const timer = setTimeout(then, ms);
  return () => clearTimeout?.(timer);
}

/** `undefined` on a host that has none. */
export function newAbortController(): AbortController | undefined {
  return AbortController && new AbortController();
}

/**
 * Calls `then` after so many milliseconds unless the process ends before, which it does not delay; on a host
 * without timers never. Returns what cancels it.
 */
export function afterQuietly(ms: number, then: () => void): () => void {
  if (typeof setTimeout !== "function") return () => {};
  const timer: unknown = setTimeout(then, ms);
  if (typeof timer === "object") (timer as { unref?(): void } | null)?.unref?.();
  else Deno?.unrefTimer?.(timer);
  return () => clearTimeout?.(timer as number);
}

/** Has `then` called some time after `what` was collected as garbage. Says whether this host can tell. */
export function whenGone(what: object, then: () => void): boolean {
  if (typeof Registry !== "function") return false;
  const registry = new Registry(() => {
    kept.delete(registry);
    then();
  });
  // One that nobody holds tells nobody.
  kept.add(registry);
  registry.register(what, undefined);
  return true;
}

const kept = new Set<object>();

/** A message to oneself, on a channel that ends with it: an open one would keep a process alive. */
function post({ port1, port2 }: { port1: Port; port2: Port }, then: () => void): void {
  port2.postMessage(undefined);
  // Last, as a port that is listened to keeps the process alive even if nothing was sent.
  port1.onmessage = () => {
    port1.close();
    then();
  };
}

/** Has `error` reported as one that nobody caught. */
export function report(error: unknown): void {
  if (typeof queueMicrotask !== "function") void Promise.reject(error);
  else {
    queueMicrotask(() => {
      throw error;
    });
  }
}

const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;

/** A getter of a built-in prototype, as a function: it throws for whatever is not of that kind. */
function getter<T>(prototype: object | null | undefined, name: PropertyKey): (of: unknown) => T {
  const get = prototype && getOwnPropertyDescriptor(prototype, name)?.get;
  return (of) => {
    if (!get) throw new TypeError(`this host has no ${String(name)}`);
    return apply(get, of, []);
  };
}

const typedArray = getPrototypeOf(Uint8Array.prototype) as Uint8Array;
const dataView = DataView.prototype;
const { set: arraySet, fill: arrayFill, keys: arrayKeys } = typedArray;

/** True for typed arrays and DataViews of any realm, and for nothing that pretends to be one. */
export const isView: (value: unknown) => value is ArrayBufferView = ArrayBuffer.isView;
/** Name of the class of a typed array; `undefined` for anything else. */
export const typedName: (of: unknown) => string | undefined = getter(
  typedArray,
  Symbol.toStringTag,
);
export const typedBuffer: (of: unknown) => ArrayBufferLike = getter(typedArray, "buffer");
export const typedOffset: (of: unknown) => number = getter(typedArray, "byteOffset");
export const typedLength: (of: unknown) => number = getter(typedArray, "byteLength");
export const dataBuffer: (of: unknown) => ArrayBufferLike = getter(dataView, "buffer");
export const dataOffset: (of: unknown) => number = getter(dataView, "byteOffset");
export const dataLength: (of: unknown) => number = getter(dataView, "byteLength");
/** Bytes of an ArrayBuffer. */
export const bufferLength: (of: unknown) => number = getter(ArrayBuffer.prototype, "byteLength");
/** Bytes of a SharedArrayBuffer. */
export const sharedLength: (of: unknown) => number = getter(
  host.SharedArrayBuffer?.prototype,
  "byteLength",
);

/** `%TypedArray%.prototype.set`, `fill` and `keys` as they are, whatever an array makes of them. */
export function set(to: unknown, from: unknown, at: number): void {
  apply(arraySet, to, [from, at]);
}

export function fill(array: unknown, value: number): void {
  apply(arrayFill, array, [value]);
}

/** @throws TypeError when a typed array is detached, or beyond the end of a buffer that was made smaller */
export function assertInBounds(array: unknown): void {
  apply(arrayKeys, array, []);
}

const { then: promiseThen } = Promise.prototype;

/** Lets nobody hear how `value` ends, if it is a promise; other thenables are left alone. */
export function ignoreOutcome(value: unknown): void {
  try {
    apply(promiseThen, value, [undefined, () => {}]);
  } catch {
    // no promise
  }
}
