/*
 * Memory that goes back to the host: frames and slots of RAM swap that hold nothing, by whatever means releases a view
 * in place; or all of them at once, with everything else copied to the memory of another instance.
 */
import { H_RAM, MAX_ORDER, PAGE_SIZE } from "../../assembly/abi.ts";
import { type Engine, partsOf } from "./engine.ts";
import { instantiate, size } from "./instance.ts";

/**
 * Has the host take back what a view on a linear memory shows, in place: after it that reads as zeros. Says whether it
 * did; what it throws says that it did not.
 */
export type Release = (view: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory) => boolean;

const WASM_PAGE = 65536;

/** Fewer frames side by side are not worth a call: 64 KiB. */
const LEAST_FRAMES = 16;
/** Frames that are given back at a stretch: 8 MiB take 0.5 to 2 ms. */
const MOST_FRAMES = 2048;

/** Whether a means does on this host what it should, tried on a memory of its own. */
export function isFit(release: Release): boolean {
  try {
    const memory = new WebAssembly.Memory({ initial: 2 });
    return released(release, new Uint8Array(memory.buffer, WASM_PAGE, WASM_PAGE), memory);
  } catch {
    return false;
  }
}

/** Releases a view, and looks whether it is zeros then: at both ends, which were not before. */
function released(
  release: Release,
  view: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): boolean {
  const last = view.length - 1;
  view[0] = view[last] = 1;
  try {
    return release(view, memory) && view[0] === 0 && view[last] === 0;
  } catch {
    return false;
  }
}

/** A walk over all frames that gives back what it comes to; others may be at work between two steps. */
export class FrameWalk {
  readonly #engine: Engine;
  readonly #release: Release;
  readonly #unit: number;
  #next: number;
  /** Frames that went back. */
  pages = 0;
  /** The host refused. */
  refused = false;

  /** @param unit bytes, a power of two: only whole ones at multiples of it can be given back */
  constructor(engine: Engine, release: Release, unit: number) {
    this.#engine = engine;
    this.#release = release;
    this.#unit = Math.max(unit, PAGE_SIZE);
    this.#next = engine.metadataBytes / PAGE_SIZE;
  }

  /** Gives some back. Says whether there is more. */
  step(): boolean {
    const engine = this.#engine;
    const before = engine.residentFrames;
    const { wasm, extents } = partsOf(engine);
    const next = wasm.trimRun(this.#next, LEAST_FRAMES, MOST_FRAMES);
    for (const { slot: page, pages } of extents()) this.#give(page * PAGE_SIZE, pages * PAGE_SIZE);
    this.pages += before - engine.residentFrames;
    // Chunks may be merged until the next step: there one of the largest order surely begins.
    const first = engine.metadataBytes / PAGE_SIZE;
    this.#next = next > 0 ? next - ((next - first) % 2 ** MAX_ORDER) : 0;
    return next > 0 && !this.refused;
  }

  /** These bytes are zeros after it in any case: of whole units by being given back, others are cleared. */
  #give(address: number, length: number): void {
    const engine = this.#engine;
    const from = Math.ceil(address / this.#unit) * this.#unit;
    const to = Math.floor((address + length) / this.#unit) * this.#unit;
    const { wasm } = partsOf(engine);
    if (from < to && released(this.#release, engine.view(from, to - from), wasm.memory)) {
      engine.view(address, from - address).fill(0);
      engine.view(to, address + length - to).fill(0);
      return;
    }
    engine.view(address, length).fill(0);
    if (from >= to) return;
    this.refused = true;
    wasm.trimRefused(address / PAGE_SIZE, length / PAGE_SIZE);
  }
}

/** Gives back what free slots of RAM swap hold. Returns bytes. */
export function releaseSlots(engine: Engine, release: Release, unit: number): number {
  const { wasm, word } = partsOf(engine);
  let bytes = 0;
  for (const { slot, pages } of engine.slotsDiscard()) {
    const address = word(H_RAM) + (slot - 1) * PAGE_SIZE;
    const from = Math.ceil(address / unit) * unit;
    const length = Math.floor((address + pages * PAGE_SIZE) / unit) * unit - from;
    try {
      if (length > 0 && release(engine.view(from, length), wasm.memory)) bytes += length;
    } catch {
      // They hold nothing, so nothing is lost.
    }
  }
  return bytes;
}

/** A linear memory that nobody has touched, and which therefore takes addresses only. */
export function untouchedMemory(bytes: number): object {
  return new WebAssembly.Memory({ initial: bytes / WASM_PAGE });
}

/** What a move came to. */
interface Left {
  /** Bytes that the old memory had, of frames and slots that hold nothing. */
  readonly bytes: number;
  /** Bytes that were copied. */
  readonly copied: number;
  /** The old memory: gone when nobody holds it any more. */
  readonly buffer: object;
}

/**
 * Moves everything to a memory of the same size, to the same addresses, and leaves the old one to the host. Nobody may
 * hold views on it, and no pages may be on their way.
 *
 * @throws TtmError ENOMEM when the host has no room for another memory
 */
export function moveMemory(engine: Engine): Left {
  const { module, wasm, extents, use } = partsOf(engine);
  const { buffer } = wasm.memory;
  const frames = engine.residentFrames;
  const fresh = instantiate(module, buffer.byteLength);
  size(fresh, buffer.byteLength / WASM_PAGE);
  const target = new Uint8Array(fresh.memory.buffer);
  let copied = 0;
  let next = 0;
  do {
    next = wasm.livePages(next);
    for (const { slot: page, pages } of extents()) {
      target.set(new Uint8Array(buffer, page * PAGE_SIZE, pages * PAGE_SIZE), page * PAGE_SIZE);
      copied += pages * PAGE_SIZE;
    }
  } while (next > 0);
  use(fresh);
  return { bytes: nothingLeft(engine, frames) * PAGE_SIZE, copied, buffer };
}

/** In a fresh memory what holds nothing takes none. Returns pages that it took, of `frames` that there was memory for. */
function nothingLeft(engine: Engine, frames: number): number {
  const { wasm } = partsOf(engine);
  const all = engine.geometry.frames;
  for (let at = engine.metadataBytes / PAGE_SIZE; at > 0; ) at = wasm.trimRun(at, 1, all);
  const slots = engine.geometry.ram ? engine.slotsDiscard() : [];
  return frames - engine.residentFrames + slots.reduce((sum, { pages }) => sum + pages, 0);
}
