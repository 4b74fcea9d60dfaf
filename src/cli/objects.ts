import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import type { Mapping } from "../mapping.ts";
import type { Caching } from "../ttm/caching.ts";
import { systemCode } from "./errors.ts";
import { type Part, partsOf, type SourceFile, unreadable } from "./files.ts";
import { Retry } from "./retry.ts";

/** Digest of all bytes of a mapped buffer. */
function digestOf(mapping: Mapping): number {
  let digest = 0;
  for (const segment of mapping.segments) digest = crc32(segment, digest);
  return digest;
}

/** The objects loaded, with the digest of what was read into each. */
export class Objects {
  readonly buffers: BufferObject[] = [];
  /** Bytes of all of them. */
  bytes = 0;
  #digests = new Uint32Array(1024);

  get count(): number {
    return this.buffers.length;
  }

  add(buffer: BufferObject, digest: number): void {
    if (this.count === this.#digests.length) {
      const digests = new Uint32Array(this.count * 2);
      digests.set(this.#digests);
      this.#digests = digests;
    }
    this.#digests[this.count] = digest;
    this.buffers.push(buffer);
    this.bytes += buffer.size;
  }

  at(index: number): BufferObject {
    return this.buffers[index] as BufferObject;
  }

  /** Whether a mapping of object `index` shows what was read from its file. */
  intact(index: number, mapping: Mapping): boolean {
    return digestOf(mapping) === this.#digests[index];
  }

  /** Destroys the objects from `count` on. */
  truncate(count: number): void {
    for (const buffer of this.buffers.splice(count)) {
      this.bytes -= buffer.size;
      buffer.destroy();
    }
  }
}

/** A file that is not what it was when it was listed, and why. */
export class ChangedError extends Error {
  override readonly name: string = "ChangedError";
}

/**
 * Loads a file as objects of at most `objectSize`, until `objects` have `limit` bytes. `loaded` is
 * called after each. A file that changed leaves nothing behind.
 *
 * @throws ChangedError when it is gone, or has another size than when it was listed
 * @throws CommandError when it cannot be read
 * @throws TtmError of the device; objects of the file so far stay
 */
export function loadFile(
  target: LoadTarget,
  file: SourceFile,
  objectSize: number,
  limit: number,
  objects: Objects,
  loaded: () => void,
): void {
  const before = objects.count;
  const fd = openFile(file);
  try {
    assertUnchanged(fd, file);
    for (const part of partsOf(file, objectSize)) {
      if (objects.bytes >= limit) break;
      loadPart(target, fd, part, objects);
      loaded();
    }
    assertUnchanged(fd, file);
  } catch (error) {
    if (error instanceof ChangedError) objects.truncate(before);
    throw error;
  } finally {
    closeSync(fd);
  }
}

export function openFile(file: SourceFile): number {
  try {
    return openSync(file.path, "r");
  } catch (error) {
    const gone = systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR";
    throw gone ? new ChangedError(`${file.path} has gone`) : unreadable(file.path, error);
  }
}

/** @throws ChangedError unless the file still has the size it was listed with */
function assertUnchanged(fd: number, { path, size }: SourceFile): void {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new ChangedError(`${path} is no longer a file`);
  if (stat.size !== size) {
    throw new ChangedError(`${path} had ${size} bytes when it was listed and has ${stat.size} now`);
  }
}

/** Where objects are made, and how. */
export interface LoadTarget {
  readonly device: Device;
  readonly caching?: Caching;
  readonly retry?: Retry;
}

/** Reads a part of an open file straight into the pages of a new object. */
export function loadPart(
  { device, caching = "cached", retry = new Retry(false) }: LoadTarget,
  fd: number,
  part: Part,
  objects: Objects,
): void {
  const buffer = device.createBuffer(part.size, { caching });
  try {
    const mapping = retry.run(() => buffer.mapSync());
    try {
      let position = part.position;
      for (const segment of mapping.segments) {
        readWhole(fd, segment, position, part.file);
        position += segment.length;
      }
      objects.add(buffer, digestOf(mapping));
    } finally {
      mapping.unmap();
    }
  } catch (error) {
    buffer.destroy();
    throw error;
  }
}

function readWhole(fd: number, target: Uint8Array, position: number, file: SourceFile): void {
  for (let done = 0; done < target.length; ) {
    let n: number;
    try {
      n = readSync(fd, target, done, target.length - done, position + done);
    } catch (error) {
      throw unreadable(file.path, error);
    }
    if (n === 0) throw new ChangedError(`${file.path} became shorter while it was read`);
    done += n;
  }
}
