/* What nobody should hand in, and somebody will: odd values, options, signals and bytes. */
import vm from "node:vm";
import { TtmError } from "../../src/index.ts";
import type { Random } from "../support/random.ts";

/** What code of a "user" throws here: whoever hears of it knows whose it is. */
export class Mine extends Error {
  override readonly name: string = "Mine";
}

/** Code of the user's that runs in the middle of a call: it may throw a `Mine`, and may do anything. */
export type Poke = () => void;

const refuse = (): never => {
  throw new Mine("a trap");
};

/** Every trap of a proxy. */
const TRAPS: readonly (keyof ProxyHandler<object>)[] = [
  ...(["get", "set", "has", "deleteProperty", "ownKeys", "getOwnPropertyDescriptor"] as const),
  ...(["defineProperty", "getPrototypeOf", "setPrototypeOf", "isExtensible"] as const),
  ...(["preventExtensions", "apply", "construct"] as const),
];

/** A proxy all of whose traps call `trap` first, and throw what that throws. */
function proxyOf<T extends object>(target: T, trap: () => void): T {
  const handler: Record<string, unknown> = {};
  for (const name of TRAPS) {
    handler[name] = (...args: unknown[]) => {
      trap();
      return (Reflect[name] as (...args: unknown[]) => unknown)(...args);
    };
  }
  return new Proxy(target, handler);
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Code whose value is made in another realm. */
const FOREIGN = [
  ...["[]", "({})", "(() => 1)", "new Uint8Array(16)", "new ArrayBuffer(16)", "new Error('x')"],
  ...["new SharedArrayBuffer(16)", "new Date(NaN)", "Symbol.iterator", "new String('64 KiB')"],
];

const realm: vm.Context = vm.createContext({});

const NUMBERS: readonly unknown[] = [
  ...[0, -0, 1, -1, 2, 3, 0.5, 1.5, 4095, 4096, 4097, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
  ...[2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, 2 ** 53, -(2 ** 31), -(2 ** 53), 1e300, -1e300, 5e-324],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
];

const SIMPLE: readonly unknown[] = [
  ...[undefined, null, true, false, 0n, 5n, 2n ** 64n, -1n, Symbol("odd"), Symbol.iterator],
  ...[
    "",
    " ",
    "x",
    "1",
    "64 KiB",
    "1e400",
    "-5",
    "0x10",
    "NaN",
    "__proto__",
    "constructor",
    "then",
  ],
  ...["\u0000", "\ud800", "1 KiB\n", "9".repeat(400), "cached", "wc", "read", "dontneed"],
];

/** What makes a value one that promises wait for. */
const THEN = ["then"].join();

type Maker = (random: Random, poke: Poke) => unknown;

const OBJECTS: readonly Maker[] = [
  () => ({}),
  () => [],
  () => [1, 2, 3],
  () => Object.create(null),
  () => Object.freeze({}),
  () => Object.freeze([0]),
  () => new Date(Number.NaN),
  () => /x/g,
  () => new Map(),
  () => new Number(4096),
  () => new String("64 KiB"),
  () => new Boolean(false),
  () => new TtmError("EINTR", "open", "somebody else's"),
  () => new Error("x"),
  () => Promise.resolve(5),
  () => Object.defineProperty({}, THEN, { get: refuse }),
  () => () => 1,
  () => class {},
  () => async () => {},
  () =>
    function* () {
      yield 1;
    },
  () => globalThis,
  () => new Proxy({}, {}),
  () => proxyOf({}, refuse),
  () => proxyOf(() => 1, refuse),
  (_, poke) => proxyOf({}, poke),
  () => revoked({}),
  () => revoked([]),
  () => ({ valueOf: refuse, toString: refuse, [Symbol.toPrimitive]: refuse }),
  (_, poke) => ({
    valueOf() {
      poke();
      return 4096;
    },
  }),
  () => ({ toString: () => "64 KiB" }),
  () => ({ length: 16, byteLength: 16, buffer: new ArrayBuffer(16), byteOffset: 0 }),
  (random) => vm.runInContext(random.pick(FOREIGN), realm),
];

/** Any value at all. */
export function oddValue(random: Random, poke: Poke): unknown {
  const kind = random.below(10);
  if (kind < 3) return random.pick(NUMBERS);
  if (kind < 6) return random.pick(SIMPLE);
  return random.pick(OBJECTS)(random, poke);
}

/** How an option is given: what makes one property of the options. */
const PROPERTIES: readonly ((value: unknown, poke: Poke, other: unknown) => PropertyDescriptor)[] =
  [
    (value) => ({ value }),
    (value) => ({ value }),
    (value) => ({ value }),
    (value, poke) => ({
      get() {
        poke();
        return value;
      },
    }),
    () => ({ get: refuse }),
    (value, _, other) => {
      let reads = 0;
      return { get: () => (reads++ === 0 ? value : other) };
    },
  ];

/**
 * Options of which those are `known`: mostly such, with values that `likely` gives or odd ones; read by getters that
 * throw, change their mind, or do something else meanwhile.
 */
export function oddOptions(
  random: Random,
  known: readonly string[],
  likely: (name: string) => unknown,
  poke: Poke,
): unknown {
  if (random.percent(25)) return undefined;
  if (random.percent(8)) return oddValue(random, poke);
  const options: object = random.percent(15) ? Object.create(null) : {};
  const names = known.filter(() => random.percent(50));
  if (random.percent(5)) names.push(random.pick(["signals", "nothing", "toString", "__proto__"]));
  for (const name of names) {
    const valueFor = () => (random.percent(85) ? likely(name) : oddValue(random, poke));
    const how = random.percent(70) ? PROPERTIES[0] : random.pick(PROPERTIES);
    const property = (how as (typeof PROPERTIES)[number])(valueFor(), poke, valueFor());
    Object.defineProperty(options, name, { enumerable: true, configurable: true, ...property });
  }
  const form = random.below(20);
  if (form === 0) return Object.freeze(options);
  if (form === 1) return proxyOf(options, poke);
  if (form === 2) return Object.create(options);
  if (form === 3) return revoked(options);
  return options;
}

/** A signal, real or not, and what aborts it. */
export interface OddSignal {
  readonly signal: unknown;
  readonly abort: () => void;
}

type SignalMaker = (random: Random, poke: Poke) => OddSignal;

function real(): OddSignal {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort(new Mine("aborted")) };
}

/** A signal that is none of the host's: its fields are getters, its listeners are called by hand. */
function own(random: Random, poke: Poke): OddSignal {
  const heard = new Set<() => void>();
  let aborted = false;
  const nasty = random.below(8);
  const at = (which: number) => {
    if (nasty === which) refuse();
    if (random.percent(20)) poke();
  };
  const signal = {
    get aborted() {
      at(0);
      return aborted;
    },
    get reason() {
      at(1);
      return new Mine("aborted");
    },
    addEventListener(_: string, listener: () => void) {
      at(2);
      heard.add(listener);
      if (nasty === 3) listener();
    },
    removeEventListener(_: string, listener: () => void) {
      at(4);
      if (nasty !== 5) heard.delete(listener);
    },
  };
  const abort = () => {
    aborted = nasty !== 6; // one that calls its listeners, and says that it is not aborted
    for (const listener of [...heard]) listener();
  };
  return { signal, abort };
}

const SIGNALS: readonly SignalMaker[] = [
  real,
  real,
  real,
  own,
  own,
  own,
  () => ({ signal: AbortSignal.abort(new Mine("before")), abort: () => {} }),
  () => ({ signal: { aborted: true }, abort: () => {} }),
  () => ({ signal: { aborted: 0n, addEventListener: 5 }, abort: () => {} }),
  () => {
    const seen = { aborted: false };
    return { signal: seen, abort: () => Object.assign(seen, { aborted: true }) };
  },
  (random) => {
    const signal = { aborted: false };
    Object.defineProperty(signal, "aborted", { get: () => random.percent(10) });
    return { signal, abort: () => {} };
  },
  (_, poke) => {
    const { signal, abort } = real();
    (signal as AbortSignal).addEventListener("abort", () => quietly(poke));
    return { signal, abort };
  },
];

export function oddSignal(random: Random, poke: Poke): OddSignal {
  return random.pick(SIGNALS)(random, poke);
}

/** A listener of the host's own signals must not throw: that would be an error that nobody caught. */
export function quietly(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Mine)) throw error;
  }
}

