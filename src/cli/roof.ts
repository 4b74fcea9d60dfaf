/*
 * The bare calls that a ratio is taken to. They get the best case: each object in one piece, every
 * view made beforehand, the same memory and the same kind of file, overwritten in place.
 */
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import type { Mapping } from "../mapping.ts";
import { pagesOf } from "../size.ts";
import { BareFile, copier, type Lap, PIECE_WORDS } from "./bare.ts";

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
  readonly #file: BareFile;
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
    this.#file = new BareFile(path === undefined ? tmpdir() : dirname(path));
  }

  out(lap: Lap): void {
    this.#file.write(this.#views, lap);
  }

  in(lap: Lap): void {
    this.#file.read(this.#views, lap);
  }

  close(): void {
    this.#file.close();
    this.#mapping.unmap();
    this.#buffer.destroy();
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

const WASM_PAGE = 65536;

/** memory.copy, one an object, between the two halves of a memory of its own; the pieces lie behind them. */
export class CopyRoof implements Roof {
  readonly #copy: (list: number, count: number) => void;
  readonly #count: number;
  readonly #out: number;
  readonly #in: number;

  constructor(set: readonly BufferObject[]) {
    const pages = set.reduce((sum, { size }) => sum + pagesOf(size), 0);
    const half = pages * PAGE_SIZE;
    this.#count = set.length;
    this.#out = 2 * half;
    this.#in = 2 * half + 4 * PIECE_WORDS * set.length;
    const end = this.#in + 4 * PIECE_WORDS * set.length;
    const wasmPages = Math.ceil(end / WASM_PAGE);
    const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages });
    this.#copy = copier(memory);
    const words = new Uint32Array(memory.buffer);
    let at = 0;
    set.forEach((buffer, i) => {
      buffer.readSync(0, new Uint8Array(memory.buffer, at, buffer.size));
      words.set([half + at, at, buffer.size], this.#out / 4 + PIECE_WORDS * i);
      words.set([at, half + at, buffer.size], this.#in / 4 + PIECE_WORDS * i);
      at += pagesOf(buffer.size) * PAGE_SIZE;
    });
  }

  out(lap: Lap): void {
    this.#run(this.#out, lap);
  }

  in(lap: Lap): void {
    this.#run(this.#in, lap);
  }

  #run(list: number, lap: Lap): void {
    const copy = this.#copy;
    for (let i = 0; i < this.#count; i++) {
      copy(list + 4 * PIECE_WORDS * i, 1);
      lap();
    }
  }
}
