/*
 * Promises that random operations on many buffers cannot be held to, since too much else happens meanwhile: each is
 * looked at by itself, on a device of its own, with numbers that the seed draws. All of it at once, without waits.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject, Device, DeviceOptions, SyncSwapDevice } from "../../src/index.ts";
import { Random } from "../../src/testing/random.ts";
import type { Library } from "./library.ts";
import { Failure } from "./world.ts";

/** A store of pages by slot, which may refuse some slots. */
class Slots implements SyncSwapDevice {
  readonly name = "probe";
  readonly slots: number;
  readonly pages: Map<number, Uint8Array> = new Map();
  /** Slots that cannot be written, or not be read. */
  readonly unwritable: Set<number> = new Set();
  readonly unreadable: Set<number> = new Set();
  /** How often a write of each unwritable one was tried. */
  readonly tried: Map<number, number> = new Map();

  constructor(slots: number) {
    this.slots = slots;
  }

  writeSync(runs: Parameters<SyncSwapDevice["writeSync"]>[0]) {
    let pages = 0;
    for (const [slot, page] of pagesOf(runs)) {
      if (this.unwritable.has(slot)) {
        this.tried.set(slot, (this.tried.get(slot) ?? 0) + 1);
        return { pages, error: broken() };
      }
      this.pages.set(slot, page.slice());
      pages++;
    }
    return undefined;
  }

  readSync(runs: Parameters<SyncSwapDevice["readSync"]>[0]): void {
    for (const [slot, page] of pagesOf(runs)) {
      if (this.unreadable.has(slot)) throw broken();
      page.set(this.pages.get(slot) as Uint8Array);
    }
  }

  discard(ranges: Parameters<NonNullable<SyncSwapDevice["discard"]>>[0]): void {
    for (const { slot, pages } of ranges) {
      for (let i = 0; i < pages; i++) this.pages.delete(slot + i);
    }
  }
}

function* pagesOf(
  runs: Parameters<SyncSwapDevice["readSync"]>[0],
): Generator<[number, Uint8Array], void> {
  for (const { slot, views } of runs) {
    let at = slot;
    for (const view of views) {
      for (let byte = 0; byte < view.length; byte += PAGE_SIZE) {
        yield [at++, view.subarray(byte, byte + PAGE_SIZE)];
      }
    }
  }
}

function broken(): Error {
  return Object.assign(new Error("a bad sector"), { code: "EIO" });
}

/** What a probe has at hand. */
interface Bench {
  readonly library: Library;
  readonly random: Random;
  readonly device: (options: Omit<DeviceOptions, "memory">, frames: number) => Device;
}

function must(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Failure(text);
}

/** `pages` pages that are not zeros, and differ by `mark`. */
function filled(pages: number, mark: number): Uint8Array {
  const bytes = new Uint8Array(pages * PAGE_SIZE);
  for (let i = 0; i < bytes.length; i += 64) bytes[i] = 1 + ((mark + i / 64) % 255);
  return bytes;
}

function written(device: Device, pages: number, mark: number): BufferObject {
  const bo = device.createBuffer(pages * PAGE_SIZE);
  bo.writeSync(0, filled(pages, mark));
  return bo;
}

function mustShow(bo: BufferObject, pages: number, mark: number): void {
  const wanted = filled(pages, mark);
  const read = bo.readSync(0, new Uint8Array(wanted.length));
  const at = read.findIndex((byte, i) => byte !== wanted[i]);
  must(at < 0, `buffer ${bo.id}: byte ${at} is ${read[at]} instead of ${wanted[at]}`);
}

/** What was used again leaves after what was used before it, and not again. */
function recency({ random, device, library }: Bench): void {
  const frames = 64 + random.below(100);
  const own = device({ swap: library.ramSwap({ size: 256 * PAGE_SIZE }) }, frames);
  const pages = 1 + random.below(4);
  const count = Math.floor(frames / 2 / pages);
  const buffers = Array.from({ length: count }, (_, i) => written(own, pages, i));
  // Not the last one, which is the one used last in any case.
  const used = random.pick(buffers.slice(0, Math.floor(count / 3)));
  if (random.percent(50)) used.readSync(0, new Uint8Array(1));
  else used.mapSync({ write: false }).unmap();
  own.shrinkSync({ pages: (Math.floor(count / 2) - 1) * pages });
  must(used.residentPages === pages, "what was used last left before what was used before it");
}

/** Hibernation moves all out, and what of it was in memory comes back. */
function hibernation({ random, device, library }: Bench): void {
  const own = device({ swap: library.ramSwap({ size: 512 * PAGE_SIZE }) }, 128);
  const buffers = Array.from({ length: 2 + random.below(6) }, (_, i) =>
    written(own, 1 + random.below(40), i),
  );
  own.shrinkSync({ pages: 1 + random.below(60) });
  const before = buffers.map(({ residentPages }) => residentPages);
  own.hibernateSync();
  must(
    buffers.every(({ residentPages }) => residentPages === 0),
    "hibernation leaves pages",
  );
  own.resumeSync();
  const after = buffers.map(({ residentPages }) => residentPages);
  // Small ones come back whole.
  const all = after.every((pages, i) => pages >= (before[i] as number));
  must(all, `${before} pages were in memory, and ${after} came back`);
}

