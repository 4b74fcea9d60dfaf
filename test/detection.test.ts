/*
 * Whatever becomes of a page in a store is noticed when it comes back: 100,000 random harms, by checksums, and as many by
 * encryption. Method: one-page buffers lie in swap; one page is harmed, read (EIO, naming buffer and slot), and
 * put back as it was.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE, type TtmError } from "../src/index.ts";
import { encryptedSwap } from "../src/swap/encrypted.ts";
import { expectSame, pattern } from "./support/bytes.ts";
import { failsSync } from "./support/errors.ts";
import { HARMS, type OpenSwap, openSwap, type Pages } from "./support/open_swap.ts";
import { type Random, seeded } from "./support/random.ts";

const BUFFERS = 64;
const ZEROS = new Uint8Array(PAGE_SIZE);

/** A buffer in swap, its slot, and what it holds. */
interface Stored {
  readonly bo: BufferObject;
  readonly slot: number;
  readonly content: Uint8Array;
  /** What was stored there at earlier times, as it was stored. */
  readonly stale: Uint8Array<ArrayBuffer>[];
}

/** Pages as they are: some noise, some with little in them. */
function contentOf(random: Random, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = random.chance(0.5) ? pattern(seed, PAGE_SIZE) : new Uint8Array(PAGE_SIZE);
  new Uint32Array(bytes.buffer)[random.below(PAGE_SIZE / 4)] = seed + 1;
  return bytes;
}

/** Buffers in swap, rewritten a few times before, so that there are stale pages of each slot. */
function storedOn(random: Random, swap: OpenSwap, create: () => BufferObject): Stored[] {
  const { writeSync, pages } = swap;
  const held = new Map<number, Uint8Array<ArrayBuffer>[]>();
  let last = 0;
  swap.writeSync = (runs) => {
    writeSync(runs);
    last = runs[0]?.slot as number;
    held.set(last, [...(held.get(last) ?? []), pages.of(last).slice()]);
  };
  const all = Array.from({ length: BUFFERS }, () => ({ bo: create(), slot: 0, content: ZEROS }));
  for (let round = 0; round < 8; round++) {
    for (const [i, one] of random.shuffle([...all]).entries()) {
      one.content = contentOf(random, round * BUFFERS + i);
      one.bo.writeSync(0, one.content);
      one.bo.shrinkSync();
      one.slot = last;
    }
  }
  return all.map((one) => ({ ...one, stale: (held.get(one.slot) ?? []).slice(0, -1) }));
}

type Harm = (random: Random, all: readonly Stored[], pages: Pages, of: Stored) => void;

const KINDS: readonly (readonly [string, Harm])[] = [
  ...Object.entries(HARMS).map(([name, harm]): readonly [string, Harm] => [
    name,
    (random, _, pages, { slot }) => harm(random, pages.of(slot)),
  ]),
  [
    "a page of another slot",
    (random, all, pages, { slot }) => {
      const others = all.filter((each) => each.slot !== slot);
      const other = others[random.below(others.length)] as Stored;
      pages.set(slot, pages.of(other.slot).slice());
    },
  ],
  [
    "what the slot held before",
    (random, _, pages, { slot, stale }) => {
      pages.set(slot, (stale[random.below(stale.length)] as Uint8Array<ArrayBuffer>).slice());
    },
  ],
  [
    "the end of what the slot held before",
    (random, _, pages, { slot, stale }) => {
      // Torn between two words that differ, or else nothing is torn.
      const old = stale[random.below(stale.length)] as Uint8Array;
      const page = pages.of(slot);
      const differ = old.map((byte, i) => Number(byte !== page[i])).lastIndexOf(1);
      const from = random.below(differ + 1);
      page.set(old.subarray(from), from);
    },
  ],
];

/** Harms pages at random, so many times; tells how often each kind was tried, and what went unnoticed. */
function harmed(random: Random, times: number, encrypted: boolean): Map<string, number> {
  const swap = openSwap(BUFFERS + 8); // slots are used again and again
  const { pages } = swap;
  using device = createDeviceSync({
    memory: "256 KiB",
    swap: encrypted ? encryptedSwap(swap) : swap,
    checksums: !encrypted,
  });
  const all = storedOn(random, swap, () => device.createBuffer(PAGE_SIZE));
  if (all.some(({ stale }) => stale.length === 0)) throw new Error("a slot was used only once");
  const target = new Uint8Array(PAGE_SIZE);
  const tried = new Map<string, number>();
  for (let i = 0; i < times; i++) {
    const [name, harm] = KINDS[random.below(KINDS.length)] as (typeof KINDS)[number];
    const one = all[random.below(all.length)] as Stored;
    const kept = pages.of(one.slot).slice();
    harm(random, all, pages, one);
    let error: TtmError;
    try {
      error = failsSync("EIO", () => one.bo.readSync(0, target));
    } catch (cause) {
      throw new Error(`${name} was not noticed, in slot ${one.slot}`, { cause });
    }
    if (!error.message.includes(`slot ${one.slot} of swap device`)) throw error;
    if (!encrypted && !error.message.includes(`page 0 of buffer ${one.bo.id} `)) throw error;
    tried.set(name, (tried.get(name) ?? 0) + 1);
    pages.set(one.slot, kept);
  }
  for (const { bo, content } of all) {
    expectSame(bo.readSync(0, target), content, `buffer ${bo.id}`);
  }
  device.check();
  return tried;
}

describe("harm that is done to pages in a store is noticed, all of it", () => {
  test.each([
    ["by checksums", 100_000, false],
    ["by encryption alone", 100_000, true],
  ] as const)("%s, %i times", (_, times, encrypted) =>
    seeded((random) => {
      const tried = harmed(random, times, encrypted);
      expect([...tried.keys()].sort()).toEqual(KINDS.map(([name]) => name).sort());
    }),
  );
});
