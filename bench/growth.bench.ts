/*
 * Growth: does a page cost the same however many there are, and an object?
 *
 * Pages: from 1 k to 512 k (2 GiB) on one device, and 1 M on several, past 4 GiB in all, of objects of 2 MiB
 * in a store outside the memory; a bare copy of as many pages tells how much of a difference is the
 * machine's caches. Objects: of one page, from 10 to 1 M, made, shrunk in bulk, read back one by one.
 * The LRU list by itself: 10 to 1 M members.
 */
import { type BufferObject, createDeviceSync, type Device } from "../src/index.ts";
import { Lru, type LruNode } from "../src/lru.ts";
import {
  type Bench,
  clock,
  GIB,
  KIB,
  MIB,
  main,
  PAGE,
  QUICK,
  randomFrom,
  rounds,
  Samples,
  shuffle,
  sizeName,
} from "./harness.ts";
import { type Micro, micro } from "./micro.ts";
import { WrappingSwap } from "./stores.ts";

/** Larger than the caches, small enough to have one for each device. */
const STORE = 128 * MIB;
const OBJECT = 2 * MIB;

interface Populated {
  readonly device: Device;
  readonly buffers: readonly BufferObject[];
}

function populated(bytes: number, object: number): Populated {
  const swap = new WrappingSwap(bytes / PAGE, STORE);
  const device = createDeviceSync({ memory: bytes, swap, checksums: false, keepClean: false });
  const buffers = Array.from({ length: bytes / object }, () => device.createBuffer(object));
  for (const buffer of buffers) buffer.populateSync();
  return { device, buffers };
}

/** The same bytes moved by Uint8Array.set in pieces of 1 MiB, out and back. */
function bare(bytes: number): { out: () => void; back: () => void } {
  const { buffer } = new WebAssembly.Memory({ initial: bytes / 65536 });
  const memory = new Uint8Array(buffer).fill(1);
  const store = new Uint8Array(new WebAssembly.Memory({ initial: STORE / 65536 }).buffer).fill(1);
  const pieces = Array.from({ length: bytes / MIB }, (_, i) =>
    memory.subarray(i * MIB, (i + 1) * MIB),
  );
  return {
    out: () => {
      pieces.forEach((piece, i) => {
        store.set(piece, (i * MIB) % STORE);
      });
    },
    back: () => {
      pieces.forEach((piece, i) => {
        const at = (i * MIB) % STORE;
        piece.set(store.subarray(at, at + MIB));
      });
    },
  };
}

async function pages(bench: Bench, bytes: number, devices: number): Promise<void> {
  const all = Array.from({ length: devices }, () => populated(bytes, OBJECT));
  const total = devices * bytes;
  const other = devices === 1 ? bare(bytes) : undefined;
  // Small sizes several times, for the clock's sake.
  const times = Math.max(1, (32 * MIB) / total);
  const samples = new Samples();
  const timed = (out: () => void, back: () => void) => {
    let outTime = 0;
    let backTime = 0;
    for (let i = 0; i < times; i++) {
      const start = clock();
      out();
      const middle = clock();
      back();
      outTime += middle - start;
      backTime += clock() - middle;
    }
    return [outTime, backTime] as const;
  };
  const ours = () => {
    const [shrink, restore] = timed(
      () => {
        for (const { device } of all) device.shrinkSync();
      },
      () => {
        for (const { buffers } of all) for (const buffer of buffers) buffer.populateSync();
      },
    );
    return { shrink, restore };
  };
  const theirs = ({ out, back }: ReturnType<typeof bare>) => {
    const [bareOut, bareBack] = timed(out, back);
    return { "bare out": bareOut, "bare back": bareBack };
  };
  const count = rounds(total >= GIB ? 5 : 9);
  await samples.interleave(count, [
    [{ name: "ours", run: ours }],
    ...(other ? [[{ name: "bare", run: () => theirs(other) }]] : []),
  ]);
  const text = devices === 1 ? sizeName(bytes) : `${devices} devices, ${sizeName(total)} in all`;
  const options = { unit: "ns/page", per: (total / PAGE) * times };
  const label = "Uint8Array.set of the same";
  const against = (name: string) => (other ? { against: name, label } : {});
  bench.row(`shrink, ${text}`, samples, "shrink", { ...options, ...against("bare out") });
  bench.row(`restore, ${text}`, samples, "restore", { ...options, ...against("bare back") });
  for (const { device } of all) device.closeSync({ force: true });
}

