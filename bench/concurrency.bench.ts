/*
 * Concurrency: what do many operations at once cost, on a memory that is too small for them, against the same
 * ones one at a time in the same run? How long does the event loop stand still meanwhile, and how long does a
 * small read take beside large ones?
 *
 * Every buffer of 64 KiB is read or written once a round, in an order of its own. The asynchronous device takes
 * 1 ms a call, however many at once. Whatever fails ends the benchmark. A stall is the time by which a timer of
 * 1 ms is late.
 */
import { type BufferObject, createDeviceSync, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import {
  type Bench,
  clock,
  KIB,
  MIB,
  main,
  now,
  PAGE,
  type Phase,
  QUICK,
  quantile,
  randomFrom,
  rounds,
  Samples,
  shuffle,
  sizeName,
} from "./harness.ts";
import { slowSwap } from "./stores.ts";

const COUNT = QUICK ? 400 : 2000;
const AT_ONCE = QUICK ? [1, 32, 400] : [1, 32, 128, 400, 2000];
const SIZE = 64 * KIB;

const SWAPS = {
  file: (bytes: number) => fileSwap({ size: bytes }),
  ram: (bytes: number) => ramSwap({ size: bytes }),
  "1 ms": (bytes: number) => slowSwap(bytes / PAGE, 1),
};

type Swap = keyof typeof SWAPS;

function deviceOf(swap: Swap, memory: number, bytes: number) {
  const device = createDeviceSync({ memory, swap: SWAPS[swap](bytes) });
  const failed = { tries: 0 };
  device.trace = ({ type }) => {
    if (type === "interrupt") failed.tries++;
  };
  return { device, failed };
}

/** Runs `use` on every one of `bos`, so many at once. */
async function each(
  bos: readonly BufferObject[],
  atOnce: number,
  use: (bo: BufferObject) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const one = async () => {
    for (let i = next++; i < bos.length; i = next++) await use(bos[i] as BufferObject);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

/** By how much a timer of 1 ms was late at most while `work` was at it (ns); and how long that took. */
async function watched(work: () => Promise<void>): Promise<{ elapsed: number; stall: number }> {
  let stall = 0;
  let last = now();
  const look = () => {
    const time = now();
    stall = Math.max(stall, time - last - 1e6);
    last = time;
  };
  const timer = setInterval(look, 1);
  const start = clock();
  await work();
  const elapsed = clock() - start;
  look();
  clearInterval(timer);
  return { elapsed, stall };
}

async function filled(device: ReturnType<typeof deviceOf>["device"], count: number, size: number) {
  const bos: BufferObject[] = [];
  for (let i = 0; i < count; i++) {
    const bo = device.createBuffer(size);
    await bo.write(0, new Uint8Array(size).fill(1 + (i % 250)));
    bos.push(bo);
  }
  return bos;
}

async function many(bench: Bench, swap: Swap, memory: number, write: boolean): Promise<void> {
  const { device, failed } = deviceOf(swap, memory, 2 * COUNT * SIZE);
  const bos = await filled(device, COUNT, SIZE);
  const marks = new Map(bos.map((bo, i) => [bo, 1 + (i % 250)]));
  const source = new Map([...marks].map(([, mark]) => [mark, new Uint8Array(SIZE).fill(mark)]));
  const target = new Uint8Array(SIZE);
  const random = randomFrom(1);
  // All read into one place: what is there is looked at below, one by one.
  const use = (bo: BufferObject): Promise<unknown> =>
    write ? bo.write(0, source.get(marks.get(bo) as number) as Uint8Array) : bo.read(0, target);
  const samples = new Samples();
  const phase = (atOnce: number): Phase[] => {
    let order: BufferObject[] = [];
    return [
      {
        name: String(atOnce),
        before: () => {
          order = shuffle([...bos], random);
        },
        run: async () => {
          const { elapsed, stall } = await watched(() => each(order, atOnce, use));
          return { [atOnce]: elapsed, [`stall ${atOnce}`]: stall };
        },
      },
    ];
  };
  failed.tries = 0;
  await samples.interleave(rounds(swap === "1 ms" ? 3 : 9), AT_ONCE.map(phase), 1);
  const what = `${write ? "write" : "read"} of 64 KiB in ${sizeName(memory)}, ${swap}`;
  for (const atOnce of AT_ONCE) {
    const text = atOnce === 1 ? `${what}, one at a time` : `${what}, ${atOnce} at once`;
    const against = atOnce === 1 ? {} : { against: "1", label: "one at a time" };
    bench.row(text, samples, String(atOnce), { unit: "us", per: 1e3 * COUNT, ...against });
    bench.row(`stall of the event loop: ${text}`, samples, `stall ${atOnce}`, {
      unit: "ms",
      per: 1e6,
    });
  }
  await each(bos, 1, async (bo) => {
    const bytes = await bo.read(0, target);
    if (bytes.some((byte) => byte !== marks.get(bo))) throw new Error("a byte was lost");
  });
  bench.value(`tries that failed: ${what}`, [failed.tries], { unit: "tries" });
  await device.close({ force: true });
}

/** Reads of a small buffer, one after the other, by themselves and beside eight who read 2 MiB. */
async function beside(bench: Bench, swap: Swap): Promise<void> {
  const { device, failed } = deviceOf(swap, 32 * MIB, 512 * MIB);
  const large = await filled(device, 64, 2 * MIB);
  const small = await filled(device, 100, SIZE);
  const bytes = new Uint8Array(SIZE);
  const target = new Uint8Array(2 * MIB);
  const random = randomFrom(2);
  const latencies = async () => {
    const times: number[] = [];
    for (const bo of shuffle([...small], random)) {
      await bo.shrink();
      const start = now();
      await bo.read(0, bytes);
      times.push(now() - start);
    }
    return times;
  };
  const samples = new Samples();
  failed.tries = 0;
  const alone: Phase = {
    name: "alone",
    run: async () => quantile(await latencies(), 0.99),
  };
  const together: Phase = {
    name: "together",
    run: async () => {
      let ended = false;
      let next = 0;
      const reading = Array.from({ length: 8 }, async () => {
        while (!ended) await (large[next++ % large.length] as BufferObject).read(0, target);
      });
      const times = await latencies();
      ended = true;
      await Promise.all(reading);
      return quantile(times, 0.99);
    },
  };
  await samples.interleave(rounds(5), [[alone], [together]], 1);
  const text = `p99 of a read of 64 KiB in 32 MiB, ${swap}`;
  bench.row(`${text}, by itself`, samples, "alone", { unit: "us", per: 1e3 });
  bench.row(`${text}, beside 8 reads of 2 MiB`, samples, "together", {
    unit: "us",
    per: 1e3,
    against: "alone",
    label: "by itself",
  });
  bench.value(`tries that failed: ${text}`, [failed.tries], { unit: "tries" });
  await device.close({ force: true });
}

await main("concurrency", async (bench) => {
  for (const swap of Object.keys(SWAPS) as Swap[]) {
    for (const memory of [2 * MIB, 32 * MIB]) {
      for (const write of [false, true]) await many(bench, swap, memory, write);
    }
    await beside(bench, swap);
  }
  const together = /^(read|write) of .* at once$/;
  bench.promise("many operations at once, of one at a time", "ratio", together, {
    atLeast: 1 / 1.2,
  });
  const stall = { atMost: 20, unit: "ms" };
  const text = "stall of the event loop, with many at once";
  bench.promise(text, "median", /^stall of the event loop/, stall);
  const failed = /^tries that failed/;
  bench.promise("tries that failed, with many at once", "max", failed, { atMost: 0 });
});
