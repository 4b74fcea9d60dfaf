/* The codec: held against the format, against damage, and against writing where it must not. */
import { Buffer } from "node:buffer";
import process from "node:process";
import { expect, test } from "vitest";
import {
  BLOCK_BYTES,
  CODEC_BYTES,
  CODEC_PACKED,
  CODEC_RAW,
  PAGE_SIZE,
} from "../../assembly/abi.ts";
import { codecOf } from "../../src/codec/codec.ts";
import { codecModule } from "../../src/codec/module.ts";
import { expectSame } from "../support/bytes.ts";
import { corpus } from "../support/corpus.ts";
import { decode, randomBlock } from "../support/lz4.ts";
import { type Random, seeded } from "../support/random.ts";

const codec = codecOf(codecModule(), "module");
const memory = codec.bytes;

/** Bytes that copies may go beyond the end. */
const SLACK = 16;
const GUARD = 0xa5;
const GUARD_BYTES = 64;

function guards(from: number): Uint8Array {
  return memory.subarray(from, from + GUARD_BYTES);
}

/** @throws Error when a byte behind RAW or PACKED was written, or one before it */
function guarded<T>(raw: number, packed: number, work: () => T): T {
  const all = [
    guards(CODEC_RAW - GUARD_BYTES),
    guards(CODEC_RAW + raw + SLACK),
    guards(CODEC_PACKED - GUARD_BYTES),
    guards(CODEC_PACKED + packed + SLACK),
  ];
  for (const each of all) each.fill(GUARD);
  const result = work();
  for (const each of all) {
    if (each.every((byte) => byte === GUARD)) continue;
    throw new Error(`a byte at ${each.byteOffset} or behind was written`);
  }
  return result;
}

/** What the codec makes of bytes; 0 when it is more than `room`. */
function compressed(bytes: Uint8Array, room: number): number {
  memory.set(bytes, CODEC_RAW);
  const size = guarded(bytes.length, room, () => codec.compress(0, bytes.length, room));
  expectSame(memory.subarray(CODEC_RAW, CODEC_RAW + bytes.length), bytes, "what was compressed");
  if (size > room) throw new Error(`${size} bytes in a room of ${room}`);
  return size;
}

function block(size: number): Uint8Array<ArrayBuffer> {
  return memory.slice(CODEC_PACKED, CODEC_PACKED + size);
}

/** What the codec makes of a block. */
function decompressed(
  from: Uint8Array,
  wanted: number,
  whole: boolean,
): Uint8Array<ArrayBuffer> | undefined {
  memory.set(from, CODEC_PACKED);
  const result = guarded(wanted, from.length, () => codec.decompress(from.length, wanted, whole));
  expectSame(memory.subarray(CODEC_PACKED, CODEC_PACKED + from.length), from, "the block");
  if (result !== 0 && result !== -1) throw new Error(`decompress returned ${result}`);
  return result === 0 ? memory.slice(CODEC_RAW, CODEC_RAW + wanted) : undefined;
}

/** Room for whatever a block of so many bytes may become. */
const roomFor = (bytes: number) => Math.min(bytes + Math.ceil(bytes / 255) + 16, BLOCK_BYTES);

function expectRoundTrip(bytes: Uint8Array, what: string): void {
  const size = compressed(bytes, roomFor(bytes.length));
  if (size === 0) throw new Error(`${what} did not fit`);
  const packed = block(size);
  const byFormat = decode(packed, bytes.length, true);
  if (!byFormat) throw new Error(`${what} became no LZ4 block`);
  expectSame(byFormat, bytes, `${what}, decoded by the format`);
  const back = decompressed(packed, bytes.length, true);
  if (!back) throw new Error(`${what} could not be decompressed`);
  expectSame(back, bytes, what);
}

