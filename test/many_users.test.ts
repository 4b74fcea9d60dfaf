/*
 * Many users of one memory, at random: reads, writes, maps, shrinks, advice, Sync calls, aborts, buffers that are
 * destroyed under way, tts of the kernel's layer, and a close in the midst. Whatever they do, nobody sees what he did
 * not write, nobody fails for what others do, all come to an end, and nothing is left.
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
import { fileSwap } from "../src/swap/file.ts";
import { finiTt, Pool, populateTt, shrinkTt, swapoutTt, Tt } from "../src/ttm.ts";
import { pattern } from "./support/bytes.ts";
import { expectRest } from "./support/crowd.ts";
import { randomDelay, until } from "./support/delays.ts";
import { systemError } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";
import { Random, SEED } from "./support/random.ts";
import { expectContent, writeContent } from "./ttm/support/subject.ts";

interface World {
  readonly random: Random;
  readonly devices: readonly Device[];
  readonly users: Buffer[];
  readonly frames: number;
  /** What may go wrong, because it was asked for. */
  readonly faults: boolean;
  readonly closes: boolean;
  mappedPages: number;
}

/** A buffer full of one byte, and which that may be. */
class Buffer {
  readonly bo: BufferObject;
  writers = 0;
  destroyed = false;
  /** It was not needed at some time since the last write was called: it may have been thrown away. */
  thrown = false;
  #may: Set<number> = new Set([0]);
  /** For each read under way, what it may meet. */
  readonly #readers = new Set<Set<number>>();

  constructor(bo: BufferObject) {
    this.bo = bo;
  }

  has(byte: number): boolean {
    return this.#may.has(byte);
  }

