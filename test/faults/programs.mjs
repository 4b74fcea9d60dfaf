/*
 * Users of the built package, each in a process of its own that something happens to. `node programs.mjs NAME
 * OPTIONS`: what they have to say is a line of JSON each.
 */
import { closeSync, existsSync, openSync, readdirSync, rmSync } from "node:fs";
import process from "node:process";
import { createDevice, createDeviceSync, ramSwap } from "../../dist/index.js";
import { fileSwap } from "../../dist/swap/file.js";

const [name = "", given = "{}"] = process.argv.slice(2);
const options = JSON.parse(given);

const say = (/** @type {object} */ what) => process.stdout.write(`${JSON.stringify(what)}\n`);
/** @type {(error: any) => object} */
const told = ({ name, code, message }) => ({ name, code, message });

const PAGE = 4096;

/** Bytes no two pages of which are alike. @type {(seed: number, length: number) => Uint8Array} */
function pattern(seed, length) {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1 ^ seed);
  return new Uint8Array(words.buffer, 0, length);
}

/** @type {(bytes: Uint8Array, seed: number) => boolean} */
const same = (bytes, seed) => Buffer.compare(bytes, pattern(seed, bytes.length)) === 0;

/** A device of 1 MiB with buffers of 128 KiB in it, more than fit. @type {(swap: any, count?: number) => any} */
function filled(swap, count = 16) {
  const device = createDeviceSync({ memory: "1 MiB", swap });
  const buffers = Array.from({ length: count }, () => device.createBuffer(32 * PAGE));
  for (const [i, buffer] of buffers.entries()) buffer.writeSync(0, pattern(i, buffer.size));
  return { device, buffers };
}

/** How many buffers have their bytes. @type {(buffers: any[]) => number} */
const intact = (buffers) =>
  buffers.filter((buffer, i) => same(buffer.readSync(0, new Uint8Array(buffer.size)), i)).length;

/** Files that this process has open. */
const openFiles = () => (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0);

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** @type {Record<string, () => void | Promise<void>>} */
const programs = {
  /** Reads, writes and shrinks, sync and async, until it is killed. */
  async load() {
    const { device, buffers } = filled(fileSwap({ size: "16 MiB", ...options }));
    say({ at: "work" });
    for (let i = 0; ; i++) {
      const buffer = buffers[(i * 7) % buffers.length];
      await Promise.all([
        buffer.write(i % 900, pattern(i, 5000)),
        device.shrink({ pages: 40 }),
        buffers[i % 5].read(0, new Uint8Array(9000)),
      ]);
      buffers[i % 3].readSync(5000, new Uint8Array(90_000));
    }
  },

  /** Writes to a file that may not be as large as it would have to be. */
  limit() {
    process.on("SIGXFSZ", () => {});
    const { device, buffers } = filled(fileSwap({ size: "64 MiB", ...options }), 8);
    /** @type {any} */
    let error;
    try {
      for (let i = 8; i < 200; i++) {
        const more = device.createBuffer(32 * PAGE);
        buffers.push(more);
        more.writeSync(0, pattern(i, more.size));
      }
    } catch (thrown) {
      error = thrown;
    }
    buffers.pop()?.destroy(); // that of which nothing was written
    device.check();
    say({ error: told(error), buffers: buffers.length, intact: intact(buffers) });
    device.closeSync({ force: true });
  },

  /** The folder of its swap file goes away. */
  folder() {
    const { folder: directory } = options;
    const { device, buffers } = filled(fileSwap({ size: "16 MiB", directory }));
    device.shrinkSync();
    rmSync(directory, { recursive: true });
    const kept = intact(buffers);
    for (const [i, buffer] of buffers.entries()) buffer.writeSync(0, pattern(i, buffer.size));
    device.shrinkSync();
    /** @type {any} */
    let error;
    try {
      filled(fileSwap({ size: "16 MiB", directory }));
    } catch (thrown) {
      error = thrown;
    }
    say({ error: told(error), kept, intact: intact(buffers), buffers: buffers.length });
    device.closeSync({ force: true });
  },

  /** Opens swap files until there are no descriptors left. */
  descriptors() {
    const opened = [];
    /** @type {any} */
    let error;
    // A few are set aside, as the host loads modules of its own when it needs them.
    const spare = Array.from({ length: 4 }, () => openSync("/dev/null", "r"));
    try {
      while (opened.length < 500) {
        opened.push(createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB" }) }));
      }
    } catch (thrown) {
      error = thrown;
    }
    const all = opened.map((device, i) => {
      const buffer = device.createBuffer(40 * PAGE);
      buffer.writeSync(0, pattern(i, buffer.size));
      return buffer;
    });
    const kept = intact(all);
    opened.pop()?.closeSync({ force: true });
    const again = createDeviceSync({ memory: "64 KiB", swap: fileSwap({ size: "1 MiB" }) });
    again.closeSync();
    for (const device of opened) device.closeSync({ force: true });
    for (const fd of spare) closeSync(fd);
    say({ error: told(error), devices: all.length, intact: kept });
  },

  /** Makes devices and closes them, and tells what the process has of them after a tenth, and at the end. */
  async many() {
    const signal = new AbortController().signal;
    const has = () => ({
      files: openFiles(),
      rss: process.memoryUsage().rss,
      listeners: process.eventNames().reduce((sum, each) => sum + process.listenerCount(each), 0),
    });
    const before = has();
    /** @type {any} */
    let tenth;
    for (let i = 1; i <= options.devices; i++) {
      const file = i % 4 === 0;
      const swap = file ? fileSwap({ size: "1 MiB" }) : ramSwap();
      const device = await createDevice({ memory: "64 KiB", swap });
      const buffer = device.createBuffer(20 * PAGE);
      await buffer.write(0, pattern(i, buffer.size), { signal });
      if (!same(await buffer.read(0, new Uint8Array(buffer.size), { signal }), i))
        throw new Error();
      await device.close({ force: true });
      if (i % 50 === 0) await turn();
      if (i * 10 === options.devices) tenth = has();
    }
    await turn();
    say({ before, tenth, end: has() });
  },

  /** Makes devices until the host has no addresses left for them. */
  addresses() {
    const devices = [];
    /** @type {any} */
    let error;
    try {
      for (let i = 0; i < 64; i++) {
        const made = filled(ramSwap({ size: "4 MiB" }));
        devices.push(made);
      }
    } catch (thrown) {
      error = thrown;
    }
    const kept = devices.filter(({ buffers }) => intact(buffers) === buffers.length).length;
    say({ error: error ? told(error) : null, devices: devices.length, intact: kept });
  },

  /** Threads, each with a pool, that are ended in the middle of their work. */
  async threads() {
    const { Worker } = await import("node:worker_threads");
    const before = openFiles();
    const { device, buffers } = filled(fileSwap({ size: "16 MiB", directory: options.folder }));
    for (let round = 0; round < 3; round++) {
      const workers = Array.from({ length: 3 }, () => {
        return new Worker(new URL("thread.mjs", import.meta.url), { workerData: options.folder });
      });
      await Promise.all(
        workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))),
      );
      device.shrinkSync();
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    const kept = intact(buffers);
    device.closeSync({ force: true });
    await turn();
    say({
      intact: kept,
      buffers: buffers.length,
      files: openFiles() - before,
      left: readdirSync(options.folder),
    });
  },
};

await programs[name]?.();
