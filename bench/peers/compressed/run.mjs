/**
 * Compressed swap beside LZ4 by itself: `node run.mjs [--size 1GiB] [--budget 128MiB] [--objects 64KiB] [--rounds 3]
 * [--only ratios,formats,speed,memory] [--json FILE]`, after `npm run setup` in the project's root and `npm ci` beside
 * package.json. Beside lru-cache with LZ4 in every phase: `node ../run.mjs --peers ttm-compressed,lru-lz4`.
 */
import { execFile } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

import { writeCorpus } from "../corpus.mjs";
import { installLibrary } from "../install.mjs";
import { median } from "../report.mjs";
import { bytesOf, MIB } from "../sizes.mjs";

const { values: args } = parseArgs({
  options: {
    size: { type: "string", default: "1GiB" },
    budget: { type: "string" },
    objects: { type: "string", default: "64KiB" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "ratios,formats,speed,memory" },
    json: { type: "string" },
  },
});

async function measure(job) {
  const file = fileURLToPath(new URL("measure.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [file, JSON.stringify(job)]);
  return JSON.parse(stdout);
}

/** Pieces of the corpus, spread over it. */
function* samples(corpus, size, bytes) {
  const fd = openSync(corpus);
  const piece = new Uint8Array(MIB);
  const step = Math.max(Math.floor(size / bytes), 1) * MIB;
  for (let at = 0; at < size; at += step) {
    readSync(fd, piece, 0, MIB, at);
    yield piece;
  }
  closeSync(fd);
}

/** What blocks of each size come to: why a block is as large as it is. */
async function ratios(corpus, size) {
  const { CODEC_PACKED, CODEC_RAW, loadCodec } = await import("./bare.mjs");
  const codec = loadCodec();
  const rows = [];
  for (const block of [4096, 8192, 16384, 32768, 65536]) {
    let [raw, packed, outMs, inMs] = [0, 0, 0, 0];
    for (const piece of samples(corpus, size, 128 * MIB)) {
      for (let at = 0; at < piece.length; at += block) {
        codec.bytes.set(piece.subarray(at, at + block), CODEC_RAW);
        const start = performance.now();
        const bytes = codec.compress(0, block, (block / 4) * 3);
        const middle = performance.now();
        outMs += middle - start;
        raw += block;
        packed += bytes || block;
        if (bytes === 0) continue;
        codec.bytes.fill(0, CODEC_PACKED + bytes, CODEC_PACKED + bytes + 16);
        const again = performance.now();
        codec.decompress(bytes, block, 1);
        inMs += performance.now() - again;
      }
    }
    const mbps = (ms) => Math.round(raw / ms / 1000);
    rows.push({ block, ratio: raw / packed, compress: mbps(outMs), decompress: mbps(inMs) });
  }
  return rows;
}

/** Our blocks, decompressed by the package, and its blocks by us. */
async function formats(corpus, size) {
  const { CODEC_PACKED, CODEC_RAW, loadCodec } = await import("./bare.mjs");
  const { compress, decompress } = await import("lz4-wasm-nodejs");
  const codec = loadCodec();
  let blocks = 0;
  for (const piece of samples(corpus, size, 64 * MIB)) {
    for (const length of [4096, 65536]) {
      for (let at = 0; at < piece.length; at += length) {
        const bytes = piece.subarray(at, at + length);
        const same = (other, who) => {
          if (Buffer.compare(other, bytes) === 0) return;
          throw new Error(`${who} cannot read a block of ${length} bytes of the other`);
        };
        codec.bytes.set(bytes, CODEC_RAW);
        const ours = codec.compress(0, length, 65536);
        if (ours > 0) {
          // Its blocks have their length in front.
          const framed = new Uint8Array(4 + ours);
          new DataView(framed.buffer).setUint32(0, length, true);
          framed.set(codec.bytes.subarray(CODEC_PACKED, CODEC_PACKED + ours), 4);
          same(decompress(framed), "lz4-wasm-nodejs");
        }
        const theirs = compress(bytes).subarray(4);
        if (theirs.length > 65536) continue;
        codec.bytes.set(theirs, CODEC_PACKED);
        if (codec.decompress(theirs.length, length, 1) !== 0) same([], "the codec");
        same(codec.bytes.subarray(CODEC_RAW, CODEC_RAW + length), "the codec");
        blocks++;
      }
    }
  }
  return { blocks };
}

/** Median over batches of how many times as fast as the bare ones ours was, in each phase. */
function speedsOf(phases, batch) {
  return Object.entries(phases).map(([phase, ms]) => {
    const { ours, ...bares } = ms;
    const mbps = (times) => Math.round(batch / median(times) / 1000);
    const against = Object.entries(bares).map(([name, times]) => {
      const ratio = median(times.map((time, i) => time / ours[i]));
      return [name, { mbps: mbps(times), ratio }];
    });
    return { phase, mbps: mbps(ours), ...Object.fromEntries(against) };
  });
}

async function measureAll(corpus) {
  const size = bytesOf(args.size);
  const budget = args.budget ? bytesOf(args.budget) : size / 8;
  const objectBytes = bytesOf(args.objects);
  const only = args.only.split(",");
  const job = { corpus, size, budget, objectBytes, checksums: true };
  const results = {};
  if (only.includes("ratios")) results.ratios = await ratios(corpus, size);
  if (only.includes("formats")) results.formats = await formats(corpus, size);
  if (only.includes("speed")) {
    results.speed = [];
    for (let round = 0; round < Number(args.rounds); round++) {
      for (const checksums of [true, false]) {
        const phases = await measure({ ...job, checksums, mode: "speed" });
        results.speed.push({ checksums, phases: speedsOf(phases, 16 * MIB) });
      }
    }
  }
  if (only.includes("memory"))
    results.memory = { budget, ...(await measure({ ...job, mode: "memory" })) };
  return results;
}

function memoryText({ budget, full, shrunk, half, after, trimmed, trimMs }) {
  const mib = (bytes) => `${Math.round(bytes / MIB)} MiB`;
  const held = budget + full.storedBytes;
  const used = shrunk.storedBytes - after.storedBytes;
  return [
    `resident ${mib(full.rss)} over idle: ${((full.rss - 48 * MIB) / held).toFixed(3)} times memory and ` +
      `compressed bytes (${mib(held)}), without 48 MiB; ratio ${full.ratio.toFixed(2)}, storage ${mib(full.storageBytes)}`,
    `half destroyed: ${mib(shrunk.rss - half.rss)} less at once, ${mib(shrunk.rss - after.rss)} after trim ` +
      `(${mib(trimmed)} in ${Math.round(trimMs)} ms): ${((shrunk.rss - after.rss) / used).toFixed(3)} of ${mib(used)} that they used`,
  ].join("\n");
}

installLibrary();
const dir = mkdtempSync(join(tmpdir(), "ttm-compressed-"));
try {
  const corpus = join(dir, "corpus");
  writeCorpus(corpus, bytesOf(args.size));
  const results = await measureAll(corpus);
  for (const row of results.ratios ?? []) console.log(JSON.stringify(row));
  if (results.formats) console.log(`${results.formats.blocks} blocks read by the other each`);
  for (const { checksums, phases } of results.speed ?? []) {
    for (const row of phases) console.log(checksums ? "sums" : "none", JSON.stringify(row));
  }
  if (results.memory) console.log(memoryText(results.memory));
  if (args.json) writeFileSync(args.json, `${JSON.stringify(results, null, 1)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
