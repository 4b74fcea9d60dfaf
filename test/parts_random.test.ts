/*
 * Parts of buffers, some of them larger than the memory, read and written at random, show what a copy of the bytes
 * shows.
 */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../src/index.ts";
import { compressedSwap } from "../src/swap/compressed.ts";
import { fileSwap } from "../src/swap/file.ts";
import { scriptedSwap } from "../src/testing.ts";
import { piecesOf } from "../src/window.ts";
import { content, expectSame, mixedPattern } from "./support/bytes.ts";
import { randomDelay } from "./support/delays.ts";
import { expectAllFree } from "./support/devices.ts";
import { systemError } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { roomySwap } from "./support/packed_swap.ts";
import { Random, seeded } from "./support/random.ts";
import { CountingSignal } from "./support/signals.ts";
import { someTrim } from "./support/trims.ts";

const FRAMES = 160;
const SLOTS = 2048;
const STEPS = 600;
/** Operations at a time where they are async, each on a buffer of its own. */
const TOGETHER = 4;

interface Kind {
  readonly isAsync: boolean;
  readonly faults: boolean;
  swap(random: Random): SwapDevice;
}

function failing(swap: MapSwap, random: Random): MapSwap {
  swap.before = () => {
    if (random.chance(0.03)) throw systemError("EIO");
  };
  return swap;
}

/** Fails now and then, stores a part of what it should, and takes its time if it may. */
function scripted(pairs: "sync" | "async", random: Random): SwapDevice {
  return scriptedSwap({
    slots: SLOTS,
    pairs,
    script: ({ kind, sync }) => {
      if (kind === "discard") return undefined;
      if (random.chance(0.02)) return { error: systemError("EIO") };
      if (kind === "write" && random.chance(0.1)) return { take: random.below(4) };
      return !sync && random.chance(0.3) ? { wait: 0 } : undefined;
    },
  });
}

const KINDS: Record<string, Kind> = {
  "RAM swap": { isAsync: false, faults: false, swap: () => ramSwap({ size: SLOTS * PAGE_SIZE }) },
  "a map that fails now and then": {
    isAsync: false,
    faults: true,
    swap: (random) => failing(new MapSwap({ slots: SLOTS }), random),
  },
  "a map that takes time, and fails now and then": {
    isAsync: true,
    faults: true,
    swap: (random) => failing(new MapSwap({ slots: SLOTS, delay: randomDelay(random) }), random),
  },
  "a file": { isAsync: false, faults: false, swap: () => fileSwap({ size: "8 MiB" }) },
  "a file, in the async form": {
    isAsync: true,
    faults: false,
    swap: () => fileSwap({ size: "8 MiB" }),
  },
  "compressed swap": { isAsync: false, faults: false, swap: () => roomySwap(SLOTS) },
  "compressed swap, in the async form": {
    isAsync: true,
    faults: false,
    swap: () => roomySwap(SLOTS),
  },
  "compressed swap that has less memory than slots": {
    isAsync: false,
    faults: true,
    swap: () => compressedSwap({ size: SLOTS * PAGE_SIZE, limit: "1 MiB" }),
  },
  "a scripted device": { isAsync: false, faults: true, swap: (random) => scripted("sync", random) },
  "a scripted device that takes time": {
    isAsync: true,
    faults: true,
    swap: (random) => scripted("async", random),
  },
};

/** A buffer, the bytes it should hold, and where it is read on. */
class Subject {
  readonly #bo: BufferObject;
  readonly #model: Uint8Array;
  readonly #isAsync: boolean;
  #next = 0;

  constructor(bo: BufferObject, isAsync: boolean) {
    this.#bo = bo;
    this.#model = new Uint8Array(bo.size);
    this.#isAsync = isAsync;
  }

  async step(random: Random, signal: CountingSignal): Promise<void> {
    const { size } = this.#bo;
    const length = Math.min(
      random.below(random.pick([100, 9000, 200_000])) + 1,
      size,
      100 * PAGE_SIZE,
    );
    const offset = random.below(size - length + 1);
    const chosen = random.below(100);
    if (chosen < 30) await this.#read(offset, length, signal);
    else if (chosen < 45) await this.#readOn(length, signal);
    else if (chosen < 70) await this.#write(random.next(), offset, length, signal);
    else if (chosen < 80) await this.#map(random.next(), offset, length, signal);
    else if (chosen < 85) await this.#populate(offset, length, signal);
    else if (chosen < 88) this.#bo.advise(random.pick(["random", "sequential", "normal"]));
    else if (chosen < 93) await this.#shrink(signal);
    else if (chosen < 97) await this.#discard(offset, length, signal);
    else await this.#read(0, size, signal); // all of it, however large
  }

