/*
 * Small objects: 100,000 of 1 to 4 pages, shrunk in bulk to a file and read back one by one. Do they
 * leave as fast as the bare calls a programmer would make: one an object, or a vectored one for a MiB
 * of them? And what does it cost to read each back, against one bare call each?
 *
 * The bare side has the same sizes in a memory of its own, page aligned, its views made beforehand.
 */
import { readSync, writeSync, writevSync } from "node:fs";
import { createDeviceSync, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { bareFile, pieces1MiB } from "./bare.ts";
import {
  type Bench,
  MIB,
  main,
  PAGE,
  QUICK,
  randomFrom,
  rounds,
  Samples,
  shuffle,
} from "./harness.ts";

const OBJECTS = QUICK ? 10_000 : 100_000;

interface Sizes {
  /** Pages of each object. */
  readonly pages: readonly number[];
  readonly total: number;
}

function sizes(): Sizes {
  const random = randomFrom(1);
  const pages = Array.from({ length: OBJECTS }, () => 1 + random(4));
  return { pages, total: pages.reduce((sum, count) => sum + count, 0) };
}

/** The bare side: the same bytes, one view an object, and the same views in groups of up to 1 MiB. */
function bare({ pages, total }: Sizes): {
  buffer: ArrayBuffer;
  each: Uint8Array[];
  groups: Uint8Array[][];
} {
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil((total * PAGE) / 65536) });
  new Uint8Array(buffer).fill(0x5a);
  const each: Uint8Array[] = [];
  let at = 0;
  for (const count of pages) {
    each.push(new Uint8Array(buffer, at, count * PAGE));
    at += count * PAGE;
  }
  const groups: Uint8Array[][] = [];
  let room = 0;
  for (const view of each) {
    if (view.length > room) {
      groups.push([]);
      room = MIB;
    }
    groups[groups.length - 1]?.push(view);
    room -= view.length;
  }
  return { buffer, each, groups };
}

async function measure(bench: Bench, swap: "ram" | "file", checksums: boolean): Promise<void> {
  const objects = sizes();
  const bytes = objects.total * PAGE;
  const device = createDeviceSync({
    memory: bytes,
    swap: swap === "ram" ? ramSwap({ size: bytes }) : fileSwap({ size: 2 * bytes }),
    checksums,
    keepClean: false,
  });
  const source = new Uint8Array(4 * PAGE).fill(0x5a);
  const buffers = objects.pages.map((pages) => {
    const buffer = device.createBuffer(pages * PAGE);
    buffer.writeSync(0, source.subarray(0, pages * PAGE));
    return buffer;
  });
  const { buffer, each, groups } = bare(objects);
  const all = pieces1MiB(buffer, 0, bytes);
  const file = bareFile();
  const target = new Uint8Array(64);
  const inOrder = [...buffers];
  const anyOrder = shuffle([...buffers], randomFrom(2));
  let back = inOrder;
  const samples = new Samples();
  const bareSide = [
    {
      name: "one call an object",
      run: () => {
        let position = 0;
        for (const view of each) position += writeSync(file.fd, view, 0, view.length, position);
      },
    },
    {
      name: "vectored calls",
      run: () => {
        let position = 0;
        for (const views of groups) position += writevSync(file.fd, views, position);
      },
    },
    { name: "calls of 1 MiB", run: () => file.write(all) },
    {
      name: "one read an object",
      run: () => {
        let position = 0;
        for (const view of each) position += readSync(file.fd, view, 0, view.length, position);
      },
    },
  ];
  const ours = [
    {
      name: "shrink",
      run: () => {
        const pages = device.shrinkSync();
        if (pages !== objects.total) throw new Error(`${pages} pages were shrunk`);
      },
    },
    {
      name: "read back",
      run: () => {
        for (const each of back) each.readSync(0, target);
      },
    },
  ];
  await samples.interleave(rounds(5), [bareSide, ours]);
  const text = `to ${swap}${checksums ? ", checksums" : ""}`;
  const options = { unit: "ns/object", per: OBJECTS };
  for (const against of ["vectored calls", "one call an object", "calls of 1 MiB"]) {
    const label = `bare ${against}`;
    bench.row(`shrink in bulk ${text}, vs ${against}`, samples, "shrink", {
      ...options,
      against,
      label,
    });
  }
  const against = { against: "one read an object", label: "a bare read an object" };
  bench.row(`read back one by one ${text}`, samples, "read back", { ...options, ...against });
  // Read back in any order: the frames of an object then lie wherever there was room, and so do the slots.
  back = anyOrder;
  const later = new Samples();
  await later.interleave(rounds(5), [bareSide, ours]);
  bench.row(`shrink in bulk ${text}, shuffled, vs vectored calls`, later, "shrink", {
    ...options,
    against: "vectored calls",
    label: "bare vectored calls",
  });
  bench.row(`read back in any order ${text}`, later, "read back", { ...options, ...against });
  file.close();
  device.closeSync({ force: true });
}

await main("small_objects", async (bench) => {
  await measure(bench, "file", false);
  await measure(bench, "file", true);
  await measure(bench, "ram", false);
  const cases = /^shrink in bulk to file(, checksums)?, vs vectored calls$/;
  bench.promise("small objects in bulk, of bare vectored writes", "ratio", cases, { atLeast: 0.8 });
});
