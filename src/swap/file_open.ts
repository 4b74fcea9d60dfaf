/*
 * How a swap file comes to be: nobody else can open it, and nothing of it stays, whatever ends the process.
 * It is created exclusively and unlinked while open, so no two users ever share one. At a `path`, on Linux,
 * stands a link to the open file:
 *
 *   path -> /proc/PID/fd/FD -> the file, which has no name
 *
 * As long as PID lives it leads to the file, shows its size, and refuses the next user; afterwards it leads
 * nowhere, and the next user replaces it. That it may be wrong (another pid namespace, no /proc) costs
 * nobody a byte.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statfsSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { codeOf, messageOf, TtmError } from "../errors.ts";

/** An open swap file; `close` leaves nothing of it. */
export interface SwapFile {
  readonly fd: number;
  close(): void;
}

const MODE = 0o600;
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW = 0 } = constants;

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist; create it, or name another path",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder; name a file in it",
  EACCES: "no permission to write it",
  EPERM: "no permission to write it",
  EROFS: "the file system is read-only",
  EMFILE: "this process has too many files open; close some, or raise its limit",
  ENFILE: "the system has too many files open",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "it is a link, or its folder is behind too many; name a plain file",
};

function cannotOpen(path: string, error: unknown): TtmError {
  const hint = HINTS[String((error as { code?: unknown }).code)] ?? messageOf(error);
  return new TtmError(codeOf(error), "open", `cannot open swap file ${path}: ${hint}`, error);
}

function refusal(
  code: "EBUSY" | "EEXIST" | "EINVAL" | "EISDIR" | "ELOOP",
  path: string,
  why: string,
) {
  return new TtmError(code, "open", `swap file ${path} ${why}`);
}

function id(): string {
  return `ttm-swap-${globalThis.crypto.randomUUID()}`;
}

