/*
 * Ranges: what a small read or write of a large buffer costs that is in a swap file, beside a bare positioned
 * read or write of the same bytes.
 *
 * - Reads and writes of 4 KiB at random, in buffers of 2 MiB, with an eighth of the data in memory.
 * - One buffer after the other read from end to end, 64 KiB a call, against bare reads of 1 MiB: behind the reads
 *   and writes at random. The same of one buffer that is eight times as large as the memory, read, and mapped.
 * - Bare reads into linear memory and a copy from there: what no read of a buffer can be faster than.
 *
 * Both files lie in the temp folder, in the page cache: it is the calls that are compared, not a disk.
 */
import { tmpdir } from "node:os";
import { BareFile } from "../src/cli/bare.ts";
import { type BufferObject, createDeviceSync, type Device } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { filled } from "./buffers.ts";
import {
  type Bench,
  KIB,
  MIB,
  main,
  PAGE,
  type Phase,
  QUICK,
  randomFrom,
  rounds,
  Samples,
} from "./harness.ts";

const BUFFER = 2 * MIB;
const DATA: number = (QUICK ? 64 : 256) * MIB;
const MEMORY = DATA / 8;
/** Operations of a round. */
const MANY: number = QUICK ? 500 : 4000;

/** A file of the data, in which a buffer lies behind the other. */
function bareFile(): BareFile {
  const file = new BareFile(tmpdir());
  const piece = [new Uint8Array(BUFFER).fill(0x5a)];
  for (let at = 0; at < DATA; at += BUFFER) file.write(piece, undefined, at);
  return file;
}

interface Places {
  readonly buffer: BufferObject;
  readonly offset: number;
  /** Of the same page in the file (bytes). */
  readonly at: number;
}

/** Pages at random, as many as a round has operations. */
function places(buffers: readonly BufferObject[], random: (n: number) => number): Places[] {
  return Array.from({ length: MANY }, () => {
    const index = random(buffers.length);
    const offset = random(BUFFER / PAGE) * PAGE;
    return { buffer: buffers[index] as BufferObject, offset, at: index * BUFFER + offset };
  });
}

async function small(bench: Bench, device: Device, buffers: BufferObject[]): Promise<void> {
  const file = bareFile();
  const random = randomFrom(1);
  const page = new Uint8Array(PAGE).fill(0x5a);
  const views = [page];
  for (const out of [false, true]) {
    let where: Places[] = [];
    const before = () => {
      where = places(buffers, random);
    };
    const ours: Phase = {
      name: "ours",
      before,
      run() {
        for (const { buffer, offset } of where) {
          if (out) buffer.writeSync(offset, page);
          else buffer.readSync(offset, page);
        }
      },
    };
    const bare: Phase = {
      name: "bare",
      before,
      run() {
        for (const { at } of where) {
          if (out) file.write(views, undefined, at);
          else file.read(views, undefined, at);
        }
      },
    };
    const samples = new Samples();
    await samples.interleave(rounds(31), [[ours], [bare]], 5);
    bench.row(`${out ? "write" : "read"} of 4 KiB at random`, samples, "ours", {
      unit: "us",
      per: MANY * 1e3,
      against: "bare",
      label: out ? "bare writeSync" : "bare readSync",
    });
  }
  device.check();
  file.close();
}

/** Reads all of the buffers, 64 KiB a call. */
function scan(buffers: readonly BufferObject[]): () => void {
  const some = new Uint8Array(64 * KIB);
  return () => {
    for (const buffer of buffers) {
      for (let at = 0; at < buffer.size; at += some.length) buffer.readSync(at, some);
    }
  };
}

/** Maps all of a buffer, 1 MiB at a time: nothing is copied out, and nothing is looked at. */
function maps(buffer: BufferObject): () => void {
  return () => {
    for (let offset = 0; offset < DATA; offset += MIB) {
      buffer.mapSync({ offset, length: MIB, write: false }).unmap();
    }
  };
}

/** A bare read of each MiB into linear memory, the same one each time, and a copy from there, 64 KiB at a time. */
function copied(file: BareFile): () => void {
  const frames = new Uint8Array(new WebAssembly.Memory({ initial: 16 }).buffer);
  const some = new Uint8Array(64 * KIB);
  const pieces = Array.from({ length: 16 }, (_, i) =>
    frames.subarray(i * some.length, (i + 1) * some.length),
  );
  return () => {
    for (let at = 0; at < DATA; at += MIB) {
      file.read([frames], undefined, at);
      for (const piece of pieces) some.set(piece);
    }
  };
}

/** A device with one buffer of all the data. */
function large(checksums: boolean): { device: Device; buffer: BufferObject } {
  const swap = fileSwap({ size: 2 * DATA, directory: tmpdir() });
  const device = createDeviceSync({ memory: MEMORY, swap, checksums });
  const [buffer] = filled(device, 1, DATA) as [BufferObject];
  return { device, buffer };
}

async function sequential(bench: Bench, device: Device, buffers: BufferObject[]): Promise<void> {
  const file = bareFile();
  const target = [new Uint8Array(MIB)];
  const bare = () => {
    for (let at = 0; at < DATA; at += MIB) file.read(target, undefined, at);
  };
  const [summed, unsummed] = [large(true), large(false)];
  const runs: Record<string, () => void> = {
    "64 KiB after 64 KiB, a MiB of it": scan(buffers),
    "the same of one buffer, never read at random": scan([summed.buffer]),
    "the same without checksums": scan([unsummed.buffer]),
    "MiB after MiB of it mapped": maps(summed.buffer),
    "MiB after MiB of it mapped, without checksums": maps(unsummed.buffer),
    "bare reads into linear memory, and a copy": copied(file),
  };
  const samples = new Samples();
  const phases = Object.entries({ ...runs, bare }).map(([name, run]) => [{ name, run }]);
  await samples.interleave(rounds(15), phases);
  for (const name of Object.keys(runs)) {
    bench.row(name, samples, name, {
      unit: "us",
      per: (DATA / MIB) * 1e3,
      against: "bare",
      label: "bare readSync of 1 MiB",
    });
  }
  for (const each of [device, summed.device, unsummed.device]) each.check();
  for (const each of [summed, unsummed]) each.device.closeSync({ force: true });
  file.close();
}

await main("ranges", async (bench) => {
  const swap = fileSwap({ size: 2 * DATA, directory: tmpdir() });
  const device = createDeviceSync({ memory: MEMORY, swap });
  const buffers = filled(device, DATA / BUFFER, BUFFER);
  await small(bench, device, buffers);
  await sequential(bench, device, buffers);
  device.closeSync({ force: true });
  bench.promise("random reads of 4 KiB, of bare ones", "ratio", /^read of 4 KiB/, {
    atLeast: 0.33,
  });
  bench.promise("random writes of 4 KiB, of bare ones", "ratio", /^write of 4 KiB/, {
    atLeast: 0.25,
  });
  bench.promise("reads in a row, of bare ones of 1 MiB", "ratio", /^64 KiB after/, {
    atLeast: 0.9,
  });
});
