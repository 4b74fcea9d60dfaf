/*
 * Remote: a store whose calls take 1 ms however large they are, and that likes eight of them in flight, as one at
 * the other end of a connection. Does a pool get out of it what somebody gets who makes the calls by hand?
 *
 * - A buffer of 2 MiB that lies in 512 slots, none beside another: is that one round of calls, or many?
 * - A device that leaves and comes back: as fast as calls of 1 MiB by hand, eight at once?
 * - A hundred readers at once, each of 64 KiB: as fast as an eighth of as many calls, one after the other? Also when
 *   memory is full of what has to leave first, and when it is too small for all of them.
 *
 * By hand means the same store in the same round, with memory that is there already.
 */
import { type BufferObject, createDeviceSync, type Device } from "../src/index.ts";
import { type Bench, KIB, MIB, main, PAGE, QUICK, rounds, Samples, sizeName } from "./harness.ts";
import { RemoteSwap } from "./stores.ts";

const CALL_MS = 1;
const DEPTH = 8;
/** Most pages of a call. */
const CALL_PAGES = MIB / PAGE;

/** Buffers of `bytes` each, written whole; each has bytes of its own. */
async function filled(device: Device, count: number, bytes: number): Promise<BufferObject[]> {
  const buffers: BufferObject[] = [];
  for (let i = 0; i < count; i++) {
    const buffer = device.createBuffer(bytes);
    await buffer.write(0, new Uint8Array(bytes).fill(markOf(i)));
    buffers.push(buffer);
  }
  return buffers;
}

function markOf(index: number): number {
  return 1 + (index % 250);
}

/** @throws Error when a byte of a buffer is not what was written */
async function assertContent(buffers: readonly BufferObject[]): Promise<void> {
  for (const [i, buffer] of buffers.entries()) {
    const bytes = await buffer.read(0, new Uint8Array(buffer.size));
    if (bytes.some((byte) => byte !== markOf(i))) throw new Error("a byte was lost");
  }
}

/** Where calls by hand read and write. */
class ByHand {
  readonly #swap: RemoteSwap;
  readonly #memory: Uint8Array<ArrayBuffer>;

  constructor(swap: RemoteSwap, bytes: number) {
    this.#swap = swap;
    this.#memory = new Uint8Array(bytes).fill(1);
  }

