/* Promises about bytes: at the borders of windows, in tight swap, and of what fails or is called in the midst of it. */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { BufferObject } from "../../../src/index.ts";
import { SimSignal } from "../signal.ts";
import {
  type Bench,
  bytes,
  codeOf,
  filled,
  must,
  mustEqual,
  mustShow,
  type Probe,
  soil,
  thrown,
  written,
} from "./bench.ts";
import { broken, Slots } from "./store.ts";

/** Frames of a memory, and pages of a window of a buffer that is larger than that. */
const FRAMES = 64;
const WINDOW = 16;

/** A buffer that is a row of windows, and what it has to show. */
function row({ device, random, library }: Bench): { bo: BufferObject; model: Uint8Array } {
  const own = device({ swap: library.ramSwap({ size: 256 * PAGE_SIZE }) }, FRAMES);
  const pages = FRAMES + 1 + random.below(60);
  const bo = own.createBuffer(pages * PAGE_SIZE - random.below(PAGE_SIZE));
  const model = bytes(bo.size, 1);
  bo.writeSync(0, model);
  return { bo, model };
}

/** Reads, writes, mappings and discards end next to the borders of windows, and touch nothing behind them. */
function borders(bench: Bench): void {
  const { random } = bench;
  const { bo, model } = row(bench);
  const windows = Math.floor(bo.size / (WINDOW * PAGE_SIZE));
  const edge = () => (1 + random.below(windows)) * WINDOW * PAGE_SIZE + random.below(5) - 2;
  for (let i = 0; i < 24; i++) {
    const end = Math.min(edge(), bo.size);
    const from = random.percent(50) ? Math.max(end - 1 - random.below(9000), 0) : edge();
    const [offset, length] = from < end ? [from, end - from] : [end - 1, 1];
    const kind = random.below(4);
    if (kind === 0) {
      const data = bytes(length, i);
      bo.writeSync(offset, data);
      model.set(data, offset);
    } else if (kind === 1) mustShow(bo, model.subarray(offset, offset + length), offset);
    else if (kind === 2 && length <= (FRAMES >> 1) * PAGE_SIZE) {
      const mapping = bo.mapSync({ offset, length });
      let at = offset;
      for (const segment of mapping.segments) {
        mustEqual(segment, model.subarray(at, at + segment.length), "a mapping");
        segment[0] = 1;
        model[at] = 1;
        at += segment.length;
      }
      mapping.unmap();
    } else {
      bo.discardSync({ offset, length });
      model.fill(0, offset, offset + length);
    }
    if (random.percent(30)) bo.shrinkSync();
  }
  mustShow(bo, model);
}

/** What is written over several windows is needed from then on. */
function needed(bench: Bench): void {
  const { random } = bench;
  const { bo, model } = row(bench);
  bo.advise("dontneed");
  const border = (1 + random.below(3)) * WINDOW * PAGE_SIZE;
  const offset = border - 1 - random.below(3 * PAGE_SIZE);
  const data = bytes(border - offset + 1 + random.below(3 * PAGE_SIZE), 5);
  bo.writeSync(offset, data);
  bo.shrinkSync();
  model.fill(0);
  mustShow(bo, data, offset);
}

/** What is said to be needed no longer is gone at once if all of it is in swap. */
function letGo({ random, device, library }: Bench): void {
  const own = device({ swap: library.ramSwap({ size: 256 * PAGE_SIZE }) }, FRAMES);
  const bo = written(own, 1 + random.below(60), 1);
  bo.shrinkSync();
  bo.advise("dontneed");
  must(own.stats().slots.free === own.stats().slots.total, "what is not needed keeps its slots");
  must(!bo.advise("willneed"), "what is not needed, and all in swap, is said to be there");
}

