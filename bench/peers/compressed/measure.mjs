/**
 * One run in a process of its own: `speed`, shrink and restore beside bare LZ4 of the same bytes, batch by batch,
 * in turns; or `memory`, what of it stays resident. Prints a line of JSON.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createDeviceSync } from "ttm-wasm";
import { compressedSwap } from "ttm-wasm/swap/compressed";
import { bareCodec, bareLz4 } from "./bare.mjs";

const job = JSON.parse(process.argv[2]);
const { corpus, size, budget, objectBytes, checksums } = job;
const BATCH = 16 * 1024 * 1024;
const PER_BATCH = BATCH / objectBytes;
const objects = size / objectBytes;

/** Processor time (ms): the clock would count what other processes do. */
function clock() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function timed(work) {
  const start = clock();
  work();
  return clock() - start;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

async function rss() {
  for (let i = 0; i < 3; i++) {
    collect();
    await sleep(50);
  }
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
}

function* batches(bytes) {
  const fd = openSync(corpus);
  for (let at = 0; at < size; at += BATCH) {
    readSync(fd, bytes, 0, BATCH, at);
    yield at / objectBytes;
  }
  closeSync(fd);
}

function open() {
  const swap = compressedSwap({ size });
  const device = createDeviceSync({ memory: budget, swap, checksums });
  const buffers = Array.from({ length: objects }, () => device.createBuffer(objectBytes));
  return { swap, device, buffers };
}

/** Writes a batch, and lets all of it leave; then the bare codecs take the same. In turns, who is first. */
function shrinkBatch({ device, buffers }, bares, bytes, first, ms) {
  for (let i = 0; i < PER_BATCH; i++) {
    const from = i * objectBytes;
    buffers[first + i].writeSync(0, bytes.subarray(from, from + objectBytes));
  }
  const turns = [
    ["ours", () => device.shrinkSync()],
    ...bares.map((bare) => [bare.name, () => bare.compress(first, bytes)]),
  ];
  if ((first / PER_BATCH) % 2) turns.reverse();
  for (const [name, work] of turns) ms[name].push(timed(work));
}

function restoreBatch({ buffers }, bares, first, ms) {
  const turns = [
    [
      "ours",
      () => {
        for (let i = first; i < first + PER_BATCH; i++) buffers[i].populateSync();
      },
    ],
    ...bares.map((bare) => [bare.name, () => bare.decompress(first, PER_BATCH)]),
  ];
  if ((first / PER_BATCH) % 2) turns.reverse();
  for (const [name, work] of turns) ms[name].push(timed(work));
}

function speed() {
  const ours = open();
  const bytes = new Uint8Array(BATCH);
  const bares = [bareCodec(job), bareLz4(job)];
  const names = ["ours", ...bares.map(({ name }) => name)];
  const empty = () => Object.fromEntries(names.map((name) => [name, []]));
  const [shrink, again, restore, warm] = [empty(), empty(), empty(), empty()];
  for (const first of batches(bytes)) shrinkBatch(ours, bares, bytes, first, shrink);
  // In other memory than before: written once more, everything leaves into memory that was used.
  for (const first of batches(bytes)) shrinkBatch(ours, bares, bytes, first, again);
  for (const ms of [restore, warm]) {
    for (let first = 0; first < objects; first += PER_BATCH) restoreBatch(ours, bares, first, ms);
  }
  return { shrink, again, restore, warm };
}

async function memory() {
  const bytes = new Uint8Array(BATCH).fill(1);
  const before = await rss();
  const { swap, device, buffers } = open();
  for (const first of batches(bytes)) {
    for (let i = 0; i < PER_BATCH; i++) {
      const from = i * objectBytes;
      buffers[first + i].writeSync(0, bytes.subarray(from, from + objectBytes));
    }
  }
  const full = { rss: (await rss()) - before, ...swap.stats() };
  device.shrinkSync();
  const shrunk = { rss: await rss(), ...swap.stats() };
  for (let i = 0; i < objects; i += 2) buffers[i].destroy();
  const half = { rss: await rss(), ...swap.stats() };
  const start = clock();
  const trimmed = swap.trim();
  const trimMs = clock() - start;
  const after = { rss: await rss(), ...swap.stats() };
  return { full, shrunk, half, trimmed, trimMs, after };
}

console.log(JSON.stringify(job.mode === "speed" ? speed() : await memory()));
