import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  readvSync,
  rmSync,
  unlinkSync,
  writeSync,
  writevSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { codeOf, messageOf, TtmError } from "../errors.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import type { BlockSwapDevice } from "./types.ts";

/** Options of `fileSwap`. */
export interface FileSwapOptions {
  /** Most bytes the file may hold; rounded up to pages. It grows only as pages leave. */
  readonly size: Size;
  /** The file to use. Default: a private one in the temp folder that goes with the process. */
  readonly path?: string;
  /** Use the file at `path` although it is not empty; its content is lost. */
  readonly overwrite?: boolean;
}

/** Deno copies vectored calls into a buffer of its own; a copy of ours and one call is faster. */
const GATHER: boolean = "Deno" in globalThis;
/** Views at least this large go out in calls of their own where vectored calls are slow. */
const GATHER_VIEW_MAX = 64 * 1024;

type Positioned = (
  fd: number,
  view: Uint8Array,
  from: number,
  length: number,
  at: number,
) => number;
type Vectored = (fd: number, views: readonly Uint8Array[], at: number) => number;

/**
 * A swap file, through `node:fs` on Node, Deno and Bun: pages go straight from linear memory to the
 * file and back, in few large positioned calls.
 *
 * Without `path` the file is private: created exclusively in the temp folder with mode 0600, and
 * unlinked while open where the system allows that, else removed at close.
 *
 * @throws TypeError, RangeError when an option is not what it should be. Opening it, in
 *   `createDevice`, throws `TtmError` with the system's code, naming the path.
 */
export function fileSwap(options: FileSwapOptions): BlockSwapDevice {
  const { path, overwrite = false } = options;
  if (path !== undefined && (typeof path !== "string" || path === "")) {
    throw new TypeError("fileSwap path must be the path of a file");
  }
  const slots = pagesOf(parseSize(options.size, "fileSwap size"));
  let fd = -1;
  let remove: string | undefined;
  return {
    name: "file",
    slots,
    open() {
      if (fd >= 0) throw new TypeError("this fileSwap is in use by another device");
      if (path !== undefined) fd = openPath(path, overwrite);
      else ({ fd, remove } = openPrivate());
    },
    write(slot, views) {
      transfer(fd, slot, views, writeSync as Positioned, writevSync as Vectored, true);
    },
    read(slot, views) {
      transfer(fd, slot, views, readSync as Positioned, readvSync as Vectored, false);
    },
    flush() {
      fdatasyncSync(fd);
    },
    close() {
      const open = fd;
      fd = -1;
      for (const [file, user] of inUse) if (user === open) inUse.delete(file);
      if (open >= 0) closeSync(open);
      if (remove !== undefined) rmSync(remove, { force: true });
      remove = undefined;
    },
  };
}

const MODE = 0o600;

function openPrivate(): { fd: number; remove: string | undefined } {
  const id = globalThis.crypto.randomUUID();
  const path = join(tmpdir(), `ttm-swap-${id}`);
  const { O_RDWR, O_CREAT, O_EXCL } = constants;
  const fd = openFile(path, O_RDWR | O_CREAT | O_EXCL);
  try {
    unlinkSync(path);
    return { fd, remove: undefined };
  } catch {
    return { fd, remove: path };
  }
}

/** Files that a swap device of this process uses by path: two on one file would mix their pages. */
const inUse = new Map<string, number>();

function openPath(path: string, overwrite: boolean): number {
  const { O_RDWR, O_CREAT } = constants;
  const fd = openFile(path, O_RDWR | O_CREAT);
  const stat = fstatSync(fd);
  const file = `${stat.dev}:${stat.ino}`;
  if (stat.isFile() && (stat.size === 0 || overwrite) && !inUse.has(file)) {
    inUse.set(file, fd);
    return fd;
  }
  closeSync(fd);
  if (inUse.has(file)) {
    throw new TtmError("EBUSY", "open", `swap file ${path} is in use by another fileSwap`);
  }
  if (!stat.isFile()) throw new TtmError("EINVAL", "open", `swap file ${path} is not a plain file`);
  throw new TtmError(
    "EEXIST",
    "open",
    `swap file ${path} exists and is not empty; name another one, or pass overwrite: true`,
  );
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist; create it, or name another path",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder; name a file in it",
  EACCES: "no permission to write it",
  EPERM: "no permission to write it",
  EROFS: "the file system is read-only",
};

function openFile(path: string, flags: number): number {
  try {
    return openSync(path, flags, MODE);
  } catch (error) {
    const code = String((error as { code?: unknown }).code);
    const hint = HINTS[code] ?? messageOf(error);
    throw new TtmError(codeOf(error), "open", `cannot open swap file ${path}: ${hint}`, error);
  }
}

function transfer(
  fd: number,
  slot: number,
  views: readonly Uint8Array[],
  one: Positioned,
  many: Vectored,
  out: boolean,
): void {
  const position = (slot - 1) * PAGE_SIZE;
  const first = views[0] as Uint8Array;
  if (views.length === 1) whole(fd, first, position, one, out);
  else if (!GATHER) vectored(fd, views, position, one, many, out);
  else if (first.length >= GATHER_VIEW_MAX) {
    let at = position;
    for (const view of views) {
      whole(fd, view, at, one, out);
      at += view.length;
    }
  } else gathered(fd, views, position, one, out);
}

/** All of one view, however many calls it takes. */
function whole(
  fd: number,
  view: Uint8Array,
  position: number,
  one: Positioned,
  out: boolean,
): void {
  for (let done = 0; done < view.length; ) {
    const n = one(fd, view, done, view.length - done, position + done);
    if (n === 0) throw stuck(out);
    done += n;
  }
}

/** All of the views in one call; what a short count leaves, view by view. */
function vectored(
  fd: number,
  views: readonly Uint8Array[],
  position: number,
  one: Positioned,
  many: Vectored,
  out: boolean,
): void {
  const n = many(fd, views, position);
  let at = 0;
  for (const view of views) {
    const end = at + view.length;
    if (n < end) {
      const done = Math.max(n - at, 0);
      whole(fd, view.subarray(done), position + at + done, one, out);
    }
    at = end;
  }
}

const WASM_PAGE = 65536;
let staging: Uint8Array = new Uint8Array(0);

/**
 * A buffer that begins at a page, as linear memory does and large arrays do not: copies from one to the
 * other take three times as long where the offsets in a page differ by little (glibc's bug 30994).
 */
function stagingOf(bytes: number): Uint8Array {
  if (staging.length < bytes) {
    const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(bytes / WASM_PAGE) });
    staging = new Uint8Array(buffer);
  }
  return staging.subarray(0, bytes);
}

function gathered(
  fd: number,
  views: readonly Uint8Array[],
  position: number,
  one: Positioned,
  out: boolean,
): void {
  const bytes = views.reduce((sum, view) => sum + view.length, 0);
  const buffer = stagingOf(bytes);
  let at = 0;
  if (out) {
    for (const view of views) {
      buffer.set(view, at);
      at += view.length;
    }
    whole(fd, buffer, position, one, true);
    return;
  }
  whole(fd, buffer, position, one, false);
  for (const view of views) {
    view.set(buffer.subarray(at, at + view.length));
    at += view.length;
  }
}

function stuck(out: boolean): TtmError {
  return out
    ? new TtmError("EIO", "shrink", "the swap file took no more bytes, without an error")
    : new TtmError("EIO", "restore", "the swap file is shorter than what was written to it");
}
