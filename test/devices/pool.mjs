/* What every swap device has to do, through a pool and without one, by the language alone. */
import { createDevice, PAGE_SIZE } from "ttm-wasm";
import { equal, pattern, same } from "../runtimes/check.mjs";

const OPERATIONS = 1000;

/** A small generator of repeatable random numbers (mulberry32): whole ones from 0 up to, not including, `limit`. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

async function seeded(run) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  try {
    await run(randomOf(seed));
  } catch (error) {
    throw new Error(`with seed ${seed}: ${error?.stack ?? error}`);
  }
}

/** Buffers of a pool that is far too small for them, against arrays. */
export async function poolModel(swap, sync) {
  const device = await createDevice({ memory: "1 MiB", swap });
  const model = seeded(async (random) => {
    const buffers = [];
    const call = (object, name, ...args) =>
      sync && random(2) === 0 ? object[`${name}Sync`](...args) : object[name](...args);
    for (let i = 0; i < OPERATIONS; i++) {
      const at = random(buffers.length + 1);
      const entry = buffers[at];
      if (entry === undefined) {
        if (buffers.length >= 24) continue;
        const bytes = new Uint8Array(random(300_000) + 1);
        buffers.push({ buffer: device.createBuffer(bytes.length), bytes });
        continue;
      }
      const { buffer, bytes } = entry;
      const from = random(bytes.length);
      const length = random(Math.min(bytes.length - from, 100_000) + 1);
      const action = random(20);
      if (action < 9) {
        const source = pattern(i, length);
        bytes.set(source, from);
        await call(buffer, "write", from, source);
      } else if (action < 17) {
        const target = await call(buffer, "read", from, new Uint8Array(length));
        same(target, bytes.subarray(from, from + length), `operation ${i}`);
      } else if (action < 19) await call(random(2) === 0 ? device : buffer, "shrink");
      else {
        buffer.destroy();
        buffers.splice(at, 1);
      }
    }
    for (const { buffer, bytes } of buffers) {
      same(await buffer.read(0, new Uint8Array(bytes.length)), bytes, "in the end");
    }
    device.check();
  });
  await model.finally(() => device.close({ force: true }));
}

/** Runs of pages written, read in other runs, and discarded, as a pool never would, against a map. */
export async function deviceModel(swap) {
  const { slots } = swap;
  const sync = swap.readSync !== undefined;
  const read = (runs) => (sync ? swap.readSync(runs) : swap.read(runs));
  const write = (runs) => (sync ? swap.writeSync(runs) : swap.write(runs));
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 64 }).buffer);
  const pages = new Map();
  await swap.open?.();
  await seeded(async (random) => {
    /** Views of so many pages, somewhere in one large memory, in pieces. */
    const viewsOf = (count, starts) => {
      const views = [];
      while (count > 0) {
        const n = Math.min(count, random(4) === 0 ? count : random(8) + 1);
        const at = starts.next * PAGE_SIZE;
        views.push(memory.subarray(at, at + n * PAGE_SIZE));
        starts.next += n;
        count -= n;
      }
      return views;
    };
    /** Runs that do not overlap, in any order, of slots that `fits` allows. */
    const runsOf = (fits) => {
      const starts = { next: random(700) };
      const taken = new Set();
      const runs = [];
      let left = 256;
      for (let i = random(4); i >= 0; i--) {
        const first = random(slots) + 1;
        const most = Math.min(left, [1, 16, 64, 256][random(4)], slots - first + 1);
        let count = 0;
        while (count < most && fits(first + count) && !taken.has(first + count)) {
          taken.add(first + count++);
        }
        if (count === 0) continue;
        left -= count;
        runs.push({ slot: first, views: viewsOf(count, starts) });
        if (left === 0) break;
      }
      return runs;
    };
    const each = (runs, work) => {
      for (const { slot: first, views } of runs) {
        let slot = first;
        for (const view of views) {
          for (let at = 0; at < view.length; at += PAGE_SIZE) {
            work(slot++, view.subarray(at, at + PAGE_SIZE));
          }
        }
      }
    };
    for (let i = 0; i < OPERATIONS; i++) {
      const action = random(10);
      if (action < 5) {
        const runs = runsOf(() => true);
        if (runs.length === 0) continue;
        each(runs, (slot, page) => {
          new Uint32Array(page.buffer, page.byteOffset, 1024).fill(slot * 1009 + i);
        });
        each(runs, (slot, page) => pages.set(slot, page[1] + (page[2] << 8) + (page[0] << 16)));
        equal(await write(runs), undefined, "what a write returns");
      } else if (action < 9) {
        const runs = runsOf((slot) => pages.has(slot));
        if (runs.length === 0) continue;
        each(runs, (_, page) => page.fill(0xee));
        await read(runs);
        each(runs, (slot, page) => {
          const words = new Uint32Array(page.buffer, page.byteOffset, 1024);
          const is = page[1] + (page[2] << 8) + (page[0] << 16);
          equal(is, pages.get(slot), `operation ${i}: slot ${slot}`);
          if (words.some((word) => word !== words[0])) throw new Error(`slot ${slot} is torn`);
        });
      } else {
        const first = random(slots) + 1;
        const count = Math.min(random(400) + 1, slots - first + 1);
        for (let slot = first; slot < first + count; slot++) pages.delete(slot);
        const end = Math.max(0, ...pages.keys());
        await swap.discard?.([{ slot: first, pages: count }], end);
      }
    }
  });
  await swap.close?.();
}
