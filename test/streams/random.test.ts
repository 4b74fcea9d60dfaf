/* Streams in and out of buffers by many users at once, in chunks of random sizes, against plain bytes. */
import { describe, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { randomDelay, turn, until } from "../support/delays.ts";
import { expectAllFree } from "../support/devices.ts";
import { systemError } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { roomySwap } from "../support/packed_swap.ts";
import { Random, seeded } from "../support/random.ts";
import { bytesOf, Given, joined } from "../support/streams.ts";
import { someTrim } from "../support/trims.ts";

const FRAMES = 256;
const SLOTS = 4096;
const USERS = 6;
const STEPS = 25;
const SIZE_MAX = 600_000;

type Chunk = Uint8Array<ArrayBuffer>;

/** Parts of random sizes, some of none. */
function* randomParts(random: Random, bytes: Chunk): Generator<Chunk> {
  const most = random.pick([700, 20_000, 300_000]);
  for (let at = 0; at < bytes.length; ) {
    const length = random.below(Math.ceil((bytes.length * most) / SIZE_MAX) + 50);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

async function* slowly(random: Random, parts: Iterable<Chunk>): AsyncGenerator<Chunk> {
  for (const part of parts) {
    if (random.chance(0.1)) await turn();
    yield part;
  }
}

/** Cuts what comes through into other chunks. */
function cutter(random: Random): TransformStream<Chunk, Chunk> {
  return new TransformStream({
    transform(chunk, controller) {
      // Copies: what comes in may be of a size that only a whole chunk has.
      for (const part of randomParts(random, chunk.slice())) controller.enqueue(part);
    },
  });
}

class User {
  readonly #random: Random;
  readonly #device: Device;
  #buffer: BufferObject | undefined;
  #model: Chunk = new Uint8Array();

  constructor(random: Random, device: Device) {
    this.#random = random;
    this.#device = device;
  }

  async step(): Promise<void> {
    const random = this.#random;
    if (!this.#buffer || random.chance(0.15)) await this.#replace();
    const buffer = this.#buffer as BufferObject;
    const offset = random.below(buffer.size);
    const length = random.below(buffer.size - offset) + 1;
    const chosen = random.below(100);
    if (chosen < 30) await this.#write(buffer, offset, length);
    else if (chosen < 50) await this.#read(buffer, offset, length);
    else if (chosen < 65) await this.#readInto(buffer, offset, length);
    else if (chosen < 75) await this.#leave(buffer, offset);
    else if (chosen < 85) await this.#blob(buffer, offset, length);
    else if (chosen < 90) await this.#zip(buffer);
    else if (chosen < 95) await this.#device.trim(someTrim(random));
    else await this.#abortedFrom();
  }

  async end(): Promise<void> {
    const buffer = this.#buffer;
    if (!buffer) return;
    expectSame(await content(buffer), this.#model, "a buffer in the end");
    buffer.destroy();
  }

  async #replace(): Promise<void> {
    const random = this.#random;
    const bytes = pattern(random.next(), random.below(SIZE_MAX) + 1);
    const parts = randomParts(random, bytes);
    const source = [
      () => bytes,
      () => new Blob([...parts]),
      () => new Response(new Given(parts).stream),
      () => new Given(parts).stream,
      () => slowly(random, parts),
      () => parts,
    ];
    const size = random.chance(0.3) ? { size: bytes.length + random.below(2) * 5000 } : {};
    const made = await this.#device.bufferFrom(random.pick(source)(), size);
    this.#buffer?.destroy();
    this.#buffer = made;
    this.#model = bytes;
    if (made.size !== bytes.length) throw new Error(`${made.size} bytes, not ${bytes.length}`);
  }

  async #write(buffer: BufferObject, offset: number, length: number): Promise<void> {
    const bytes = pattern(this.#random.next(), length);
    const into = buffer.writable(offset);
    try {
      await new Given(randomParts(this.#random, bytes)).stream.pipeTo(into);
    } catch (error) {
      // Some of it may have been written. All of it the second time, at a stretch, or the buffer is done with.
      await buffer.write(offset, bytes).catch(() => this.#giveUp(buffer));
      throw error;
    } finally {
      this.#model.set(bytes, offset);
    }
  }

  #giveUp(buffer: BufferObject): void {
    buffer.destroy();
    this.#buffer = undefined;
    // What is set there when all has failed is nobody's.
    this.#model = this.#model.slice();
  }

  async #read(buffer: BufferObject, offset: number, length: number): Promise<void> {
    const bytes = await bytesOf(buffer.readable({ offset, length }));
    expectSame(bytes, this.#model.subarray(offset, offset + length), "a stream");
  }

  async #readInto(buffer: BufferObject, offset: number, length: number): Promise<void> {
    const random = this.#random;
    const reader = buffer.readable({ offset, length }).getReader({ mode: "byob" });
    const chunks: Uint8Array[] = [];
    const most = random.pick([3000, 70_000, 2_000_000]);
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(random.below(most) + 1));
      if (done) break;
      chunks.push(value);
    }
    expectSame(joined(chunks), this.#model.subarray(offset, offset + length), "a reader's memory");
  }

  /** Reads some of it, and no more. */
  async #leave(buffer: BufferObject, offset: number): Promise<void> {
    const reader = buffer.readable({ offset }).getReader();
    const { value } = await reader.read();
    const rest = reader.read();
    await reader.cancel("enough");
    await rest;
    const bytes = value as Uint8Array;
    expectSame(bytes, this.#model.subarray(offset, offset + bytes.length), "the first chunk");
  }

  async #blob(buffer: BufferObject, offset: number, length: number): Promise<void> {
    const made = await buffer.blob({ offset, length });
    const bytes = new Uint8Array(await made.arrayBuffer());
    expectSame(bytes, this.#model.subarray(offset, offset + length), "a blob");
  }

  /** Through gzip and back, and through chunks of other sizes, into a buffer that takes its place. */
  async #zip(buffer: BufferObject): Promise<void> {
    const stream = (buffer.readable() as ReadableStream<Chunk>)
      .pipeThrough(cutter(this.#random))
      .pipeThrough(new CompressionStream("gzip"))
      .pipeThrough(new DecompressionStream("gzip"));
    const copy = await this.#device.bufferFrom(stream);
    buffer.destroy();
    this.#buffer = copy;
    expectSame(await content(copy), this.#model, "what was unpacked");
  }

  async #abortedFrom(): Promise<void> {
    const random = this.#random;
    const controller = new AbortController();
    const { signal } = controller;
    const parts = randomParts(random, pattern(1, random.below(SIZE_MAX) + 1));
    const running = this.#device.bufferFrom(slowly(random, parts), { signal });
    const turns = random.below(6);
    const abort = async () => {
      for (let i = 0; i < turns; i++) await turn();
      controller.abort();
    };
    const [made] = await Promise.allSettled([running, abort()]);
    if (made.status === "fulfilled") made.value.destroy();
    else throw made.reason;
  }
}

/** @throws what was not asked for */
function expectFault(error: unknown, faults: boolean): void {
  const code = (error as { code?: string }).code ?? "";
  if (code === "EINTR" || (faults && code === "EIO")) return;
  throw error;
}

interface Kind {
  readonly faults: boolean;
  create(random: Random): Promise<{ device: Device; swap?: MapSwap }>;
}

const memory = FRAMES * PAGE_SIZE;
const KINDS: Record<string, Kind> = {
  "RAM swap": {
    faults: false,
    create: async () => ({
      device: createDeviceSync({ memory, swap: ramSwap({ size: SLOTS * PAGE_SIZE }) }),
    }),
  },
  "a file": {
    faults: false,
    create: async () => ({
      device: await createDevice({ memory, swap: fileSwap({ size: "32 MiB" }) }),
    }),
  },
  "compressed swap": {
    faults: false,
    create: async () => ({ device: createDeviceSync({ memory, swap: roomySwap(SLOTS) }) }),
  },
  "a map that takes time, and fails now and then": {
    faults: true,
    create: async (random) => {
      const swap = new MapSwap({ slots: SLOTS, delay: randomDelay(random) });
      swap.before = () => {
        if (random.chance(0.01)) throw systemError("EIO");
      };
      return { device: createDeviceSync({ memory, swap }), swap };
    },
  },
};

describe.each(Object.entries(KINDS))("on %s", (_, { create, faults }) => {
  test("many users get every byte back, and leave nothing", () =>
    seeded(async (random) => {
      const { device, swap } = await create(random);
      const users = Array.from(
        { length: USERS },
        () => new User(new Random(random.next()), device),
      );
      await Promise.all(
        users.map(async (user) => {
          for (let step = 0; step < STEPS; step++) {
            await user.step().catch((error) => expectFault(error, faults));
          }
        }),
      );
      device.check();
      if (swap) swap.before = undefined;
      for (const user of users) await user.end();
      await until(() => device.global.tasks.size === 0);
      expectRest(device);
      expectAllFree(device);
      if (swap?.broken) throw new Error(swap.broken);
      await device.close();
    }));
});
