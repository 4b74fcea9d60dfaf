/*
 * What is measured, on any host: objects are written until all are there, far more than fit the memory, and
 * read back in the same order, which is the worst one for a cache that drops what was used least recently.
 */

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Objects of 1 MiB and of 64 KiB, one at a time and eight. */
const CASES = [MIB, 64 * KIB].flatMap((object) =>
  [1, 8].map((depth) => ({ object, depth, name: `${object / KIB} KiB, ${depth} at once` })),
);

/** Calls `work` with 0 to `count` - 1, so many at once. */
async function each(count, depth, work) {
  let next = 0;
  const run = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: depth }, run));
}

function stamp(bytes, i) {
  new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] = i + 1;
  bytes[bytes.length - 1] = i & 0xff;
}

function check(bytes, i) {
  // Clients give bytes back at any offset.
  const first = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (first === i + 1 && bytes[bytes.length - 1] === (i & 0xff)) return;
  throw new Error(`object ${i} does not come back as it was`);
}

/**
 * One contender once: makes it, fills it, reads it, closes it.
 *
 * @param open (objects, bytes of one) => { write(i, bytes), read(i, target), close() }; `read` returns the bytes,
 *   in `target` or elsewhere
 */
async function once(open, { object, depth }, size, clock) {
  const count = size / object;
  const store = await open(count, object);
  const sources = Array.from({ length: depth }, () => new Uint8Array(object).fill(7));
  const targets = Array.from({ length: depth }, () => new Uint8Array(object));
  const timed = async (work) => {
    const start = await clock();
    await each(count, depth, work);
    await store.settle?.();
    return size / MIB / (((await clock()) - start) / 1000);
  };
  const populate = await timed(async (i) => {
    const source = sources.pop();
    stamp(source, i);
    await store.write(i, source);
    sources.push(source);
  });
  const read = await timed(async (i) => {
    const target = targets.pop();
    check(await store.read(i, target), i);
    targets.push(target);
  });
  await store.close();
  return { populate, read };
}

/**
 * Rounds of ours and of what somebody writes by hand, in turns.
 *
 * @param options `ours`, `peer`: as `open` above; `size`: bytes of all objects; `rounds`; `clock`: gives ms;
 *   `cases`: { object, depth, name }
 * @returns MiB/s of every round: [{ case, ours: [], peer: [] }]
 */
export async function measure({
  ours,
  peer,
  size,
  rounds,
  clock = () => performance.now(),
  cases = CASES,
}) {
  const rows = [];
  for (const one of cases) {
    const samples = { populate: { ours: [], peer: [] }, read: { ours: [], peer: [] } };
    // The first one warms up.
    for (let round = -1; round < rounds; round++) {
      const turns = [
        ["ours", ours],
        ["peer", peer],
      ];
      for (const [who, open] of round % 2 === 0 ? turns : turns.reverse()) {
        const found = await once(open, one, size, clock);
        if (round < 0) continue;
        for (const phase of ["populate", "read"]) samples[phase][who].push(found[phase]);
      }
    }
    for (const phase of ["populate", "read"]) {
      rows.push({ case: `${phase}, ${one.name}`, ...samples[phase] });
    }
  }
  return rows;
}

/** What one writes with this package: a pool on a swap device, a buffer for each object. */
export function pooled(createDevice, memory, makeSwap, settle) {
  return async (count, object) => {
    const device = await createDevice({ memory, swap: await makeSwap(count * object) });
    const buffers = Array.from({ length: count }, () => device.createBuffer(object));
    return {
      write: (i, bytes) => buffers[i].write(0, bytes),
      read: (i, target) => buffers[i].read(0, target),
      settle,
      close: () => device.close({ force: true }),
    };
  };
}

/** The same with one buffer for all, which is larger than the memory: the objects are parts of it. */
export function pooledInOne(createDevice, memory, makeSwap, settle) {
  return async (count, object) => {
    const device = await createDevice({ memory, swap: await makeSwap(count * object) });
    const buffer = device.createBuffer(count * object);
    return {
      write: (i, bytes) => buffer.write(i * object, bytes),
      read: (i, target) => buffer.read(i * object, target),
      settle,
      close: () => device.close({ force: true }),
    };
  };
}

/**
 * What one writes by hand on a store that answers at once: a cache of as many bytes, which spills what it drops
 * unless the store has it already.
 *
 * @param open (objects, bytes of one) => { set(i, bytes), get(i), close() }
 */
export function spillingNow(LRUCache, memory, open, settle) {
  return async (count, object) => {
    const store = await open(count, object);
    const dirty = new Set();
    const cache = new LRUCache({
      maxSize: memory,
      sizeCalculation: (bytes) => bytes.length,
      dispose(bytes, i, reason) {
        if (reason === "evict" && dirty.delete(i)) store.set(i, bytes);
      },
    });
    return {
      write(i, bytes) {
        dirty.add(i);
        cache.set(i, bytes.slice());
      },
      read(i) {
        const cached = cache.get(i);
        if (cached) return cached;
        const bytes = store.get(i);
        cache.set(i, bytes);
        return bytes;
      },
      settle,
      close: () => store.close(),
    };
  };
}

/** The same on a store whose calls return promises: what is on its way out is kept until it is there. */
export function spillingLater(LRUCache, memory, open, settle) {
  return async (count, object) => {
    const store = await open(count, object);
    const dirty = new Set();
    const leaving = new Map();
    const cache = new LRUCache({
      maxSize: memory,
      sizeCalculation: (bytes) => bytes.length,
      dispose(bytes, i, reason) {
        if (reason !== "evict" || !dirty.delete(i)) return;
        const left = store.set(i, bytes).finally(() => leaving.delete(i));
        leaving.set(i, { bytes, left });
      },
    });
    /** No more of them than the memory allows: an eighth of it. */
    const room = async () => {
      while (leaving.size * object > memory / 8) {
        const [oldest] = leaving.values();
        await oldest.left;
      }
    };
    return {
      async write(i, bytes) {
        dirty.add(i);
        cache.set(i, bytes.slice());
        await room();
      },
      async read(i) {
        const cached = cache.get(i) ?? leaving.get(i)?.bytes;
        if (cached) return cached;
        const bytes = await store.get(i);
        cache.set(i, bytes);
        await room();
        return bytes;
      },
      settle,
      async close() {
        await Promise.all([...leaving.values()].map(({ left }) => left));
        await store.close();
      },
    };
  };
}
