/* Promises about order, advice, slots and room: all at once, without waits. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { BufferObject } from "../../../src/index.ts";
import { type Bench, codeOf, filled, must, mustShow, type Probe, written } from "./bench.ts";
import { Slots } from "./store.ts";

/** What was used again leaves after what was used before it, and not again. */
function recency(bench: Bench): void {
  usedLast(bench, (bo) => void bo.readSync(0, new Uint8Array(1)));
  usedLast(bench, (bo) => bo.mapSync({ write: false }).unmap());
}

function usedLast({ random, device, library }: Bench, use: (bo: BufferObject) => void): void {
  const frames = 64 + random.below(100);
  const own = device({ swap: library.ramSwap({ size: 256 * PAGE_SIZE }) }, frames);
  const pages = 1 + random.below(4);
  const count = Math.floor(frames / 2 / pages);
  const buffers = Array.from({ length: count }, (_, i) => written(own, pages, i));
  // Not the last one, which is the one used last in any case.
  const used = random.pick(buffers.slice(0, Math.floor(count / 3)));
  use(used);
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
      for (let tries = 0; bo.residentPages > 0; tries++) {
        must(tries < 30, "beside some bad slots a buffer does not leave");
        try {
          bo.shrinkSync();
        } catch (error) {
          if (codeOf(error) !== "EIO") throw error;
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
      if (codeOf(error) !== "ENOMEM") throw error;
      bo.destroy();
    }
    if (random.percent(30)) own.shrinkSync();
  }
  own.check();
  for (const { bo, mark } of buffers) mustShow(bo, filled(1, mark));
}

/** With all of memory and swap taken, pages are exchanged one for another. */
function brim({ random, device, library }: Bench): void {
  const frames = 16 + random.below(40);
  const slots = 4 + random.below(60);
  const swap = random.percent(50) ? library.ramSwap({ size: slots * PAGE_SIZE }) : new Slots(slots);
  const own = device({ swap }, frames);
  const buffers: { bo: BufferObject; pages: number; mark: number }[] = [];
  for (let mark = 0; ; mark++) {
    const pages = 1 + random.below(3);
    const bo = own.createBuffer(pages * PAGE_SIZE);
    try {
      bo.writeSync(0, filled(pages, mark));
    } catch (error) {
      const code = codeOf(error);
      if (code !== "ENOMEM" && code !== "ENOSPC") throw error;
      bo.destroy();
      if (pages === 1) break;
      continue;
    }
    buffers.push({ bo, pages, mark });
  }
  for (let i = 0; i < 2 * buffers.length; i++) {
    const { bo, pages, mark } = random.pick(buffers);
    mustShow(bo, filled(pages, mark));
  }
}

export const PROBES: readonly Probe[] = [
  ...[recency, hibernation, ahead, advice, quarantine, packing, brim],
];
