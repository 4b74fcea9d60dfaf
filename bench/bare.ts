/* What the benchmarks hold the library against, beside what the command does (src/cli/bare.ts). */
import { tmpdir } from "node:os";
import process from "node:process";
import * as abi from "../assembly/abi.ts";
import { BareFile, copier, PIECE_WORDS } from "../src/cli/bare.ts";
import { MIB } from "./harness.ts";

/** Pages side by side at both ends (addresses, bytes). */
export interface Piece {
  readonly to: number;
  readonly from: number;
  readonly bytes: number;
}

/** Pieces of one call. */
const CALL_PIECES = 512;

/**
 * Copies pieces within a memory. Their list is handed over in the engine's exchange area, which holds
 * nothing between two of its operations.
 */
export function bareCopy(memory: WebAssembly.Memory, pieces: readonly Piece[]): () => void {
  const copy = copier(memory);
  const lists: Uint32Array[] = [];
  for (let at = 0; at < pieces.length; at += CALL_PIECES) {
    const some = pieces.slice(at, at + CALL_PIECES);
    lists.push(Uint32Array.from(some.flatMap(({ to, from, bytes }) => [to, from, bytes])));
  }
  const area = new Uint32Array(memory.buffer, abi.EXTENTS, CALL_PIECES * PIECE_WORDS);
  return () => {
    for (const list of lists) {
      area.set(list);
      copy(abi.EXTENTS, list.length / PIECE_WORDS);
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

/** A file there for bare calls. */
export function bareFile(): BareFile {
  return new BareFile(FILES);
}

/** Views of up to 1 MiB each over bytes [from, from + bytes) of a memory. */
export function pieces1MiB(buffer: ArrayBuffer, from: number, bytes: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = 0; at < bytes; at += MIB) {
    views.push(new Uint8Array(buffer, from + at, Math.min(MIB, bytes - at)));
  }
  return views;
}
