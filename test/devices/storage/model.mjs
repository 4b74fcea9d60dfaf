/* Buffers of a pool that is far too small for them, used by many at once, against arrays. */
import { equal, pattern, same } from "../../runtimes/check.mjs";

/** A small generator of repeatable random numbers (mulberry32): whole ones below `limit`. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** Runs a random test; its failure names the seed. */
export async function seeded(run) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  try {
    await run(randomOf(seed));
  } catch (error) {
    throw new Error(`with seed ${seed}: ${error?.stack ?? error}`);
  }
}

const USERS = 4;
const BUFFERS = 6;
const BYTES_MAX = 300_000;

/** A failure that a store may cause changes nothing, so the model stays as it was. */
export class Model {
  #device;
  #tolerates;
  #users = [];
  /** How often something failed as it may. */
  failures = 0;

  /** @param tolerates which failures may be */
  constructor(device, tolerates = () => false) {
    this.#device = device;
    this.#tolerates = tolerates;
    for (let i = 0; i < USERS; i++) this.#users.push([]);
  }

  /** So many operations, four at a time; each user has buffers of its own. */
  async run(random, operations) {
    let left = operations;
    await Promise.all(
      this.#users.map(async (entries) => {
        while (left-- > 0) await this.#step(random, entries);
      }),
    );
  }

  async #step(random, entries) {
    const at = random(BUFFERS);
    const entry = entries[at];
    try {
      if (entry) await this.#use(random, entries, entry);
      else {
        const bytes = new Uint8Array(random(BYTES_MAX) + 1);
        entries.push({ buffer: this.#device.createBuffer(bytes.length), bytes });
      }
    } catch (error) {
      if (!this.#tolerates(error)) throw error;
      this.failures++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #use(random, entries, { buffer, bytes }) {
    const from = random(bytes.length);
    const length = random(Math.min(bytes.length - from, 100_000) + 1);
    const action = random(20);
    if (action < 9) {
      const source = pattern(random(1e6), length);
      await buffer.write(from, source);
      bytes.set(source, from);
    } else if (action < 17) {
      const target = await buffer.read(from, new Uint8Array(length));
      same(target, bytes.subarray(from, from + length), "a part");
    } else if (action < 19) await (action === 17 ? this.#device : buffer).shrink();
    else {
      buffer.destroy();
      entries.splice(
        entries.findIndex((each) => each.buffer === buffer),
        1,
      );
    }
  }

  /** Every byte of every buffer. */
  async verify() {
    for (const { buffer, bytes } of this.#users.flat()) {
      same(await buffer.read(0, new Uint8Array(bytes.length)), bytes, "a buffer");
    }
    this.#device.check();
  }

  /** Reads all that can be read; the rest must fail as it may. Returns how many did. */
  async verifyOrFail() {
    let failed = 0;
    for (const { buffer, bytes } of this.#users.flat()) {
      let target;
      try {
        target = await buffer.read(0, new Uint8Array(bytes.length));
      } catch (error) {
        if (!this.#tolerates(error)) throw error;
        failed++;
        continue;
      }
      same(target, bytes, "a buffer");
    }
    this.#device.check();
    return failed;
  }

  /** Ends all buffers. */
  forget() {
    for (const entries of this.#users) {
      for (const { buffer } of entries.splice(0)) buffer.destroy();
    }
  }

  async end() {
    this.forget();
    const { slots } = this.#device.stats();
    equal(slots.free, slots.total, "free slots");
    await this.#device.close();
  }
}
