import { fstatSync, ftruncateSync, readSync, readvSync, writeSync, writevSync } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { TtmError } from "../errors.ts";
import { assertOptions } from "../options.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import { openPath, openPrivate, type SwapFile } from "./file_open.ts";
import type { ShortWrite, SwapRun, SyncSwapDevice } from "./types.ts";

/** Options of `fileSwap`. */
export interface FileSwapOptions {
  /** Most bytes the file may hold; rounded up to pages. It grows only as pages leave, and shrinks with them. */
  readonly size: Size;
  /** Folder for a private file. Default: the temp folder. A folder kept in memory (tmpfs) gives a warning. */
  readonly directory?: string;
  /**
   * Where the file is to be seen while it is in use, on Linux; there it is refused to all others. Its folder
   * must be one to create files in. Not together with `directory`.
   */
  readonly path?: string;
  /** Use `path` although a file is there that is not empty: that file is removed. */
  readonly overwrite?: boolean;
}

const OPTIONS: readonly string[] = ["size", "directory", "path", "overwrite"];

/** Deno copies vectored calls into a buffer of its own; a copy of ours and one call is faster. */
const GATHER: boolean = "Deno" in globalThis;
/** Most bytes cut off at a stretch: some 15 ms, where a file system drops a gigabyte in 150. */
const CUT_BYTES_MAX = 128 * 2 ** 20;
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
 * The file belongs to its device alone: it is created for it, with mode 0600, and unlinked while it is open
 * (where the system allows that, else removed at close). So its bytes are gone with the process, even a
 * killed one. With `path`, on Linux, a link to it stands there meanwhile; a second user of the path, be it
 * another process or a thread, is refused. A link that a killed process left leads nowhere, and is replaced.
 *
 * @throws TypeError, RangeError when an option is not what it should be. Opening it, in
 *   `createDevice`, throws `TtmError` with the system's code, naming the path.
 */
export function fileSwap(options: FileSwapOptions): SyncSwapDevice {
  if (options === undefined) {
    throw new TypeError('fileSwap needs at least a size: fileSwap({ size: "1 GiB" })');
  }
  assertOptions(options, OPTIONS, "fileSwap");
  const { directory, path, overwrite = false } = options;
  assertName(path, "path must be the path of a file");
  assertName(directory, "directory must be the path of a folder");
  if (path !== undefined && directory !== undefined) {
    throw new TypeError("fileSwap takes a path or a directory, not both");
  }
  const slots = pagesOf(parseSize(options.size, "fileSwap size"));
  let file: SwapFile | undefined;
  let fd = -1;
  /** What is left of a cut under way: when it goes on, and the bytes that it leaves. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  let keep = 0;
  const cut = () => {
    timer = undefined;
    const { size } = fstatSync(fd);
    const next = Math.max(keep, size - CUT_BYTES_MAX);
    if (size > next) ftruncateSync(fd, next);
    if (next > keep) timer = setTimeout(quietly, 0, cut).unref();
  };
  return {
    name: "file",
    slots,
    open() {
      file = path === undefined ? openPrivate(directory) : openPath(path, overwrite);
      fd = file.fd;
    },
    writeSync(runs) {
      if (timer) for (const run of runs) keep = Math.max(keep, endOf(run));
      return writeAll(fd, runs);
    },
    readSync(runs) {
      for (const { slot, views } of runs) {
        transfer(fd, slot, views, readSync as Positioned, readvSync as Vectored, false);
      }
    },
    discard(_, end) {
      // There is no call to punch holes: what lies before something that is kept stays.
      keep = end * PAGE_SIZE;
      if (!timer) cut();
    },
    close() {
      clearTimeout(timer);
      timer = undefined;
      const open = file;
      file = undefined;
      fd = -1;
      open?.close();
    },
  };
}

/** Best effort: space that stays costs nobody more than that. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {}
}

function endOf({ slot, views }: SwapRun): number {
  return views.reduce((end, view) => end + view.length, (slot - 1) * PAGE_SIZE);
}

function assertName(name: unknown, what: string): void {
  if (name === undefined || (typeof name === "string" && name !== "")) return;
  throw new TypeError(`fileSwap ${what}`);
}

/** Bytes that calls have moved since a write began: all before the first that they have not. */
let moved = 0;

/** A disk that gets full in the middle has stored what comes before. */
function writeAll(fd: number, runs: readonly SwapRun[]): void | ShortWrite {
  moved = 0;
  try {
    for (const { slot, views } of runs) {
      transfer(fd, slot, views, writeSync as Positioned, writevSync as Vectored, true);
    }
  } catch (error) {
    const pages = Math.floor(moved / PAGE_SIZE);
    if (pages === 0) throw error;
    return { pages, error };
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
    moved += n;
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
  moved += n;
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
