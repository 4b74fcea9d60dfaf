/*
 * Machinery: what does the bookkeeping cost by itself? Shrink and restore of a page, a miss, a hit and an
 * interruption, on a swap device that moves nothing.
 *
 * A miss is a buffer of 64 KiB that is mapped while all frames are taken, so that another one leaves: clean
 * if nobody wrote to it, dirty if all of its pages are to be written. A hit maps a buffer that is in memory.
 * A stop is an operation that a signal ends after one transfer of 64 KiB, and the call that goes on.
 */
import { type BufferObject, createDeviceSync, type Device, TtmError } from "../src/index.ts";
import { filled } from "./buffers.ts";
import { type Bench, clock, KIB, MIB, main, PAGE, QUICK, rounds, Samples } from "./harness.ts";
import { NoSwap } from "./stores.ts";

const OBJECT = 64 * KIB;

function deviceOf(memory: number, orders?: readonly number[], transferPages = 256): Device {
  const pool = orders ? { orders } : {};
  const swap = new NoSwap({ slots: (4 * memory) / PAGE });
  return createDeviceSync({ memory, swap, checksums: false, pool, transferPages });
}

/** Shrinks and restores 64 MiB in buffers of 2 MiB. */
async function pages(bench: Bench, order: number): Promise<void> {
  const total = 64 * MIB;
  const device = deviceOf(total, order === 0 ? [0] : undefined);
  const buffers = filled(device, total / (2 * MIB), 2 * MIB);
  const samples = new Samples();
  const restore = () => {
    for (const buffer of buffers) buffer.mapSync().unmap();
  };
  await samples.interleave(rounds(31), [
    [
      { name: "shrink", run: () => void device.shrinkSync() },
      { name: "restore", run: restore },
    ],
  ]);
  const options = { unit: "ns/page", per: total / PAGE };
  bench.row(`shrink, order ${order}`, samples, "shrink", options);
  bench.row(`restore, order ${order}`, samples, "restore", options);
  device.closeSync({ force: true });
}

async function misses(bench: Bench): Promise<void> {
  const frames = QUICK ? 4 * MIB : 32 * MIB;
  const device = deviceOf(frames);
  const buffers = filled(device, (2 * frames) / OBJECT, OBJECT);
  const [last] = buffers.slice(-1) as [BufferObject];
  const all = (write: boolean) => () => {
    for (const buffer of buffers) buffer.mapSync({ write }).unmap();
  };
  const samples = new Samples();
  await samples.interleave(rounds(101), [
    // Who went before left others clean, or dirty.
    [{ name: "clean", before: all(false), run: all(false) }],
    [{ name: "dirty", before: all(true), run: all(true) }],
    [
      {
        name: "hit",
        run: () => {
          for (let i = 0; i < buffers.length; i++) last.mapSync({ write: false }).unmap();
        },
      },
    ],
  ]);
  const options = { unit: "ns", per: buffers.length };
  bench.row("miss of 64 KiB, the victim clean", samples, "clean", options);
  bench.row("miss of 64 KiB, the victim dirty", samples, "dirty", options);
  bench.row("hit", samples, "hit", options);
  device.closeSync({ force: true });
}

/** Looks of an operation at its signal until its first transfer is done. */
const LOOKS = 3;

/** Aborted when the operation looks at it next. */
class AfterOne {
  readonly reason = undefined;
  #left = LOOKS;

  get aborted(): boolean {
    return --this.#left < 0;
  }
}

async function stops(bench: Bench): Promise<void> {
  const total = QUICK ? 4 * MIB : 32 * MIB;
  const device = deviceOf(total, [4, 3, 2, 1, 0], OBJECT / PAGE);
  // One window each: a restore goes on within it.
  const buffers = filled(device, total / (2 * MIB), 2 * MIB);
  let stopped = 0;
  const restore = (buffer: BufferObject) => {
    while (stopped <= total / OBJECT) {
      try {
        buffer.populateSync({ signal: new AfterOne() });
        return;
      } catch (error) {
        if (!(error instanceof TtmError) || error.code !== "EINTR") throw error;
        stopped++;
      }
    }
    throw new Error("a restore that was stopped did not go on");
  };
  const samples = new Samples();
  const before = () => {
    for (const buffer of buffers) {
      buffer.writeSync(0, new Uint8Array(1));
      buffer.shrinkSync();
    }
  };
  const through = () => {
    for (const buffer of buffers) buffer.populateSync();
  };
  await samples.interleave(rounds(101), [
    [{ name: "through", before, run: through }],
    [
      {
        name: "stop",
        before,
        run: () => {
          stopped = 0;
          const start = clock();
          for (const buffer of buffers) restore(buffer);
          return (clock() - start) / stopped;
        },
      },
    ],
  ]);
  bench.row("64 KiB of a restore that goes through", samples, "through", {
    unit: "ns",
    per: total / OBJECT,
  });
  bench.row("64 KiB of a restore that is stopped behind them", samples, "stop", { unit: "ns" });
  device.closeSync({ force: true });
}

await main("machinery", async (bench) => {
  await pages(bench, 9);
  await pages(bench, 0);
  await misses(bench);
  await stops(bench);
});
