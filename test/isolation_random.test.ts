/*
 * No buffer shows another's bytes, nor those of an earlier owner of its frames and slots, nor its own that were given up.
 * Method: frames and slots are full of poison before; every buffer writes bytes of a value of its own; a random program
 * of all that can be done to buffers runs, on stores that fail as badly as they may (views and slots full of garbage).
 * A model knows each byte. Whatever anybody is shown, views of mappings and targets of reads that failed included, is
 * what the model has.
 */
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  type Device,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
  TtmError,
} from "../src/index.ts";
import { encryptedSwap } from "../src/swap/encrypted.ts";
import { fileSwap } from "../src/swap/file.ts";
import { content, contentSync } from "./support/bytes.ts";
import { randomDelay } from "./support/delays.ts";
import { systemError } from "./support/errors.ts";
import { TempFolder } from "./support/files.ts";
import { MapSwap } from "./support/map_swap.ts";
import { roomySwap } from "./support/packed_swap.ts";
import { type Random, seeded } from "./support/random.ts";
import { someTrim } from "./support/trims.ts";

const FRAMES = 48;
const SLOTS = 256;
/** What lies in frames and slots from before; failed calls leave 0xbd. */
const POISON = 0xee;
/** What is in a target before it is read into. */
const BLANK = 0xdf;
/** Buffers take these in turn. */
const OWN_MAX = 150;

/** A store, and what makes its calls fail from time to time. */
interface Place {
  readonly swap: SwapDevice;
  fail?(random: Random, chance: number): void;
  end?(): void;
}

function mapPlace(swap: MapSwap, wrap: (swap: MapSwap) => SwapDevice = (same) => same): Place {
  return {
    swap: wrap(swap),
    fail(random, chance) {
      swap.before = () => {
        if (random.chance(chance)) throw systemError("EIO");
      };
    },
  };
}

/** A path where a file full of poison was. */
function reusedFile(): Place {
  const folder = new TempFolder();
  const path = folder.file("swap");
  writeFileSync(path, new Uint8Array(SLOTS * PAGE_SIZE).fill(POISON));
  const swap = fileSwap({ path, overwrite: true, size: SLOTS * PAGE_SIZE });
  return { swap, end: () => folder[Symbol.dispose]() };
}

const NOW: Readonly<Record<string, () => Place>> = {
  ram: () => ({ swap: ramSwap({ size: SLOTS * PAGE_SIZE }) }),
  "a device that fails": () => mapPlace(new MapSwap({ slots: SLOTS })),
  "an encrypted one that fails": () => mapPlace(new MapSwap({ slots: SLOTS }), encryptedSwap),
  "a file that was there before": reusedFile,
  "compressed swap": () => ({ swap: roomySwap(SLOTS) }),
};

const LATER: Readonly<Record<string, (random: Random) => Place>> = {
  "a slow device that fails": (random) =>
    mapPlace(new MapSwap({ slots: SLOTS, delay: randomDelay(random) })),
  "compressed swap": () => ({ swap: roomySwap(SLOTS) }),
  "a slow, encrypted one that fails": (random) =>
    mapPlace(new MapSwap({ slots: SLOTS, delay: randomDelay(random) }), encryptedSwap),
};

/** Fills all frames and slots, and gives them up. */
async function poison(device: Device): Promise<void> {
  const bos = Array.from({ length: FRAMES + SLOTS - 8 }, () => device.createBuffer(PAGE_SIZE));
  const bytes = new Uint8Array(PAGE_SIZE).fill(POISON);
  for (const bo of bos) await bo.write(0, bytes);
  for (const bo of bos) bo.destroy();
}

/** A buffer, the value that it writes, and what it holds. */
interface Owned {
  readonly bo: BufferObject;
  readonly own: number;
  model: Uint8Array;
  /** It may be thrown away at any time. */
  dontneed: boolean;
  /** Some of it was already, of windows that it had before it got another size. */
  partly: boolean;
}

/** @throws Error when a byte is neither zero nor the owner's */
function expectOwn({ own, bo }: Owned, bytes: Uint8Array, what: string): void {
  const at = bytes.findIndex((byte) => byte !== 0 && byte !== own && byte !== BLANK);
  if (at >= 0) throw new Error(`${what} of buffer ${bo.id}: byte ${at} is ${bytes[at]}`);
}

