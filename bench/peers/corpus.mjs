/**
 * The bytes that every peer holds: real files in path order, one after the other, in one file that the
 * runs read from. It is written before anything is measured.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";

const SOURCES = [
  fileURLToPath(new URL("../../node_modules", import.meta.url)),
  "/usr/bin",
  "/usr/lib",
];
const PIECE = 4 * 1024 * 1024;

/** Paths of the plain files below `folder`, in path order. */
function* filesIn(folder) {
  const entries = readdirSync(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path);
    else if (entry.isFile()) yield path;
  }
}

/** Their content in pieces, over and over if there is not enough. */
function* content(piece) {
  for (let bytes = 1; bytes > 0; ) {
    bytes = 0;
    for (const source of SOURCES.filter(existsSync)) {
      for (const path of filesIn(realpathSync(source))) {
        let fd;
        try {
          fd = openSync(path);
        } catch {
          continue; // not ours to read
        }
        try {
          if (!fstatSync(fd).isFile()) continue;
          for (let n = readSync(fd, piece); n > 0; n = readSync(fd, piece)) {
            bytes += n;
            yield piece.subarray(0, n);
          }
        } finally {
          closeSync(fd);
        }
      }
    }
  }
  throw new Error(`no files in ${SOURCES.join(", ")}`);
}

/** Writes the first `size` bytes of them to `path`. */
export function writeCorpus(path, size) {
  const fd = openSync(path, "w");
  let left = size;
  for (const piece of content(new Uint8Array(PIECE))) {
    left -= writeSync(fd, piece, 0, Math.min(piece.length, left));
    if (left === 0) break;
  }
  closeSync(fd);
}

/** CRC-32 of each object of `objectBytes` in a corpus. */
export function checksums(path, size, objectBytes) {
  const fd = openSync(path);
  const object = new Uint8Array(objectBytes);
  const sums = new Uint32Array(size / objectBytes);
  for (let i = 0; i < sums.length; i++) {
    readSync(fd, object, 0, objectBytes, i * objectBytes);
    sums[i] = crc32(object);
  }
  closeSync(fd);
  return sums;
}
