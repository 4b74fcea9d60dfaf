import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { Random } from "../../src/random.ts";

/** A folder of its own for a test file, gone when all of its tests are. */
export function tempFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "ttm-wasm-test-")));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A file of `size` bytes that do not repeat. */
export function writeNoise(path: string, size: number): string {
  const random = new Random(size);
  const words = Uint32Array.from({ length: Math.ceil(size / 4) }, () => random.next());
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, new Uint8Array(words.buffer, 0, size));
  return path;
}