/** @throws Error when bytes from `offset` on are not those of the model */
function expectModel(one: Owned, offset: number, bytes: Uint8Array, what: string): void {
  expectOwn(one, bytes, what);
  if (bytes.includes(BLANK)) throw new Error(`${what}: bytes were not filled in`);
  const { model, dontneed } = one;
  const at = bytes.findIndex((byte, i) => byte !== model[offset + i]);
  if (at < 0) return;
  // What was thrown away reads as zeros, all of it.
  if (dontneed && bytes.every((byte) => byte === 0)) {
    model.fill(0);
    return;
  }
  throw new Error(`${what}: byte ${offset + at} is ${bytes[at]}, not ${model[offset + at]}`);
}

/** Most are smaller than a window, some larger than the memory. */
function sizeOf(random: Random): number {
  return 1 + random.below((random.chance(0.2) ? 80 : 30) * PAGE_SIZE);
}

/** Whether it is of several windows, as one stays that was larger. */
function isLarge({ bo }: Owned): boolean {
  return bo.windows.length > 1;
}

/** Runs what may fail, and says whether it did. */
function failed(run: () => void): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof TtmError) return true;
    throw error;
  }
}

/** Bytes of a buffer, of up to some pages. */
function rangeOf(random: Random, size: number): { offset: number; length: number } {
  const offset = random.below(size);
  return { offset, length: 1 + random.below(Math.min(size - offset, 5 * PAGE_SIZE)) };
}

type Step = (random: Random, one: Owned) => void;

const write: Step = (random, one) => {
  const { offset, length } = rangeOf(random, one.bo.size);
  const bytes = new Uint8Array(length).fill(one.own);
  // The call takes the advice back, whether it fails or not: look at what is left first.
  if (one.dontneed) willneed(random, one);
  const written = one.model.slice();
  written.set(bytes, offset);
  if (!failed(() => one.bo.writeSync(offset, bytes))) one.model = written;
  else if (isLarge(one)) look(one, written); // it may have written a window, and not the next one
};

const read: Step = (random, one) => {
  const { offset, length } = rangeOf(random, one.bo.size);
  const target = new Uint8Array(length).fill(BLANK);
  if (failed(() => one.bo.readSync(offset, target))) expectOwn(one, target, "a failed read");
  else expectModel(one, offset, target, "a read");
};

const discard: Step = (random, one) => {
  const { offset, length } = rangeOf(random, one.bo.size);
  if (one.dontneed) willneed(random, one);
  const cleared = one.model.slice().fill(0, offset, offset + length);
  if (failed(() => one.bo.discardSync({ offset, length }))) look(one, cleared);
  else one.model = cleared;
};

const resize: Step = (random, one) => {
  if (one.dontneed) willneed(random, one);
  const size = sizeOf(random);
  if (failed(() => one.bo.resizeSync(size))) return;
  const next = new Uint8Array(size);
  next.set(one.model.subarray(0, size));
  one.model = next;
};

const map: Step = (random, one) => {
  const { offset, length } = rangeOf(random, one.bo.size);
  if (one.dontneed) willneed(random, one);
  failed(() => {
    using mapping = one.bo.mapSync({ offset, length });
    let at = offset;
    for (const segment of mapping.segments) {
      expectModel(one, at, segment, "a view");
      segment.fill(one.own);
      one.model.fill(one.own, at, at + segment.length);
      at += segment.length;
    }
  });
};

const dontneed: Step = (_, one) => {
  if (isLarge(one)) return; // pressure throws some of its windows away, and not others
  one.partly = !one.bo.advise("willneed");
  one.bo.advise("dontneed");
  one.dontneed = true;
};

const willneed: Step = (_, one) => {
  if (!one.dontneed) return; // of several windows each says what became of it until it is written
  if (!one.bo.advise("willneed")) {
    if (one.partly) look(one, new Uint8Array(one.bo.size));
    else one.model.fill(0);
  }
  one.dontneed = false;
};

/** Takes over what a call has left that failed: each byte is as it was, or as it was to be. */
function look(one: Owned, next: Uint8Array): void {
  const seen = new Uint8Array(one.bo.size);
  for (let tries = 0; failed(() => one.bo.readSync(0, seen)); tries++) {
    if (tries === 1000) throw new Error("it cannot be read any more");
  }
  const at = seen.findIndex((byte, i) => byte !== one.model[i] && byte !== next[i]);
  if (at >= 0) throw new Error(`after a call that failed byte ${at} is ${seen[at]}`);
  one.model = seen;
}

const STEPS: readonly Step[] = [
  ...[write, write, write, read, read, read, discard, resize, map, dontneed, willneed],
  (_, { bo }) => void failed(() => bo.shrinkSync()),
  (_, { bo }) => void failed(() => bo.populateSync()),
];