  async check(): Promise<void> {
    expectSame(await content(this.#bo), this.#model, `buffer ${this.#bo.id} in the end`);
    this.#bo.destroy();
  }

  async #read(offset: number, length: number, signal: CountingSignal): Promise<void> {
    const target = new Uint8Array(length);
    if (this.#isAsync) await this.#bo.read(offset, target, { signal });
    else this.#bo.readSync(offset, target, { signal });
    this.#expect(target, offset);
  }

  async #readOn(length: number, signal: CountingSignal): Promise<void> {
    if (this.#next >= this.#bo.size) this.#next = 0;
    const some = Math.min(length, this.#bo.size - this.#next);
    await this.#read(this.#next, some, signal);
    this.#next += some;
  }

  async #write(
    seed: number,
    offset: number,
    length: number,
    signal: CountingSignal,
  ): Promise<void> {
    const bytes = mixedPattern(seed, length);
    try {
      if (this.#isAsync) await this.#bo.write(offset, bytes, { signal });
      else this.#bo.writeSync(offset, bytes, { signal });
      this.#model.set(bytes, offset);
    } catch (error) {
      await this.#partlyWritten(offset, bytes);
      throw error;
    }
  }

  /** A write to several windows that was stopped wrote those before whole, and none after. */
  async #partlyWritten(offset: number, bytes: Uint8Array): Promise<void> {
    let stopped = false;
    const pieces = piecesOf(this.#bo.windows, offset, bytes.length);
    for (const { done, length } of pieces.length > 1 ? pieces : []) {
      const piece = bytes.subarray(done, done + length);
      const got = await this.#inTheEnd(offset + done, length);
      const written: boolean = !stopped && got.every((byte, i) => byte === piece[i]);
      if (!written) this.#expect(got, offset + done);
      stopped ||= !written;
      this.#model.set(got, offset + done);
    }
  }

  /** Bytes that are asked for until nothing fails. */
  async #inTheEnd(offset: number, length: number): Promise<Uint8Array> {
    for (;;) {
      try {
        const target = new Uint8Array(length);
        return this.#isAsync
          ? await this.#bo.read(offset, target)
          : this.#bo.readSync(offset, target);
      } catch (error) {
        expectFault(error, true);
      }
    }
  }

  async #map(seed: number, offset: number, length: number, signal: CountingSignal): Promise<void> {
    const options = { offset, length, signal, write: seed % 2 === 0 };
    using mapping = this.#isAsync ? await this.#bo.map(options) : this.#bo.mapSync(options);
    const bytes = mixedPattern(seed, length);
    let at = 0;
    for (const segment of mapping.segments) {
      this.#expect(segment, offset + at);
      if (options.write) segment.set(bytes.subarray(at, at + segment.length));
      at += segment.length;
    }
    expect(at).toBe(length);
    if (options.write) this.#model.set(bytes, offset);
  }

  async #populate(offset: number, length: number, signal: CountingSignal): Promise<void> {
    if (this.#isAsync) await this.#bo.populate({ offset, length, signal });
    else this.#bo.populateSync({ offset, length, signal });
  }

  async #shrink(signal: CountingSignal): Promise<void> {
    if (this.#isAsync) await this.#bo.shrink({ signal });
    else this.#bo.shrinkSync({ signal });
  }

  async #discard(offset: number, length: number, signal: CountingSignal): Promise<void> {
    try {
      if (this.#isAsync) await this.#bo.discard({ offset, length, signal });
      else this.#bo.discardSync({ offset, length, signal });
    } catch (error) {
      expectFault(error, true);
      await this.#lookAt(offset, length);
      return;
    }
    this.#model.fill(0, offset, offset + length);
  }

  /** Takes over what a discard that failed did: each end of a window's bytes, and what lies between, may be zeros. */
  async #lookAt(offset: number, length: number): Promise<void> {
    const seen = await this.#readAgain(offset, length);
    for (const piece of piecesOf(this.#bo.windows, offset, length)) {
      const start = offset + piece.done;
      const end = start + piece.length;
      const first = Math.min(Math.ceil(start / PAGE_SIZE) * PAGE_SIZE, end);
      const last = Math.max(Math.floor(end / PAGE_SIZE) * PAGE_SIZE, first);
      for (const [from, to] of [
        [start, first],
        [first, last],
        [last, end],
      ] as const) {
        if (seen.subarray(from - offset, to - offset).every((byte) => byte === 0)) {
          this.#model.fill(0, from, to);
        }
      }
    }
    this.#expect(seen, offset);
  }

  /** However often the device fails. */
  async #readAgain(offset: number, length: number): Promise<Uint8Array> {
    for (let tries = 0; ; tries++) {
      try {
        const target = new Uint8Array(length);
        return this.#isAsync
          ? await this.#bo.read(offset, target)
          : this.#bo.readSync(offset, target);
      } catch (error) {
        expectFault(error, true);
        if (tries > 1000) throw error;
      }
    }
  }