/** Each pin and mapping counts once, and a buffer that is pinned has its size. */
function holds(bench: Bench): void {
  const { random, device, library } = bench;
  const own = device({ swap: library.ramSwap({ size: 256 * PAGE_SIZE }) }, FRAMES);
  const bo = written(own, 2 + random.below(40), 1);
  const mappings = [bo.mapSync(), bo.mapSync({ length: 1 })];
  const first = random.pick(mappings);
  first.unmap();
  first.unmap();
  must(bo.pinned, "two unmaps of one mapping ended another one");
  for (const mapping of mappings) mapping.unmap();
  must(!bo.pinned, "nothing is mapped, and the buffer is pinned");
  bo.pinSync();
  const other = 1 + random.below(30);
  must(thrown(() => bo.resizeSync(other * PAGE_SIZE)) === "EBUSY", "what is pinned was resized");
  must(thrown(() => bo.resizeSync(bo.size)) === "EBUSY", "what is pinned was resized");
  bo.unpin();
  must(own.global.frames.stuck === 0, `${own.global.frames.stuck} pages count as pinned`);
  bo.shrinkSync();
  must(bo.residentPages === 0, "what is no longer pinned stays");
}

/** A write whose bytes are gone when it comes to copy them shows nobody else's. */
function detached({ random, device }: Bench): void {
  const swap = new Slots(256);
  const own = device({ swap }, FRAMES);
  soil(own);
  const pages = 1 + random.below(20);
  // Takes all of the memory, so that the write below has to wait for some of it to leave.
  written(own, FRAMES, 3);
  const bo = own.createBuffer(pages * PAGE_SIZE);
  const source = filled(pages, 4);
  swap.called = () => {
    if (source.byteLength > 0) structuredClone(source.buffer, { transfer: [source.buffer] });
  };
  must(thrown(() => bo.writeSync(0, source)) !== undefined, "what is detached was written");
  mustShow(bo, new Uint8Array(bo.size));
}

/** A first write that fails takes no memory, and leaves nothing to be seen. */
function undone({ random, device, library }: Bench): void {
  const own = device({ swap: library.ramSwap({ size: 64 * PAGE_SIZE }) }, FRAMES);
  soil(own);
  const pages = 4 + random.below(50);
  const bo = own.createBuffer(pages * PAGE_SIZE);
  const { free } = own.stats().pages;
  own.injectFault("alloc", { probability: 100, times: 40, space: 1 + random.below(4) });
  const code = thrown(() => bo.writeSync(0, filled(pages, 2)));
  own.injectFault("alloc", { probability: 0 });
  if (code === undefined) return;
  must(code === "ENOMEM", `it failed with ${code}`);
  must(own.stats().pages.free === free, "a write that failed took memory");
  mustShow(bo, new Uint8Array(bo.size));
}

/** Swap as large as the data is large enough, whatever pages keep of it. */
function tight({ random, device, library }: Bench): void {
  const frames = 16 + random.below(60);
  const slots = 8 + random.below(100);
  const swap = random.percent(40) ? library.ramSwap({ size: slots * PAGE_SIZE }) : new Slots(slots);
  const own = device({ swap, transferPages: random.pick([1, 3, 256]) }, frames);
  const buffers: { bo: BufferObject; model: Uint8Array }[] = [];
  for (let left = slots; left > 0; ) {
    const pages = Math.min(1 + random.below(random.pick([2, 8, 40])), left, frames - 2);
    const bo = own.createBuffer(pages * PAGE_SIZE);
    const model = filled(pages, left);
    bo.writeSync(0, model);
    buffers.push({ bo, model });
    left -= pages;
  }
  for (let i = 0; i < 60; i++) {
    const { bo, model } = random.pick(buffers);
    const length = 1 + random.below(Math.min(bo.size, random.pick([100, 9000, 200_000])));
    const offset = random.below(bo.size - length + 1);
    const kind = random.below(8);
    if (kind < 2) mustShow(bo, model.subarray(offset, offset + length), offset);
    else if (kind < 5) {
      const data = bytes(length, i);
      bo.writeSync(offset, data);
      model.set(data, offset);
    } else if (kind === 5) bo.shrinkSync();
    else if (kind === 6) own.shrinkSync({ pages: 1 + random.below(frames) });
    else {
      own.shrinkSync();
      must(own.stats().pages.free === frames, "swap as large as the data does not hold it");
    }
  }
  own.check();
  for (const { bo, model } of buffers) mustShow(bo, model);
}

