/*
 * Shrink and restore: what does the whole machinery cost against the bare transfer of the same pages?
 *
 * Every object is shrunk and restored in each round, dirty (`keepClean: false`: by default a page that
 * was only read since its restore leaves for free, which clean_pages.bench.ts looks at). The bare side
 * copies the very pages to the very slots with memory.copy, or writes and reads them in calls of 1 MiB.
 */
import * as abi from "../assembly/abi.ts";
import { createDeviceSync, type Device, type DeviceOptions, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { Pool, populateTtSync, shrinkTtSync, Tt } from "../src/ttm.ts";
import { bareCopy, bareFile, type Piece, pieces1MiB } from "./bare.ts";
import { withMemory } from "./engine_exports.ts";
import {
  type Bench,
  GIB,
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

interface Case {
  readonly swap: "ram" | "file";
  readonly bytes: number;
  readonly order: 0 | 4 | 9;
  /** Single frames from all over the memory, instead of side by side. */
  readonly scattered?: boolean;
  /** Only half of each object leaves. */
  readonly half?: boolean;
  readonly checksums: boolean;
}

const OBJECT_PAGES = 1024;

function nameOf({ swap, bytes, order, scattered, half, checksums }: Case): string {
  return [
    `${swap}, ${sizeName(bytes)}`,
    `order ${order}${scattered ? " scattered" : ""}`,
    ...(half ? ["half of each"] : []),
    ...(checksums ? ["checksums"] : []),
  ].join(", ");
}

/** Takes frames in such a way that the free ones lie alone, half of them, in no order. */
function scatter(device: Device, frames: number): void {
  const singles = Array.from({ length: frames }, () => device.createBuffer(PAGE));
  const byte = new Uint8Array(1);
  for (const single of singles) single.writeSync(0, byte);
  const random = randomFrom(1);
  // Of every two neighbours one goes, so that none are merged; in random order, for the lists.
  const gone = Array.from({ length: frames / 2 }, (_, i) => 2 * i + random(2));
  const left = new Set(gone);
  for (let i = 0; i < frames; i++) if (!left.has(i)) singles[i]?.pinSync();
  for (const i of shuffle(gone, random)) singles[i]?.destroy();
}

/** Where the pages of the objects lie, in order, and the slots they will get one behind the other. */
function piecesOf(
  memory: WebAssembly.Memory,
  device: Device,
  tts: readonly Tt[],
  pages: number,
): Piece[] {
  const header = new Uint32Array(memory.buffer, abi.HEADER, abi.HEADER_WORDS);
  const { engine } = device.global;
  const pieces: Piece[] = [];
  let to = header[abi.H_RAM] as number;
  for (const { vector, numPages } of tts) {
    for (const extent of engine.vectorExtents(vector, numPages, 0, pages)) {
      const bytes = extent.pages * PAGE;
      pieces.push({ to, from: extent.address, bytes });
      to += bytes;
    }
  }
  return pieces;
}

/** Measures a case; without a benchmark to report to, it only warms up the code. */
async function measure(bench: Bench | undefined, c: Case, count: number): Promise<void> {
  const objects = c.bytes / (OBJECT_PAGES * PAGE);
  const options: DeviceOptions = {
    memory: c.scattered ? 2 * c.bytes : c.bytes,
    swap: c.swap === "ram" ? ramSwap({ size: c.bytes }) : fileSwap({ size: c.bytes }),
    checksums: c.checksums,
    keepClean: false,
  };
  const { device, memory } = withMemory(() => createDeviceSync(options));
  if (c.scattered) scatter(device, (2 * c.bytes) / PAGE);
  const pool = new Pool(device.global, { orders: c.order === 0 ? [0] : [c.order, 0] });
  const tts = Array.from({ length: objects }, () => new Tt(OBJECT_PAGES));
  for (const tt of tts) populateTtSync(pool, tt);
  const moved = c.half ? OBJECT_PAGES / 2 : OBJECT_PAGES;
  const pieces = piecesOf(memory, device, tts, moved);
  for (const { from, bytes } of pieces) new Uint8Array(memory.buffer, from, bytes).fill(0x5a);

  const file = c.swap === "file" ? bareFile() : undefined;
  const bytes = objects * moved * PAGE;
  const views = pieces1MiB(memory.buffer, pieces[0]?.from ?? 0, bytes);
  const bareOut = c.swap === "ram" ? bareCopy(memory, pieces) : () => file?.write(views);
  const back = pieces.map(({ to, from, bytes }) => ({ to: from, from: to, bytes }));
  const bareIn = c.swap === "ram" ? bareCopy(memory, back) : () => file?.read(views);
  const shrunk = (pages: number): void => {
    if (pages !== objects * moved) throw new Error(`${pages} pages were shrunk`);
  };
  const samples = new Samples();
  await samples.interleave(count, [
    [
      { name: "bare out", run: bareOut },
      { name: "bare in", run: bareIn },
    ],
    [
      {
        name: "shrink",
        run: () => {
          let pages = 0;
          for (const tt of tts) pages += shrinkTtSync(pool, tt, { pages: moved });
          shrunk(pages);
        },
      },
      {
        name: "restore",
        run: () => {
          for (const tt of tts) populateTtSync(pool, tt);
        },
      },
    ],
  ]);
  const text = nameOf(c);
  const unit = "ns/page";
  const per = bytes / PAGE;
  const [out, back2] =
    c.swap === "ram" ? ["memory.copy", "memory.copy"] : ["writeSync", "readSync"];
  bench?.row(`shrink, ${text}`, samples, "shrink", { unit, per, against: "bare out", label: out });
  bench?.row(`restore, ${text}`, samples, "restore", {
    unit,
    per,
    against: "bare in",
    label: back2,
  });
  file?.close();
  device.closeSync({ force: true });
}

await main("shrink_restore", async (bench) => {
  const small = 64 * MIB;
  for (const swap of ["ram", "file"] as const) {
    for (const order of [0, 9] as const) {
      await measure(undefined, { swap, bytes: 8 * MIB, order, checksums: true }, 10);
    }
  }
  for (const swap of ["ram", "file"] as const) {
    for (const checksums of [false, true]) {
      const common = { swap, bytes: small, checksums };
      for (const order of [0, 4, 9] as const) {
        await measure(bench, { ...common, order }, rounds(11));
        if (order === 0) await measure(bench, { ...common, order, scattered: true }, rounds(11));
      }
      for (const order of [0, 4, 9] as const) {
        await measure(bench, { ...common, order, half: true }, rounds(11));
      }
      if (QUICK) continue;
      for (const order of [0, 4, 9] as const) {
        await measure(bench, { swap, bytes: GIB, order, checksums }, 5);
      }
      await measure(bench, { swap, bytes: GIB, order: 9, half: true, checksums }, 5);
    }
  }
  const plain = (what: string, swap: string) => new RegExp(`^${what}, ${swap}, [^,]+, order \\d$`);
  const ram = { atLeast: 0.9 };
  bench.promise("shrink to RAM, of memory.copy", "ratio", plain("shrink", "ram"), ram);
  bench.promise("restore from RAM, of memory.copy", "ratio", plain("restore", "ram"), ram);
  const file = { atLeast: 0.95 };
  bench.promise("shrink to file, of writeSync", "ratio", plain("shrink", "file"), file);
  bench.promise("restore from file, of readSync", "ratio", plain("restore", "file"), file);
  for (const what of ["shrink", "restore"]) {
    const cases = new RegExp(`^${what}, \\w+, [^,]+, order \\d, checksums$`);
    bench.promise(`${what} with checksums, of the same`, "ratio", cases, { atLeast: 0.85 });
  }
});
