/*
 * Ranges: what a small read or write of a large buffer costs that is in a swap file, beside a bare positioned
 * read or write of the same bytes.
 *
 * - Reads and writes of 4 KiB at random, in buffers of 2 MiB, with an eighth of the data in memory.
 * - One buffer after the other read from end to end, 64 KiB a call, against bare reads of 1 MiB.
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

async function sequential(bench: Bench, device: Device, buffers: BufferObject[]): Promise<void> {
  const file = bareFile();
  const some = new Uint8Array(64 * KIB);
  const large = [new Uint8Array(MIB)];
  const ours = () => {
    for (const buffer of buffers) {
      for (let at = 0; at < BUFFER; at += some.length) buffer.readSync(at, some);
    }
  };
  const bare = () => {
    for (let at = 0; at < DATA; at += MIB) file.read(large, undefined, at);
  };
  const samples = new Samples();
  const phases = [[{ name: "ours", run: ours }], [{ name: "bare", run: bare }]];
  await samples.interleave(rounds(15), phases);
  bench.row("64 KiB after 64 KiB, a MiB of it", samples, "ours", {
    unit: "us",
    per: (DATA / MIB) * 1e3,
    against: "bare",
    label: "bare readSync of 1 MiB",
  });
  device.check();
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
