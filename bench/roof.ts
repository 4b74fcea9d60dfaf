/*
 * The roof: what moving pages costs when nobody keeps books. `memory.copy` on given addresses, in a loop
 * inside WASM, so that no call from JavaScript is counted; and positioned calls on a file of 1 MiB each.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import * as abi from "../assembly/abi.ts";
import { MIB } from "./harness.ts";

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
const COPY = new Uint8Array([
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
]);

/** Pages side by side at both ends (addresses, bytes). */
export interface Piece {
  readonly to: number;
  readonly from: number;
  readonly bytes: number;
}

/** Pieces of one call. */
const CALL_PIECES = 512;
const WORDS = 3;

/**
 * Copies pieces within a memory. Their list is handed over in the engine's exchange area, which holds
 * nothing between two of its operations.
 */
export function bareCopy(memory: WebAssembly.Memory, pieces: readonly Piece[]): () => void {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(COPY), { env: { memory } });
  const copy = instance.exports.copy as (list: number, count: number) => void;
  const lists: Uint32Array[] = [];
  for (let at = 0; at < pieces.length; at += CALL_PIECES) {
    const some = pieces.slice(at, at + CALL_PIECES);
    lists.push(Uint32Array.from(some.flatMap(({ to, from, bytes }) => [to, from, bytes])));
  }
  const area = new Uint32Array(memory.buffer, abi.EXTENTS, CALL_PIECES * WORDS);
  return () => {
    for (const list of lists) {
      area.set(list);
      copy(abi.EXTENTS, list.length / WORDS);
    }
  };
}

/*
 * (module
 *   (import "env" "memory" (memory 1 65536))
 *   (func (export "touch") (param $at i32) (param $end i32) (result i32)
 *     (local $any v128)
 *     (loop $next
 *       ;; $any |= the eight v128 from $at on
 *       (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 128))) (local.get $end))))
 *     (v128.any_true (local.get $any))))
 */
const TOUCH = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  // types: (i32, i32) -> i32
  0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f,
  // imports: env.memory, 1 to 65536 pages
  0x02, 0x12, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x01,
  0x01, 0x80, 0x80, 0x04,
  // functions, exports
  0x03, 0x02, 0x01, 0x00, 0x07, 0x09, 0x01, 0x05, 0x74, 0x6f, 0x75, 0x63, 0x68, 0x00, 0x00,
  // code
  0x0a, 0x5e, 0x01, 0x5c, 0x01, 0x01, 0x7b, 0x03, 0x40, 0x20, 0x02, 0x20, 0x00, 0xfd, 0x00, 0x04,
  0x00, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x10, 0xfd, 0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x20, 0xfd,
  0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x30, 0xfd, 0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x40, 0xfd,
  0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x50, 0xfd, 0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x60, 0xfd,
  0x50, 0x20, 0x00, 0xfd, 0x00, 0x04, 0x70, 0xfd, 0x50, 0xfd, 0x50, 0x21, 0x02, 0x20, 0x00, 0x41,
  0x80, 0x01, 0x6a, 0x22, 0x00, 0x20, 0x01, 0x49, 0x0d, 0x00, 0x0b, 0x20, 0x02, 0xfd, 0x53, 0x0b,
]);

/** Loads all bytes from an address on, as fast as WASM can, and does nothing with them. */
export function toucher(memory: WebAssembly.Memory): (address: number, bytes: number) => void {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(TOUCH), { env: { memory } });
  const touch = instance.exports.touch as (from: number, end: number) => number;
  return (address, bytes) => {
    touch(address, address + bytes);
  };
}

/** Folder of the files that are measured: the temp folder, or `TTM_BENCH_DIR`. */
export const FILES: string = process.env.TTM_BENCH_DIR ?? tmpdir();

/** A file for bare calls, which goes with the process. */
export function bareFile(): number {
  const path = join(FILES, `ttm-bench-${process.pid}-${Math.random().toString(36).slice(2)}`);
  const fd = openSync(path, "wx+");
  unlinkSync(path);
  return fd;
}

export function closeFile(fd: number): void {
  closeSync(fd);
}

/** Views of up to 1 MiB each over bytes [from, from + bytes) of a memory. */
export function pieces1MiB(buffer: ArrayBuffer, from: number, bytes: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = 0; at < bytes; at += MIB) {
    views.push(new Uint8Array(buffer, from + at, Math.min(MIB, bytes - at)));
  }
  return views;
}

/** One call a view, one behind the other in the file, from byte `from` on. */
export function bareWrite(fd: number, views: readonly Uint8Array[], from = 0): void {
  let position = from;
  for (const view of views) {
    if (writeSync(fd, view, 0, view.length, position) !== view.length)
      throw new Error("short write");
    position += view.length;
  }
}

export function bareRead(fd: number, views: readonly Uint8Array[], from = 0): void {
  let position = from;
  for (const view of views) {
    if (readSync(fd, view, 0, view.length, position) !== view.length) throw new Error("short read");
    position += view.length;
  }
}