test.each([1, 4, 15])("every block of %i pages of a corpus comes back", (pages) => {
  const bytes = corpus(2 ** 22, pages * PAGE_SIZE);
  for (let at = 0; at < bytes.length; at += pages * PAGE_SIZE) {
    expectRoundTrip(bytes.subarray(at, at + pages * PAGE_SIZE), `the block at ${at}`);
  }
});

/** Bytes with few or many matches, near and far. */
function mixed(random: Random, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const values = random.pick([1, 2, 4, 16, 256]);
  for (let at = 0; at < length; ) {
    const some = 1 + random.below(random.pick([3, 20, 300]));
    const offset = 1 + random.below(Math.max(at, 1));
    const copied = at > 0 && random.chance(0.5);
    for (let i = 0; i < some && at < length; i++, at++) {
      bytes[at] = copied ? (bytes[at - offset] as number) : random.below(values);
    }
  }
  return bytes;
}

test("bytes of any length and kind come back", () =>
  seeded((random) => {
    for (let length = 1; length < 300; length++) {
      expectRoundTrip(mixed(random, length), `${length} bytes`);
      expectRoundTrip(new Uint8Array(length).fill(random.below(256)), `${length} equal bytes`);
    }
    for (let i = 0; i < 300; i++) {
      const length = 1 + random.below(65000);
      expectRoundTrip(mixed(random, length), `mixed block ${i}, of ${length} bytes`);
    }
  }));

test("what does not fit its room is refused, and nothing is written behind that", () =>
  seeded((random) => {
    for (let i = 0; i < 2000; i++) {
      const bytes = mixed(random, 1 + random.below(random.pick([40, 700, 9000])));
      const size = compressed(bytes, roomFor(bytes.length));
      const room = random.below(size + 1);
      const packed = compressed(bytes, room);
      if (packed === 0) continue;
      expectSame(decompressed(block(packed), bytes.length, true) ?? bytes, bytes, "a tight block");
    }
    const noise = Uint8Array.from({ length: PAGE_SIZE }, () => random.below(256));
    expect(compressed(noise, (PAGE_SIZE * 3) / 4)).toBe(0);
  }));

test("arguments beyond a block are refused", () => {
  for (const [from, bytes, room] of [
    [0, 0, 100],
    [0, BLOCK_BYTES + 1, 100],
    [BLOCK_BYTES - 5, 6, 100],
    [-1, 6, 100],
    [0, -1, 100],
    [0, 100, BLOCK_BYTES + 1],
    [0, 100, -1],
  ] as const) {
    expect(codec.compress(from, bytes, room)).toBe(0);
  }
  for (const [bytes, wanted] of [
    [BLOCK_BYTES + 1, 10],
    [10, BLOCK_BYTES + 1],
    [-1, 10],
    [10, -1],
    [0, 10],
  ] as const) {
    expect(codec.decompress(bytes, wanted, true)).toBe(-1);
  }
  expect(codec.repeated(0, 17, false)).toBe(0);
});

test("blocks of any sequences that the format has are decompressed, and any part of them", () =>
  seeded((random) => {
    for (let i = 0; i < 2000; i++) {
      const made = randomBlock(random, random.pick([60, 400, PAGE_SIZE, 20000, BLOCK_BYTES]));
      const right = decode(made.block, made.bytes, true) as Uint8Array;
      expectSame(decompressed(made.block, made.bytes, true) as Uint8Array, right, `block ${i}`);
      for (const wanted of [random.below(made.bytes) + 1, random.below(made.bytes) + 1]) {
        const part = decompressed(made.block, wanted, false) as Uint8Array;
        expectSame(part, right.subarray(0, wanted), `block ${i}, the first ${wanted}`);
      }
      if (made.bytes < BLOCK_BYTES) {
        expect(decompressed(made.block, made.bytes + 1, true)).toBe(undefined);
        expect(decompressed(made.block, made.bytes + 1, false)).toBe(undefined);
      }
      expect(decompressed(made.block, made.bytes - 1, true)).toBe(undefined);
    }
  }));