  /** The run of the `index`th piece of so many pages. */
  #run(index: number, pages: number) {
    const from = index * pages * PAGE;
    return { slot: 1 + index * pages, views: [this.#memory.subarray(from, from + pages * PAGE)] };
  }

  /** All of the memory in calls of 1 MiB, as many in flight as the store likes. */
  async all(out: boolean): Promise<void> {
    const count = this.#memory.length / MIB;
    let next = 0;
    const some = async () => {
      for (let i = next++; i < count; i = next++) {
        const runs = [this.#run(i, CALL_PAGES)];
        await (out ? this.#swap.write(runs) : this.#swap.read(runs));
      }
    };
    await Promise.all(Array.from({ length: DEPTH }, some));
  }

  /** Reads of so many pages each, one after the other. */
  async reads(count: number, pages: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#swap.read([this.#run(i, pages)]);
  }

  /** One read of single pages that lie in every other slot. */
  async scattered(pages: number): Promise<void> {
    const runs = Array.from({ length: pages }, (_, i) => ({ ...this.#run(i, 1), slot: 1 + 2 * i }));
    await this.#swap.read(runs);
  }
}

/** One buffer of 2 MiB, of which the pages went where every other page of what was there is gone. */
async function scattered(bench: Bench): Promise<void> {
  const bytes = 2 * MIB;
  const pages = bytes / PAGE;
  const swap = new RemoteSwap(4 * pages, CALL_MS, DEPTH);
  const device = createDeviceSync({ memory: 4 * bytes, swap });
  const small = await filled(device, 4 * pages, PAGE);
  await device.shrink();
  for (const [i, buffer] of small.entries()) if (i % 2 === 0) buffer.destroy();
  const buffers = await filled(device, 1, bytes);
  const [buffer] = buffers as [BufferObject];
  await buffer.shrink();
  const before = swap.counts();
  await buffer.populate();
  const { calls, runs } = swap.counts();
  if (runs - before.runs !== pages) throw new Error("the buffer does not lie scattered");
  const hand = new ByHand(swap, MIB);
  const samples = new Samples();
  await samples.interleave(
    rounds(101),
    [
      [
        {
          name: "pool",
          before: async () => void (await buffer.shrink()),
          run: () => buffer.populate(),
        },
      ],
      [{ name: "hand", run: () => hand.scattered(CALL_PAGES) }],
    ],
    20,
  );
  const against = { against: "hand", label: "one call by hand" };
  bench.row("restore of 2 MiB from 512 slots", samples, "pool", {
    unit: "ms",
    per: 1e6,
    ...against,
  });
  bench.value("calls of a restore of 2 MiB from 512 slots", [calls - before.calls], {
    unit: "calls",
  });
  await assertContent(buffers);
  await device.close({ force: true });
}

/** All of a memory leaves and comes back. */
async function whole(bench: Bench, size: number): Promise<void> {
  const bytes = (QUICK ? 12 : 60) * MIB;
  const swap = new RemoteSwap(bytes / PAGE, CALL_MS, DEPTH);
  // What comes back is to leave again.
  const device = createDeviceSync({ memory: bytes + 4 * MIB, swap, keepClean: false });
  const buffers = await filled(device, bytes / size, size);
  const hand = new ByHand(swap, bytes);
  const samples = new Samples();
  await samples.interleave(rounds(21), [
    [
      { name: "shrink", run: async () => void (await device.hibernate()) },
      { name: "resume", run: () => device.resume() },
    ],
    [
      { name: "writes", run: () => hand.all(true) },
      { name: "reads", run: () => hand.all(false) },
    ],
  ]);
  for (const [name, against] of [
    ["shrink", "writes"],
    ["resume", "reads"],
  ] as const) {
    const text = `${name} of ${sizeName(bytes)} in buffers of ${sizeName(size)}`;
    const options = { unit: "ms", per: 1e6, against, label: `${against} of 1 MiB by hand` };
    bench.row(text, samples, name, options);
  }
  await assertContent(buffers);
  await device.close({ force: true });
}

/** Readers, and how many calls of theirs a store that likes `DEPTH` has to do one after the other. */
const READERS = 100;
const CALLS = READERS / DEPTH;

/** All readers at once, of buffers in swap; with `dirty` the memory is full of what has to leave first. */
async function readers(bench: Bench, text: string, memory: number, dirty: boolean): Promise<void> {
  const size = 64 * KIB;
  const swap = new RemoteSwap((2 * READERS * size + 2 * memory) / PAGE, CALL_MS, DEPTH);
  const device = createDeviceSync({ memory, swap });
  const buffers = await filled(device, READERS, size);
  const others = dirty ? await filled(device, memory / size, size) : [];
  const targets = buffers.map(() => new Uint8Array(size));
  const bytes = new Uint8Array(size).fill(1);
  const hand = new ByHand(swap, READERS * size);
  const samples = new Samples();
  const before = async () => {
    await device.shrink();
    for (const other of others) await other.write(0, bytes);
  };
  const run = async () => {
    await Promise.all(buffers.map((buffer, i) => buffer.read(0, targets[i] as Uint8Array)));
  };
  const whole = Math.ceil(CALLS);
  await samples.interleave(
    rounds(31),
    [
      [{ name: "pool", before, run }],
      [{ name: "hand", run: () => hand.reads(whole, size / PAGE) }],
    ],
    5,
  );
  bench.row(`${READERS} readers of 64 KiB, ${text}`, samples, "pool", {
    unit: "ms",
    per: 1e6,
    against: "hand",
    againstPer: (1e6 * whole) / CALLS,
    label: `${CALLS} calls by hand`,
  });
  await assertContent(buffers);
  await device.close({ force: true });
}

await main("remote", async (bench) => {
  await scattered(bench);
  await whole(bench, 2 * MIB);
  await whole(bench, 64 * KIB);
  await readers(bench, "memory for all of them", 64 * MIB, false);
  await readers(bench, "16 MiB full of what has to leave", 16 * MIB, true);
  await readers(bench, "2 MiB full of what has to leave", 2 * MIB, true);
  bench.promise("a restore of scattered pages, of one call", "ratio", /^restore of 2 MiB/, {
    atLeast: 1 / 1.3,
  });
  const large = /^(shrink|resume) of .* of 2 MiB$/;
  bench.promise("a device that leaves and comes back, of calls by hand", "ratio", large, {
    atLeast: 1 / 1.2,
  });
  const many = /readers of 64 KiB/;
  bench.promise("many readers, of calls one after the other", "ratio", many, { atLeast: 1 / 1.5 });
});