  /** From now on it may be full of `byte` as well. */
  may(byte: number): void {
    this.#may.add(byte);
    for (const reader of this.#readers) reader.add(byte);
  }

  /** A write has ended. */
  is(byte: number): void {
    this.#may = new Set([byte]);
    if (this.thrown) this.may(0);
  }

  /** Reads, by `read`, what it may be full of. @throws Lost for anything else */
  async meet(read: () => Promise<number>): Promise<void> {
    const reader = new Set(this.#may);
    this.#readers.add(reader);
    try {
      const seen = await read();
      if (!reader.has(seen)) throw new Lost(`${seen} is read, which nobody wrote`);
    } finally {
      this.#readers.delete(reader);
    }
  }
}

class Lost extends Error {}

type Options = { signal?: AbortSignal };
type Act = (world: World, b: Buffer, options: Options) => Promise<unknown>;

async function write({ random }: World, b: Buffer, options: Options): Promise<void> {
  if (b.writers > 0) return;
  const byte = random.below(256);
  b.writers++;
  b.may(byte);
  b.thrown = false;
  try {
    await b.bo.write(0, new Uint8Array(b.bo.size).fill(byte), options);
    b.is(byte);
  } finally {
    b.writers--;
  }
}

function read(_: World, b: Buffer, options: Options): Promise<void> {
  return b.meet(async () => {
    const bytes = await b.bo.read(0, new Uint8Array(b.bo.size), options);
    const seen = bytes[0] as number;
    if (bytes.some((byte) => byte !== seen)) throw new Lost("a mixture is read");
    return seen;
  });
}

async function map(world: World, b: Buffer, options: Options): Promise<void> {
  const pages = b.bo.size / PAGE_SIZE;
  if (world.mappedPages + pages > world.frames / 4) return;
  world.mappedPages += pages;
  try {
    const mapping = await b.bo.map({ write: false, ...options });
    const seen = mapping.segments[0]?.[0];
    const mixed = mapping.segments.some((segment) => segment.some((byte) => byte !== seen));
    if (world.random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
    mapping.unmap();
    if (mixed) throw new Lost("a mixture is mapped");
  } finally {
    world.mappedPages -= pages;
  }
}

async function advise({ random }: World, b: Buffer): Promise<void> {
  if (random.chance(0.5)) b.bo.advise("willneed");
  else {
    b.may(0);
    b.thrown = true;
    b.bo.advise("dontneed");
    if (random.chance(0.7)) b.bo.advise("willneed");
  }
}

/** What does not wait is let in, or says why not. */
async function sync({ random }: World, b: Buffer): Promise<void> {
  try {
    if (random.chance(0.5)) b.bo.readSync(0, new Uint8Array(1));
    else if (b.writers === 0) {
      const byte = random.below(256);
      b.may(byte);
      b.thrown = false;
      b.bo.writeSync(0, new Uint8Array(b.bo.size).fill(byte));
      b.is(byte);
    }
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EBUSY" && code !== "EWOULDBLOCK") throw error;
  }
}

async function destroy(world: World, b: Buffer): Promise<void> {
  if (b.bo.pinned || b.destroyed) return;
  b.destroyed = true;
  b.bo.destroy();
  const fresh = new Buffer(world.random.pick(world.devices).createBuffer(b.bo.size));
  world.users[world.users.indexOf(b)] = fresh;
  await read(world, fresh, {});
}

/** A shrink finds no slot when memory and swap are full, and no buffer that is mapped. */
const shrinks: Act = async ({ random, devices }, { bo }, options) => {
  const shrinking = random.chance(0.5)
    ? bo.shrink(options)
    : random.pick(devices).shrink({ pages: random.below(32) + 1, ...options });
  await shrinking.catch((error) => {
    if (!["ENOSPC", "EBUSY"].includes((error as { code?: string }).code ?? "")) throw error;
  });
};

const trim: Act = ({ random, devices }) => {
  const means = random.chance(0.2) ? "move" : "madvise";
  return random.pick(devices).trim({ means: [means], budget: "64 MiB" });
};

const ACTS: readonly [number, Act][] = [
  [30, write],
  [45, read],
  [8, map],
  [8, shrinks],
  [6, advise],
  [6, sync],
  [3, destroy],
  [4, trim],
];

function pickAct(random: Random): Act {
  let at = random.below(ACTS.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, act] of ACTS) {
    if (at < weight) return act;
    at -= weight;
  }
  return read;
}

/** @throws what may not go wrong */
function expectAsked(error: unknown, world: World, b: Buffer, aborted: boolean): void {
  const { code, message } = error as { code?: string; message: string };
  if (code === "EINTR" && (aborted || world.closes)) return;
  if (code === "EIO" && world.faults) return;
  if (b.destroyed && /destroyed/.test(message)) return;
  if (world.closes && /device is closed/.test(message)) return;
  throw error;
}

async function user(world: World, rounds: number, aborts: boolean): Promise<void> {
  const { random, users } = world;
  for (let round = 0; round < rounds; round++) {
    const b = random.pick(users);
    const controller = aborts && random.chance(0.3) ? new AbortController() : undefined;
    if (controller) setTimeout(() => controller.abort(), random.below(4));
    try {
      await pickAct(random)(world, b, controller ? { signal: controller.signal } : {});
    } catch (error) {
      expectAsked(error, world, b, controller?.signal.aborted === true);
    }
  }
}

/** Somebody who uses the kernel's layer on the same memory. */
async function kernelUser(world: World, pages: number): Promise<void> {
  const { random, devices } = world;
  const [device] = devices as [Device];
  const pool = new Pool(device.global);
  const tt = new Tt(pages, random.chance(0.3) ? { caching: "wc" } : {});
  const bytes = pattern(random.next(), pages * PAGE_SIZE);
  let written = false;
  try {
    for (let round = 0; round < 6; round++) {
      try {
        await populateTt(pool, tt);
        if (written) expectContent(device.global, tt, bytes);
        else writeContent(pool, tt, bytes);
        written = true;
        await (random.chance(0.5) ? shrinkTt(pool, tt) : swapoutTt(pool, tt));
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        const closed = world.closes && (code === "EINTR" || /device is closed/.test(message));
        if (!closed && code !== "ENOSPC" && !(code === "EIO" && world.faults)) throw error;
        if (closed) return;
      }
    }
  } finally {
    if (!device.closed) {
      await until(() => !tt.lock.held);
      finiTt(pool, tt);
      pool.close();
    }
  }
}

function swapOf(random: Random, kind: string, slots: number, faults: boolean): SwapDevice {
  if (kind === "ram") return ramSwap({ size: slots * PAGE_SIZE });
  if (kind === "file") return fileSwap({ size: slots * PAGE_SIZE });
  const swap = new MapSwap({ slots, delay: randomDelay(random) });
  if (faults) {
    swap.before = () => {
      if (random.chance(0.03)) throw systemError("EIO");
    };
  }
  return swap;
}

/** Buffers that together fill so much of memory and swap. */
async function fill(world: World, budget: number): Promise<void> {
  const { random, devices, frames, users } = world;
  for (let left = budget; left > 0 && users.length < 50; ) {
    const pages = Math.min(1 + random.below(frames / 2 - 4), left);
    left -= pages;
    const b = new Buffer(random.pick(devices).createBuffer(pages * PAGE_SIZE));
    users.push(b);
    for (let tries = 0; b.has(0) && tries < 50; tries++) {
      const byte = 1 + random.below(255);
      await b.bo.write(0, new Uint8Array(b.bo.size).fill(byte)).then(
        () => {
          b.is(byte);
        },
        (error) => {
          if (!world.faults) throw error;
        },
      );
    }
  }
}

async function life(seed: number, closes: boolean): Promise<void> {
  const random = new Random(seed);
  const frames = random.pick([32, 64, 128]);
  const slots = frames * random.pick([2, 3, 8]);
  const kind = random.pick(["map", "map", "map", "ram", "file"]);
  const faults = kind === "map" && random.chance(0.3);
  const swap = swapOf(new Random(seed + 1), kind, slots, faults);
  const watermarks = random.chance(0.3) ? { watermarks: { min: 2, low: 8, high: 16 } } : {};
  const device = createDeviceSync({
    ...{ memory: frames * PAGE_SIZE, swap, ...watermarks },
    ...{ transferPages: random.pick([3, 16, 256]), keepClean: random.chance(0.7) },
  });
  const devices = random.chance(0.4) ? [device, device.createSibling()] : [device];
  const world: World = { random, devices, users: [], frames, faults, closes, mappedPages: 0 };
  await fill(world, Math.floor((frames + slots) * random.pick([0.4, 0.7, 0.85])));
  const aborts = random.chance(0.5);
  const users = Array.from({ length: random.pick([2, 8, 30]) }, () => user(world, 12, aborts));
  // With little in them: nobody else can move their pages.
  if (random.chance(0.4)) users.push(kernelUser(world, 1 + random.below(frames / 8)));
  const all = Promise.all(users);
  all.catch(() => {});
  if (closes) {
    await new Promise((resolve) => setTimeout(resolve, random.below(8)));
    for (const each of devices) await each.close({ force: true });
    await all;
  } else await all;
  await until(() => device.global.tasks.size === 0);
  expectRest(device);
  expect(device.global.engine.check()).toBeUndefined();
  expect((swap as Partial<MapSwap>).broken).toBeUndefined();
  if (!closes) await end(world);
  for (const each of [...devices].reverse()) if (!each.closed) await each.close({ force: true });
}

/** Everybody has what he wrote last, and destroyed, nothing is left of it. */
async function end(world: World): Promise<void> {
  const { devices, users, faults } = world;
  const [device] = devices as [Device];
  for (const b of users) {
    for (let tries = 0; ; tries++) {
      try {
        await read(world, b, {});
        break;
      } catch (error) {
        if (!faults || error instanceof Lost || tries > 50) throw error;
      }
    }
  }
  await until(() => !device.kswapd.running);
  for (const b of users) b.bo.destroy();
  const { pages, slots } = device.stats();
  expect([pages.free + pages.pooled, slots.free]).toEqual([pages.total, slots.total]);
  expect(device.global.frames.stuck).toBe(0);
}

const LIVES = 16;

describe.each([
  { what: "to the end", closes: false },
  { what: "until somebody closes the device", closes: true },
])("many users, $what", ({ closes }) => {
  test.each(Array.from({ length: LIVES }, (_, i) => i))("life %i", async (i) => {
    const seed = SEED + i * 7919;
    try {
      await life(seed, closes);
    } catch (error) {
      const text = error instanceof Error ? error.stack : String(error);
      throw new Error(`with TTM_SEED=${SEED}, life ${i}: ${text}`, { cause: error });
    }
  });
});
