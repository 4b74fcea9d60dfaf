/**
 * LZ4 by itself, in a plain loop over objects: our codec, and a package. What is compressed is kept, that of a batch
 * in the place of what was kept of it before, and what is decompressed goes to memory as large as ours.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compress, decompress } from "lz4-wasm-nodejs";

/** Where blocks lie in the codec's memory: assembly/codec/index.ts. */
export const CODEC_RAW = 65536;
export const CODEC_PACKED = 196608;

/** The codec of the package, without the device around it. */
export function loadCodec() {
  const file = createRequire(import.meta.url).resolve("ttm-wasm/codec.wasm");
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)));
  return { ...exports, bytes: new Uint8Array(exports.memory.buffer) };
}

/** `objectBytes`: at most a block of the codec. */
export function bareCodec({ objectBytes, budget }) {
  const codec = loadCodec();
  const { bytes } = codec;
  const target = new Uint8Array(budget);
  const kept = [];
  return {
    name: "codec",
    compress(first, from) {
      for (let at = 0; at < from.length; at += objectBytes) {
        bytes.set(from.subarray(at, at + objectBytes), CODEC_RAW);
        const size = codec.compress(0, objectBytes, (objectBytes / 4) * 3);
        const start = size > 0 ? CODEC_PACKED : CODEC_RAW;
        kept[first++] = bytes.slice(start, start + (size || objectBytes));
      }
    },
    decompress(first, objects) {
      for (let i = first; i < first + objects; i++) {
        const block = kept[i];
        const to = (i * objectBytes) % budget;
        if (block.length === objectBytes) {
          target.set(block, to);
          continue;
        }
        bytes.set(block, CODEC_PACKED);
        if (codec.decompress(block.length, objectBytes, 1) !== 0) throw new Error("damaged");
        target.set(bytes.subarray(CODEC_RAW, CODEC_RAW + objectBytes), to);
      }
    },
  };
}

export function bareLz4({ objectBytes, budget }) {
  const target = new Uint8Array(budget);
  const kept = [];
  return {
    name: "lz4-wasm",
    compress(first, from) {
      for (let at = 0; at < from.length; at += objectBytes) {
        kept[first++] = compress(from.subarray(at, at + objectBytes));
      }
    },
    decompress(first, objects) {
      for (let i = first; i < first + objects; i++) {
        target.set(decompress(kept[i]), (i * objectBytes) % budget);
      }
    },
  };
}