/** Pages that were not asked for are no reason for a read to fail. */
function ahead({ random, device }: Bench): void {
  const swap = new Slots(256);
  const own = device({ swap }, 128);
  const bo = written(own, 64, 1);
  own.shrinkSync();
  const bad = 8 + random.below(56);
  // All left together, so their slots are in their order.
  swap.unreadable.add([...swap.pages.keys()].sort((a, b) => a - b)[bad] as number);
  if (random.percent(50)) bo.advise("sequential");
  const step = 1 + random.below(4);
  const target = new Uint8Array(step * PAGE_SIZE);
  for (let page = 0; page + step <= bad; page += step) bo.readSync(page * PAGE_SIZE, target);
}

/** Advice outlives another size. */
function advice({ random, device, library }: Bench): void {
  const own = device({ swap: library.ramSwap({ size: 512 * PAGE_SIZE }) }, 64);
  const pages = 1 + random.below(100);
  const bo = written(own, pages, 3);
  bo.advise("dontneed");
  bo.resizeSync((1 + random.below(100)) * PAGE_SIZE + random.below(PAGE_SIZE));
  own.shrinkSync();
  must(!bo.advise("willneed"), "a resize has taken dontneed back");
}

/** A slot whose write failed is not tried again as long as there are others. */
function quarantine({ random, device }: Bench): void {
  const swap = new Slots(192);
  for (let i = 0; i < 6; i++) swap.unwritable.add(1 + random.below(60));
  const own = device({ swap, keepClean: random.percent(50) }, 32);
  for (let round = 0; round < 6; round++) {
    const buffers = Array.from({ length: 4 }, (_, i) => written(own, 1 + random.below(8), i));
    for (const bo of buffers) {
      while (bo.residentPages > 0) {
        try {
          bo.shrinkSync();
        } catch (error) {
          if ((error as { code?: string }).code !== "EIO") throw error;
        }
      }
    }
    for (const bo of buffers) bo.destroy();
    own.check();
  }
  for (const [slot, times] of swap.tried) {
    must(times === 1, `slot ${slot} failed, and was tried ${times} times beside good ones`);
  }
}

/** Vectors that move together, as the room for them is short, take all along that belongs to them. */
function packing({ random, device }: Bench): void {
  const frames = 512;
  const own = device({ swap: new Slots(frames), checksums: true }, frames);
  const buffers: { bo: BufferObject; mark: number }[] = [];
  for (let mark = 0; mark < 420; mark++) {
    if (random.percent(20) && buffers.length > 0) {
      const [gone] = buffers.splice(random.below(buffers.length), 1);
      gone?.bo.destroy();
    }
    // A vector has entries for pages that were never written, too, and every buffer has a vector.
    const bo = own.createBuffer((frames - random.below(64)) * PAGE_SIZE);
    try {
      bo.writeSync(0, filled(1, mark));
      buffers.push({ bo, mark });
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOMEM") throw error;
      bo.destroy();
    }
    if (random.percent(30)) own.shrinkSync();
  }
  own.check();
  for (const { bo, mark } of buffers) mustShow(bo, 1, mark);
}

/** With all of memory and swap taken, pages are exchanged one for another. */
function brim({ random, device, library }: Bench): void {
  const frames = 16 + random.below(40);
  const slots = 4 + random.below(60);
  const swap = random.percent(50)
    ? library.ramSwap({ size: slots * PAGE_SIZE })
    : new Slots(slots);
  const own = device({ swap }, frames);
  const buffers: { bo: BufferObject; pages: number; mark: number }[] = [];
  for (let mark = 0; ; mark++) {
    const pages = 1 + random.below(3);
    const bo = own.createBuffer(pages * PAGE_SIZE);
    try {
      bo.writeSync(0, filled(pages, mark));
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== "ENOMEM" && code !== "ENOSPC") throw error;
      bo.destroy();
      if (pages === 1) break;
      continue;
    }
    buffers.push({ bo, pages, mark });
  }
  for (let i = 0; i < 2 * buffers.length; i++) {
    const { bo, pages, mark } = random.pick(buffers);
    mustShow(bo, pages, mark);
  }
}

const PROBES = [recency, hibernation, ahead, advice, quarantine, packing, brim];

/**
 * Holds the library to one of the promises.
 *
 * @throws Failure, Error when it does not hold
 */
export function probe(seed: number, library: Library): void {
  const random = new Random(seed ^ 0x68bc21eb);
  const devices: Device[] = [];
  const device: Bench["device"] = (options, frames) => {
    const made = library.createDeviceSync({ ...options, memory: frames * PAGE_SIZE });
    devices.push(made);
    return made;
  };
  const each = PROBES[seed % PROBES.length] as (bench: Bench) => void;
  try {
    each({ library, random, device });
  } catch (error) {
    if (error instanceof Error) error.message = `${each.name}: ${error.message}`;
    throw error;
  } finally {
    for (const made of devices) made.closeSync({ force: true });
  }
}