/** Bytes of some kind, and what takes them away while somebody waits for them; they may stay as they are. */
export interface OddBytes {
  readonly value: unknown;
  /** Whether they are, at the time of the call, what one may hand in. */
  readonly fine: boolean;
  readonly spoil: () => void;
}

type Resizable = ArrayBuffer & { resize(length: number): void };
type Growable = SharedArrayBuffer & { grow(length: number): void };

function resizable(length: number): Resizable {
  const make = ArrayBuffer as unknown as new (n: number, o: object) => Resizable;
  return new make(length, { maxByteLength: 2 * length + 16 });
}

function growable(length: number): Growable {
  const make = SharedArrayBuffer as unknown as new (n: number, o: object) => Growable;
  return new make(length, { maxByteLength: 2 * length + 16 });
}

function detach(buffer: ArrayBuffer): void {
  if (buffer.byteLength > 0) structuredClone(buffer, { transfer: [buffer] });
}

const CAN_GROW: boolean = "grow" in SharedArrayBuffer.prototype;
const CAN_RESIZE: boolean = "resize" in ArrayBuffer.prototype;
const nothing = () => {};

type BytesMaker = (length: number, random: Random) => Omit<OddBytes, "fine"> & { fine?: false };

const BYTES: readonly BytesMaker[] = [
  (length) => ({ value: new Uint8Array(length), spoil: nothing }),
  (length) => ({ value: new Uint8Array(length), spoil: nothing }),
  (length) => {
    const value = new Uint8Array(length);
    return { value, spoil: () => detach(value.buffer) };
  },
  (length) => {
    const value = new ArrayBuffer(length);
    return { value, spoil: () => detach(value) };
  },
  (length) => ({ value: new SharedArrayBuffer(length), spoil: nothing }),
  (length) => ({ value: new DataView(new ArrayBuffer(length + 5), 3, length), spoil: nothing }),
  (length) => ({ value: Buffer.alloc(length), spoil: nothing }),
  (length) => {
    const value = new Uint8Array(length);
    detach(value.buffer);
    return { value, spoil: nothing, ...(length > 0 && { fine: false as const }) };
  },
  (length, random) => {
    if (!CAN_RESIZE) return { value: new Uint8Array(length), spoil: nothing };
    const buffer = resizable(length);
    const value = random.pick([buffer, new Uint8Array(buffer), new Uint8Array(buffer, 0, length)]);
    return { value, spoil: () => buffer.resize(random.below(2 * length + 1)) };
  },
  (length, random) => {
    if (!CAN_GROW) return { value: new Uint8Array(length), spoil: nothing };
    const buffer = growable(length);
    const value = random.pick([buffer, new Uint8Array(buffer)]);
    return { value, spoil: () => buffer.byteLength === length && buffer.grow(2 * length) };
  },
  (length) => {
    const lies = { length: { value: 1e9 }, byteLength: { value: 0 }, set: { value: refuse } };
    return { value: Object.defineProperties(new Uint8Array(length), lies), spoil: nothing };
  },
  (length) => ({
    value: vm.runInContext(`new Uint8Array(${length})`, realm),
    spoil: nothing,
  }),
];

/** `length` bytes, each of them `fill`. */
export function oddBytes(random: Random, length: number, fill: number, poke: Poke): OddBytes {
  if (random.percent(8)) return { value: oddValue(random, poke), fine: false, spoil: nothing };
  const { value, spoil, fine = true } = random.pick(BYTES)(length, random);
  const plain = plainOf(value);
  if (plain && plain.length > 0) Uint8Array.prototype.fill.call(plain, fill);
  return { value, fine, spoil };
}

/** The bytes of what `oddBytes` made, as they are. */
export function plainOf(value: unknown): Uint8Array | undefined {
  try {
    if (ArrayBuffer.isView(value)) {
      const length = value instanceof DataView ? value.byteLength : lengthOf(value);
      return new Uint8Array(value.buffer, value.byteOffset, length);
    }
    return new Uint8Array(value as ArrayBuffer);
  } catch {
    return undefined;
  }
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype);
const length = Object.getOwnPropertyDescriptor(typedArray, "byteLength")?.get as () => number;

function lengthOf(value: unknown): number {
  return length.call(value);
}
