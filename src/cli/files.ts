import { type Dirent, lstatSync, readdirSync, realpathSync, type Stats, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { formatSize, pagesOf } from "../size.ts";
import { CommandError, reasonOf, systemCode } from "./errors.ts";

/** A file as it was when it was listed. */
export interface SourceFile {
  readonly path: string;
  /** Bytes; never 0. */
  readonly size: number;
}

/**
 * The files of `paths`: each once, however many paths lead to it, smallest first, so that the same
 * tree gives the same list everywhere and a small `--size` leaves out the largest. Empty files are
 * left out, so is what is no file, and links found in folders are not followed.
 *
 * @throws CommandError for a path that cannot be read, and when there is nothing to load
 */
export function listFiles(paths: readonly string[]): SourceFile[] {
  const files = new Map<string, number>();
  for (const path of paths) {
    const top = look(() => ({ path: realpathSync(resolve(path)), stat: statSync(path) }), path);
    if (top.stat.isDirectory()) listFolder(top.path, files);
    else if (top.stat.isFile()) files.set(top.path, top.stat.size);
    else throw new CommandError(`${path} is neither a file nor a folder; leave it out`);
  }
  const list = Array.from(files, ([path, size]) => ({ path, size })).filter(({ size }) => size > 0);
  if (list.length === 0) {
    const where = paths.length > 0 ? paths.join(", ") : "the default paths";
    throw new CommandError(`there is nothing to load in ${where}; name files that are not empty`);
  }
  return list.sort((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1));
}

/** Goes through a tree without recursion: its depth is not ours to choose. */
function listFolder(top: string, files: Map<string, number>): void {
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(folder, folder === top)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) {
        const stat = unlessGone(() => lstatSync(path), path);
        if (stat?.isFile()) files.set(path, stat.size);
      }
    }
  }
}

function entriesOf(folder: string, named: boolean): readonly Dirent[] {
  const read = () => readdirSync(folder, { withFileTypes: true });
  return named ? look(read, folder) : (unlessGone(read, folder) ?? []);
}

function look<T>(action: () => T, path: string): T {
  try {
    return action();
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** What goes away while a tree is listed was not there. */
function unlessGone<T extends Stats | readonly Dirent[]>(
  action: () => T,
  path: string,
): T | undefined {
  try {
    return action();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw unreadable(path, error);
  }
}

/** The error for a path that is there, or was named, and cannot be read. */
export function unreadable(path: string, error: unknown): CommandError {
  const missing = systemCode(error) === "ENOENT";
  const hint = missing ? "check its name" : "make it readable, or leave it out";
  return new CommandError(`cannot read ${path}: ${reasonOf(error)}; ${hint}`);
}

/** What the files will become, if none of them changes. */
export interface Plan {
  readonly objects: number;
  readonly bytes: number;
  /** Pages of all objects. */
  readonly pages: number;
  /** Files needed, each once. */
  readonly files: number;
}

/** A part of a file that becomes an object. */
export interface Part {
  readonly file: SourceFile;
  readonly position: number;
  readonly size: number;
}

/** Each object has a page of its own at least, and some bookkeeping. */
const OBJECTS_MAX = 2 ** 18;

/** Parts of a file, none larger than `objectSize`. */
export function* partsOf(file: SourceFile, objectSize: number): Generator<Part, void, void> {
  for (let position = 0; position < file.size; position += objectSize) {
    yield { file, position, size: Math.min(objectSize, file.size - position) };
  }
}

/** Parts of all files, again and again, until they have `size` bytes. */
export function* partsUpTo(
  files: readonly SourceFile[],
  objectSize: number,
  size: number,
): Generator<Part, void, void> {
  for (let bytes = 0; bytes < size && files.length > 0; ) {
    for (const file of files) {
      for (const part of partsOf(file, objectSize)) {
        if (bytes >= size) return;
        bytes += part.size;
        yield part;
      }
    }
  }
}

/** @throws CommandError when it comes to more objects than can be kept track of */
export function plan(files: readonly SourceFile[], objectSize: number, size: number): Plan {
  let objects = 0;
  let bytes = 0;
  let pages = 0;
  const seen = new Set<SourceFile>();
  for (const part of partsUpTo(files, objectSize, size)) {
    objects++;
    bytes += part.size;
    pages += pagesOf(part.size);
    seen.add(part.file);
    if (objects > OBJECTS_MAX) {
      throw new CommandError(
        `--size ${formatSize(size)} of these files is more than ${OBJECTS_MAX} objects; ` +
          "lower --size, raise --object-size, or name larger files",
      );
    }
  }
  return { objects, bytes, pages, files: seen.size };
}

/** Swap that holds all objects even if no page of them stays in memory, and an eighth more. */
export function swapFor(objects: Plan): number {
  return Math.ceil(objects.pages * 1.125) * PAGE_SIZE;
}