/** A block in which some bytes are others, or that is cut, or goes on. */
function mutated(random: Random, from: Uint8Array): Uint8Array {
  let bytes = from.slice();
  const how = random.below(10);
  if (how === 0) bytes = bytes.subarray(0, random.below(bytes.length + 1));
  else if (how === 1) bytes = Uint8Array.from([...bytes, random.below(256)]);
  else {
    for (let i = 0; i <= random.below(4); i++) {
      bytes[random.below(bytes.length)] = random.pick([0, 255, 15, 240, random.below(256)]);
    }
  }
  return bytes;
}

/** Blocks that are damaged in the default run; a million with TTM_EXHAUSTIVE. */
const DAMAGED = process.env.TTM_EXHAUSTIVE ? 1_000_000 : 50_000;

test(
  "what is damaged is told, or decompressed as the format has it: no trap, no byte elsewhere",
  () =>
    seeded((random) => {
      const bytes = corpus(2 ** 20, PAGE_SIZE);
      memory.fill(GUARD, CODEC_PACKED + BLOCK_BYTES + SLACK, CODEC_BYTES);
      let refused = 0;
      for (let i = 0; i < DAMAGED; i++) {
        const large = i % 100 === 0;
        const length = large ? BLOCK_BYTES : PAGE_SIZE;
        let good: Uint8Array;
        if (random.chance(0.5)) good = randomBlock(random, random.pick([40, 200, length])).block;
        else {
          const at = random.below((bytes.length - length) / PAGE_SIZE) * PAGE_SIZE;
          const size = compressed(bytes.subarray(at, at + length), BLOCK_BYTES);
          good = block(size);
        }
        const bad = mutated(random, good).subarray(0, BLOCK_BYTES);
        const whole = random.chance(0.5);
        const wanted = random.chance(0.8) ? length : 1 + random.below(length);
        const right = decode(bad, wanted, whole);
        const is = decompressed(bad, wanted, whole);
        if ((right === undefined) !== (is === undefined)) {
          const says = `${is ? "is decompressed" : "is refused"}, but should not be`;
          throw new Error(`block ${i} ${says}: ${Buffer.from(bad).toString("hex").slice(0, 4000)}`);
        }
        if (right && is) expectSame(is, right, `damaged block ${i}`);
        else refused++;
      }
      const end = memory.subarray(CODEC_PACKED + BLOCK_BYTES + SLACK + GUARD_BYTES);
      expect(end.every((byte) => byte === GUARD)).toBe(true);
      expect(refused).toBeGreaterThan(DAMAGED / 10);
    }),
  600_000,
);

test("pages of one word are told from others", () =>
  seeded((random) => {
    for (let i = 0; i < 500; i++) {
      const kinds = Array.from({ length: 16 }, () => random.chance(0.5));
      kinds.forEach((same, page) => {
        const at = (CODEC_RAW + page * PAGE_SIZE) / 4;
        codec.words.fill(random.below(2 ** 32), at, at + PAGE_SIZE / 4);
        const odd = at * 4 + random.below(PAGE_SIZE);
        if (!same) memory[odd] = (memory[odd] as number) ^ (1 << random.below(8));
      });
      const from = random.below(16);
      const to = from + random.below(17 - from);
      for (const not of [false, true]) {
        const run = kinds.slice(from, to).indexOf(not);
        expect(codec.repeated(from, to, not)).toBe(run < 0 ? to - from : run);
      }
    }
  }));

test("another module is refused by name", () => {
  expect(() => codecOf(undefined, "codec")).toThrow(/^codec must be ttm-wasm\/codec\.wasm/);
  expect(() => codecOf({}, "codec")).toThrow(TypeError);
  const empty = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  expect(() => codecOf(empty, "codec")).toThrow(/not another one/);
  expect(codecOf(codecModule(), "codec")).toBe(codec);
});