  #expect(actual: Uint8Array, offset: number): void {
    const expected = this.#model.subarray(offset, offset + actual.length);
    expectSame(actual, expected, `buffer ${this.#bo.id} from byte ${offset} on`);
  }
}

/** @throws what is no fault that was asked for */
function expectFault(error: unknown, faults: boolean): void {
  const code = (error as { code?: string }).code ?? "";
  // A short write says that the store is full, and now and then nothing at all was taken.
  if (code === "EINTR" || (faults && (code === "EIO" || code === "ENOSPC"))) return;
  throw error;
}

/** Frames go back to the host between any two steps. */
async function trim(random: Random, device: Device, isAsync: boolean): Promise<void> {
  const options = someTrim(random);
  if (isAsync) await device.trim(options);
  else device.trimSync(options);
}

async function run(
  random: Random,
  device: Device,
  { isAsync, faults }: Kind,
  trims: boolean,
): Promise<void> {
  const subjects = Array.from({ length: 10 }, (_, i) => {
    const pages = [17 + random.below(100), 1 + random.below(40), 1 + random.below(40)];
    if (i === 0) pages[0] = FRAMES + random.below(3 * FRAMES);
    const bytes = (pages[i % 3] as number) * PAGE_SIZE;
    return new Subject(device.createBuffer(bytes - random.below(PAGE_SIZE)), isAsync);
  });
  for (let step = 0; step < STEPS; step += TOGETHER) {
    const first = random.below(subjects.length);
    const steps = Array.from({ length: TOGETHER }, async (_, i) => {
      const own = new Random(random.next());
      const subject = subjects[(first + i) % subjects.length] as Subject;
      const looks = own.chance(0.2) ? own.below(own.pick([4, 30])) + 1 : undefined;
      try {
        await subject.step(own, new CountingSignal(looks));
        if (trims) await trim(own, device, isAsync);
      } catch (error) {
        expectFault(error, faults);
      }
    });
    await Promise.all(steps);
    device.check();
  }
}

describe.each([
  { keepClean: true, trims: false },
  { keepClean: true, trims: true },
  { keepClean: false, trims: false },
])("with clean pages kept: $keepClean, and trims: $trims", ({ keepClean, trims }) => {
  test.each(Object.entries(KINDS))("%s", (_, kind) =>
    seeded(async (random) => {
      const swap = kind.swap(random);
      const memory = FRAMES * PAGE_SIZE;
      const device = createDeviceSync({ memory, swap, keepClean, transferPages: 16 });
      await run(random, device, kind, trims);
      expect((swap as MapSwap).broken).toBeUndefined();
      await device.close({ force: true });
    }),
  );
});

test("and in the end every byte is there, and every page and slot is free", () =>
  seeded(async (random) => {
    const kind = KINDS["RAM swap"] as Kind;
    const device = createDeviceSync({ memory: FRAMES * PAGE_SIZE, swap: kind.swap(random) });
    const subjects = Array.from(
      { length: 12 },
      (_, i) =>
        new Subject(device.createBuffer((20 + 10 * i + (i === 5 ? 400 : 0)) * PAGE_SIZE), false),
    );
    for (let step = 0; step < STEPS; step++) {
      await random.pick(subjects).step(random, new CountingSignal());
    }
    device.check();
    for (const subject of subjects) await subject.check();
    expectAllFree(device);
  }));
