/**
 * One run of one peer, in a process of its own: populates all objects, reads a zipf trace of them, then
 * reads all in order. The clock runs only while the peer works, or the reader of its bytes: a CRC-32 over
 * all of them. Every object is compared with what was put. Prints one line of JSON.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import process from "node:process";
import { crc32 } from "node:zlib";
import { zipf } from "./trace.mjs";

const job = JSON.parse(process.argv[2]);
const { corpus, objects, objectBytes, accesses } = job;
const sums = new Uint32Array(Uint8Array.from(readFileSync(job.sums)).buffer);
const trace = zipf(objects, accesses);
const { open, keeps = false } = await import(job.module);

/** Bytes read from the corpus at a time, and populated before the next. */
const BATCH_BYTES = Math.max(16 * 1024 * 1024, objectBytes);

/** Most memory this process ever had resident, and what of the present is anonymous (bytes). */
function memory() {
  let status = "";
  try {
    status = readFileSync("/proc/self/status", "utf8");
  } catch {
    return { peak: process.resourceUsage().maxRSS * 1024, anonymous: 0 };
  }
  const field = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  return { peak: field("VmHWM"), anonymous: field("RssAnon") };
}

/** CPU time of this process so far, its threads included (microseconds). */
function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Throughput, latencies and CPU time per operation. `ms`: of each operation; `totalMs`: of the phase. */
function summary(ms, totalMs, cpuUs) {
  const sorted = ms.slice().sort();
  const us = (p) => sorted[Math.min(ms.length - 1, Math.floor((ms.length * p) / 100))] * 1000;
  return {
    mbps: (ms.length * objectBytes) / totalMs / 1000,
    p50us: us(50),
    p99us: us(99),
    p999us: us(99.9),
    cpuUs: cpuUs / ms.length,
  };
}

async function populate(peer) {
  const fd = openSync(corpus);
  const ms = new Float64Array(objects);
  let totalMs = 0;
  let cpuUs = 0;
  const most = Math.min(objects, Math.floor(BATCH_BYTES / objectBytes));
  const sources = Array.from({ length: most }, () => Buffer.alloc(objectBytes));
  for (let first = 0; first < objects; first += most) {
    const batch = Math.min(most, objects - first);
    for (let i = 0; i < batch; i++) {
      // Who keeps what it is given gets new buffers each time; the time to make them is not counted.
      if (keeps) sources[i] = Buffer.allocUnsafeSlow(objectBytes);
      readSync(fd, sources[i], 0, objectBytes, (first + i) * objectBytes);
    }
    const cpuStart = cpu();
    const start = performance.now();
    for (let i = 0; i < batch; i++) {
      const putStart = performance.now();
      const pending = peer.put(first + i, sources[i]);
      if (pending) await pending;
      ms[first + i] = performance.now() - putStart;
    }
    // What it does in the background it must not do while the clock stands still.
    const pending = peer.flush?.();
    if (pending) await pending;
    totalMs += performance.now() - start;
    cpuUs += cpu() - cpuStart;
  }
  closeSync(fd);
  return summary(ms, totalMs, cpuUs);
}

async function read(peer, order) {
  const ms = new Float64Array(order.length);
  let crc = 0;
  const use = (bytes) => {
    crc = crc32(bytes, crc);
  };
  const cpuStart = cpu();
  for (let n = 0; n < order.length; n++) {
    const i = order[n];
    crc = 0;
    const start = performance.now();
    const pending = peer.get(i, use);
    if (pending) await pending;
    ms[n] = performance.now() - start;
    if (crc !== sums[i]) throw new Error(`object ${i} came back with other content`);
  }
  const totalMs = ms.reduce((sum, each) => sum + each, 0);
  return summary(ms, totalMs, cpu() - cpuStart);
}

const peer = await open({ ...job, ...job.options });
const inOrder = Uint32Array.from({ length: objects }, (_, i) => i);
const phases = {
  populate: await populate(peer),
  access: await read(peer, trace),
  restore: await read(peer, inOrder),
};
const { peak, anonymous } = memory();
await peer.close();
console.log(JSON.stringify({ phases, peak, anonymous }));