/** Objects of one page each, all of them in memory or all of them out, 256 MiB of memory at most. */
async function objects(bench: Bench, count: number): Promise<void> {
  const memory = Math.max(64 * KIB, Math.min(count * PAGE, 256 * MIB));
  const turns = count <= 1000 ? Math.ceil(10_000 / count) : 1;
  const byte = Uint8Array.of(1); // a page of zeros would not be written to swap
  const samples = new Samples();
  const swap = new WrappingSwap(Math.max(count, 64), 64 * MIB);
  const device = createDeviceSync({ memory, swap, checksums: false, keepClean: false });
  let buffers: BufferObject[] = [];
  const make = () => {
    for (let i = 0; i < turns; i++) {
      for (const buffer of buffers) buffer.destroy();
      buffers = Array.from({ length: count }, () => device.createBuffer(PAGE));
      for (const buffer of buffers) buffer.writeSync(0, byte);
    }
  };
  const read = () => {
    for (let i = 0; i < turns; i++) {
      device.shrinkSync();
      for (const buffer of buffers) buffer.readSync(0, byte);
    }
  };
  const large = count >= 1e6;
  await samples.interleave(
    rounds(large ? 3 : 9),
    [
      [
        { name: "make", run: make },
        { name: "read", run: read },
      ],
    ],
    large ? 1 : 2,
  );
  const options = { unit: "ns/object", per: count * turns };
  bench.row(`make, write a page and destroy, ${count} objects`, samples, "make", options);
  bench.row(`shrink and read back, ${count} objects`, samples, "read", options);
  device.closeSync({ force: true });
}

class Member implements LruNode {
  readonly pages = 1;
  lruPrev: LruNode | undefined = undefined;
  lruNext: LruNode | undefined = undefined;
  lru: Lru<LruNode> | undefined = undefined;
}

async function lru(bench: Bench): Promise<void> {
  const contenders: Micro[] = [];
  const batch = 64;
  for (const count of QUICK ? [10, 10_000] : [10, 1000, 100_000, 1_000_000]) {
    const list = new Lru<Member>();
    const members = Array.from({ length: count }, () => new Member());
    for (const member of members) list.touch(member);
    const order = shuffle([...members], randomFrom(1));
    let at = 0;
    const next = () => {
      at = at + 1 < count ? at + 1 : 0;
      return order[at] as Member;
    };
    contenders.push({
      name: `touch, ${count} members`,
      run: () => {
        for (let i = 0; i < batch; i++) list.touch(next());
      },
    });
    contenders.push({
      name: `remove and insert, ${count} members`,
      run: () => {
        for (let i = 0; i < batch; i++) {
          const member = next();
          list.remove(member);
          list.touch(member);
        }
      },
    });
    contenders.push({
      name: `walk of 64, ${count} members`,
      run: () => {
        let left = batch;
        for (const _ of list.walk()) if (--left === 0) break;
      },
    });
  }
  const samples = new Samples();
  await micro(samples, rounds(5), contenders);
  for (const { name } of contenders) {
    const smallest = name.replace(/\d+ members/, "10 members");
    const per = name.startsWith("walk")
      ? Math.min(batch, Number.parseInt(name.slice(12), 10))
      : batch;
    const againstPer = name.startsWith("walk") ? 10 : batch;
    const against = name === smallest ? {} : { against: smallest, label: "10 members", againstPer };
    bench.row(`LRU ${name}`, samples, name, { unit: "ns/member", per, ...against });
  }
}

await main("growth", async (bench) => {
  for (const bytes of QUICK ? [4, 64] : [4, 16, 64, 256, 1024, 2048])
    await pages(bench, bytes * MIB, 1);
  if (!QUICK) await pages(bench, 1536 * MIB, 3);
  for (const count of QUICK ? [10, 10_000] : [10, 1000, 100_000, 1_000_000])
    await objects(bench, count);
  await lru(bench);
  if (QUICK) return;
  for (const what of ["shrink", "restore"]) {
    // Past the caches: how much the dearest size costs more than the cheapest.
    const costs = bench.medians(new RegExp(`^${what}, ((64|256) MiB|[12] GiB)$`));
    if (costs.length !== 4) throw new Error(`${costs.length} sizes of ${what} were found`);
    const spread = Math.max(...costs) / Math.min(...costs);
    bench.keep(`${what}: cost of a page from 64 MiB to 2 GiB`, [spread], { atMost: 1.15 });
  }
});
