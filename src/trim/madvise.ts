/*
 * `madvise(MADV_DONTNEED)` on Linux: the pages of a private mapping, which a linear memory is, go at once, and read as
 * zeros. Called by whatever foreign functions the host has: `bun:ffi`, Deno's, and on Node `koffi`, if the user has
 * installed it. Elsewhere there is no such call: macOS' MADV_FREE_REUSABLE does not promise zeros.
 */
import { Bun, Deno, process } from "../host.ts";

/** A call of the C library, as far as it was found. */
interface Madvise {
  /** By whose foreign functions. */
  readonly by: "bun:ffi" | "Deno.dlopen" | "koffi";
  /** Bytes of a page of the host's. */
  readonly pageBytes: number;
  /** Returns 0, or -1. */
  dontNeed(view: Uint8Array): number;
}

const MADV_DONTNEED = 4;
/** So it is called where glibc is, and musl takes it for itself. */
const LIBC = "libc.so.6";

/** The call, or why there is none here. Asks nobody for a permission. */
export function findMadvise(): Madvise | string {
  try {
    const os = Deno ? Deno.build?.os : process?.platform;
    if (os !== "linux") return "there is no madvise that gives zeros on this system";
    return Bun ? ofBun() : Deno ? ofDeno(Deno) : ofNode();
  } catch (error) {
    return `no foreign function can be called: ${String(error)}`;
  }
}

function ofBun(): Madvise | string {
  const ffi = (process?.getBuiltinModule?.("bun:ffi") ?? Bun?.FFI) as BunFfi | undefined;
  if (typeof ffi?.dlopen !== "function") return "this Bun has no bun:ffi";
  const { madvise, getpagesize } = ffi.dlopen(LIBC, {
    madvise: { args: ["ptr", "usize", "i32"], returns: "i32" },
    getpagesize: { args: [], returns: "i32" },
  }).symbols;
  return {
    by: "bun:ffi",
    pageBytes: getpagesize(),
    dontNeed: (view) => madvise(view, view.byteLength, MADV_DONTNEED),
  };
}

function ofDeno(deno: object): Madvise | string {
  const { permissions, dlopen } = deno as DenoFfi;
  const { state } = permissions.querySync({ name: "ffi" });
  if (state !== "granted") return "Deno needs --allow-ffi for it";
  const { madvise, getpagesize } = dlopen(LIBC, {
    madvise: { parameters: ["buffer", "usize", "i32"], result: "i32" },
    getpagesize: { parameters: [], result: "i32" },
  }).symbols;
  return {
    by: "Deno.dlopen",
    pageBytes: getpagesize(),
    dontNeed: (view) => madvise(view, BigInt(view.byteLength), MADV_DONTNEED),
  };
}

function ofNode(): Madvise | string {
  const [, program] = process?.argv ?? [];
  const node = process?.getBuiltinModule?.("node:module") as NodeModule | undefined;
  if (!node || !program) return "koffi cannot be looked for here";
  let koffi: Koffi;
  try {
    // From where the program is, as this module may be part of a bundle that lies anywhere.
    koffi = node.createRequire(program)("koffi");
  } catch {
    return "the optional package koffi is not installed";
  }
  const libc = koffi.load(null);
  const madvise = libc.func("int madvise(void *, size_t, int)");
  return {
    by: "koffi",
    pageBytes: libc.func("int getpagesize()")(),
    dontNeed: (view) => madvise(view, view.byteLength, MADV_DONTNEED),
  };
}

type Call = (...args: unknown[]) => number;
type Calls = { readonly symbols: { readonly madvise: Call; readonly getpagesize: Call } };
type BunFfi = { dlopen(name: string, functions: object): Calls };
type DenoFfi = {
  readonly permissions: { querySync(what: object): { readonly state: string } };
  dlopen(name: string, functions: object): Calls;
};
type NodeModule = { createRequire(from: string): (name: string) => Koffi };
type Koffi = { load(name: null): { func(declaration: string): Call } };