/** Wherever a call fails, and whatever is written then, the next one goes on with all that was there. */
function goesOn({ random, device }: Bench): void {
  const swap = new Slots(256);
  const own = device({ swap, transferPages: random.pick([1, 3, 256]) }, FRAMES);
  const pages = 18 + random.below(44);
  const bo = written(own, pages, 1);
  const model = filled(pages, 1);
  for (let round = 0; round < 8; round++) {
    if (random.percent(80)) bo.shrinkSync();
    let left = random.below(3);
    swap.called = () => {
      if (left-- <= 0) throw broken();
    };
    const page = random.below(pages) * PAGE_SIZE;
    const code = random.percent(50)
      ? thrown(() => bo.readSync(page, new Uint8Array(Math.min(20_000, bo.size - page))))
      : thrown(() => bo.writeSync(page + 1, model.subarray(page + 1, page + 101)));
    must(code === undefined || code === "EIO", `a store that fails, and ${code}`);
    swap.called = () => {};
    for (let writes = random.below(3); writes > 0; writes--) {
      const offset = random.percent(50) ? 0 : random.below(pages) * PAGE_SIZE;
      const data = bytes(1 + random.below(bo.size - offset), round);
      bo.writeSync(offset, data);
      model.set(data, offset);
    }
    mustShow(bo, model);
  }
  own.check();
}

/** A signal that is aborted already stops a call before it does anything. */
function aborted({ random, device, library }: Bench): void {
  const own = device({ swap: library.ramSwap({ size: 64 * PAGE_SIZE }) }, FRAMES);
  const bo = written(own, 1 + random.below(40), 1);
  if (random.percent(50)) bo.shrinkSync();
  const before = bo.residentPages;
  const calls: Record<string, (signal: SimSignal) => unknown> = {
    write: (signal) => bo.writeSync(0, new Uint8Array(9), { signal }),
    read: (signal) => bo.readSync(0, new Uint8Array(9), { signal }),
    map: (signal) => bo.mapSync({ signal }),
    pin: (signal) => bo.pinSync({ signal }),
    populate: (signal) => bo.populateSync({ signal }),
    shrink: (signal) => bo.shrinkSync({ signal }),
    discard: (signal) => bo.discardSync({ signal }),
  };
  for (const [name, call] of Object.entries(calls)) {
    const code = thrown(() => call(new SimSignal(1)));
    must(code === "EINTR", `${name} with an aborted signal: ${code ?? "it was done"}`);
  }
  must(bo.residentPages === before, "calls that were aborted moved pages");
  mustShow(bo, filled(bo.size / PAGE_SIZE, 1));
}

/** Who is called in the midst of a first write sees zeros, or what is written: nobody else's bytes. */
async function reentry({ random, device, library, settle }: Bench): Promise<void> {
  const own = device({ swap: library.ramSwap({ size: 64 * PAGE_SIZE }) }, FRAMES);
  soil(own);
  const pages = 1 + random.below(40);
  const bo = own.createBuffer(pages * PAGE_SIZE);
  const data = filled(pages, 2);
  const shown = new Uint8Array(bo.size);
  own.trace = () => {
    const code = thrown(() => bo.readSync(0, shown));
    must(code === undefined || code === "EBUSY", `a read in the midst of a write: ${code}`);
    if (shown.some((byte) => byte !== 0)) mustEqual(shown, data, "a read in the midst of a write");
  };
  let failure: unknown;
  bo.write(0, data).catch((error) => {
    failure = error;
  });
  await settle();
  own.trace = undefined;
  must(failure === undefined, `the write failed: ${codeOf(failure) ?? failure}`);
  const none = shown.every((byte) => byte === 0);
  mustEqual(shown, none ? new Uint8Array(bo.size) : data, "a read in the midst of a write");
}

export const PROBES: readonly Probe[] = [
  ...[borders, needed, letGo, holds, detached, undone, tight, goesOn, aborted, reentry],
];
