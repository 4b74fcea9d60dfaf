/*
 * One holder in a process of its own: idle, fill, shrink, trim, a second of rest, restore; then the same as often as
 * asked for. Prints one line of JSON.
 */
import process from "node:process";
import { HOLDERS } from "./holders.mjs";
import { fill, pause, resident, Samples, same } from "./rss.mjs";

const MIB = 2 ** 20;
const { holder, means, rounds, blocks, pinned } = JSON.parse(process.argv[2]);

const block = new Uint8Array(MIB);
const other = new Uint8Array(MIB);
fill(block, 0);
await pause(300);
// Code that is compiled and heaps that have grown are no buffers: a small round comes first.
await warm();
await pause(300);
const idle = resident();
const samples = new Samples();
await pause(200);
const held = await HOLDERS[holder]({ blocks, means });

async function warm() {
  const small = await HOLDERS[holder]({ blocks: 2, means });
  for (let i = 0; i < 2; i++) await small.put(i, fill(block, i));
  await small.shrink();
  await small.trim();
  for (let i = 0; i < 2; i++) same(await small.get(i, other), block);
  await small.end();
}

/** What stays after a round, and whether every byte came back. */
async function round(first) {
  const phase = (name) => first && samples.phase(name);
  phase("fill");
  for (let i = 0; i < blocks; i++) {
    await held.put(i, fill(block, i));
    if (i % 16 === 0) await pause(0);
  }
  if (first && pinned) for (let i = 0; i < blocks; i += 2) await held.pin(i);
  await pause(first ? 200 : 0);
  const full = resident();
  phase("shrink");
  await held.shrink();
  await pause(first ? 200 : 0);
  phase("trim");
  await held.trim();
  phase("rest");
  await pause(1000);
  const [left, live] = [resident(), held.live()];
  phase("restore");
  let exact = true;
  for (let i = 0; i < blocks; i++) {
    exact &&= same(await held.get(i, other), fill(block, i));
    if (i % 16 === 0) await pause(0);
  }
  if (first) {
    await pause(200);
    samples.phase("end");
  }
  return { full, left, live, exact };
}

const results = [await round(true)];
const list = samples.end();
for (let i = 1; i < rounds; i++) results.push(await round(false));
await held.end();
const runtime = process.versions.bun ? "bun" : process.versions.deno ? "deno" : "node";
const version = process.versions[runtime];
const { given, metadata } = held;
console.log(
  JSON.stringify({
    runtime,
    version,
    holder,
    means,
    pinned,
    idle,
    metadata,
    given,
    results,
    samples: list,
  }),
);
