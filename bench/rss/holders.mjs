/*
 * Who holds the blocks: each is filled, gives its memory up to a file, gives what is free back if it can, and reads
 * everything again. By hand that is one file, and blocks that are dropped.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { createDevice } from "../../dist/index.js";
import { fileSwap } from "../../dist/swap/file.js";

const MIB = 2 ** 20;

/** The library: buffers of 1 MiB, as much memory as they need, and swap of twice that. */
async function ttm({ blocks, means }) {
  const memory = blocks * MIB;
  const device = await createDevice({ memory, swap: fileSwap({ size: 2 * memory }) });
  const buffers = Array.from({ length: blocks }, () => device.createBuffer(MIB));
  const given = { means, by: undefined, declined: [], ms: 0, bytes: 0 };
  return {
    given,
    metadata: device.rss().metadata,
    put: (i, bytes) => buffers[i].write(0, bytes),
    get: (i, bytes) => buffers[i].read(0, bytes),
    shrink: () => device.shrink(),
    async trim() {
      const start = performance.now();
      const trimmed = await device.trim(means && { means });
      Object.assign(given, trimmed, { ms: performance.now() - start });
    },
    pin: (i) => buffers[i].pin(),
    live: () => device.rss().live,
    end: () => device.close({ force: true }),
  };
}

function byHand({ blocks }, put, get, clear) {
  const path = join(tmpdir(), `rss-${process.pid}`);
  const fd = openSync(path, "w+");
  unlinkSync(path);
  const kept = new Set();
  return {
    given: undefined,
    metadata: 0,
    put: async (i, bytes) => put(i, bytes.slice()),
    async get(i, bytes) {
      let block = get(i);
      if (!block) {
        block = new Uint8Array(MIB);
        readSync(fd, block, 0, MIB, i * MIB);
        put(i, block);
      }
      bytes.set(block);
      return bytes;
    },
    async shrink() {
      for (let i = 0; i < blocks; i++) {
        const block = get(i);
        if (block) writeSync(fd, block, 0, MIB, i * MIB);
      }
      clear();
      kept.clear();
    },
    trim: async () => {},
    live: () => 0,
    end: async () => closeSync(fd),
  };
}

async function map(options) {
  const blocks = new Map();
  return byHand(
    options,
    (i, block) => blocks.set(i, block),
    (i) => blocks.get(i),
    () => blocks.clear(),
  );
}

async function lru(options) {
  const cache = new LRUCache({ max: options.blocks });
  return byHand(
    options,
    (i, block) => cache.set(i, block),
    (i) => cache.get(i),
    () => cache.clear(),
  );
}

export const HOLDERS = { ttm, map, lru };