/** Makes a file, which must be new, and takes its name away. `name`: how messages call it. */
function create(file: string, name: string): SwapFile {
  let fd: number;
  try {
    fd = openSync(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
  } catch (error) {
    throw cannotOpen(name, error);
  }
  let remove = false;
  try {
    unlinkSync(file);
  } catch {
    remove = true; // where the system does not let open files go
  }
  warnOfMemory(dirname(file));
  return {
    fd,
    close() {
      closeSync(fd);
      if (remove) rmSync(file, { force: true });
    },
  };
}

/** A file in `directory`, or in the temp folder. */
export function openPrivate(directory: string | undefined): SwapFile {
  const file = join(directory ?? tempFolder(), id());
  return create(file, file);
}

function tempFolder(): string {
  try {
    return tmpdir();
  } catch (error) {
    const text = `cannot find the temp folder: ${messageOf(error)}; allow that, or name a directory`;
    throw new TtmError(codeOf(error), "open", text, error);
  }
}

/** Where a file is to be seen. */
interface Place {
  readonly path: string;
  /** How messages call it. */
  readonly name: string;
  /** Files that are opened for it begin so. */
  readonly prefix: string;
  readonly overwrite: boolean;
}

/**
 * A file in the folder of `path`, and a link to it there while it is open. A file that stands there is removed, never
 * used: whoever made it may have it open, or let others read it.
 */
export function openPath(path: string, overwrite: boolean): SwapFile {
  const place = placeOf(path, overwrite);
  inspect(place, undefined);
  const file = create(`${place.prefix}${id()}`, path);
  // Not as a template: bundlers that trace files would take it for a pattern, and read all of /proc.
  const target = ["/proc", process.pid, "fd", file.fd].join("/");
  let linked = false;
  try {
    const own = fstatSync(file.fd);
    removeFound(place, own);
    linked = process.platform === "linux" && publish(place, target, own);
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    fd: file.fd,
    close() {
      if (linked && contentOf(place.path) === target) rmSync(place.path, { force: true });
      file.close();
    },
  };
}

/** Removes what stands there, if it may be. */
function removeFound(place: Place, own: Stats): void {
  const found = inspect(place, own);
  const aside = found === undefined ? undefined : takeAway(place, found);
  if (aside !== undefined) unlinkSync(aside);
}

function placeOf(name: string, overwrite: boolean): Place {
  const path = resolve(name);
  try {
    const folder = realpathSync(dirname(path));
    const base = basename(path);
    // Names have 255 bytes at most, a character up to 3.
    return {
      path: join(folder, base),
      name,
      prefix: join(folder, `.${base.slice(0, 50)}.`),
      overwrite,
    };
  } catch (error) {
    throw cannotOpen(name, error);
  }
}

/** Puts the link there. False where there can be none: then the file is just as private, but not seen. */
function publish(place: Place, target: string, own: Stats): boolean {
  for (;;) {
    try {
      symlinkSync(target, place.path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") return false;
      removeFound(place, own);
      continue;
    }
    if (inodeAt(place.path)?.ino === own.ino) return true;
    rmSync(place.path, { force: true }); // there is no /proc
    return false;
  }
}

/** What `inspect` says of a file; of a link it tells the text. */
const FILE = "";

/**
 * What stands at the path and may be taken away; `undefined`: nothing does.
 *
 * @throws TtmError EBUSY, EEXIST, EISDIR, EINVAL, ELOOP when it may not
 */
function inspect(place: Place, own: Stats | undefined): string | undefined {
  const { path, name, overwrite } = place;
  let found: Stats | undefined;
  try {
    found = lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw cannotOpen(name, error);
  }
  if (!found) return undefined;
  if (found.isSymbolicLink()) {
    const text = contentOf(path);
    if (text === "") return undefined; // somebody else has taken it away since
    const [, pid] = /^\/proc\/(\d+)\/fd\/\d+$/.exec(text) ?? [];
    if (!pid) throw refusal("ELOOP", name, "is a link; name the file itself");
    if (!isAlive(place, text, own)) return text;
    const why = `is in use by process ${pid}; name another one, or a directory for a private file`;
    throw refusal("EBUSY", name, why);
  }
  if (found.isDirectory()) throw cannotOpen(name, new TtmError("EISDIR", "open", "a folder"));
  if (!found.isFile()) throw refusal("EINVAL", name, "is not a plain file");
  if (found.size > 0 && !overwrite) {
    const why = "exists and is not empty; name another one, or pass overwrite: true";
    throw refusal("EEXIST", name, why);
  }
  return FILE;
}

/** Text of a link, "" if it is none. */
function contentOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function inodeAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Whether a link leads to a file opened for it: a process with that number may be another one by now. */
function isAlive({ path, prefix }: Place, target: string, own: Stats | undefined): boolean {
  const inode = inodeAt(path);
  if (!inode || inode.nlink > 0 || (inode.ino === own?.ino && inode.dev === own.dev)) return false;
  const opened = contentOf(target);
  return opened === "" || opened.startsWith(`${prefix}ttm-swap-`); // "": a host that does not tell
}

/**
 * Takes what `inspect` found away, to the path that is returned. `undefined`: somebody else did, or has put
 * something else there, which stays.
 */
function takeAway({ path, name, prefix }: Place, found: string): string | undefined {
  const aside = `${prefix}${id()}`;
  try {
    renameSync(path, aside);
    if (contentOf(aside) === found) return aside;
    renameSync(aside, path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw cannotOpen(name, error);
  }
  return undefined;
}

/** File systems that keep files in memory: tmpfs, ramfs. */
const IN_MEMORY: readonly number[] = [0x01021994, 0x858458f6];
let warned = false;

/** Says once, where it can be known, that swap in memory gives nothing back. */
function warnOfMemory(folder: string): void {
  try {
    if (warned || !IN_MEMORY.includes(statfsSync(folder).type)) return;
    warned = true;
    const text =
      `swap files in ${folder} take memory, which swap is there to give back: that folder is kept ` +
      "in memory; pass fileSwap a directory on a disk, such as /var/tmp";
    process.emitWarning(text, { code: "TTM_SWAP_IN_RAM" });
  } catch {
    // Not known here, or not allowed to be.
  }
}
