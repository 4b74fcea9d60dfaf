/*
 * The bare calls that a ratio is taken to. They get the best case: each object in one piece, every
 * view made beforehand, the same memory and the same kind of file, overwritten in place.
 */
import { closeSync, constants, openSync, readSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import type { Mapping } from "../mapping.ts";
import { pagesOf } from "../size.ts";

/** To be called after every bare call. */
export type Lap = () => void;

export interface Roof {
  /** Moves the bytes of all objects where a shrink would. */
  out(lap: Lap): void;
  /** Moves them back. */
  in(lap: Lap): void;
}

/** Most bytes of one call. */
const CALL_BYTES_MAX = 2 ** 20;

/** writeSync and readSync, one call an object, into a private file of the same folder. */
export class FileRoof implements Roof {
  readonly #fd: number;
  readonly #remove: string | undefined;
  readonly #buffer: BufferObject;
  readonly #mapping: Mapping;
  readonly #views: readonly Uint8Array[];

  /**
   * The objects' bytes are copied to pinned pages of the same device, side by side: a memory of
   * their own would make the process larger. `undefined` if there is no room for that.
   */
  static open(
    device: Device,
    set: readonly BufferObject[],
    path: string | undefined,
  ): FileRoof | undefined {
    const pages = set.reduce((sum, { size }) => sum + pagesOf(size), 0);
    const slack = Math.floor(device.stats().pages.total / 16);
    const buffer = device.createBuffer((pages + slack) * PAGE_SIZE);
    const mapping = buffer.mapSync();
    const views = layOut(set, mapping);
    if (views) return new FileRoof(buffer, mapping, views, path);
    mapping.unmap();
    buffer.destroy();
    return undefined;
  }

  private constructor(
    buffer: BufferObject,
    mapping: Mapping,
    views: readonly Uint8Array[],
    path: string | undefined,
  ) {
    this.#buffer = buffer;
    this.#mapping = mapping;
    this.#views = views;
    const folder = path === undefined ? tmpdir() : dirname(path);
    const name = join(folder, `ttm-roof-${globalThis.crypto.randomUUID()}`);
    this.#fd = openSync(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    this.#remove = unlinked(name) ? undefined : name;
  }

  out(lap: Lap): void {
    const fd = this.#fd;
    let at = 0;
    for (const view of this.#views) {
      if (writeSync(fd, view, 0, view.length, at) !== view.length) throw new Error("short write");
      at += pagesOf(view.length) * PAGE_SIZE;
      lap();
    }
  }

  in(lap: Lap): void {
    const fd = this.#fd;
    let at = 0;
    for (const view of this.#views) {
      if (readSync(fd, view, 0, view.length, at) !== view.length) throw new Error("short read");
      at += pagesOf(view.length) * PAGE_SIZE;
      lap();
    }
  }

  close(): void {
    closeSync(this.#fd);
    if (this.#remove !== undefined) rmSync(this.#remove, { force: true });
    this.#mapping.unmap();
    this.#buffer.destroy();
  }
}

/** A file that is open may not be removable; then it is removed in the end. */
function unlinked(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Views of page-aligned places in a mapping, one for each call, filled with the objects' bytes;
 * `undefined` if the mapping is too scattered for that.
 */
function layOut(set: readonly BufferObject[], { segments }: Mapping): Uint8Array[] | undefined {
  const views: Uint8Array[] = [];
  let segment = 0;
  let at = 0;
  for (const buffer of set) {
    for (let offset = 0; offset < buffer.size; offset += CALL_BYTES_MAX) {
      const length = Math.min(CALL_BYTES_MAX, buffer.size - offset);
      while ((segments[segment]?.length ?? length) < at + length) {
        segment++;
        at = 0;
      }
      const view = segments[segment]?.subarray(at, at + length);
      if (!view) return undefined;
      buffer.readSync(offset, view as Uint8Array<ArrayBuffer>);
      views.push(view);
      at += pagesOf(length) * PAGE_SIZE;
    }
  }
  return views;
}

/**
 * (module
 *   (import "" "" (memory 1))
 *   (func (export "") (param i32 i32 i32)
 *     (memory.copy (local.get 0) (local.get 1) (local.get 2))))
 */
const COPY_MODULE = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x07, 0x01, 0x60, 0x03, 0x7f, 0x7f, 0x7f,
  0x00, 0x02, 0x06, 0x01, 0x00, 0x00, 0x02, 0x00, 0x01, 0x03, 0x02, 0x01, 0x00, 0x07, 0x04, 0x01,
  0x00, 0x00, 0x00, 0x0a, 0x0e, 0x01, 0x0c, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfc, 0x0a,
  0x00, 0x00, 0x0b,
];

const WASM_PAGE = 65536;

/** memory.copy, one an object, between the two halves of a memory of its own. */
export class CopyRoof implements Roof {
  readonly #copy: (to: number, from: number, bytes: number) => void;
  readonly #sizes: Uint32Array;
  readonly #half: number;

  constructor(set: readonly BufferObject[]) {
    const pages = set.reduce((sum, { size }) => sum + pagesOf(size), 0);
    this.#half = pages * PAGE_SIZE;
    this.#sizes = Uint32Array.from(set, ({ size }) => size);
    const memory = new WebAssembly.Memory({ initial: Math.ceil((2 * this.#half) / WASM_PAGE) });
    const module = new WebAssembly.Module(Uint8Array.from(COPY_MODULE));
    const { exports } = new WebAssembly.Instance(module, { "": { "": memory } });
    this.#copy = exports[""] as (to: number, from: number, bytes: number) => void;
    let at = 0;
    for (const buffer of set) {
      buffer.readSync(0, new Uint8Array(memory.buffer, at, buffer.size));
      at += pagesOf(buffer.size) * PAGE_SIZE;
    }
  }

  out(lap: Lap): void {
    this.#run(this.#half, 0, lap);
  }

  in(lap: Lap): void {
    this.#run(0, this.#half, lap);
  }

  #run(to: number, from: number, lap: Lap): void {
    const copy = this.#copy;
    let at = 0;
    for (const size of this.#sizes) {
      copy(to + at, from + at, size);
      at += pagesOf(size) * PAGE_SIZE;
      lap();
    }
  }
}