let values = 0;

function create(random: Random, device: Device): Owned {
  const size = sizeOf(random);
  const own = 1 + (values++ % OWN_MAX);
  const bo = device.createBuffer(size);
  return { bo, own, model: new Uint8Array(size), dontneed: false, partly: false };
}

describe.each(Object.entries(NOW))("on %s nobody is shown what is not theirs", (_, placeOf) => {
  test("whatever is done, one after the other", () =>
    seeded(async (random) => {
      for (let round = 0; round < 6; round++) {
        const place = placeOf();
        const device = await createDevice({ memory: FRAMES * PAGE_SIZE, swap: place.swap });
        await poison(device);
        const all = Array.from({ length: 6 }, () => create(random, device));
        for (let step = 0; step < 400; step++) {
          place.fail?.(random, random.chance(0.3) ? 0.2 : 0);
          const at = random.below(all.length);
          const one = all[at] as Owned;
          if (random.chance(0.1)) device.trimSync(someTrim(random));
          if (random.chance(0.03)) {
            one.bo.destroy();
            all[at] = create(random, device);
          } else (STEPS[random.below(STEPS.length)] as Step)(random, one);
        }
        place.fail?.(random, 0);
        for (const one of all) expectModel(one, 0, contentSync(one.bo), "the end");
        device.check();
        for (const { bo } of all) bo.destroy();
        await device.close();
        place.end?.();
      }
    }));
});

/** One operation of many that are in flight together; what it is shown is the owner's or zero. */
async function begin(random: Random, one: Owned): Promise<void> {
  const { bo, own } = one;
  const { offset, length } = rangeOf(random, bo.size);
  const controller = new AbortController();
  const { signal } = controller;
  const bytes = new Uint8Array(length).fill(BLANK);
  const calls = [
    () => bo.write(offset, bytes.fill(own), { signal }),
    () => bo.read(offset, bytes, { signal }),
    () => bo.read(offset, bytes, { signal }),
    () => bo.shrink({ signal }),
    () => bo.populate({ signal }),
    () => bo.discard({ offset, length, signal }),
    async () => {
      const mapping = await bo.map({ offset, length, signal, write: false });
      for (const segment of mapping.segments) expectOwn(one, segment, "a view");
      mapping.unmap();
    },
    async () => bo.advise(random.chance(0.5) ? "dontneed" : "willneed"),
  ];
  const running = (calls[random.below(calls.length)] as () => Promise<unknown>)();
  const kind = random.below(6);
  if (kind === 0) controller.abort();
  if (kind === 1) setTimeout(() => controller.abort(), 1);
  // Whoever waits with these bytes has lost them.
  const kept = kind === 2 ? structuredClone(bytes, { transfer: [bytes.buffer] }) : bytes;
  try {
    await running;
  } catch (error) {
    if (!(error instanceof TtmError || error instanceof TypeError)) throw error;
  }
  expectOwn(one, kept, "an operation");
}

/** Goes on at once with the others. */
async function trim(random: Random, device: Device): Promise<void> {
  await device.trim(someTrim(random));
}

describe.each(Object.entries(LATER))("on %s nobody is shown what is not theirs", (_, placeOf) => {
  test("whatever is done at the same time", () =>
    seeded(async (random) => {
      for (let round = 0; round < 3; round++) {
        const place = placeOf(random);
        const device = await createDevice({ memory: FRAMES * PAGE_SIZE, swap: place.swap });
        await poison(device);
        const all = Array.from({ length: 6 }, () => create(random, device));
        for (let step = 0; step < 40; step++) {
          place.fail?.(random, random.chance(0.3) ? 0.1 : 0);
          const crowd = Array.from({ length: 8 }, () =>
            begin(random, all[random.below(all.length)] as Owned),
          );
          if (random.chance(0.3)) crowd.push(trim(random, device));
          if (random.chance(0.2)) {
            const at = random.below(all.length);
            const { bo } = all[at] as Owned;
            if (!bo.pinned) {
              bo.destroy();
              all[at] = create(random, device);
            }
          }
          await Promise.all(crowd);
        }
        place.fail?.(random, 0);
        for (const one of all) expectOwn(one, await content(one.bo), "the end");
        device.check();
        for (const { bo } of all) bo.destroy();
        expect(device.stats().buffers).toBe(0);
        await device.close();
        place.end?.();
      }
    }));
});
