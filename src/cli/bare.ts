/*
 * What moving bytes costs when nobody keeps books: `memory.copy` on given addresses, and positioned calls on
 * a file. The command and the benchmarks hold the library against these.
 */
import { closeSync, constants, openSync, readSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { pagesOf } from "../size.ts";

/** To be called after every bare call. */
export type Lap = () => void;

const nothing: Lap = () => {};

/*
 * (module
 *   (import "env" "memory" (memory 1 65536))
 *   (func (export "copy") (param $list i32) (param $count i32)
 *     (block $end
 *       (loop $next
 *         (br_if $end (i32.eqz (local.get $count)))
 *         (memory.copy
 *           (i32.load (local.get $list))
 *           (i32.load offset=4 (local.get $list))
 *           (i32.load offset=8 (local.get $list)))
 *         (local.set $list (i32.add (local.get $list) (i32.const 12)))
 *         (local.set $count (i32.sub (local.get $count) (i32.const 1)))
 *         (br $next)))))
 */
const COPY: readonly number[] = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  // types: (i32, i32) -> ()
  0x01, 0x06, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x00,
  // imports: env.memory, 1 to 65536 pages
  0x02, 0x12, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x01,
  0x01, 0x80, 0x80, 0x04,
  // functions, exports
  0x03, 0x02, 0x01, 0x00, 0x07, 0x08, 0x01, 0x04, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x00,
  // code
  0x0a, 0x32, 0x01, 0x30, 0x00, 0x02, 0x40, 0x03, 0x40, 0x20, 0x01, 0x45, 0x0d, 0x01, 0x20, 0x00,
  0x28, 0x02, 0x00, 0x20, 0x00, 0x28, 0x02, 0x04, 0x20, 0x00, 0x28, 0x02, 0x08, 0xfc, 0x0a, 0x00,
  0x00, 0x20, 0x00, 0x41, 0x0c, 0x6a, 0x21, 0x00, 0x20, 0x01, 0x41, 0x01, 0x6b, 0x21, 0x01, 0x0c,
  0x00, 0x0b, 0x0b, 0x0b,
];

/** Words of a piece: where it goes, where it comes from (addresses), and how long it is (bytes). */
export const PIECE_WORDS = 3;

/**
 * Copies `count` pieces within a memory, which lie side by side at the address `list`: a loop inside WASM, so that
 * no call from JavaScript is counted.
 */
export function copier(memory: WebAssembly.Memory): (list: number, count: number) => void {
  const module = new WebAssembly.Module(Uint8Array.from(COPY));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports.copy as (list: number, count: number) => void;
}

/** A private file for bare calls. */
export class BareFile {
  readonly #fd: number;
  readonly #remove: string | undefined;

  constructor(folder: string) {
    const name = join(folder, `ttm-bare-${globalThis.crypto.randomUUID()}`);
    this.#fd = openSync(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    this.#remove = unlinked(name) ? undefined : name;
  }

  /** One call a view, each at the page behind the one before, from byte `from` on. */
  write(views: readonly Uint8Array[], lap: Lap = nothing, from = 0): void {
    const fd = this.#fd;
    let at = from;
    for (const view of views) {
      if (writeSync(fd, view, 0, view.length, at) !== view.length) throw new Error("short write");
      at += pagesOf(view.length) * PAGE_SIZE;
      lap();
    }
  }

  /** The same the other way. */
  read(views: readonly Uint8Array[], lap: Lap = nothing, from = 0): void {
    const fd = this.#fd;
    let at = from;
    for (const view of views) {
      if (readSync(fd, view, 0, view.length, at) !== view.length) throw new Error("short read");
      at += pagesOf(view.length) * PAGE_SIZE;
      lap();
    }
  }

  /** Descriptor, for calls of other kinds. */
  get fd(): number {
    return this.#fd;
  }

  close(): void {
    closeSync(this.#fd);
    if (this.#remove !== undefined) rmSync(this.#remove, { force: true });
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
